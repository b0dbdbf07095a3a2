from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import example, given
from hypothesis import strategies as st

from apps.flags import audiences, environment_file, importing, keeping, queries, services
from apps.flags.domain import plain_yaml
from apps.flags.models import Flag
from apps.journal.models import Entry
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route

SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
FLAGS = "environment: production\nflags:\n"
BETA = {"name": "Beta", "when": {"all": [{"attribute": "plan", "operator": "is_one_of", "values": ["beta", "pro"]}]}}
TESTERS = {"all": [{"attribute": "email", "operator": "ends_with", "values": ["@example.com"]}]}


def export(environment: str = "production") -> str:
    out = StringIO()
    call_command("export", environment=environment, stdout=out)
    return out.getvalue()


@pytest.fixture
def apply(tmp_path: Path):
    def run(text: str, *options: str) -> str:
        (tmp_path / "flags.yaml").write_text(text)
        out = StringIO()
        call_command("apply", "-f", str(tmp_path / "flags.yaml"), *options, stdout=out)
        return out.getvalue()

    return run


def make_everything() -> None:
    make_environment()
    audiences.create_audience(environment="production", key="testers", conditions=TESTERS, by=ALICE, now=NOW)
    make_flag("base", description="Two lines,\nas they stand")
    make_flag(
        rules=[
            {"name": "T", "when": {"audience": "testers"}, "variant": "on"},
            BETA | {"split": {"on": 25, "off": 75}},
        ],
        prerequisites=[{"flag": "base", "variant": "off"}],
        metadata={"team": "growth", "cost": 1.0},
        owner="growth",
    )
    make_flag("expert", targeting={"if": [{"==": [{"var": "plan"}, "beta"]}, "on"]}, enabled=False)
    make_flag("ratio", type="float", variants={"one": 1, "tiny": 1e-7, "1e2": 1e100}, default_variant="one")
    make_flag("none", variants={"yes": "no", "null": "2026-01-01"}, default_variant="", salt="other", bucketing="v2")
    make_route(
        "slow",
        variants={name: {"model": f"x/{name}"} for name in "abc"},
        default_variant="c",
        fallback_variant="",
        is_critical=True,
        runbook="Call.\n\nThen wait.\n",
        breaker={"errors": 3},
    )
    for weights in ({"a": 1000, "c": 9000}, {"a": 1000, "b": 2000, "c": 7000}, {"a": 3000, "b": 2000, "c": 5000}):
        services.change_weights(**SAID, key="slow", weights=weights)
    make_route()
    services.change_weights(**SAID, key="invoice-extraction", weights={"flash-lite": 125, "gpt-4.1": 9875})


@pytest.mark.django_db
def test_an_export_applied_to_an_empty_environment_gives_the_same_export_and_the_same_answers(apply):
    make_everything()
    make_environment("staging")
    told = export()

    apply(told, "--environment", "staging")

    assert export("staging").replace("environment: staging", "environment: production") == told
    for one in Flag.objects.of("production"):
        assert Flag.objects.get(environment="staging", key=one.key).fragment == one.fragment, one.key
    assert queries.newest_version("staging")[0] == 1


@pytest.mark.django_db
def test_applied_twice_it_changes_nothing(apply):
    make_everything()
    told, version, entries = export(), queries.newest_version("production"), Entry.objects.count()

    assert "nothing to do" in apply(told)
    assert (queries.newest_version("production"), Entry.objects.count()) == (version, entries)
    assert export() == told


@pytest.mark.django_db
def test_an_imported_definition_goes_there_and_back_whatever_it_holds(apply):
    make_environment()
    make_environment("staging")
    odd = {"flags": {
        "a/b?c": {"state": "ENABLED", "variants": {"on": 1, "off": 2.5, "": True}, "defaultVariant": "on"},
        "broken": {"state": "ENABLED", "variants": {"on": True}, "targeting": {"no_such": [1]},
                   "metadata": {"owner": "x"}},
        "lists": {"state": "DISABLED", "variants": {"on": [1, None]}, "defaultVariant": "on"},
        "half": {"state": "ENABLED", "variants": {"a": "x", "b": "y"}, "defaultVariant": "a",
                 "targeting": {"fractional": [["a", 1], ["b", 1]]}},
    }}  # fmt: skip
    importing.import_definition(document=odd, bucketing="v1", **SAID)

    told = export()
    apply(told, "--environment", "staging")

    assert "as_imported: true" in told
    assert "nothing to do" in apply(told)
    assert export("staging").replace("environment: staging", "environment: production") == told
    for one in Flag.objects.of("production"):
        assert Flag.objects.get(environment="staging", key=one.key).fragment == one.fragment, one.key


@pytest.mark.django_db
def test_the_dry_run_prints_the_plan_field_by_field_and_changes_nothing(apply):
    make_route()
    text = export().replace("timeout_ms: 3000", "timeout_ms: 2500").replace("owner: payments", "owner: billing")
    text = text.replace("gpt-4.1: 100", "flash-lite: 10\n      gpt-4.1: 90")
    text += "flags:\n  fresh:\n    variants: {on: true, off: false}\n    default_variant: off\n"
    version = queries.newest_version("production")

    told = apply(text, "--dry-run")

    assert "~ route invoice-extraction" in told
    assert '    owner: "payments" → "billing"' in told
    assert "    weights.flash-lite: (none) → 10.0" in told
    assert '"timeout_ms": 3000' in told and '"timeout_ms": 2500' in told
    assert "+ flag fresh" in told
    assert "1 to add, 1 to change, 0 to remove. Nothing was changed." in told
    assert queries.newest_version("production") == version
    assert not Flag.objects.filter(key="fresh").exists()

    assert apply(text).splitlines()[:-1] == told.splitlines()[:-1]
    assert queries.newest_version("production")[0] == version[0] + 1
    assert "nothing to do" in apply(text)
    entry = Entry.objects.newest_first()[0]
    assert entry.kind == "environment.applied"
    assert entry.changes["invoice-extraction.owner"] == ("payments", "billing")
    assert queries.route("production", "invoice-extraction").weights["flash-lite"] == 1000


@pytest.mark.django_db
def test_the_plan_names_routes_and_flags_by_key_and_audiences_after_them(apply):
    make_everything()
    copied = export().replace("environment: production", "environment: staging")
    make_environment("staging")

    told = [line.split()[1:3] for line in apply(copied, "--dry-run").splitlines() if line.startswith("+ ")]

    flags = [key for kind, key in told if kind != "audience"]
    assert flags == sorted(flags)
    assert {kind for kind, _ in told[:-1]} == {"route", "flag"}
    assert told[-1] == ["audience", "testers"]


@pytest.mark.django_db
def test_on_and_off_are_names_as_in_the_rest_of_the_world(apply):
    make_environment()

    apply(FLAGS + "  f:\n    variants:\n      on: true\n      off: false\n    default_variant: off\n")

    assert queries.flag("production", "f").variants == {"on": True, "off": False}


@pytest.mark.django_db
def test_a_held_flag_keeps_its_traffic_and_the_plan_says_so(apply):
    make_route()
    text = (
        export()
        .replace("gpt-4.1: 100", "gpt-4.1: 50\n      flash-lite: 50")
        .replace("owner: payments", "owner: billing")
    )
    text = text.replace("timeout_ms: 3000", "timeout_ms: 1")
    services.take_hold(**SAID, key="invoice-extraction", holder="rollout 7", trial="7")

    told = apply(text)

    assert "! rollout 7 holds it: variants, weights left as they are" in told
    route = queries.route("production", "invoice-extraction")
    assert (route.weights, route.owner) == ({"gpt-4.1": 10_000, "flash-lite": 0}, "billing")
    assert "weights" not in export().replace("holds its weights", "").partition("routes:")[2]
    assert "# invoice-extraction: rollout 7 holds its weights." in export()


@pytest.mark.django_db
def test_a_file_from_before_a_rollout_never_carries_the_old_traffic_back_in(apply):
    make_route()
    text = export()
    services.take_hold(**SAID, key="invoice-extraction", holder="rollout 7", trial="7")
    services.settle_on(**SAID, key="invoice-extraction", variant="flash-lite", holder="rollout 7")
    services.release_hold(**SAID, key="invoice-extraction", holder="rollout 7")

    told = apply(text)

    assert "! rollout 7 moved its traffic: default_variant and weights left as they are" in told
    assert queries.route("production", "invoice-extraction").default_variant == "flash-lite"
    apply(text, "--over-rollouts")
    assert queries.route("production", "invoice-extraction").default_variant == "gpt-4.1"
    assert export() == text


@pytest.mark.django_db
def test_a_switch_is_no_part_of_the_file(apply):
    make_route()
    text = export()
    services.switch_to_fallback(**SAID, key="invoice-extraction")

    assert export() == text
    assert "nothing to do" in apply(text)
    assert queries.route("production", "invoice-extraction").switch == "fallback"


@pytest.mark.django_db
def test_what_is_not_in_the_file_goes_only_when_asked_and_comes_back_when_named_again(apply):
    make_everything()
    text = export()
    bare = "environment: production\n"

    assert "= flag new-parser (left as it is)" in apply(bare)
    assert Flag.objects.served().count() == 7
    told = apply(bare, "--prune")
    assert "- flag new-parser (archived)" in told
    assert "= audience testers (left as it is)\n    ! new-parser uses it" in told  # it may be brought back
    assert Flag.objects.served().count() == 0
    assert "+ flag new-parser (brought back)" in apply(text)
    assert export() == text
    assert "nothing to do" in apply(text)


@pytest.mark.django_db
def test_a_changed_audience_is_written_out_anew_in_every_flag_that_uses_it(apply):
    make_everything()
    before = queries.newest_version("production")[0]

    apply(export().replace("'@example.com'", "'@example.org'"))

    served = queries.snapshot("production").body.decode()
    assert "@example.org" in served and "@example.com" not in served
    assert queries.newest_version("production")[0] == before + 1


@pytest.mark.django_db
def test_a_protected_environment_asks_where_it_was_reviewed(apply):
    make_environment(is_protected=True)
    make_flag("old")
    text = export() + "  new:\n    variants: {a: x}\n"

    assert "1 to add" in apply(text, "--dry-run")
    with pytest.raises(CommandError, match="protected"):
        apply(text)
    apply(text, "--reviewed", "https://git.example.com/merge/7")
    assert Entry.objects.newest_first()[0].because == "Reviewed: https://git.example.com/merge/7"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flags: {f: {variants: {on: true}}}", "names no environment"),
        (FLAGS + "  f: {variants: {on: true, off: 1}}", "flags f: All variants"),
        (FLAGS + "  f: {variants: {on: true}}\n  f: {variants: {on: true}}", "Line 4: f is here"),
        (FLAGS + "  f: {variants: {on: true}, colour: red}", "flags f: It has no colour"),
        (FLAGS + "  f: {variants: {on: true}, default_variant: of}", "flag f: of is no variant"),
        (FLAGS + "  f: {variants: {on: .nan}}", "cannot carry|JSON"),
        ("environment: nowhere\nflags:\n  f: {variants: {on: true}}", "no environment nowhere"),
        ("a: [", "Line 1: "),
        ("- a", "The file is an object"),
        (FLAGS + "  a: {variants: {x: y}, prerequisites: [{flag: b, variant: x}]}\n"
         "  b: {variants: {x: y}, prerequisites: [{flag: a, variant: x}]}", "circle"),
        (FLAGS + "  f: {variants: {a: x, b: y}, default_variant: a, weights: {a: 50}}", "100 %"),
        (FLAGS + "  f: {variants: {a: x}, rules: [{name: T, when: {audience: t}, variant: a}]}",
         "no audience t"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_with_its_place(text, says, apply):
    make_environment()

    with pytest.raises(CommandError, match=says):
        apply(text)

    assert not Flag.objects.exists()


@pytest.mark.django_db
def test_what_is_pinned_for_life_is_refused(apply):
    make_flag(salt="one")

    with pytest.raises(CommandError, match="flag new-parser: Its salt is one for life"):
        apply(export().replace("salt: one", "salt: two"))


@pytest.mark.django_db
def test_flags_that_swap_who_requires_whom_are_taken_in_one_file(apply):
    make_flag("a")
    make_flag("b", prerequisites=[{"flag": "a", "variant": "on"}])
    keeping.archive_flag(**SAID, key="b")
    text = export() + "  b: {type: boolean, variants: {'on': true, 'off': false}, default_variant: 'off'}\n"
    text = text.replace("  a:\n", "  a:\n    prerequisites: [{flag: b, variant: on}]\n")

    apply(text)

    assert queries.flag("production", "a").prerequisites == [{"flag": "b", "variant": "on"}]
    assert queries.flag("production", "b").prerequisites == []


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=8,
)  # fmt: skip


@given(plain)
@example("a\x85b")
@example({"\u2028": "one\r\ntwo"})
def test_what_is_written_is_read_again(value):
    again = plain_yaml.read(plain_yaml.write({"value": value}))["value"]

    assert again == value and repr(again) == repr(value)


def test_an_unknown_environment_cannot_be_exported(db):
    with pytest.raises(CommandError, match="no environment nowhere"):
        export("nowhere")
    assert environment_file.HEAD.startswith("#")
