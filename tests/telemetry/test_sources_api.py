"""From where calls come, and what finds no route: /sources/, /unassigned/, /mappings/."""

import json
from datetime import timedelta

import msgspec
import pytest
import time_machine
from rest_framework.test import APIClient

from apps.journal.models import Entry
from apps.telemetry import metering, queries, services
from apps.telemetry.domain import aliases, intake, litellm, otlp_json, points
from apps.telemetry.domain.batch import Client
from apps.telemetry.domain.points import Stream
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import Instance, LatencyRange, LedgerLine, SuspectedShadow
from apps.telemetry.reception import batch_of
from apps.telemetry.services import Sent
from tests.telemetry.make_otlp import CALL, counter, durations, exponential, logs, metrics, pairs, span, tokens, traces
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_route, sent

pytestmark = pytest.mark.django_db
BUCKETS = [0.01 * 2**k for k in range(14)]
NAMELESS = {name: held for name, held in CALL.items() if name != "changeover.route"}


@pytest.fixture(autouse=True)
def route(db):
    make_route(now=NOW - timedelta(days=1))
    with time_machine.travel(NOW, tick=False):
        yield


def send(body, read=otlp_json.read_traces, now=NOW):
    taken = intake.of_body(read(body), environment="production", now=int(now.timestamp() * 1e9))
    taken.key = "payments"
    return services.count(
        sent=[Sent("production", batch_of("test", body), taken)], writer=WriterMemory(), now=now
    )[0]  # fmt: skip


def client_of(person):
    client = APIClient()
    client.force_login(person)
    return client


def test_it_tells_what_a_service_sent_and_what_was_refused(bob):
    send(traces(span(), span(NAMELESS), span(seconds_ago=50 * 3600)))
    send(metrics(tokens("input", 5, seconds_ago=1, temporality=0)), otlp_json.read_metrics)

    rows = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert [row["service"] for row in rows] == ["payments"]
    assert rows[0]["calls"] == {"span": 2}
    assert rows[0]["attributed"] == {"changeover": 1, "unassigned": 1}
    assert rows[0]["rejected"] == {"too_old": 1, "no_temporality": 1}
    assert {"key": "payments", "source": "span", "reason": "too_old", "n": 1} in rows[0]["rejections"]
    assert (rows[0]["money_from"], rows[0]["scopes"], rows[0]["alias_table_versions"]) == (
        "span",
        {"test": 2},
        [aliases.VERSION],
    )
    assert rows[0]["attempts"] == "not visible from this source"


def test_a_service_that_reports_through_our_client_as_well_is_warned_of(bob):
    send(traces(span()))
    send(traces(span(), service__name="others"))
    batch = sent(call())
    batch.batch.client = Client("payments", "changeover-python/1.0", 1)
    count(batch)

    rows = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert {row["service"]: row["is_also_native"] for row in rows} == {"payments": True, "others": False}
    page = client_of(bob).get("/sources/", {"environment": "production"})
    assert page.content.decode().count("it reports through our client too") == 1


def test_a_service_is_warned_of_where_a_gateway_reports_too(bob):
    send(traces(span()))
    (alone,) = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]
    row = {"litellm_call_id": "c-1", "startTime": NOW.timestamp() - 9, "endTime": NOW.timestamp() - 8}
    rows = litellm.read(json.dumps(row).encode(), int(NOW.timestamp() * 1e9))
    count(Sent("production", batch_of("test", b"row"), rows))

    found = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert alone["is_also_of_gateway"] is False
    assert {row["service"]: row["is_also_of_gateway"] for row in found} == {"payments": True, "litellm": False}
    page = client_of(bob).get("/sources/", {"environment": "production"})
    assert page.content.decode().count("a gateway reports here") == 1


def test_spans_and_metrics_of_one_service_are_compared_in_a_sentence(bob):
    send(traces(*(span() for _ in range(412))))
    send(metrics(durations({7: 430}, BUCKETS, seconds_ago=5)), otlp_json.read_metrics)

    (row,) = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert row["comparison"] == "spans 412 calls, metrics 430: 4 % reach us without a span"
    assert (row["calls"], row["resolution_seconds"]) == ({"span": 412, "metric": 430}, 60)


def test_two_workers_that_do_not_say_which_they_are_are_counted_once_each_and_named(bob):
    """Each tells its whole sum every minute: 10, 20, 37 of the one, 15, 30, 40 of the other."""
    Instance.objects.create(
        environment="production", service="payments", instance="", first_at=NOW - timedelta(hours=1), last_at=NOW
    )
    for n, (one, other) in enumerate([(10, 15), (20, 30), (37, 40)]):
        for begin, total in ((400, one), (395, other)):
            told = tokens("input", total, count=total, begin=begin, seconds_ago=begin - 60 * (n + 1))
            send(metrics(told), otlp_json.read_metrics)

    (row,) = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    (spent,) = queries.spend("production", NOW - timedelta(hours=1), NOW)
    assert spent.input_tokens == 77
    assert row["notes"] == {"two_writers": 5}


def test_a_stream_that_was_kept_before_workers_were_told_apart_goes_on():
    life = points.State(begin=5, at=9, count=3, total=4.0, cells={0: 3}, scale=0, zero=0)

    assert metering.stream_in(msgspec.msgpack.encode(life)) == Stream([life])


def test_of_metrics_alone_it_tells_who_sent_them_and_how_they_were_read(bob):
    send(metrics(durations({7: 4}, BUCKETS, seconds_ago=5)), otlp_json.read_metrics)

    (row,) = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert (row["scopes"], row["alias_table_versions"]) == ({"test": 1}, [aliases.VERSION])


@pytest.mark.parametrize("first", ["span", "log"])
def test_a_call_that_a_log_event_and_a_span_tell_of_is_the_spans_whichever_comes_first(bob, first):
    told = span()
    record = {"eventName": "gen_ai.client.inference.operation.details", "timeUnixNano": told["endTimeUnixNano"],
              "traceId": told["traceId"], "spanId": told["spanId"], "attributes": pairs(CALL)}  # fmt: skip
    bodies = [(traces(told), otlp_json.read_traces), (logs(record), otlp_json.read_logs)]
    for body, read in bodies if first == "span" else reversed(bodies):
        send(body, read)

    (row,) = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert (row["calls"], row["money_from"], row["attributed"]) == ({"span": 1}, "span", {"changeover": 1})


def test_calls_that_count_their_attempts_make_them_visible_and_sampled_traces_are_told(bob):
    send(traces(span(CALL | {"changeover.attempt": 1}), span(traceState="ot=th:c", status={})))

    (row,) = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert (row["attempts"], row["sampled"]) == ("visible", 1)


def test_calls_without_a_route_are_listed_with_their_money_and_can_be_mapped(alice, bob):
    send(traces(span(NAMELESS), span(NAMELESS)))

    listed = client_of(bob).get("/api/v1/unassigned/", {"environment": "production"}).json()["results"]
    assert [(row["service"], row["model"], row["calls"], row["cost_usd"]) for row in listed] == [
        ("payments", "gpt-4.1", 2, "0.005600")
    ]

    asked = {
        "environment": "production",
        "service": "payments",
        "model": "gpt-4.1",
        "route": ROUTE,
        "because": "It is.",
    }
    refused = client_of(bob).post("/api/v1/mappings/", asked, format="json")
    made = client_of(alice).post("/api/v1/mappings/", asked, format="json")
    send(traces(span(NAMELESS)))

    assert (refused.status_code, made.status_code) == (403, 201)
    assert Entry.objects.filter(kind="telemetry.calls_mapped").count() == 1
    row = queries.spend("production", NOW - timedelta(hours=1), NOW, where={"route": ROUTE})[0]
    assert (row.calls, row.confirmed_nano) == (1, 2_800_000)

    services.settle_old(now=NOW + timedelta(minutes=31))  # what was still waiting finds its route by the mapping
    row = queries.spend("production", NOW - timedelta(hours=1), NOW, where={"route": ROUTE})[0]
    assert row.calls == 3
    assert queries.unassigned("production") == []

    gone = client_of(alice).delete(f"/api/v1/mappings/{made.json()['id']}/?environment=production")
    assert gone.status_code == 204
    assert queries.mappings("production") == []


def test_a_mapping_to_a_route_that_is_not_there_is_refused(alice):
    asked = {"environment": "production", "service": "payments", "route": "nowhere", "because": "?"}

    assert client_of(alice).post("/api/v1/mappings/", asked, format="json").status_code == 404


def windows_of(person, **asked):
    asked = {"environment": "production", "route": ROUTE, "step": "all", "from": NOW - timedelta(hours=1)} | asked
    return client_of(person).get("/api/v1/windows/", asked).json()["results"]


def test_coarse_buckets_have_a_range_and_no_percentile(bob):
    send(metrics(durations({7: 90, 9: 10}, BUCKETS, seconds_ago=30)), otlp_json.read_metrics)

    (row,) = windows_of(bob)

    assert (row["calls"], row["latency_ms"]) == (100, None)
    assert row["latency_range_ms"] == {"p50": [640, 1280], "p95": [2560, 5120], "p99": [2560, 5120]}
    assert "base2_exponential_bucket_histogram" in row["latency_note"]
    asked, begin = [("production", ROUTE), ("production", "another")], NOW - timedelta(minutes=10)
    assert queries.coarse_routes(asked, begin, NOW) == {("production", ROUTE)}
    assert queries.coarse_routes(asked[1:], begin, NOW) == queries.coarse_routes(asked, NOW, NOW) == set()


def test_exponential_cells_that_grew_wide_give_percentiles_with_their_error_and_their_scale_is_told(bob):
    """Whose 160 cells span more than ten doublings goes down to scale 3: cells of 9 %."""
    send(metrics(exponential(0, [90, 0, 0, 10], 3, seconds_ago=30)), otlp_json.read_metrics)

    (row,) = windows_of(bob)
    (source,) = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert row["latency_ms"] == {"p50": 1044.274, "p95": 1354.256, "p99": 1354.256}
    assert (row["latency_error"], "percentiles are within 4.4%" in row["latency_note"]) == (0.0443, True)
    assert "max_size" in row["latency_note"]
    assert row["latency_range_ms"] == {"p50": [1000, 1090.508], "p95": [1296.84, 1414.214], "p99": [1296.84, 1414.214]}
    assert source["notes"] == {"coarse_scale:3": 100}


def test_durations_of_nothing_have_a_cell_of_their_own_and_are_noted(bob):
    told = exponential(0, [3], 4, seconds_ago=30)
    told["exponentialHistogram"]["dataPoints"][0] |= {"count": "5", "zeroCount": "2"}
    send(metrics(told), otlp_json.read_metrics)

    (row,) = windows_of(bob)
    (source,) = client_of(bob).get("/api/v1/sources/", {"environment": "production"}).json()["results"]

    assert (row["calls"], row["latency_ms"]["p50"] > 1000, source["notes"]) == (5, True, {"no_duration": 2})


def test_of_cells_of_whole_doublings_there_is_no_percentile_and_the_remedy_is_more_cells(bob):
    send(metrics(exponential(0, [90, 10], 0, seconds_ago=30)), otlp_json.read_metrics)

    (row,) = windows_of(bob)

    assert (row["latency_ms"], row["latency_error"]) == (None, None)
    assert "a larger max_size, such as 320" in row["latency_note"]


def test_windows_say_from_where_they_are_and_how_much_of_the_calls_they_cover(bob):
    send(metrics(durations({7: 90, 9: 10}, BUCKETS, seconds_ago=30)), otlp_json.read_metrics)

    (row,) = windows_of(bob)

    assert row["coarse"] == 100
    assert row["coverage"] == {
        "sources": ["metric"], "calls": 100, "assigned": 0, "covered": 0, "requests": 0, "late": 0, "sampled": 0,
        "resolution_seconds": 60,
    }  # fmt: skip


def test_native_calls_are_covered_whole(bob):
    count(sent(*(call() for _ in range(10))))

    (row,) = windows_of(bob, to=NOW + timedelta(minutes=1))

    assert row["coverage"] == {
        "sources": ["native"], "calls": 10, "assigned": 10, "covered": 1, "requests": 10, "late": 0, "sampled": 0,
        "resolution_seconds": 10,
    }  # fmt: skip


def test_the_most_that_a_point_may_tell_is_money_that_fits():
    told = [tokens(kind, 1e12, seconds_ago=1, temporality=1, **{"gen_ai.request.model": "gpt-5-pro"})
            for kind in ("input", "output")]  # fmt: skip
    send(metrics(*told, tokens("input", 1.1e12, seconds_ago=1, temporality=1)), otlp_json.read_metrics)

    (whole,) = queries.spend("production", NOW - timedelta(minutes=10), NOW)
    assert (whole.input_tokens, whole.output_tokens, whole.confirmed_nano) == (10**12, 10**12, 135 * 10**15)


def test_of_a_range_without_an_end_the_end_is_null(bob):
    send(metrics(durations({14: 1}, BUCKETS, seconds_ago=30)), otlp_json.read_metrics)

    assert windows_of(bob)[0]["latency_range_ms"]["p95"] == [81_920, None]


USAGE = "gen_ai.client.inference.usage."


@pytest.mark.parametrize(("tier", "factor"), [("default", 1), ("flex", 0.5)])
def test_the_newest_counters_tell_parts_of_the_input_which_are_not_added_to_it(tier, factor):
    told = {"gen_ai.request.model": "gpt-5", "openai.response.service_tier": tier}
    body = metrics(
        counter(f"{USAGE}input_tokens", 1000, seconds_ago=5, **told),
        counter(f"{USAGE}cache_read.input_tokens", 600, seconds_ago=5, **told),
        counter(f"{USAGE}output_tokens", 100, seconds_ago=5, **told),
        counter(f"{USAGE}reasoning.output_tokens", 40, seconds_ago=5, **told),
    )
    send(body, otlp_json.read_metrics)

    (whole,) = queries.spend("production", NOW - timedelta(minutes=10), NOW + timedelta(minutes=1))
    assert (whole.input_tokens, whole.cached_input_tokens, whole.output_tokens) == (1000, 600, 100)
    assert whole.confirmed_nano == (400 * 1250 + 600 * 125 + 100 * 10_000) * factor


def test_tokens_written_to_a_cache_have_their_own_price_in_counters_too():
    told = {"gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.provider.name": "anthropic"}
    written = f"{USAGE}cache_write.input_tokens"
    body = [counter(name, 1000, seconds_ago=5, **told) for name in (f"{USAGE}input_tokens", written)]
    send(metrics(*body), otlp_json.read_metrics)

    (whole,) = queries.spend("production", NOW - timedelta(minutes=10), NOW + timedelta(minutes=1))
    assert (whole.input_tokens, whole.confirmed_nano) == (1000, 1000 * 3750)


@pytest.mark.parametrize("way", ["together", "tokens first", "durations first"])
def test_calls_of_which_metrics_tell_no_tokens_are_estimated_and_never_free(way):
    known = traces(*(span(CALL, seconds_ago=3600 + n) for n in range(5)))  # what calls of the route usually are
    send(known, now=NOW - timedelta(minutes=50))
    LedgerLine.objects.all().delete()
    calls, inputs, outputs = (
        durations({7: 3}, BUCKETS, seconds_ago=5), tokens("input", 2000, count=2, seconds_ago=5, temporality=1),
        tokens("output", 200, count=2, seconds_ago=5, temporality=1),
    )  # fmt: skip
    together = [[calls, inputs, outputs]]
    bodies = {"together": together, "tokens first": [[inputs], [outputs], [calls]],
              "durations first": [[calls], [outputs], [inputs]]}[way]  # fmt: skip
    for body in bodies:
        send(metrics(*body, service__name="reader"), otlp_json.read_metrics)

    (whole,) = queries.spend("production", NOW - timedelta(minutes=10), NOW + timedelta(minutes=1))
    assert (whole.calls, whole.confirmed_nano) == (3, 2 * 2_800_000)
    assert (whole.estimated_nano, whole.unpriced) == (2_800_000, 0)


def test_ranges_are_given_back_when_spans_tell_of_the_same_calls(bob):
    send(metrics(durations({7: 1}, BUCKETS, seconds_ago=9)), otlp_json.read_metrics)
    send(traces(span(seconds_ago=10, took=0.4)))

    (row,) = windows_of(bob)
    assert (row["calls"], row["latency_range_ms"]) == (1, None)
    assert row["latency_ms"]["p50"] == pytest.approx(400, rel=0.022)
    assert sum(LatencyRange.objects.values_list("n", flat=True)) == 0


def test_an_operator_says_what_a_suspected_shadow_is(alice, bob, charlie):
    for n in (1, 2):
        SuspectedShadow.objects.create(
            environment="production", call_id=f"c-{n}", trace_id="t", model_group="mirror", model="gpt-4.1",
            route=ROUTE, cost_nano=10**9, at=NOW,
        )  # fmt: skip
    asked = {"environment": "production", "because": "The gateway mirrors."}
    dismiss = "/api/v1/suspected-shadows/c-1/dismiss/"

    refused = [client_of(who).post(dismiss, asked, format="json").status_code for who in (bob, charlie)]
    answers = [client_of(alice).post(dismiss, asked, format="json") for _ in range(2)]

    assert refused == [403, 404]
    assert [answer.status_code for answer in answers] == [200, 409]
    assert (answers[0].json()["answer"], answers[0].json()["by"]) == ("live", "alice")
    assert Entry.objects.filter(kind="telemetry.shadow_dismissed").count() == 1
    listed = [
        [one["call_id"] for one in client_of(bob).get("/api/v1/suspected-shadows/", told).json()["results"]]
        for told in ({"environment": "production"}, {"environment": "production", "answered": "true"})
    ]
    assert listed == [["c-2"], ["c-1"]]
    missing = client_of(alice).post("/api/v1/suspected-shadows/none/confirm/", asked, format="json")
    assert missing.status_code == 404


@pytest.mark.parametrize("path", ["sources", "unassigned", "mappings", "suspected-shadows"])
def test_strangers_see_nothing(charlie, path):
    assert client_of(charlie).get(f"/api/v1/{path}/", {"environment": "production"}).status_code == 404
