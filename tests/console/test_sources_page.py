"""Sources: what reports, what finds no route and how it is mapped in two presses, what has no price."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from apps.telemetry import trace_rows, tracing
from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.domain.span_calls import SpanCall
from apps.telemetry.domain.traces import Booked
from apps.telemetry.models import Heard, LatencyRange, Mapping, SuspectedShadow, Unassigned, Window
from tests.budgets.make_rows import spend
from tests.telemetry.make_telemetry import ROUTE, call, count, make_route, sent

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
STRAY = "invoice-worker: gpt-4.1"


def test_a_route_of_which_only_metrics_tell_says_why_its_figures_stand_empty(environment, client, bob):
    make_route()
    of_metrics = {"environment": "production", "route": ROUTE, "starts_at": NOW - timedelta(minutes=5)}
    counts = dict.fromkeys(["errors", "input_tokens", "cached_input_tokens", "output_tokens", "late", "unpriced"], 0)
    nothing = counts | {"confirmed_nano": 0, "estimated_nano": 0, "latency": Histogram().pack()}
    Window.objects.create(variant="", arm="live", calls=412, coarse=412, **of_metrics, **nothing)

    client.force_login(bob)
    board = client.get(reverse("routes")).content.decode()
    page = client.get(reverse("route", args=[ROUTE])).content.decode().replace("\u00a0", " ")

    assert "too coarse" in board
    assert "412 calls, 0 by a variant, 0 % in percentiles, none late" in page
    assert "base2_exponential_bucket_histogram" in page
    assert "This source tells of calls and not of requests" in page


@pytest.fixture
def story(environment):
    make_route()
    count(sent(call(), call(), call(route="no-such-route")))
    Unassigned.objects.create(
        environment="production", name=STRAY, service="invoice-worker", model="gpt-4.1", calls=100,
        first_at=NOW - timedelta(hours=2), last_at=NOW,
    )  # fmt: skip
    heard(("span", "calls", 900), ("span", "by:flag", 800), ("span", "by:unassigned", 100), ("metric", "calls", 1000))
    heard(("span", "rejected:too_old", 7), key="payments")
    spend(NOW - timedelta(hours=1), 1.25, route=STRAY)


def heard(*rows: tuple[str, str, int], service: str = "invoice-worker", key: str = "") -> None:
    for source, what, n in rows:
        Heard.objects.create(
            environment="production", service=service, source=source, what=what, key=key, hour=NOW, n=n
        )


def text(answer) -> str:
    return answer.content.decode().replace("\u00a0", " ")


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_operator_and_viewer_see_sources(who, story, client, request):
    client.force_login(request.getfixturevalue(who))

    answer = client.get(reverse("sources"))

    assert answer.status_code == 200
    assert "invoice-worker" in text(answer)


def test_a_stranger_sees_nothing(story, client, charlie):
    client.force_login(charlie)

    answer = client.get(reverse("sources"))

    assert answer.status_code == 403
    assert "invoice-worker" not in text(answer)


def test_a_service_tells_its_dialect_its_coverage_and_what_was_refused(story, client, alice):
    client.force_login(alice)

    (row,) = client.get(reverse("sources")).context["sources"]

    assert (row.dialect, row.calls, row.calls_second) == ("metrics, spans", "900", "money from spans")
    assert (row.assigned, row.found_by) == ("89\u00a0%", "the flag on the call")
    assert (row.coverage, row.coverage_second) == (
        "90\u00a0%",
        "spans 900 calls, metrics 1,000: 10 % reach us without a span",
    )
    assert row.rejections == ("too old: 7, key payments",)
    assert "retries are not visible" in row.notes


def test_a_service_with_metrics_alone_says_how_often_it_sends(story, client, alice):
    client.force_login(alice)
    heard(("metric", "calls", 50), ("metric", "points", 5), ("metric", "point_seconds", 300), service="gateway")

    rows = {row.service: row for row in client.get(reverse("sources")).context["sources"]}

    assert rows["gateway"].coverage == "only metrics"
    assert "a point every 60 s" in rows["gateway"].coverage_second


def test_coarse_latencies_show_their_range_and_the_remedy(story, client, alice):
    client.force_login(alice)
    window = Window.objects.get(route="invoice-extraction")
    window.coarse = window.calls
    window.latency = b""
    window.save()
    LatencyRange.objects.create(
        environment="production", route=window.route, variant=window.variant, arm="live", starts_at=window.starts_at,
        above=2.56, up_to=5.12, n=window.calls,
    )  # fmt: skip

    shown = text(client.get(reverse("sources")))

    assert f"p95 of {window.variant} between 2.56 and 5.12 s" in shown
    assert "base2_exponential_bucket_histogram" in shown


@pytest.mark.parametrize("said", ["shadow", "live"])
def test_an_operator_settles_a_suspected_shadow(story, client, alice, bob, said):
    found = SuspectedShadow.objects.create(
        environment="production", call_id="c", trace_id="t", model_group="fast", model="gpt-5", route="r",
        cost_nano=10**9, at=NOW, body=body_of("c"),
    )  # fmt: skip
    press = reverse("settle-shadow", args=["c", said])
    client.force_login(bob)
    assert client.post(press).status_code == 403
    client.force_login(alice)

    client.post(press)
    again = client.post(press)

    found.refresh_from_db()
    assert (found.answer, found.by) == (said, "alice")
    assert again.status_code == 409
    assert "suspected-title" not in text(client.get(reverse("sources")))


def body_of(call_id: str) -> bytes:
    begin = int(NOW.timestamp() - 60) * 10**9
    call = SpanCall(source="webhook", span=call_id, parent="", begin=begin, end=begin + 10**9, id=call_id)
    return trace_rows.encode(tracing.Suspect(call, Booked("")))


def test_a_stray_shows_its_money_and_the_route_that_it_looks_like(story, client, alice):
    client.force_login(alice)

    rows = {row.id: row for row in client.get(reverse("sources"), {"map": STRAY}).context["strays"]}

    assert (rows[STRAY].calls, rows[STRAY].cost, rows[STRAY].likely) == ("100", "$1.25", "invoice-extraction")
    assert rows[STRAY].is_open
    assert not rows["no-such-route"].can_map


def test_the_second_press_maps_the_calls(story, client, alice):
    client.force_login(alice)

    client.post(reverse("map"), {"service": "invoice-worker", "model": "gpt-4.1", "route": "invoice-extraction"})

    made = Mapping.objects.get()
    assert (made.service, made.model, made.route, made.by) == (
        "invoice-worker",
        "gpt-4.1",
        "invoice-extraction",
        "alice",
    )


def test_a_mapping_is_taken_back(story, client, alice):
    client.force_login(alice)
    client.post(reverse("map"), {"service": "invoice-worker", "model": "", "route": "invoice-extraction"})

    client.post(reverse("unmap", args=[Mapping.objects.get().id]))

    assert not Mapping.objects.exists()


def test_a_mapping_to_a_route_that_is_not_there_says_so(story, client, alice):
    client.force_login(alice)

    answer = client.post(reverse("map"), {"service": "invoice-worker", "model": "", "route": "gone"})

    assert answer.status_code == 409
    assert not Mapping.objects.exists()


def test_a_viewer_maps_nothing(story, client, bob):
    client.force_login(bob)

    answer = client.post(reverse("map"), {"service": "invoice-worker", "model": "", "route": "invoice-extraction"})

    assert answer.status_code == 403
    assert not Mapping.objects.exists()


def test_suspected_shadows_are_listed(story, client, alice):
    client.force_login(alice)
    SuspectedShadow.objects.create(
        environment="production", call_id="c", trace_id="t", model_group="fast", model="gpt-5", route="r",
        cost_nano=10**9, at=NOW,
    )  # fmt: skip

    shown = client.get(reverse("sources")).context

    assert [(row.model, row.cost) for row in shown["suspected"]] == [("gpt-5", "$1.00")]


def test_late_calls_are_told_as_a_share(story, client, alice):
    client.force_login(alice)
    Window.objects.filter(route="invoice-extraction").update(late=1)

    rows = {row.route: row for row in client.get(reverse("sources")).context["arrivals"]}

    assert (rows["invoice-extraction"].calls, rows["invoice-extraction"].late) == ("2", "50\u00a0%")


def test_a_name_without_a_route_is_not_counted_as_one(story, client, bob):
    client.force_login(bob)

    shown = client.get(reverse("sources")).context

    assert [row.route for row in shown["arrivals"]] == [ROUTE]
    assert shown["summary"].startswith("2 calls counted in 24 h on 1 route.")
    assert "no-such-route" in [row.id for row in shown["strays"]]


def test_a_viewer_has_no_button_that_does_nothing(story, client, alice, bob):
    Mapping.objects.create(
        id="m-1", environment="production", service="invoice-worker", route=ROUTE, by="alice", at=NOW
    )
    client.force_login(bob)

    main = text(client.get(reverse("sources"))).split("<main")[1].split("</main>")[0]

    assert "<button" not in main
    assert "alice can do this." in main


def test_how_many_found_their_route_is_no_alarm_when_all_did(story, client, bob):
    Heard.objects.filter(what="by:unassigned").delete()
    client.force_login(bob)

    (row,) = client.get(reverse("sources")).context["sources"]

    assert row.assigned == "100\u00a0%"
    assert "is-over" not in row.bar
    assert 'aria-label="100\u00a0% found a route"' in row.bar
