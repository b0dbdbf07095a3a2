import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.flags import importing, queries, services
from apps.journal.models import Entry
from changeover import Snapshot
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route

pytestmark = pytest.mark.django_db
DEFINITION = {
    "$schema": "https://flagd.dev/schema/v0/flags.json",
    "metadata": {"team": "growth", "version": "7"},
    "$evaluators": {"is-beta": {"in": [{"var": "plan"}, ["beta", "zoë"]]}},
    "flags": {
        "ramp": {
            "state": "ENABLED",
            "variants": {"old": "A", "new": "B"},
            "defaultVariant": "old",
            "targeting": {"if": [{"$ref": "is-beta"}, "new", {"fractional": [["new", 10], ["old", 90]]}]},
            "metadata": {"owner": "payments"},
        },
        "number": {"state": "DISABLED", "variants": {"one": 1, "half": 0.5}, "defaultVariant": "one"},
    },
}


def bring_in(document: object, **fields: str) -> importing.Report:
    make_environment()
    given = {"environment": "production", "bucketing": "v2", "by": ALICE, "because": "move", "now": NOW} | fields
    return importing.import_definition(document=document, **given)


def exported() -> dict:
    return json.loads(queries.snapshot("production").body)


def test_a_definition_is_taken_whole_in_one_version():
    report = bring_in(DEFINITION)

    assert (report.created, report.published.version) == (["ramp", "number"], 1)
    flags = exported()["flags"]
    assert flags["ramp"]["targeting"]["if"][0] == {"in": [{"var": "plan"}, ["beta", "zoë"]]}
    assert flags["ramp"]["metadata"] == {"team": "growth", "owner": "payments", "bucketing": "v2", "salt": "ramp"}
    assert flags["number"]["variants"] == {"one": 1, "half": 0.5}
    assert flags["number"]["state"] == "DISABLED"
    assert Entry.objects.get().kind == "flags.imported"


@pytest.mark.parametrize("bucketing", ["v1", "v2", "v3"])
def test_an_import_moves_nobody(bucketing):
    bring_in(DEFINITION, bucketing=bucketing)
    before = Snapshot.from_flagd(DEFINITION | {"metadata": {"bucketing": bucketing}})
    after = Snapshot.from_flagd(exported())

    for number in range(500):
        context = {"targetingKey": f"user-{number}"}
        assert before.evaluate("ramp", context).variant == after.evaluate("ramp", context).variant


def test_what_is_exported_can_be_imported_again_with_the_same_meaning():
    make_route()
    services.change_weights(
        environment="production", key="invoice-extraction", weights={"flash-lite": 2500, "gpt-4.1": 7500},
        by=ALICE, because="", now=NOW,
    )  # fmt: skip
    make_flag(targeting={"if": [{"var": "beta"}, "on"]}, bucketing="v2")
    out = StringIO()
    call_command("export_flagd", environment="production", stdout=out)
    make_environment("copy")

    importing.import_definition(
        environment="copy", document=json.loads(out.getvalue()), bucketing="v2", by=ALICE, because="", now=NOW
    )

    first, second = (Snapshot.from_flagd(queries.snapshot(key).body) for key in ("production", "copy"))
    for number in range(200):
        context = {"targetingKey": f"user-{number}"}
        ours, theirs = first.evaluate("invoice-extraction", context), second.evaluate("invoice-extraction", context)
        assert (ours.variant, ours.value, ours.assigned_by) == (theirs.variant, theirs.value, theirs.assigned_by)
    assert queries.flag("copy", "new-parser").bucketing == "v2"
    assert queries.flag("copy", "invoice-extraction").bucketing == "v3"


def test_the_same_file_twice_publishes_once():
    bring_in(DEFINITION)

    again = bring_in(DEFINITION)

    assert (again.created, again.changed, again.published) == ([], [], None)
    assert queries.snapshot("production").version == 1


def test_a_changed_file_changes_only_what_differs_and_keeps_the_pin():
    bring_in(DEFINITION)
    changed = json.loads(json.dumps(DEFINITION))
    changed["flags"]["number"]["state"] = "ENABLED"

    report = bring_in(changed, bucketing="v3")

    assert report.changed == ["number"]
    assert queries.flag("production", "number").bucketing == "v2"
    assert any("stays pinned to v2" in warning for warning in report.warnings)


def test_a_route_of_the_same_key_stays_as_it_is():
    make_route("ramp")

    report = bring_in(DEFINITION)

    assert report.created == ["number"]
    assert any("There is a route of this key" in warning for warning in report.warnings)


def test_what_flagd_only_warns_about_is_taken_with_a_warning():
    report = bring_in(
        {
            "flags": [
                {"key": "a/b", "state": "ENABLED", "variants": {"x": 1}, "defaultVariant": None},
                {"key": "odd", "state": "on", "variants": {"x": 1, "y": "two"}, "targeting": {"nand": [1]}},
                {"key": "meta", "state": "ENABLED", "variants": {"x": 1}, "metadata": {"list": [1], "ok": 1}},
                {"key": "empty", "state": "ENABLED", "variants": {}},
                {"state": "ENABLED", "variants": {"x": 1}},
            ]
        }
    )

    assert report.created == ["a/b", "odd", "meta"]
    assert len(report.warnings) >= 6
    assert exported()["flags"]["meta"]["metadata"]["ok"] == 1
    assert Snapshot.from_flagd(exported()).evaluate("odd").error_code == "PARSE_ERROR"


@pytest.mark.parametrize("name", ["nobody", 7])
def test_a_default_that_is_no_variant_refuses_the_whole_file(tmp_path, name):
    make_environment()
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"flags": {"x": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": name}}}))

    with pytest.raises(CommandError, match="is no variant"):
        call_command("import_flagd", str(file), environment="production")

    assert queries.snapshot("production").version == 0


def test_the_command_says_what_it_did_and_warned_of(tmp_path):
    make_environment()
    file = tmp_path / "flags.json"
    file.write_text(json.dumps(DEFINITION))
    out, err = StringIO(), StringIO()

    call_command("import_flagd", str(file), environment="production", stdout=out, stderr=err)

    assert out.getvalue() == "2 created, 0 changed, version 1\n"
    assert queries.flag("production", "ramp").bucketing == "v2"


def test_what_json_cannot_carry_is_left_out_with_a_warning():
    sound = {"state": "ENABLED", "variants": {"x": 1}}
    deep: object = 1
    for _ in range(2000):
        deep = {"!": deep}

    report = bring_in(
        {"flags": {"a": sound, "b": sound | {"variants": {"x": 1e999}}, "c": sound | {"targeting": deep}}}
    )

    assert report.created == ["a"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
fields = st.fixed_dictionaries(
    {"state": st.sampled_from(["ENABLED", "DISABLED"]) | json_values, "variants": json_values},
    optional={"targeting": json_values, "metadata": json_values, "defaultVariant": st.none() | st.text(max_size=2)},
)


@given(st.dictionaries(st.text(max_size=6), fields | json_values, max_size=3), json_values, json_values)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_comes_is_read_or_refused_in_words(flags, metadata, evaluators):
    from apps.flags.domain import definition, importing
    from apps.flags.domain.definition import FlagParts
    from apps.flags.domain.unfit import Unfit

    try:
        found = importing.read({"flags": flags, "metadata": metadata, "$evaluators": evaluators}, bucketing="v3")
    except Unfit:
        return
    for flag in found.flags:
        parts = FlagParts(
            key=flag.key, variants=flag.variants, default_variant=flag.default_variant, targeting=flag.targeting,
            metadata=flag.metadata, bucketing=flag.bucketing, salt=flag.salt,
        )  # fmt: skip
        definition.encode(definition.definition(parts))
