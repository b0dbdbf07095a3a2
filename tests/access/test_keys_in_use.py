import json
import os
import time
from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from apps.access import services, serving, using
from apps.access.domain.roles import KeyScope
from apps.access.models import ApiKey
from apps.core.actors import person
from apps.journal.models import Entry

pytestmark = pytest.mark.django_db


@pytest.fixture
def ring(monkeypatch, settings, tmp_path):
    settings.DATA = tmp_path
    ring = serving.KeyRing()
    monkeypatch.setattr(serving, "keys", ring)
    monkeypatch.setattr(serving, "used_at", -1000.0)
    monkeypatch.setattr(using, "used", set())
    return ring


@pytest.fixture
def clock(monkeypatch, tmp_path):
    class Clock:
        now = 100.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(using, "limits", using.Limits(clock, tmp_path / "rates"))
    return clock


def make(environment, *scopes, **more):
    return services.create_key(
        environment=environment, name="ci", scopes=list(scopes) or ["flags:read"], by=person("alice"),
        now=timezone.now(), **more,
    )  # fmt: skip


def admin(environment) -> Client:
    _, secret = make(environment, KeyScope.MANAGE_ADMIN)
    return Client(headers={"Authorization": f"Bearer {secret}"})


def post(client: Client, path: str, body: dict):
    return client.post(path, body, content_type="application/json")


# Rates


def test_a_key_may_do_so_many_requests_a_second_and_then_waits(environment, ring, clock):
    _, secret = make(environment, rate_per_second=3)
    serving.refresh()
    grant = ring.find(secret)

    assert [serving.is_too_fast(grant) for _ in range(5)] == [False, False, False, True, True]
    clock.now += 0.34
    assert [serving.is_too_fast(grant) for _ in range(2)] == [False, True]
    clock.now += 60
    assert [serving.is_too_fast(grant) for _ in range(4)] == [False, False, False, True]


def test_processes_share_what_a_key_may_do(clock, tmp_path):
    here, there = (using.Limits(clock, tmp_path / "rates") for _ in range(2))

    assert [limits.take("k", 4) for limits in (here, there, here, there, here, there)] == [True] * 4 + [False] * 2
    clock.now += 0.5
    assert [limits.take("k", 4) for limits in (there, here, here)] == [True, True, False]
    assert here.take("another", 4)


def test_two_real_processes_together_do_no_more_than_one_may(tmp_path):
    """However long either of them was held up: what was taken is measured by the time between first and last."""

    def take() -> tuple[float, float, int]:
        limits, taken = using.Limits(folder=tmp_path / "rates"), 0
        began = time.monotonic()
        while time.monotonic() < began + 0.4:
            taken += limits.take("k", 500)
        return began, time.monotonic(), taken

    pipes = [os.pipe() for _ in range(2)]
    for _, writing in pipes:
        if not os.fork():
            os.write(writing, json.dumps(take()).encode())
            os._exit(0)
    first, second = (json.loads(os.read(reading, 200)) for reading, _ in pipes)

    allowed = 500 + 500 * (max(first[1], second[1]) - min(first[0], second[0]))
    assert 500 <= first[2] + second[2] < allowed * 1.2, "each for itself would do twice that"


def test_a_limit_from_before_the_machine_started_anew_means_nothing(clock, tmp_path):
    using.Limits(lambda: 1_000_000.0, tmp_path / "rates").take("k", 1)

    assert using.Limits(clock, tmp_path / "rates").take("k", 1)


def test_where_no_file_can_be_written_each_process_counts_for_itself(clock, tmp_path):
    (tmp_path / "file").write_text("no folder")
    limits = using.Limits(clock, tmp_path / "file")

    assert [limits.take("k", 2) for _ in range(3)] == [True, True, False]


def test_what_a_key_that_is_gone_has_used_is_forgotten(clock, tmp_path):
    limits = using.Limits(clock, tmp_path / "rates")
    for key in ("gone", "here"):
        limits.take(key, 1)

    limits.forget_all_but({"here"})

    assert [file.name for file in (tmp_path / "rates").iterdir()] == ["here"]
    assert [limits.take(key, 1) for key in ("gone", "here")] == [True, False]


def test_a_key_has_no_rate_unless_it_is_given_one(environment, ring, clock):
    _, secret = make(environment)
    serving.refresh()

    assert not any(serving.is_too_fast(ring.find(secret)) for _ in range(1000))


def test_the_management_api_counts_too(environment, clock):
    _, secret = make(environment, KeyScope.MANAGE_READ, rate_per_second=1)
    client = Client(headers={"Authorization": f"Bearer {secret}"})

    assert client.get("/api/v1/journal/").status_code == 200
    refused = client.get("/api/v1/journal/")
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert refused.headers["Retry-After"].isdigit()
    clock.now += 1
    assert client.get("/api/v1/journal/").status_code == 200


def test_a_rate_is_set_and_taken_away_by_the_api_and_known_after_one_look(environment, ring, clock):
    key, secret = make(environment)
    client = admin(environment)

    limited = client.patch(f"/api/v1/api-keys/{key.id}/", {"rate_per_second": 1}, content_type="application/json")
    serving.refresh()

    assert limited.json()["rate_per_second"] == 1
    assert ring.find(secret).rate_per_second == 1
    assert Entry.objects.filter(kind="key.limited", about__key=key.id).exists()
    client.patch(f"/api/v1/api-keys/{key.id}/", {"rate_per_second": None}, content_type="application/json")
    serving.refresh()
    assert ring.find(secret).rate_per_second is None
    refused = client.patch(f"/api/v1/api-keys/{key.id}/", {"rate_per_second": 0}, content_type="application/json")
    assert refused.status_code == 400


def test_the_copy_on_disk_knows_the_rate(environment, ring, monkeypatch):
    _, secret = make(environment, rate_per_second=7)
    serving.refresh()
    fresh = serving.KeyRing()
    monkeypatch.setattr(serving, "keys", fresh)

    serving.load_disk_copy()

    assert fresh.find(secret).rate_per_second == 7


# Rotation


def test_a_rotation_gives_a_new_key_while_the_old_one_still_works(environment, ring):
    key, old = make(environment, rate_per_second=9)
    client = admin(environment)

    made = post(client, f"/api/v1/api-keys/{key.id}/rotate/", {"overlap_seconds": 3600, "because": "monthly"})
    serving.refresh()

    assert made.status_code == 201
    new = made.json()
    assert (new["name"], new["scopes"], new["rate_per_second"]) == ("ci", ["flags:read"], 9)
    assert ring.find(old) is not None and ring.find(new["key"]) is not None
    key.refresh_from_db()
    assert timedelta(minutes=59) < key.revoked_at - timezone.now() < timedelta(minutes=61)
    assert Entry.objects.get(kind="key.rotated").about == {"key": key.id, "new_key": new["id"]}


def test_without_an_overlap_the_old_key_is_gone_at_the_next_look(environment, ring):
    key, old = make(environment)

    made = post(admin(environment), f"/api/v1/api-keys/{key.id}/rotate/", {"overlap_seconds": 0})
    serving.refresh()

    assert ring.find(old) is None and ring.find(made.json()["key"]) is not None


def test_the_new_key_lives_as_long_as_the_old_one_was_made_for(environment):
    key, _ = make(environment, expires_at=timezone.now() + timedelta(days=30))

    made = post(admin(environment), f"/api/v1/api-keys/{key.id}/rotate/", {})

    fresh = ApiKey.objects.get(pk=made.json()["id"])
    assert timedelta(days=29) < fresh.expires_at - timezone.now() <= timedelta(days=30, seconds=5)


def test_a_key_is_rotated_once_and_a_revoked_one_never(environment):
    key, _ = make(environment)
    gone, _ = make(environment)
    client = admin(environment)
    post(client, f"/api/v1/api-keys/{key.id}/rotate/", {})
    client.delete(f"/api/v1/api-keys/{gone.id}/", {}, content_type="application/json")

    again = post(client, f"/api/v1/api-keys/{key.id}/rotate/", {})
    late = post(client, f"/api/v1/api-keys/{gone.id}/rotate/", {})

    assert (again.status_code, again.json()["code"]) == (409, "key_is_rotated")
    assert (late.status_code, late.json()["code"]) == (409, "key_is_gone")


def test_only_admins_rotate_and_strangers_see_no_key(environment, alice, charlie):
    key, _ = make(environment)
    client = Client()
    client.force_login(alice)
    assert post(client, f"/api/v1/api-keys/{key.id}/rotate/", {}).status_code == 403
    client.force_login(charlie)
    assert post(client, f"/api/v1/api-keys/{key.id}/rotate/", {}).status_code == 404


# Last used


def test_a_used_key_says_when_after_a_look_and_costs_one_write_a_minute(
    environment, ring, monkeypatch, django_assert_num_queries
):
    key, secret = make(environment)
    idle, _ = make(environment)
    serving.refresh()
    ring.find(secret)
    began = timezone.now()

    serving.refresh()

    key.refresh_from_db()
    assert began <= key.last_used_at <= timezone.now()
    assert ApiKey.objects.get(pk=idle.pk).last_used_at is None
    ring.find(secret)
    with django_assert_num_queries(1):  # the look alone
        serving.refresh()


def test_uses_are_kept_while_the_database_is_away(environment, ring, monkeypatch):
    key, secret = make(environment)
    serving.refresh()
    ring.find(secret)

    def away(**_: object) -> None:
        raise DatabaseError

    with monkeypatch.context() as patched, pytest.raises(DatabaseError):
        patched.setattr(serving.ApiKey.objects, "filter", away)
        serving.write_used()
    monkeypatch.setattr(serving, "used_at", -1000.0)
    serving.write_used()

    key.refresh_from_db()
    assert key.last_used_at is not None
