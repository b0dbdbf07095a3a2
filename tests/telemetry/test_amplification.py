"""How many attempts a request takes is a metric of every route, where its source can show it."""

from datetime import timedelta

import pytest
import time_machine
from django.urls import reverse
from rest_framework.test import APIClient

from apps.telemetry import queries
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_route, sent

pytestmark = pytest.mark.django_db
PERIOD = "environment=production&from=2026-11-24T02:00:00Z&to=2026-11-24T03:00:00Z"


@pytest.fixture(autouse=True)
def routes(db):
    make_route(now=NOW - timedelta(days=1))


def requests_of(n, attempts, **fields):
    """Each request with so many attempts, the last of which is final."""
    return [
        call(request_id=f"r-{attempts}-{number}", attempt=attempt, final=attempt == attempts, **fields)
        for number in range(n)
        for attempt in range(1, attempts + 1)
    ]


def client_of(person):
    client = APIClient()
    client.force_login(person)
    return client


def test_retries_and_shadows_are_told_by_the_request(bob):
    shadows = [call(arm="shadow", variant="gpt-4.1") for _ in range(3)]
    count(sent(*requests_of(4, 1)), sent(*requests_of(2, 3)), sent(*shadows))

    (row,) = client_of(bob).get(f"/api/v1/amplification/?{PERIOD}").json()["results"]
    windows = client_of(bob).get(f"/api/v1/windows/?{PERIOD}&route={ROUTE}").json()["results"]

    assert row == {
        "route": ROUTE, "requests": 6, "calls": 13, "attempts_per_request": 1.6667, "calls_per_request": 2.1667,
        "note": None,
    }  # fmt: skip
    assert {one["arm"]: one["attempts_per_request"] for one in windows if one["arm"] == "live"} == {"live": 1.6667}


def test_calls_that_name_no_request_show_no_amplification(bob):
    """As stock spans do: one span may stand for three tries. That is not 1.0."""
    count(sent(call(), call()))

    (row,) = client_of(bob).get(f"/api/v1/amplification/?{PERIOD}&route={ROUTE}").json()["results"]

    assert (row["attempts_per_request"], row["calls_per_request"]) == (None, None)
    assert row["note"] == "not visible from this source"


def test_of_mixed_sources_only_what_is_known_counts():
    count(sent(*requests_of(2, 2)), sent(call(), call(), call(request_id="open")))

    (row,) = queries.amplification("production", NOW - timedelta(hours=1), NOW)

    assert (row.requests, row.attempts, row.all_requests, row.per_request) == (2, 4, 5, 2.0)


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        (requests_of(23, 1) + requests_of(2, 2), "1.08 attempts a request."),
        ([*requests_of(2, 1), call(arm="shadow")], "1.00 attempts a request, 1.50 provider calls with shadows."),
        ([call()], "How many attempts a request takes is not visible from this source."),
    ],
)
def test_the_routes_page_says_it(calls, told, client, alice):
    count(sent(*calls))

    with time_machine.travel(NOW, tick=False):
        client.force_login(alice)
        page = client.get(reverse("route", args=[ROUTE]))

    assert page.context["route"].charts_note.endswith(told)
