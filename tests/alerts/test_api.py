import pytest
from django.test import Client

from apps.alerts import services
from apps.alerts.models import Alert
from tests.alerts.make_alerts import say

pytestmark = pytest.mark.django_db


@pytest.fixture
def alert(environment, now):
    say(now)
    services.dispatch(now)
    return Alert.objects.get()


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    ("who", "seen", "acknowledged"), [("alice", 200, 200), ("bob", 200, 403), ("charlie", 404, 404)]
)
def test_who_may_see_and_who_may_acknowledge(alert, request, who, seen, acknowledged):
    client = client_of(request.getfixturevalue(who))

    assert client.get(f"/api/v1/alerts/{alert.id}/").status_code == seen
    assert client.post(f"/api/v1/alerts/{alert.id}/acknowledge/", {}, "application/json").status_code == acknowledged


def test_looking_changes_nothing(alert, alice):
    client = client_of(alice)

    for _ in range(5):
        client.get(f"/api/v1/alerts/{alert.id}/")
        assert client.get(f"/api/v1/alerts/{alert.id}/acknowledge/").status_code == 405

    assert Alert.objects.get().state == Alert.State.FIRING


def test_a_silence_needs_an_end_in_the_future(alert, alice):
    client = client_of(alice)

    without = client.post(f"/api/v1/alerts/{alert.id}/silence/", {}, "application/json")
    past = client.post(f"/api/v1/alerts/{alert.id}/silence/", {"until": "2020-01-01T00:00:00Z"}, "application/json")

    assert (without.status_code, past.status_code) == (400, 400)
    assert past.json()["detail"] == "A silence ends in the future."


def test_a_channel_test_really_sends(receiver, environment, alice):
    client = client_of(alice)
    made = client.post(
        "/api/v1/channels/",
        {"environment": "production", "kind": "webhook", "name": "hook", "config": {"url": receiver.url}},
        "application/json",
    )

    answer = client.post(f"/api/v1/channels/{made.json()['id']}/test/")

    assert made.json()["config"]["secret"].startswith("whsec_")
    assert answer.json() == {"taken": True, "answer": "204"}
    assert len(receiver.got) == 1
