"""/api/v1/windows/ and /api/v1/spend/."""

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_route, outcome, sent

pytestmark = pytest.mark.django_db
PERIOD = {"environment": "production", "from": "2026-11-24T02:00:00Z", "to": "2026-11-24T03:00:00Z"}


@pytest.fixture(autouse=True)
def traffic(db):
    make_route(now=NOW - timedelta(days=1))
    count(
        sent(
            call(request_id="r-1", final=True, cached_input_tokens=100, cost_usd="0.0000012"),
            call(request_id="r-2", final=True, cost_usd="0.0000013"),
            call(variant="gpt-4.1", error="timeout", input_tokens=None, output_tokens=None),
            outcomes=[outcome(value=1), outcome(value=0)],
        )
    )


def client_of(person):
    client = APIClient()
    client.force_login(person)
    return client


def test_windows_are_told_as_promised(bob):
    answer = client_of(bob).get("/api/v1/windows/", PERIOD | {"route": ROUTE, "step": "all"})

    assert answer.status_code == 200
    assert answer.json()["count"] == 2
    rows = {row["variant"]: row for row in answer.json()["results"]}
    row = rows["flash-lite"]
    assert set(row) >= {
        "from", "to", "variant", "arm", "calls", "errors", "input_tokens", "cached_input_tokens", "output_tokens",
        "confirmed_usd", "estimated_usd", "cost_usd", "latency_ms", "requests", "late", "outcomes",
    }  # fmt: skip
    assert (row["from"], row["to"]) == (PERIOD["from"], PERIOD["to"])
    assert (row["calls"], row["requests"], row["cached_input_tokens"]) == (2, 2, 100)
    assert row["latency_ms"]["p95"] == pytest.approx(400, rel=0.022)
    assert row["outcomes"] == {"handoff": {"count": 2, "sum": 1.0}}
    assert (rows["gpt-4.1"]["errors"], rows["gpt-4.1"]["estimated_usd"]) == (1, "0.000140")


def test_money_is_rounded_once_from_the_exact_sum(bob):
    rows = client_of(bob).get("/api/v1/windows/", PERIOD | {"route": ROUTE}).json()["results"]

    assert next(row for row in rows if row["variant"] == "flash-lite")["cost_usd"] == "0.000002"


def test_windows_come_in_steps_the_newest_first(bob):
    count(sent(call(at="2026-11-24T02:10:00Z")))

    rows = client_of(bob).get("/api/v1/windows/", PERIOD | {"route": ROUTE, "step": "10s"}).json()["results"]

    assert [row["from"] for row in rows] == sorted((row["from"] for row in rows), reverse=True)
    assert rows[0]["from"] == "2026-11-24T02:59:50Z"
    assert rows[0]["to"] == "2026-11-24T03:00:00Z"


def test_spend_is_told_by_what_is_asked(bob):
    answer = client_of(bob).get("/api/v1/spend/", PERIOD | {"by": "route,variant", "step": "1h"})

    rows = {row["variant"]: row for row in answer.json()["results"]}
    row = rows["gpt-4.1"]
    assert (row["route"], row["calls"], row["confirmed_usd"], row["estimated_usd"]) == (
        ROUTE,
        1,
        "0.000000",
        "0.000140",
    )
    assert row["reported_usd"] is None
    assert row["as_of"] == "2026-11-24T03:00:00Z"
    assert (row["from"], row["to"]) == (PERIOD["from"], PERIOD["to"])


def test_spend_without_by_is_one_sum(bob):
    (row,) = client_of(bob).get("/api/v1/spend/", PERIOD).json()["results"]

    assert (row["calls"], row["cost_usd"]) == (3, "0.000142")


def test_spend_narrows(bob):
    (row,) = client_of(bob).get("/api/v1/spend/", PERIOD | {"variant": "gpt-4.1"}).json()["results"]

    assert row["calls"] == 1


@pytest.mark.parametrize(
    ("path", "asked", "field"),
    [
        ("windows", {}, "route"),
        ("windows", {"route": ROUTE, "step": "2s"}, "step"),
        ("windows", {"route": ROUTE, "from": "yesterday"}, "from"),
        ("windows", {"route": ROUTE, "from": "2026-11-24T03:00:00Z"}, "from"),
        ("windows", {"route": ROUTE, "from": "2020-11-24T03:00:00Z", "step": "10s"}, "step"),
        ("windows", {"route": ROUTE, "from": "0001-01-01T00:00:00Z"}, "from"),
        ("windows", {"route": ROUTE, "to": "9999-12-31T23:59:59Z"}, "to"),
        ("spend", {"by": "colour"}, "by"),
        ("spend", {"step": "10s"}, "step"),  # minutes are the finest that money is kept by
        ("spend", {"to": "9999-12-31T23:59:59Z"}, "to"),
        ("spend", {"timezone": "Mars/Base"}, "timezone"),
        ("spend", {"tokens_source": "estimated"}, "tokens_source"),
        ("unpriced", {"from": "2026-11-24T03:00:00Z"}, "from"),
        ("bills", {"to": "0001-01-01"}, "to"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_the_field(bob, path, asked, field):
    answer = client_of(bob).get(f"/api/v1/{path}/", PERIOD | asked)

    assert answer.status_code == 400
    assert field in answer.json()["errors"]


@pytest.mark.parametrize("path", ["windows", "spend"])
def test_a_stranger_learns_nothing(charlie, path):
    assert client_of(charlie).get(f"/api/v1/{path}/", PERIOD | {"route": ROUTE}).status_code == 404
    assert APIClient().get(f"/api/v1/{path}/", PERIOD | {"route": ROUTE}).status_code == 401


@pytest.mark.parametrize("path", ["windows", "spend"])
def test_an_operator_may_look_too(alice, path):
    assert client_of(alice).get(f"/api/v1/{path}/", PERIOD | {"route": ROUTE}).status_code == 200
