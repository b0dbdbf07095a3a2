"""Clients that hash otherwise than a flag is pinned to: which they are, and where that is said."""

from dataclasses import replace

import pytest

from apps.flags import pins, queries, seen, services
from apps.flags.domain.packages import bucketing_of
from apps.flags.serving.readers import MOST, Readers, readers
from tests.flags.doors import ask, look, make_key
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag

HERE = "production"
SAID = {"environment": HERE, "by": ALICE, "because": "to see", "now": NOW}
DOOR = {"User-Agent": "openfeature-provider-flagd/0.5.0"}


@pytest.mark.parametrize(
    ("package", "algorithm"),
    [
        ("openfeature-provider-flagd/0.3.0", "v1"),
        ("openfeature-provider-flagd/0.4.0", "v2"),
        ("openfeature-provider-flagd/0.5.1", "v2"),
        ("openfeature-provider-flagd/0.6.1", "v3"),
        ("openfeature-flagd-core 1.0.0", "v2"),
        ("openfeature-flagd-core 2.0.0", "v3"),
        ("@openfeature/flagd-core@2.0.1", "v1"),
        ("@openfeature/flagd-core@4.0.1", "v2"),
        ("flagd/v0.14.2", "v1"),
        ("flagd/0.16.1", "v2"),
        ("changeover-python/1.0", None),
        ("grpc-python/1.81.0", None),
        ("", None),
    ],
)
def test_a_package_tells_what_it_computes(package, algorithm):
    assert bucketing_of(package) == algorithm


@pytest.fixture
def split(db):
    make_flag()
    services.change_weights(**SAID, key="new-parser", weights={"on": 2500, "off": 7500})
    return queries.flag(HERE, "new-parser")


def note(door, agent, snapshot=1, now=NOW):
    seen.note_readers(given={(HERE, door, "mobile", agent): snapshot}, now=now)


def told(flag):
    return pins.sentence(flag, pins.mismatches(flag, queries.clients(HERE, doors=True)))


def test_a_flag_with_shares_warns_of_a_client_of_another_version(split):
    note("flagd", "openfeature-provider-flagd/0.5.0")
    note("flagd", "openfeature-provider-flagd/0.6.1")

    assert "mobile (openfeature-provider-flagd/0.5.0) computes v2." in told(split)
    assert "0.6.1" not in told(split)


def test_what_nobody_can_know_is_said_as_such(split):
    note("sync", "grpc-python/1.81.0")

    assert "what mobile (grpc-python/1.81.0) computes is not known" in told(split)


def test_a_flag_that_divides_nobody_and_clients_that_follow_the_pin_warn_of_nothing(split):
    services.note_seen(
        environment=HERE, client={"name": "billing", "sdk": "changeover-python/1.0"}, exposures=[], now=NOW
    )
    assert told(split) == ""
    note("flagd", "openfeature-provider-flagd/0.5.0")

    assert told(replace(split, segments=(("off", 10_000),))) == ""
    assert pins.pinned(HERE) == {"v3": 1}


def test_however_many_flags_are_counted_by_their_pin_with_one_query(split, django_assert_num_queries):
    for number in range(3):
        make_flag(key=f"further-{number}")
        services.change_weights(**SAID, key=f"further-{number}", weights={"on": 5_000, "off": 5_000})

    with django_assert_num_queries(1):
        assert pins.pinned(HERE) == {"v3": 4}


def test_a_client_that_reports_its_package_is_known_without_a_door(split):
    client = {"name": "shop", "sdk": "@openfeature/flagd-core@4.0.1", "snapshot": 2}
    services.note_seen(environment=HERE, client=client, exposures=[], now=NOW)

    assert "shop (@openfeature/flagd-core@4.0.1) computes v2" in told(split)


@pytest.mark.usefixtures("shelf_of_this_test")
def test_whoever_reads_definitions_is_seen_with_the_snapshot_that_it_got(split):
    key = make_key()
    look()
    tag = ask("GET", "/flagd/flags.json", headers=key | DOOR).header("etag")
    ask("GET", "/flagd/flags.json", headers=key | DOOR | {"If-None-Match": tag})
    ask("GET", "/flagd/flags.json", headers=key | {"User-Agent": "changeover-python/1.0"})

    readers.flush()

    (client,) = queries.clients(HERE, doors=True)
    assert (client.door, client.sdk, client.snapshot) == ("flagd", DOOR["User-Agent"], 2)
    assert queries.clients(HERE) == []  # nothing was reported: no rollback waits for it


def test_since_when_it_has_a_snapshot_is_kept_while_it_says_the_same(split):
    note("flagd", "flagd/0.16.1", 1, NOW)
    later = NOW.replace(hour=5)
    note("flagd", "flagd/0.16.1", 1, later)
    same = queries.clients(HERE, doors=True)[0]
    note("flagd", "flagd/0.16.1", 2, later)

    assert (same.has_since, same.seen_at) == (NOW, later)
    assert queries.clients(HERE, doors=True)[0].has_since == later


def test_agents_without_end_fill_no_memory_and_a_gone_environment_stops_no_write(db):
    make_environment()
    many = Readers()
    grant = type("Grant", (), {"environment": "gone", "name": "k"})()

    for number in range(MOST + 5):
        many.note("flagd", grant, f"agent-{number}", 1)

    assert len(many.given) == MOST
    seen.note_readers(given={("gone", "flagd", "k", "a"): 1}, now=NOW)
    assert queries.clients(HERE, doors=True) == []


def test_the_api_says_by_which_door_and_what_its_package_computes(split, client, bob):
    note("flagd", "openfeature-provider-flagd/0.5.0", 2)
    client.force_login(bob)

    (row,) = client.get(f"/api/v1/clients/?environment={HERE}").json()["results"]

    assert (row["door"], row["computes"], row["behind"]) == ("flagd", "v2", 0)
