from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from apps.access import services, serving
from apps.core.actors import person
from apps.core.asgi import header

pytestmark = pytest.mark.django_db


@pytest.fixture
def ring(monkeypatch, settings, tmp_path):
    settings.DATA = tmp_path
    ring = serving.KeyRing()
    monkeypatch.setattr(serving, "keys", ring)
    return ring


def make(environment, **more):
    return services.create_key(
        environment=environment, name="svc", scopes=["flags:read"], by=person("alice"), now=timezone.now(), **more
    )


def test_a_key_is_found_after_one_look(environment, ring):
    _, secret = make(environment)

    serving.refresh()

    found = ring.find(secret)
    assert found is not None
    assert (found.environment, found.scopes) == ("production", {"flags:read"})
    assert ring.find("co_other") is None
    assert ring.find(None) is None


def test_a_revoked_key_is_gone_after_the_next_look(environment, ring):
    key, secret = make(environment)
    serving.refresh()
    services.revoke_key(key=key, by=person("alice"), because="leaked", now=timezone.now())

    serving.refresh()

    assert ring.find(secret) is None


def test_a_key_expires_between_two_looks(environment, ring, monkeypatch):
    _, secret = make(environment, expires_at=timezone.now() + timedelta(seconds=1))
    serving.refresh()
    later = timezone.now() + timedelta(seconds=2)
    monkeypatch.setattr(serving.timezone, "now", lambda: later)

    assert ring.find(secret) is None


def test_the_copy_on_disk_serves_a_process_without_its_database(environment, ring, monkeypatch):
    _, secret = make(environment)
    serving.refresh()
    fresh = serving.KeyRing()
    monkeypatch.setattr(serving, "keys", fresh)

    serving.load_disk_copy()

    assert fresh.find(secret) is not None
    assert serving.disk_copy().stat().st_mode & 0o777 == 0o600
    assert secret not in serving.disk_copy().read_text()


def asked(secret: str, name: bytes = b"authorization", prefix: str = "Bearer "):
    scope = {"headers": [(name, f"{prefix}{secret}".encode())]}
    return serving.grant_of(scope, header(scope, b"authorization"))


def test_a_header_that_came_before_opens_as_long_as_its_key_does(environment, ring):
    key, secret = make(environment)
    serving.refresh()

    assert [asked(secret).name for _ in range(2)] == ["svc"] * 2
    assert asked(secret, b"x-api-key", "").name == "svc"
    assert asked(secret, prefix="bearer   ").name == "svc"
    assert len(ring.by_header) == 1, "one spelling of each key, so that nobody fills the memory"
    assert asked("co_other") is None
    services.revoke_key(key=key, by=person("alice"), because="leaked", now=timezone.now())
    serving.refresh()
    assert asked(secret) is None


def test_a_header_that_came_before_is_refused_once_its_key_has_expired(environment, ring):
    began = timezone.now()
    with time_machine.travel(began, tick=False) as clock:
        _, secret = make(environment, expires_at=began + timedelta(minutes=1))
        serving.refresh()
        assert [asked(secret).name for _ in range(2)] == ["svc"] * 2

        clock.shift(timedelta(minutes=1))
        assert asked(secret) is None


def test_a_half_written_copy_on_disk_stops_nobody(environment, ring):
    _, secret = make(environment)
    serving.disk_copy().write_text('{"half')

    serving.load_disk_copy()
    serving.refresh()

    assert ring.find(secret) is not None
