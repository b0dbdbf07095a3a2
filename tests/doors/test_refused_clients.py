"""Who is refused at a flag door is told by name: flag clients say so in no log that anybody reads."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.access import services as access
from apps.access import serving as keys
from apps.access.models import ApiKey
from apps.flags import queries, refused
from apps.flags.models import RefusedClient
from apps.flags.refused import Caller
from apps.flags.serving.refusing import MOST, Refusals, refusals
from tests.flags.doors import ask, make_key
from tests.flags.make_flags import ALICE, NOW, make_flag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shelf_of_this_test")]
ONE, POLL, CHANGES = "/ofrep/v1/evaluate/flags/new-parser", "/flagd/flags.json", "/api/v1/changes"


@pytest.fixture(autouse=True)
def nobody_yet():
    make_flag()
    refusals.counts.clear()


def told() -> set[tuple[str, str, str, int]]:
    refusals.flush()
    return {(one.door, one.why, one.key, one.count) for one in queries.refused_clients("production")}


def test_every_door_tells_who_came_without_a_key_and_how_often():
    for method, path in (("POST", ONE), ("POST", ONE), ("GET", POLL), ("GET", CHANGES)):
        assert ask(method, path, headers={"User-Agent": "flagd/0.16"}).status == 401

    assert told() == {("ofrep", "no key", "", 2), ("flagd", "no key", "", 1), ("changes", "no key", "", 1)}
    assert {one.agent for one in queries.refused_clients("production")} == {"flagd/0.16"}


def test_a_key_that_is_over_or_may_not_is_told_by_its_name_in_its_environment_alone():
    access.create_environment(key="staging", name="Staging", by=ALICE, because="", now=NOW)
    ended, narrow = make_key(), make_key(scopes=["telemetry:write"])
    access.revoke_key(key=ApiKey.objects.get(name="key 0"), by=ALICE, because="leaked", now=timezone.now())
    keys.refresh()

    assert ask("GET", POLL, headers=ended).status == 401
    assert ask("GET", POLL, headers=narrow).status == 403

    assert told() == {("flagd", "revoked", "key 0", 1), ("flagd", "wrong scope", "key 1", 1)}
    assert queries.refused_clients("staging") == []


def test_an_unknown_key_is_told_by_its_beginning_in_every_environment_and_never_whole():
    secret = "co_" + "x" * 40
    ask("GET", POLL, headers={"X-API-Key": secret, "X-Forwarded-For": "203.0.113.7, 198.51.100.2"})
    ask("GET", POLL, headers={"Authorization": "Bearer hunter2"})

    assert told() == {("flagd", "unknown key", "co_xxxxxxx…", 1), ("flagd", "unknown key", "", 1)}
    assert any(row.address.startswith("198.51.100.2 by") for row in queries.refused_clients("staging"))
    assert "hunter2" not in str(list(RefusedClient.objects.values()))


def test_counts_add_up_and_what_is_old_or_too_much_is_forgotten(monkeypatch):
    monkeypatch.setattr(refused, "MOST", 3)
    caller = Caller("flagd", "", "", "10.0.0.1", "flagd/0.16")
    refused.note_refused(callers=[(caller, 2)], now=NOW)
    refused.note_refused(callers=[(caller, 3)], now=NOW + timedelta(minutes=1))

    (row,) = queries.refused_clients("production")
    assert (row.count, row.first_at, row.last_at) == (5, NOW, NOW + timedelta(minutes=1))

    others = [(Caller("flagd", "", "", f"10.0.1.{number}", ""), 1) for number in range(3)]
    refused.note_refused(callers=others, now=NOW + timedelta(minutes=2))
    assert "10.0.0.1" not in {one.address for one in queries.refused_clients("production")}
    refused.forget_old(now=NOW + timedelta(days=8))
    assert queries.refused_clients("production") == []


def test_a_flood_of_random_keys_is_counted_together():
    flood = Refusals()
    for number in range(MOST + 50):
        flood.count("flagd", f"co_{number}", "10.0.0.1", "")

    assert len(flood.counts) == MOST + 1
    assert sum(flood.counts.values()) == MOST + 50
