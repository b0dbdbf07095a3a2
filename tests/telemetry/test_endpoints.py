"""Who answers at a host: gateways and servers all say `openai`, and only people know whose they are."""

from datetime import timedelta

import pytest
import time_machine
from django.urls import reverse

from apps.journal.models import Entry
from apps.telemetry import queries
from apps.telemetry.domain import otlp_json
from apps.telemetry.domain.providers import settled_at
from tests.telemetry.make_otlp import CALL, durations, metrics, span, traces
from tests.telemetry.make_telemetry import NOW, ROUTE, make_route
from tests.telemetry.test_sources_api import client_of, send

pytestmark = pytest.mark.django_db
HOST = "llm.example.com"
BEHIND = CALL | {"server.address": f"https://{HOST}/v1"}
ASKED = {"environment": "production", "host": f"https://{HOST}:8443/v1", "provider": "openai", "because": "Ours."}
IN = {"environment": "production"}


@pytest.fixture(autouse=True)
def route(db):
    make_route(now=NOW - timedelta(days=1))
    with time_machine.travel(NOW, tick=False):
        yield


def spent():
    (row,) = queries.spend("production", NOW - timedelta(hours=1), NOW, where={"route": ROUTE})
    return row.calls, row.unpriced


def test_calls_behind_a_gateway_are_listed_by_its_host_until_somebody_says_who_answers_there(alice, bob):
    send(traces(span(BEHIND)))
    (strange,) = client_of(bob).get("/api/v1/endpoints/", IN).json()["results"]
    assert (strange["host"], strange["provider"], strange["calls"], strange["unpriced"]) == (HOST, "", 1, 1)

    refused = client_of(bob).post("/api/v1/endpoints/", ASKED, format="json")
    made = client_of(alice).post("/api/v1/endpoints/", ASKED, format="json")
    send(traces(span(BEHIND)))

    assert (refused.status_code, made.status_code, made.json()["host"]) == (403, 201, HOST)
    assert spent() == (2, 1)
    (settled,) = client_of(bob).get("/api/v1/endpoints/", IN).json()["results"]
    assert (settled["host"], settled["provider"]) == (HOST, "openai")
    assert Entry.objects.get(kind="telemetry.endpoint_settled").after == "openai"

    taken = client_of(alice).delete(f"/api/v1/endpoints/{settled['id']}/?environment=production")
    send(traces(span(BEHIND)))
    assert (taken.status_code, spent()) == (204, (3, 2))
    assert Entry.objects.get(kind="telemetry.endpoint_forgotten").before == "openai"


def test_metrics_find_their_provider_there_too_and_what_is_settled_comes_before_what_is_known(alice):
    asked = ASKED | {"host": "api.openai.com", "provider": "Our-own"}
    client_of(alice).post("/api/v1/endpoints/", asked, format="json")
    told = {"server.address": "api.openai.com"}

    send(metrics(durations({1: 1}, [1.0, 2.0], seconds_ago=30, **told)), otlp_json.read_metrics)

    rows = queries.spend("production", NOW - timedelta(hours=1), NOW, by=("provider",))
    assert [row.keys["provider"] for row in rows] == ["our-own"]


@pytest.mark.parametrize(
    ("host", "provider"),
    [("a.example.com", "one"), ("b.example.com", "two"), ("example.com", "two"), ("example.org", ""), ("", "")],
)
def test_the_nearest_host_counts(host, provider):
    assert settled_at({"a.example.com": "one", "example.com": "two"}, host) == provider


@pytest.mark.parametrize("wrong", [{"host": "://"}, {"provider": " "}])
def test_what_names_nothing_is_refused(alice, wrong):
    assert client_of(alice).post("/api/v1/endpoints/", ASKED | wrong, format="json").status_code == 400


def test_it_is_set_and_taken_back_on_the_page_by_operators_only(client, alice, bob):
    send(traces(span(BEHIND)))
    client.force_login(bob)
    assert HOST in client.get(reverse("sources")).content.decode()
    assert client.post(reverse("settle-endpoint"), {"host": HOST, "provider": "openai"}).status_code == 403

    client.force_login(alice)
    client.post(reverse("settle-endpoint"), {"host": HOST, "provider": "openai"})
    (one,) = queries.endpoints("production", NOW - timedelta(days=1), NOW)
    assert (one.host, one.provider, one.by) == (HOST, "openai", "alice")
    assert client.get(reverse("forget-endpoint", args=[one.id])).status_code == 302  # nothing acts on GET
    client.post(reverse("forget-endpoint", args=[one.id]))

    (one,) = queries.endpoints("production", NOW - timedelta(days=1), NOW)
    assert one.provider == ""


def test_a_stranger_sees_no_hosts(charlie):
    assert client_of(charlie).get("/api/v1/endpoints/", IN).status_code == 404
