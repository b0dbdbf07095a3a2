"""What real clients sent: the same money however it comes."""

import random
from datetime import timedelta

import pytest
import time_machine

from apps.core.actors import WORKER
from apps.telemetry import queries, services, serving, shadows
from apps.telemetry.domain.histogram import Histogram, index_of
from apps.telemetry.models import Heard, Instance, LedgerLine, SuspectedShadow, Trace, Unassigned, Window
from tests.telemetry.make_telemetry import NOW, ROUTE, VARIANTS, call, count, heard, make_key, make_route, sent, spent
from tests.telemetry.otlp_samples import JSON, PROTOBUF, names, needs_samples, post_sample, sample, split

pytestmark = [pytest.mark.django_db(transaction=True), needs_samples]
LONG_AGO = NOW - timedelta(days=1)
CLIENTS = {
    "genai-openai": ["genai-openai.traces.1", "genai-openai.traces.2"],
    "json-exporter": ["json-exporter.traces", "json-exporter.logs.1", "json-exporter.logs.2"],
    "baggage": ["baggage.traces"],
    "openai-v2": ["openai-v2.traces"],
    "traceloop": ["traceloop.traces.1", "traceloop.traces.2"],
    "traceloop-old": ["traceloop-old-llm.traces.1", "traceloop-old-llm.traces.2"],
    "openinference": ["openinference.traces.1", "openinference.traces.2"],
    "logfire": ["logfire.traces.1", "logfire.traces.2"],
    "langfuse": ["langfuse.traces.1", "langfuse.traces.2"],
    "litellm": ["litellm.traces.1", "litellm.traces.2"],
    "webhook": ["litellm.webhook", "litellm.webhook-mirrored"],
}
FULL = 300 * 2000 + 512 * 500 + 64 * 8000  # nano-USD of the simulated provider's usage on GPT-4.1
UNCACHED = 812 * 2000 + 64 * 8000  # as it looks to who does not tell of cached tokens, and as it is estimated
EMBEDDED = 9 * 20
EXPECTED = {  # calls, confirmed, estimated, calls without a price
    "genai-openai": (10, 4 * FULL + EMBEDDED, UNCACHED, 4),
    "json-exporter": (6, 3 * FULL, UNCACHED, 2),
    "baggage": (1, FULL, 0, 0),
    "openai-v2": (5, 3 * UNCACHED, UNCACHED, 1),
    "traceloop": (10, 4 * FULL + EMBEDDED, UNCACHED, 4),
    "traceloop-old": (6, 2 * UNCACHED + EMBEDDED, 2 * UNCACHED, 1),
    "openinference": (10, 4 * FULL + EMBEDDED, UNCACHED, 4),
    "logfire": (10, 4 * FULL + EMBEDDED, UNCACHED, 4),
    "langfuse": (11, 4 * FULL + EMBEDDED + 300 * 100 + 512 * 10 + 64 * 400, UNCACHED, 4),
    "litellm": (5, 2 * FULL, 0, 2),
    "webhook": (16, 3 * FULL, 0, 11),
}


@pytest.fixture
def key():
    """Of production. The clock stands at a moment twenty minutes after the samples were taken."""
    with time_machine.travel(NOW, tick=False):
        secret = open_environment("production")
        serving.start()
        yield secret
        serving.stop()


def open_environment(name):
    make_route(environment=name, now=NOW - timedelta(days=1), variants=VARIANTS)
    known_history(name)
    return make_key("telemetry:write", environment=name)


def known_history(environment):
    """Routes, and services without one, whose usual calls are known: then an estimate depends on no order."""
    usual = [("", ROUTE), ("payments: ", "gpt-4.1"), ("unknown_service:python: ", "gpt-4.1-2025-04-14")]
    for name in ["".join(parts) for parts in usual]:
        calls = [
            call(
                id=f"{name}-{n}",
                route=name,
                input_tokens=812,
                output_tokens=64,
                at="2026-11-23T01:00:00Z",
                cost_usd=0,
                provider="openai",
                model="gpt-4.1",
            )
            for n in range(101)
        ]
        count(sent(*calls, environment=environment), now=NOW - timedelta(hours=20))
    LedgerLine.objects.filter(environment=environment).delete()
    Window.objects.filter(environment=environment).delete()
    Unassigned.objects.filter(environment=environment).delete()


def ledger(environment="production"):
    """Every sum by every key, without what was taken back."""
    keys = [name for name in queries.money.BY if name != "owner"]
    rows = queries.spend(environment, NOW - timedelta(days=2), NOW + timedelta(hours=1), by=keys)
    return {
        tuple(row.keys.values()): (row.calls, row.confirmed_nano, row.estimated_nano, row.unpriced, row.input_tokens,
                                   row.cached_input_tokens, row.output_tokens)
        for row in rows
        if any((row.calls, row.confirmed_nano, row.estimated_nano, row.unpriced))
    }  # fmt: skip


def send(client, key):
    for name in CLIENTS[client]:
        answer = post_sample(name, sample(name), key)
        assert answer.status in (200, 202), answer.body


def apart(names):
    return [(name, part) for name in names for part in split(sample(name))]


@pytest.mark.parametrize("client", CLIENTS)
def test_what_each_client_sends_is_counted_and_priced(key, client):
    send(client, key)

    whole = spent()
    assert (whole.calls, whole.confirmed_nano, whole.estimated_nano, whole.unpriced) == EXPECTED[client]


def twice(names, environment_key):
    for _ in range(2):
        for name in names:
            post_sample(name, sample(name), environment_key)
    for name, part in apart(names):  # as if a collector had made other batches of it
        post_sample(name, part, environment_key)


def backwards(names, environment_key):
    for name in reversed(names):
        post_sample(name, sample(name), environment_key)


def shuffled_apart(names, environment_key):
    parts = apart(names)
    for name, part in random.Random(names[0]).sample(parts, len(parts)):
        post_sample(name, part, environment_key)


def as_protobuf(names, environment_key):
    for name in names:
        assert post_sample(name, sample(name), environment_key, PROTOBUF).status in (200, 202)


def in_both_encodings(names, environment_key):
    as_protobuf(names, environment_key)
    for name in names:
        post_sample(name, sample(name), environment_key, JSON)


WAYS = [twice, backwards, shuffled_apart, as_protobuf, in_both_encodings]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_ledger_is_the_same_however_it_comes(key, client):
    send(client, key)
    expected = ledger()
    assert expected

    for way in WAYS:
        way(CLIENTS[client], open_environment(way.__name__))
        assert ledger(way.__name__) == expected, way.__name__


def test_all_clients_at_once_do_not_disturb_each_other(key):
    everything = [one for client in CLIENTS for one in apart(CLIENTS[client])]
    for name, part in random.Random(5).sample(everything, len(everything)):
        post_sample(name, part, key)

    # LiteLLM's spans and its webhook tell of five calls twice.
    assert spent().calls == sum(calls for calls, *_ in EXPECTED.values()) - 5


def test_a_flag_event_on_the_parent_gives_the_route_even_if_it_comes_later(key):
    post_sample("genai-openai.traces.1", sample("genai-openai.traces.1"), key)

    assert spent(route=ROUTE).calls == 0
    assert spent().confirmed_nano == 3 * FULL
    assert {(row.service, row.model) for row in queries.unassigned("production")} == {
        ("payments", "gpt-4.1"), ("payments", "gpt-4.1-cancelled")
    }  # fmt: skip

    post_sample("genai-openai.traces.2", sample("genai-openai.traces.2"), key)

    assert spent(route=ROUTE, variant="flash-lite").confirmed_nano == spent().confirmed_nano == 4 * FULL + EMBEDDED
    assert queries.unassigned("production") == []
    assert sum(row.calls for row in queries.windows("production", ROUTE, NOW - timedelta(hours=1), NOW)) == 10


def test_a_variant_whose_model_is_not_the_calls_is_booked_by_the_calls_model_and_counted(key):
    send("baggage", key)

    assert [row.keys["model"] for row in queries.spend("production", NOW - timedelta(hours=1), NOW, by=["model"])] == [
        "gpt-4.1"
    ]
    assert heard("attribution_conflict") == 1


def test_a_stream_that_logfire_tells_in_two_spans_is_one_call_with_its_whole_latency(key):
    send("logfire", key)

    windows = queries.windows("production", ROUTE, NOW - timedelta(hours=1), NOW, "10s")
    assert sum(row.calls for row in windows) == 10
    assert heard("covered") == 3
    streams = Window.objects.order_by("starts_at").first()
    # 0.06, 0.10, 0.22, 0.22, 0.15 s: none of the 0.05 s at which a stream's headers came
    assert min(value for value in Histogram.unpack(streams.latency).cells) > index_of(0.055)


def test_nine_attempts_of_one_request_are_nine_calls(key):
    post_sample("litellm.webhook", sample("litellm.webhook"), key)

    slow = [row for row in queries.spend("production", NOW - timedelta(hours=1), NOW, by=["model"])
            if row.keys["model"].startswith("gpt-4.1-slow")]  # fmt: skip
    assert sum(row.calls for row in slow) == 9
    assert sum(row.unpriced for row in slow) == 9  # never free
    assert spent(rule="refused").calls == 2


LITELLM = ["litellm.traces.1", "litellm.traces.2", "litellm.webhook"]


@pytest.mark.parametrize("names", [LITELLM, LITELLM[::-1], LITELLM[1:] + LITELLM[:1]])
def test_litellms_webhook_has_the_money_and_its_route_whether_a_span_told_of_the_call_before_or_not(key, names):
    post_sample("litellm.webhook", sample("litellm.webhook"), open_environment("alone"))

    for name, part in apart(names):
        post_sample(name, part, key)

    assert ledger() == ledger("alone")
    assert spent(route=ROUTE).calls == 14
    assert heard("covered") == 5
    services.forget_old(now=NOW + timedelta(minutes=31))
    assert sum(row.calls for row in queries.windows("production", ROUTE, NOW - timedelta(hours=1), NOW)) == 14
    assert not Trace.objects.exists()


def test_mirrored_calls_are_listed_as_suspected_shadow(key):
    post_sample("litellm.webhook-mirrored", sample("litellm.webhook-mirrored"), key)

    assert [(one.model, one.model_group) for one in SuspectedShadow.objects.all()] == [("gpt-4.1-mirror", "mirror")]


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_confirmed_shadow_moves_its_money_to_the_cap_of_the_rollout_under_way(key, is_quiet):
    rows = [
        row | {"request_tags": [f"route:{ROUTE}"], "model": "gpt-4.1"} for row in sample("litellm.webhook-mirrored")
    ]
    post_sample("litellm.webhook-mirrored", rows, key)
    (found,) = queries.suspected_shadows("production")
    if is_quiet:  # its trace has gone
        services.forget_old(now=NOW + timedelta(minutes=31))
    before = spent(arm="live").confirmed_nano

    shadows.settle(environment="production", call_id=found.call_id, said="shadow", by=WORKER, because="", now=NOW)

    assert spent(arm="shadow", route=ROUTE).confirmed_nano == found.cost_nano > 0
    assert spent(arm="live").confirmed_nano == before - found.cost_nano
    assert queries.suspected_shadows("production") == []
    with pytest.raises(shadows.AlreadySettled):
        shadows.settle(environment="production", call_id=found.call_id, said="live", by=WORKER, because="", now=NOW)
    services.forget_old(now=NOW + timedelta(minutes=31))
    post_sample("litellm.webhook-mirrored", rows, key)
    assert spent(arm="shadow").confirmed_nano == found.cost_nano


def test_what_senders_say_a_call_cost_is_kept_for_comparison_only(key):
    send("litellm", key)

    assert heard("told_nano") == 2 * FULL
    assert spent(rule="sender").calls == 0


def test_calls_that_find_no_route_are_counted_under_their_service_once_their_trace_is_quiet(key):
    send("json-exporter", key)
    assert not Window.objects.exists()

    services.forget_old(now=NOW + timedelta(minutes=31))

    rows = queries.windows("production", "payments: gpt-4.1", NOW - timedelta(hours=1), NOW)
    assert [(row.calls, row.latency.count) for row in rows] == [(4, 4)]
    slow = queries.windows("production", "payments: gpt-4.1-slow", NOW - timedelta(hours=1), NOW)
    assert [(row.calls, row.coarse, row.latency.count) for row in slow] == [(1, 1, 0)]  # a log tells no latency
    assert Trace.objects.count() == 0


METRICS = ["genai-openai.metrics-explicit-cumulative", "json-exporter.metrics-exponential-delta", "traceloop.metrics"]


@pytest.mark.parametrize("first", ["spans", "metrics"])
def test_where_spans_and_metrics_tell_of_the_same_calls_spans_count(key, first):
    spans, metrics = ["json-exporter.traces", "json-exporter.logs.1", "json-exporter.logs.2"], METRICS[1:2]
    for name in [*spans, *metrics] if first == "spans" else [*metrics, *spans]:
        assert post_sample(name, sample(name), key).status == 200

    whole = spent()
    assert (whole.calls, whole.confirmed_nano, whole.estimated_nano, whole.unpriced) == EXPECTED["json-exporter"]
    assert sum(Heard.objects.filter(source="metric", what="calls").values_list("n", flat=True)) == 10


def test_exponential_delta_metrics_alone_have_money_and_percentiles(key):
    post_sample(METRICS[1], sample(METRICS[1]), key)

    whole = spent()
    assert whole.calls == 10
    assert (whole.input_tokens, whole.output_tokens) == (812 * 5 + 9, 64 * 5)
    assert (whole.estimated_nano, whole.unpriced) == (UNCACHED, 4)  # as the spans of the same calls say
    rows = queries.windows("production", "payments: gpt-4.1", NOW - timedelta(hours=1), NOW)
    assert [(row.calls, row.coarse, row.latency.count) for row in rows] == [(5, 0, 5)]


def test_a_cumulative_stream_seen_for_the_first_time_is_only_a_baseline(key):
    for name in ("genai-openai.metrics-explicit-cumulative", "traceloop.metrics"):
        post_sample(name, sample(name), key)

    assert spent().calls == spent().confirmed_nano == 0
    assert heard("gap") > 10


def senders(name):
    resources = [
        {pair["key"]: pair["value"].get("stringValue", "") for pair in one["resource"]["attributes"]}
        for one in sample(name)["resourceMetrics"]
    ]
    return {(told.get("service.name", ""), told.get("service.instance.id", "")) for told in resources}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_a_known_sender_come_to_the_same_however_they_come(key, name):
    def known_environment(environment):
        secret = key if environment == "production" else open_environment(environment)
        for service, instance in senders(name):
            Instance.objects.create(
                environment=environment, service=service, instance=instance, first_at=LONG_AGO, last_at=NOW
            )  # fmt: skip
        return secret

    post_sample(name, sample(name), known_environment("production"))
    expected = ledger()
    assert expected

    for way in WAYS:
        way([name], known_environment(way.__name__))
        assert ledger(way.__name__) == expected, way.__name__


def test_litellms_metrics_are_left_to_its_spans(key):
    assert post_sample("litellm.metrics", sample("litellm.metrics"), key).status == 200
    assert spent().calls == 0


def test_every_sample_is_used_here():
    used = {*METRICS, "litellm.metrics", *(name for sent in CLIENTS.values() for name in sent)}
    assert set(names()) == used
