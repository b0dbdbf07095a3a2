import json
from datetime import timedelta

import pytest

from apps.access.models import Environment
from apps.catalog.models import Model
from apps.core.actors import WORKER
from apps.core.refusals import AlreadyThere, Invalid, NotFound, Stale
from apps.flags import queries, services
from apps.flags.models import Flag, Snapshot
from apps.journal.models import Entry
from tests.flags.make_flags import ALICE, NOW, VARIANTS, make_environment, make_flag, make_route

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
ROUTE = SAID | {"key": "invoice-extraction"}


def served(key: str = "invoice-extraction") -> dict:
    return json.loads(queries.snapshot("production").body)["flags"][key]


def last_entry() -> Entry:
    return Entry.objects.newest_first().first()


def test_a_new_environment_serves_an_empty_snapshot_of_version_0():
    make_environment()

    snapshot = queries.snapshot("production")

    assert snapshot.version == 0
    assert json.loads(snapshot.body)["flags"] == {}


def test_a_created_flag_is_in_the_next_snapshot_and_in_the_journal():
    make_flag(variants={"on": True, "off": False}, because="asked for")

    assert queries.snapshot("production").version == 1
    assert served("new-parser") == {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "metadata": {"bucketing": "v3", "salt": "new-parser"},
    }
    entry = last_entry()
    assert (entry.kind, entry.by, entry.because, entry.version) == ("flag.created", "alice", "asked for", 1)


def test_the_set_names_its_environment_and_its_version():
    make_flag()

    document = json.loads(queries.snapshot("production").body)

    assert document["metadata"] == {"flagSetId": "production", "version": "1", "revision": 1}


def test_a_key_that_is_there_is_refused_and_takes_no_version():
    make_flag()

    with pytest.raises(AlreadyThere):
        make_flag()

    assert Environment.objects.get(key="production").snapshot_version == 1
    assert Snapshot.objects.count() == 1


def test_a_routes_value_is_what_a_service_needs():
    make_route(default_variant="gpt-4.1", fallback_variant="flash-lite")

    value = served()["variants"]["gpt-4.1"]

    assert value == {
        **VARIANTS["gpt-4.1"],
        "variant": "gpt-4.1",
        "fallback": {**VARIANTS["flash-lite"], "variant": "flash-lite"},
        "breaker": None,
        "shadow": None,
    }
    assert served()["variants"]["flash-lite"]["fallback"] is None
    assert served()["metadata"]["owner"] == "payments"


def test_weights_become_a_fractional_in_ten_thousandths():
    make_route()

    services.change_weights(**ROUTE, weights={"flash-lite": 1, "gpt-4.1": 9999})

    assert served()["targeting"] == {"fractional": [["flash-lite", 1], ["gpt-4.1", 9999]]}
    entry = last_entry()
    assert entry.kind == "flag.weights_changed"
    assert entry.before == {"weights": {"gpt-4.1": 10_000, "flash-lite": 0}}
    assert entry.after == {"weights": {"gpt-4.1": 9999, "flash-lite": 1}}


def test_shares_that_do_not_add_up_are_refused():
    make_route()

    with pytest.raises(Invalid, match="add up to 100 %"):
        services.change_weights(**ROUTE, weights={"flash-lite": 100, "gpt-4.1": 9000})


def test_rules_come_first_and_the_split_answers_the_rest():
    make_route(targeting={"if": [{"==": [{"var": "plan"}, "beta"]}, "flash-lite"]})

    services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000})

    split = {"fractional": [["flash-lite", 1000], ["gpt-4.1", 9000]]}
    assert served()["targeting"] == {"if": [{"==": [{"var": "plan"}, "beta"]}, "flash-lite", split]}


def test_another_salt_or_unit_spells_the_seed_out_and_guards_a_missing_one():
    make_route(bucketing_unit="tenant", salt="old-name")

    services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000})

    seed = {"cat": ["old-name", {"var": "tenant"}]}
    split = {"fractional": [seed, ["flash-lite", 1000], ["gpt-4.1", 9000]]}
    assert served()["targeting"] == {"if": [{"missing": ["tenant"]}, None, split]}


def test_nobody_but_its_holder_changes_a_held_flag():
    make_route()
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")

    with pytest.raises(services.FlagIsHeld, match="rollout 7 holds invoice-extraction"):
        services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000})
    with pytest.raises(services.FlagIsHeld):
        services.update_route(**ROUTE, default_variant="flash-lite")
    services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000}, holder="rollout 7")

    assert queries.route("production", "invoice-extraction").share("flash-lite") == 10.0


def test_a_released_flag_is_free_again():
    make_route()
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")
    services.release_hold(**ROUTE, holder="rollout 7")

    services.take_hold(**ROUTE, holder="rollout 8", trial="8")

    assert queries.route("production", "invoice-extraction").held_by == "rollout 8"


def test_switches_need_no_free_hold_and_win_over_rules_and_split():
    make_route(fallback_variant="flash-lite", targeting={"if": [{"var": "beta"}, "gpt-4.1"]})
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")

    services.switch_to_fallback(**ROUTE)

    flag = served()
    assert flag["defaultVariant"] == "flash-lite"
    assert "targeting" not in flag
    assert flag["metadata"]["switch"] == "fallback"
    assert last_entry().kind == "route.fell_back"


def test_restore_brings_rules_and_split_back():
    make_route(fallback_variant="flash-lite")
    services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000})
    before = served()
    services.switch_to_fallback(**ROUTE)

    services.restore(**ROUTE)

    assert served() == before


def test_a_switch_pressed_twice_publishes_once():
    make_route()
    first = services.switch_to_fallback(**ROUTE)

    assert services.switch_to_fallback(**ROUTE) == first
    assert queries.snapshot("production").version == first.version


def test_the_kill_switch_disables_the_flag():
    make_flag()

    services.switch_off(**SAID, key="new-parser")

    assert served("new-parser")["state"] == "DISABLED"


def test_settling_makes_the_candidate_the_default_and_keeps_the_fallback():
    make_route()
    services.change_weights(**ROUTE, weights={"flash-lite": 5000, "gpt-4.1": 5000})
    services.set_shadow(**ROUTE, shadow={"variant": "flash-lite", "percent": 20})

    services.settle_on(**ROUTE, variant="flash-lite")

    route = queries.route("production", "invoice-extraction")
    assert (route.default_variant, route.fallback_variant, route.shadow) == ("flash-lite", "gpt-4.1", None)
    assert route.weights == {"gpt-4.1": 0, "flash-lite": 10_000}
    assert "targeting" not in served()


def test_a_shadow_is_in_every_variants_value():
    make_route()

    services.set_shadow(**ROUTE, shadow={"variant": "flash-lite", "percent": 20})

    assert served()["variants"]["gpt-4.1"]["shadow"] == {"variant": "flash-lite", "percent": 20}


def test_each_change_of_a_route_begins_a_split_that_carries_its_trial():
    make_route()
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")
    services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000}, holder="rollout 7")
    make_flag()  # another flag's publish cuts nothing
    services.switch_to_fallback(**ROUTE)

    splits = [(split.since_version, split.trial, split.kind) for split in queries.splits("production")]

    assert splits == [(1, "", "split"), (2, "7", "split"), (3, "7", "split"), (5, "7", "fallback")]


def test_a_split_of_a_route_with_rules_says_so():
    make_route(targeting={"if": [{"var": "beta"}, "flash-lite"]})

    assert [split.kind for split in queries.splits("production")] == ["rules"]


def test_a_stale_write_is_told_who_changed_what():
    route = make_route()
    services.update_route(**ROUTE, owner="ledger")

    with pytest.raises(Stale) as refused:
        services.update_route(**ROUTE, owner="other", expected=route.revision)

    assert refused.value.changes == {"owner": {"was": "payments", "is": "ledger"}}
    assert refused.value.facts["by"] == "alice"


@pytest.mark.parametrize(
    "change",
    [
        lambda: services.update_route(**ROUTE, owner="ledger"),
        lambda: services.update_route(**ROUTE, description="What it is for"),
        lambda: services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000}),
        lambda: services.set_shadow(**ROUTE, shadow={"variant": "flash-lite", "percent": 5}),
        lambda: services.take_hold(**ROUTE, holder="x", trial="x"),
        lambda: services.switch_to_fallback(**ROUTE),
        lambda: services.switch_off(**ROUTE),
        lambda: services.settle_on(**ROUTE, variant="flash-lite"),
    ],
)
def test_every_kind_of_write_makes_a_new_version_and_new_bytes(change):
    make_route()
    before = queries.snapshot("production")

    published = change()

    after = queries.snapshot("production")
    assert published.version == after.version == before.version + 1
    assert after.digest != before.digest
    assert last_entry().version == after.version


def test_one_change_encodes_one_flag_anew(monkeypatch):
    for number in range(5):
        make_flag(f"flag-{number}")
    encoded = []
    monkeypatch.setattr(Flag, "encode", lambda flag, encode=Flag.encode: (encoded.append(flag.key), encode(flag)))

    services.update_flag(**SAID, key="flag-3", default_variant="on")

    assert encoded == ["flag-3"]


def test_a_variant_that_gets_traffic_cannot_be_removed():
    make_route()
    services.change_weights(**ROUTE, weights={"flash-lite": 1000, "gpt-4.1": 9000})

    with pytest.raises(services.VariantIsUsed, match="flash-lite of invoice-extraction is still getting traffic"):
        services.update_route(**ROUTE, variants={"gpt-4.1": VARIANTS["gpt-4.1"]})


def test_a_preview_serves_a_critical_route_in_shadow_only():
    Model.objects.create(key="openai/gpt-5", provider="openai", model_id="gpt-5", name="GPT-5", tier="preview")
    make_route(is_critical=True, variants=VARIANTS | {"gpt-5": {"model": "openai/gpt-5"}})

    services.set_shadow(**ROUTE, shadow={"variant": "gpt-5", "percent": 20})
    with pytest.raises(services.PreviewIsShadowOnly, match="openai/gpt-5 is a preview"):
        services.change_weights(**ROUTE, weights={"gpt-5": 100, "gpt-4.1": 9900})


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"key": "with space"}, "key"),
        ({"variants": {}}, "variants"),
        ({"variants": {"on": True, "off": "no"}, "type": "boolean"}, "variants"),
        ({"default_variant": "maybe"}, "default_variant"),
        ({"targeting": {"nand": [1, 2]}}, "targeting"),
        ({"targeting": {"if": [True, "maybe"]}}, "targeting"),
        ({"targeting": {"if": [True, 1]}}, "targeting"),
        ({"targeting": {"var": "a", "in": []}}, "targeting"),
        ({"metadata": {"list": [1]}}, "metadata"),
        ({"metadata": {"salt": "x"}}, "metadata"),
    ],
)
def test_what_no_flag_may_be_is_refused_with_its_field(fields, field):
    with pytest.raises(Invalid) as refused:
        make_flag(**fields)

    assert field in refused.value.errors


def test_an_integer_flag_of_floats_holds_integers_and_a_float_flag_floats():
    make_flag("whole", type="integer", variants={"a": 1.0}, default_variant="a")
    make_flag("real", type="float", variants={"a": 1}, default_variant="a")

    body = queries.snapshot("production").body
    assert b'"variants":{"a":1}' in body
    assert b'"variants":{"a":1.0}' in body


def test_a_flag_that_is_not_there_is_named():
    make_environment()

    with pytest.raises(NotFound, match="There is no route invoice-extraction"):
        queries.route("production", "invoice-extraction")
    with pytest.raises(NotFound, match="There is no flag invoice-extraction"):
        services.switch_off(**ROUTE)


def test_exposures_of_one_minute_add_up_and_strangers_are_left_out():
    make_route()
    seen = {"flag": "invoice-extraction", "variant": "gpt-4.1", "snapshot": 1, "assigned_by": "split", "count": 31}
    note = {"environment": "production", "now": NOW, "client": {"name": "invoices", "sdk": "py/1", "snapshot": 1}}

    services.note_seen(**note, exposures=[seen, seen | {"flag": "unknown"}, seen | {"count": 4}])
    services.note_seen(**note, exposures=[seen | {"minute": "2026-11-24T03:00:59Z"}, {"nonsense": 1}])

    (row,) = queries.exposures("production", "invoice-extraction")
    assert (row.variant, row.assigned_by, row.snapshot, row.count) == ("gpt-4.1", "split", 1, 66)
    (client,) = queries.clients("production")
    assert (client.name, client.snapshot) == ("invoices", 1)


def test_a_worker_signs_with_its_own_name():
    make_route()

    services.switch_to_fallback(**(ROUTE | {"by": WORKER}))

    assert last_entry().by == "worker:tick"


def test_texts_that_no_database_takes_are_refused_or_cleaned():
    make_route()
    seen = {"flag": "invoice-extraction", "variant": "a\0b\ud800", "count": 1, "subjects": ["\0", "\ud800", 7]}

    services.note_seen(environment="production", client={"name": "a\0"}, exposures=[seen], now=NOW)
    for fields in ({"variants": {"a": "\0"}}, {"metadata": {"a": "\ud800"}}, {"targeting": {"==": ["\0", 1]}}):
        with pytest.raises(Invalid):
            make_flag(**fields)

    assert queries.exposures("production", "invoice-extraction")[0].variant == "ab?"
    with pytest.raises(NotFound):
        queries.flag("production", "\0")


def test_a_route_does_not_split_in_its_rules():
    with pytest.raises(Invalid, match="percentages of a route are its weights"):
        make_route(targeting={"if": [{"var": "x"}, {"fractional": [["gpt-4.1", 1], ["flash-lite", 1]]}]})


def test_exposures_of_another_day_are_left_out():
    make_route()
    seen = {"flag": "invoice-extraction", "variant": "gpt-4.1", "count": 1, "minute": "2026-11-20T00:00:00Z"}

    services.note_seen(environment="production", client=None, exposures=[seen], now=NOW)

    assert queries.exposures("production", "invoice-extraction") == []


def test_old_snapshots_go_but_the_newest_stays_and_so_does_the_split_in_force():
    make_route()
    services.take_hold(**ROUTE, holder="x", trial="x")
    services.release_hold(**ROUTE, holder="x")

    services.forget_old(now=NOW + timedelta(days=91))

    assert [snapshot.version for snapshot in Snapshot.objects.all()] == [3]
    assert [split.since_version for split in queries.splits("production")] == [3]
