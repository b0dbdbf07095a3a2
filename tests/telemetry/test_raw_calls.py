"""Single calls are kept for a while to be looked at; the oldest go first."""

from datetime import timedelta

import pytest

from apps.access import services as access
from apps.core.actors import WORKER
from apps.telemetry import keeping, queries
from apps.telemetry.domain.shards import shard_of
from apps.telemetry.models import LedgerLine, RawCalls
from apps.telemetry.queries import Wanted
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_environment, make_route, sent

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def environment_with_a_route(db):
    make_route(now=NOW - HOUR)


def kept(limit=100, since=NOW - HOUR, until=NOW + HOUR, **wanted):
    return queries.raw_calls("production", ROUTE, since, until, Wanted(**wanted), limit=limit)


def ids(calls):
    return [one.facts["id"] for one in calls]


def test_a_call_is_kept_as_it_was_told_with_what_it_cost():
    count(sent(call(id="c-1", request_id="r-1", latency_ms=412.5, first_token_ms=120, error=None, attempt=2)))

    (one,) = kept()
    assert one.facts["request_id"] == "r-1"
    assert (one.facts["latency_ms"], one.facts["first_token_ms"], one.facts["attempt"]) == (412.5, 120.0, 2)
    assert (one.confirmed_nano, one.rule) == (1000 * 100 + 100 * 400, "price_book")
    assert one.cost_nano == LedgerLine.objects.get().confirmed_nano


def test_the_newest_come_first_over_all_commit_groups():
    moments = {f"c-{n}": f"2026-11-24T02:59:{n:02}Z" for n in range(30)}
    for names in (["c-3", "c-20"], ["c-9", "c-29"], ["c-11"]):
        count(sent(*(call(id=name, at=moments[name]) for name in names)))

    assert ids(kept(limit=3)) == ["c-29", "c-20", "c-11"]
    assert ids(kept(since=NOW - timedelta(seconds=52), until=NOW - timedelta(seconds=40))) == ["c-11", "c-9"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"variant": "gpt-4.1"}, ["b"]),
        ({"arm": "shadow"}, ["c"]),
        ({"error": "any"}, ["d", "e"]),
        ({"error": "timeout"}, ["d"]),
        ({"error": "none"}, ["a", "b", "c"]),
        ({"request_id": "r-9"}, ["e"]),
        ({}, ["a", "b", "c", "d", "e"]),
    ],
)
def test_they_are_sought_by_variant_arm_error_and_request(wanted, found):
    count(
        sent(
            call(id="a"),
            call(id="b", variant="gpt-4.1"),
            call(id="c", arm="shadow"),
            call(id="d", error="timeout"),
            call(id="e", error="auth", request_id="r-9"),
        )
    )

    assert sorted(ids(kept(**wanted))) == found


def test_routes_that_lie_together_are_told_apart():
    """Names of one shard, one of them a pattern that SQL's LIKE would take for the other."""
    names = ["a_b", "axb", "a%", "A_B", *(f"route-{n}" for n in range(40))]
    alike = [name for name in names if shard_of("production", name) == shard_of("production", "a_b")]
    assert len(alike) > 1
    count(sent(*(call(id=f"of {name}", route=name) for name in names)))

    assert RawCalls.objects.count() == len({shard_of("production", name) for name in names})
    for name in names:
        assert ids(queries.raw_calls("production", name, NOW - HOUR, NOW + HOUR)) == [f"of {name}"]


def test_a_call_that_came_twice_is_kept_once():
    count(sent(call(id="c-1")), sent(call(id="c-1")))

    assert ids(kept()) == ["c-1"]


def test_nothing_is_kept_where_raw_hours_are_0(settings):
    settings.RAW_HOURS = 0

    count(sent(call()))

    assert not RawCalls.objects.exists()
    assert LedgerLine.objects.get().calls == 1


def test_they_go_after_raw_hours(settings):
    settings.RAW_HOURS = 2
    count(sent(call(id="old")), now=NOW - 3 * HOUR)
    count(sent(call(id="new")), now=NOW - HOUR)

    keeping.forget_old(NOW)

    assert ids(kept(since=NOW - 9 * HOUR)) == ["new"]


def test_the_oldest_go_first_when_there_is_too_much(settings):
    for n in range(10):
        count(sent(call(id=f"c-{n}")), now=NOW - timedelta(minutes=10 - n))
    settings.RAW_MAX_MB = RawCalls.objects.order_by("-arrived_at")[0].size * 3.5 / 1e6

    keeping.forget_old(NOW)

    assert sorted(ids(kept())) == ["c-7", "c-8", "c-9"]


def test_a_call_takes_a_few_dozen_bytes_at_most():
    count(sent(*(call(latency_ms=100 + n, input_tokens=800 + n) for n in range(500))))

    assert RawCalls.objects.get().size < 500 * 36


def test_viewers_read_them_and_strangers_do_not(client):
    count(sent(call(id="c-1", error="timeout", at="2026-11-24T02:59:50Z"), call(id="c-2")))
    environment = make_environment()
    _, key = access.create_key(environment=environment, name="r", scopes=["manage:read"], by=WORKER, now=NOW)
    asked = {"environment": "production", "route": ROUTE, "error": "any",
             "from": "2026-11-24T02:00:00Z", "to": "2026-11-24T04:00:00Z"}  # fmt: skip

    told = client.get("/api/v1/calls/", asked, headers={"authorization": f"Bearer {key}"})
    stranger = client.get("/api/v1/calls/", asked)

    (one,) = told.json()["results"]
    assert (one["id"], one["error"], one["arm"], one["variant"]) == ("c-1", "timeout", "live", "flash-lite")
    assert one["confirmed_usd"] == "0.000140"
    assert stranger.status_code == 401
