import pytest
from django.test import Client

from apps.alerts import services
from apps.alerts.models import Alert, Channel, Delivery
from apps.journal.models import Entry
from tests.alerts import make_alerts as make
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


# --- channels, deliveries, silences, maintenance windows, escalation ------------------------------------------------

JSON = "application/json"


@pytest.fixture
def hook(receiver, environment, now):
    return make.webhook(receiver, now)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        (
            "post",
            "/api/v1/channels/",
            {"environment": "production", "kind": "email", "name": "m", "config": {"to": ["a@example.com"]}},
        ),
        ("patch", "/api/v1/channels/{hook}/", {"name": "other"}),
        ("post", "/api/v1/channels/{hook}/test/", {}),
        ("post", "/api/v1/channels/{hook}/rotate-secret/", {}),
        ("post", "/api/v1/silences/", {"environment": "production", "ends_at": "2099-01-01T00:00:00Z"}),
        ("post", "/api/v1/maintenance-windows/", {"environment": "production", "ends_at": "2099-01-01T00:00:00Z"}),
        ("put", "/api/v1/escalation/", {"environment": "production", "steps": []}),
        ("post", "/api/v1/alerts/{alert}/assign/", {"to": "alice"}),
        ("post", "/api/v1/alerts/{alert}/resolve/", {}),
        ("post", "/api/v1/alerts/{alert}/silence/", {"until": "2099-01-01T00:00:00Z"}),
        ("delete", "/api/v1/channels/{hook}/", {}),
    ],
)
def test_writing_needs_an_operator(hook, alert, alice, bob, charlie, method, path, body):
    path = path.format(hook=hook.id, alert=alert.id)

    def ask(user):
        return getattr(client_of(user), method)(path, body, JSON).status_code

    assert ask(charlie) == 404
    assert ask(bob) == 403
    assert ask(alice) in (200, 201, 204)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/channels/?environment=production",
        "/api/v1/channels/{hook}/",
        "/api/v1/deliveries/?environment=production",
        "/api/v1/silences/?environment=production",
        "/api/v1/silences/preview/?environment=production&severity=critical",
        "/api/v1/maintenance-windows/?environment=production",
        "/api/v1/escalation/?environment=production",
    ],
)
def test_reading_needs_a_viewer_and_shows_no_secret(hook, alert, bob, charlie, path):
    path = path.format(hook=hook.id)

    seen = client_of(bob).get(path)

    assert client_of(charlie).get(path).status_code == 404
    assert seen.status_code == 200
    assert b"whsec_" not in seen.content
    assert b"/hook" not in seen.content


def test_nothing_acts_on_get(hook, alert, alice):
    client = client_of(alice)
    before = list(Alert.objects.values()), list(Channel.objects.values()), Entry.objects.count()

    for path in (
        f"/api/v1/alerts/{alert.id}/acknowledge/",
        f"/api/v1/alerts/{alert.id}/silence/",
        f"/api/v1/alerts/{alert.id}/resolve/",
        f"/api/v1/alerts/{alert.id}/assign/",
        f"/api/v1/channels/{hook.id}/test/",
        f"/api/v1/channels/{hook.id}/rotate-secret/",
        "/api/v1/deliveries/x/send-again/",
        "/api/v1/silences/x/end/",
        "/api/v1/maintenance-windows/x/end/",
    ):
        for _ in range(5):
            assert client.get(path).status_code == 405, path
    client.get("/api/v1/silences/preview/?environment=production")

    assert (list(Alert.objects.values()), list(Channel.objects.values()), Entry.objects.count()) == before


def test_a_channel_is_changed_in_parts_and_keeps_its_secret(hook, receiver, alice):
    secret = hook.config["secret"]
    client = client_of(alice)

    answer = client.patch(
        f"/api/v1/channels/{hook.id}/",
        {"name": "pager", "least_severity": "error", "config": {"url": receiver.url + "/2"}, "because": "moved"},
        JSON,
    ).json()
    hook.refresh_from_db()

    assert (answer["name"], answer["least_severity"], answer["state"]) == ("pager", "error", "working")
    assert hook.config == {"url": receiver.url + "/2", "secret": secret}
    assert Entry.objects.get(kind="channel.changed").because == "moved"


def test_a_channel_is_deleted_once_no_step_names_it(hook, alert, alice):
    client = client_of(alice)
    path = f"/api/v1/channels/{hook.id}/"
    Channel.objects.update(broken_at=alert.opened_at)
    steps = [{"after_minutes": 5, "channels": [hook.id]}]
    client.put("/api/v1/escalation/", {"environment": "production", "steps": steps}, JSON)
    named = client.delete(path)
    client.put("/api/v1/escalation/", {"environment": "production", "steps": []}, JSON)

    gone = client.delete(path, {"because": "moved"}, JSON)

    assert (named.status_code, named.json()["code"]) == (409, "channel_is_named")
    assert gone.status_code == 204
    assert client.get(path).status_code == 404
    assert Entry.objects.get(kind="channel.deleted").because == "moved"
    assert Entry.objects.get(kind="channel.gone").effect == "closes"
    assert not Delivery.objects.exists()


def test_a_rotated_secret_is_shown_once(hook, alice):
    client = client_of(alice)

    answer = client.post(f"/api/v1/channels/{hook.id}/rotate-secret/", {"overlap_hours": 1}, JSON).json()

    assert answer["config"]["secret"].startswith("whsec_")
    assert "old_secret" not in answer["config"]
    assert "whsec_" not in client.get(f"/api/v1/channels/{hook.id}/").content.decode()


def test_deliveries_can_be_listed_and_sent_again(receiver, environment, alice, now):
    hook = make.webhook(receiver, now)
    receiver.answers = [(500, {})]
    say(now)
    services.dispatch(now)
    Delivery.objects.update(is_dead=True)
    client = client_of(alice)
    (dead,) = client.get("/api/v1/deliveries/?environment=production&state=dead").json()["results"]

    again = client.post(f"/api/v1/deliveries/{dead['id']}/send-again/")

    assert (dead["channel"], dead["answer"], dead["attempts"]) == (hook.id, "500 Internal Server Error", 1)
    assert dead["sentence"].startswith("Rolled back invoice-extraction")
    assert again.json()["state"] == "waiting"
    assert client.get(f"/api/v1/deliveries/{dead['id']}/").json() == again.json()
    assert client.get("/api/v1/deliveries/?environment=production&state=dead").json()["count"] == 0


def test_a_silence_is_made_previewed_and_ended(alert, alice):
    client = client_of(alice)
    preview = client.get("/api/v1/silences/preview/?environment=production&route=invoice-extraction").json()

    made = client.post(
        "/api/v1/silences/",
        {
            "environment": "production",
            "route": "invoice-extraction",
            "ends_at": "2099-01-01T00:00:00Z",
            "because": "The provider has told us.",
        },
        JSON,
    )
    silenced = client.get(f"/api/v1/alerts/{alert.id}/").json()
    listed = client.get("/api/v1/silences/?environment=production").json()["results"]
    path = f"/api/v1/silences/{made.json()['id']}/"
    one = client.get(path).json()
    ended = client.post(f"{path}end/", {}, JSON).json()

    assert [one["id"] for one in preview["open"]] == [alert.id]
    assert preview["words"] == "route invoice-extraction"
    assert made.status_code == 201
    assert (silenced["state"], silenced["silenced_by"]) == ("silenced", "alice")
    assert [one["id"] for one in listed] == [made.json()["id"]]
    assert one == made.json()
    assert ended["ended_by"] == "alice"
    assert client.delete(path).json()["code"] == "silence_is_over"
    assert client.get("/api/v1/silences/?environment=production").json()["count"] == 0


def test_a_silence_without_an_end_is_refused(environment, alice):
    answer = client_of(alice).post("/api/v1/silences/", {"environment": "production"}, JSON)

    assert answer.status_code == 400
    assert "ends_at" in answer.json()["errors"]


def test_a_maintenance_window_is_no_silence_in_the_lists(environment, alice):
    client = client_of(alice)
    times = {"starts_at": "2098-12-31T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}
    made = client.post("/api/v1/maintenance-windows/", {"environment": "production", **times}, JSON)

    assert made.json()["starts_at"] == "2098-12-31T00:00:00Z"
    assert client.get("/api/v1/maintenance-windows/?environment=production").json()["count"] == 1
    assert client.get("/api/v1/silences/?environment=production").json()["count"] == 0
    assert client.post(f"/api/v1/silences/{made.json()['id']}/end/", {}, JSON).status_code == 404
    path = f"/api/v1/maintenance-windows/{made.json()['id']}/"
    assert client.get(path).json() == made.json()
    assert client.delete(path).status_code == 204
    assert client.post(f"{path}end/", {}, JSON).json()["code"] == "silence_is_over"
    assert client.get("/api/v1/maintenance-windows/?environment=production").json()["count"] == 0


def test_maintenance_that_comes_back_is_planned_with_its_zone(environment, alice):
    client = client_of(alice)
    times = {"starts_at": "2098-12-31T02:00:00Z", "ends_at": "2098-12-31T04:00:00Z"}
    asked = {"environment": "production", "repeats": "weekly", "time_zone": "Europe/Berlin", **times}

    made = client.post("/api/v1/maintenance-windows/", asked, JSON).json()
    wrong = client.post("/api/v1/maintenance-windows/", asked | {"repeats": "hourly"}, JSON)

    assert (made["repeats"], made["time_zone"]) == ("weekly", "Europe/Berlin")
    assert wrong.status_code == 400


def test_an_alert_is_assigned_to_somebody_who_operates_there(alert, alice, bob):
    client = client_of(alice)

    def assign(to):
        return client.post(f"/api/v1/alerts/{alert.id}/assign/", {"to": to, "because": "on call"}, JSON)

    viewer, stranger, given = assign("bob"), assign("nobody"), assign("alice").json()
    entry = Entry.objects.get(kind="alert.assigned")
    taken = assign("").json()

    assert (viewer.status_code, stranger.status_code) == (400, 400)
    assert viewer.json()["errors"] == {"to": "one of alice"}
    assert (given["assigned_to"], given["state"], taken["assigned_to"]) == ("alice", "firing", "")
    assert (entry.by, entry.because, entry.changes) == ("alice", "on call", {"assigned_to": ("", "alice")})


def test_the_steps_of_escalation_are_kept_in_order_of_time(hook, alice):
    client = client_of(alice)
    steps = [{"after_minutes": 15, "channels": [hook.id]}, {"after_minutes": 0, "channels": [hook.id]}]

    kept = client.put("/api/v1/escalation/", {"environment": "production", "steps": steps}, JSON).json()
    wrong = client.put(
        "/api/v1/escalation/",
        {"environment": "production", "steps": [{"after_minutes": 1, "channels": ["nobody"]}]},
        JSON,
    )

    assert [step["after_minutes"] for step in kept["steps"]] == [0, 15]
    assert client.get("/api/v1/escalation/?environment=production").json() == kept
    assert wrong.status_code == 400
