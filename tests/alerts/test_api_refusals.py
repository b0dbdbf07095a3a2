"""What the API about alerts refuses: keys of other environments, keys that only read, and what makes no sense."""

import pytest

from apps.access.models import Environment
from apps.alerts import services
from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.journal.models import Entry
from tests.alerts.make_alerts import ALICE, HOUR, say, webhook
from tests.flags.doors import make_key

pytestmark = pytest.mark.django_db
JSON = "application/json"
END = "2099-01-01T00:00:00Z"


@pytest.fixture
def rows(environment, receiver, now):
    """One of each, in production."""
    hook = webhook(receiver, now)
    say(now)
    services.dispatch(now)
    common = {"environment": "production", "ends_at": now + HOUR * 24 * 3650, "by": ALICE, "now": now, "owner": "x"}
    return {
        "hook": hook.id,
        "alert": Alert.objects.get().id,
        "delivery": Delivery.objects.get().id,
        "silence": services.create_silence(**common).id,
        "window": services.create_silence(**common, is_maintenance=True).id,
    }


def everything():
    return [list(table.objects.order_by("pk").values()) for table in (Alert, Channel, Delivery, Silence, Entry)]


ACTS = [
    ("post", "alerts/{alert}/acknowledge/", {}),
    ("post", "alerts/{alert}/silence/", {"until": END}),
    ("post", "alerts/{alert}/resolve/", {}),
    ("post", "alerts/{alert}/assign/", {"to": ""}),
    ("patch", "channels/{hook}/", {"name": "mine"}),
    ("delete", "channels/{hook}/", {}),
    ("post", "channels/{hook}/test/", {}),
    ("post", "channels/{hook}/rotate-secret/", {}),
    ("post", "deliveries/{delivery}/send-again/", {}),
    ("post", "silences/{silence}/end/", {}),
    ("delete", "silences/{silence}/", {}),
    ("delete", "maintenance-windows/{window}/", {}),
    ("post", "silences/", {"environment": "production", "ends_at": END}),
    ("put", "escalation/", {"environment": "production", "steps": []}),
]
LOOKS = [
    ("get", path, None)
    for path in (
        "alerts/{alert}/", "channels/{hook}/", "deliveries/{delivery}/", "silences/{silence}/",
        "maintenance-windows/{window}/", "alerts/?environment=production", "silences/preview/?environment=production",
    )
]  # fmt: skip


@pytest.mark.parametrize(("whose", "status"), [("staging", 404), ("production", 403)])
def test_a_key_of_elsewhere_finds_nothing_and_one_that_reads_acts_on_nothing(
    rows, client, receiver, now, whose, status
):
    Environment.objects.create(key="staging", name="Staging", created_at=now)
    key = make_key(whose, ["manage:write" if whose == "staging" else "manage:read"])
    received, before = len(receiver.got), everything()[:-1]

    acted = {
        path: getattr(client, method)(f"/api/v1/{path.format(**rows)}", body, JSON, headers=key).status_code
        for method, path, body in ACTS
    }
    looked = {client.get(f"/api/v1/{path.format(**rows)}", headers=key).status_code for _, path, _ in LOOKS}

    assert set(acted.values()) == {status}, acted
    assert looked == {404 if whose == "staging" else 200}
    assert everything()[:-1] == before
    assert len(receiver.got) == received


NONSENSE = [
    None,
    True,
    -1,
    1.5,
    "",
    "nan",
    "inf",
    [],
    {},
    [1],
    "x" * 600,
    "9999-12-31T23:59:59-12:00",
    "\ud800",
    10**400,
]
FIELDS = [
    ("post", "alerts/{alert}/silence/", "until", {}),
    ("post", "alerts/{alert}/acknowledge/", "because", {}),
    ("post", "channels/", "kind", {"name": "n", "config": {"to": ["a@example.com"]}}),
    ("post", "channels/", "config", {"name": "n", "kind": "slack"}),
    ("post", "channels/", "least_severity", {"name": "n", "kind": "email", "config": {"to": ["a@example.com"]}}),
    ("patch", "channels/{hook}/", "is_active", {}),
    ("post", "channels/{hook}/rotate-secret/", "overlap_hours", {}),
    ("post", "silences/", "ends_at", {}),
    ("post", "silences/", "severity", {"ends_at": END}),
    ("post", "maintenance-windows/", "time_zone", {"ends_at": END}),
    ("post", "maintenance-windows/", "repeats", {"ends_at": END}),
    ("put", "escalation/", "steps", {}),
]


@pytest.mark.parametrize(("method", "path", "field", "fields"), FIELDS)
def test_nonsense_is_refused_by_a_problem_that_names_it_and_never_a_fault(rows, client, method, path, field, fields):
    key = make_key("production", ["manage:write"])
    client.raise_request_exception = False

    for value in NONSENSE:
        body = {"environment": "production", **fields, field: value}
        answer = getattr(client, method)(f"/api/v1/{path.format(**rows)}", body, JSON, headers=key)

        assert answer.status_code in (200, 201, 400, 409), (value, answer.content)
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/problem+json"
            assert answer.json()["code"]


def test_what_a_key_did_is_written_down_under_its_name(rows, client):
    key = make_key("production", ["manage:write"])

    answer = client.post(f"/api/v1/alerts/{rows['alert']}/acknowledge/", {"because": "on it"}, JSON, headers=key)

    entry = Entry.objects.get(kind="alert.acknowledged")
    assert answer.json()["acknowledged_by"] == entry.by == "key:key 0"
    assert entry.because == "on it"
