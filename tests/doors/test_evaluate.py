"""POST /api/v1/evaluate/: why a context gets what it gets, in any snapshot; and what differs between two."""

from typing import Any

import pytest
from django.test import Client

from apps.flags import services
from apps.flags.models import Snapshot
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
RULES = [
    {"name": "Testers", "when": {"all": [{"attribute": "email", "operator": "ends_with", "values": ["@us.example"]}]},
     "variant": "flash-lite"},
    {"name": "Beta", "when": {"all": [{"attribute": "plan", "operator": "is", "values": ["beta"]}]},
     "variant": "gpt-4.1"},
]  # fmt: skip


@pytest.fixture
def ask(db: None):
    make_environment()
    client = Client(headers=make_key(scopes=["manage:read"]))

    def post(path: str, **body: Any) -> Any:
        answer = client.post(f"/api/v1/{path}", body, content_type="application/json")
        return answer.json() | {"status": answer.status_code}

    return post


def weigh(**weights: int) -> None:
    named = {name.replace("_", "-").replace("gpt-4-1", "gpt-4.1"): size for name, size in weights.items()}
    services.change_weights(**SAID, key="invoice-extraction", weights=named)


def test_it_names_the_rule_that_answered_and_those_that_did_not(ask):
    make_route(rules=RULES)

    told = ask("evaluate/", flag="invoice-extraction", context={"targetingKey": "r-1", "plan": "beta"})

    assert (told["variant"], told["assigned_by"], told["reason"]) == ("gpt-4.1", "rule", "TARGETING_MATCH")
    first, second = told["rules"]
    assert (first["name"], first["passed"], first["missing"]) == ("Testers", False, ["email"])
    assert (second["name"], second["passed"], second["answer"]) == ("Beta", True, "gpt-4.1")
    assert second["words"] == "plan is beta"


def test_a_rule_behind_the_one_that_answered_still_says_whether_it_passes(ask):
    make_route(rules=[*RULES, RULES[0] | {"name": "Again"}, RULES[1] | {"name": "Later"}])

    told = ask("evaluate/", flag="invoice-extraction", context={"targetingKey": "r-1", "plan": "beta"})

    assert [(rule["passed"], rule["alone"]) for rule in told["rules"]] == [
        (False, False), (True, True), (None, False), (None, True),
    ]  # fmt: skip


def test_it_tells_the_bucket_and_the_share_at_which_this_context_would_join(ask):
    make_route()
    weigh(flash_lite=1000, gpt_4_1=9000)
    context = {"targetingKey": "user-1"}  # v3: hash 1273857328, so 0.2966 of the range

    told = ask("evaluate/", flag="invoice-extraction", context=context)

    assert told["variant"] == "gpt-4.1"
    assert told["split"]["bucket"] == 1273857328 * 10_000 >> 32 == 2965
    assert told["split"]["parts"] == [
        {"variant": "flash-lite", "begins_at": 0.0, "ends_at": 10.0},
        {"variant": "gpt-4.1", "begins_at": 10.0, "ends_at": 100.0},
    ]
    assert told["split"]["joins"] == [{"variant": "flash-lite", "share": 29.66, "has_it": False}]
    weigh(flash_lite=2965, gpt_4_1=7035)
    assert ask("evaluate/", flag="invoice-extraction", context=context)["variant"] == "gpt-4.1"
    weigh(flash_lite=2966, gpt_4_1=7034)
    assert ask("evaluate/", flag="invoice-extraction", context=context)["variant"] == "flash-lite"


def test_it_answers_as_of_any_snapshot_that_is_kept(ask):
    make_route()
    weigh(flash_lite=10_000, gpt_4_1=0)
    services.switch_to_fallback(**SAID, key="invoice-extraction")
    context = {"targetingKey": "user-1"}

    def at(snapshot: int | None) -> tuple[str, str, int]:
        told = ask("evaluate/", flag="invoice-extraction", context=context, snapshot=snapshot)
        return told["variant"], told["assigned_by"], told["version"]

    assert at(1) == ("gpt-4.1", "default", 1)
    assert at(2) == ("flash-lite", "split", 2)
    assert at(3) == at(None) == ("gpt-4.1", "fallback", 3)
    assert ask("evaluate/", flag="invoice-extraction", context=context, snapshot=9)["status"] == 404
    assert ask("evaluate/", flag="invoice-extraction", context=context, snapshot=0)["status"] == 404


def test_without_a_subject_there_is_no_bucket_and_it_says_why(ask):
    make_route()
    weigh(flash_lite=1000, gpt_4_1=9000)

    told = ask("evaluate/", flag="invoice-extraction", context={})

    assert told["split"] is None
    assert "targetingKey is missing" in told["no_split"]


def test_two_snapshots_are_compared_over_a_list_of_contexts(ask):
    make_route()
    weigh(flash_lite=1000, gpt_4_1=9000)
    weigh(flash_lite=3000, gpt_4_1=7000)
    contexts = [{"targetingKey": f"user-{number}"} for number in range(500)]

    told = ask("evaluate/compare/", flag="invoice-extraction", before=2, after=3, contexts=contexts)

    (row,) = told["moved"]
    assert (row["before"], row["after"], row["count"]) == ("gpt-4.1", "flash-lite", told["changed"])
    assert 70 <= told["changed"] <= 130  # a fifth
    example = next(one for one in contexts if one["targetingKey"] == row["example"])
    for version, variant in ((2, "gpt-4.1"), (3, "flash-lite")):
        assert ask("evaluate/", flag="invoice-extraction", context=example, snapshot=version)["variant"] == variant
    assert told["sentence"].startswith(f"Of 500 contexts {told['changed']} get something else: {told['changed']} from")


def test_all_flags_are_compared_up_to_the_newest_version_where_none_is_named(ask):
    make_flag("one")
    make_flag("two")
    services.update_flag(**SAID, key="two", default_variant="on")

    told = ask("evaluate/compare/", before=1, contexts=[{}])

    assert told["after"] == 3
    assert {(row["flag"], row["before"], row["after"]) for row in told["moved"]} == {("two", "not served", "on")}
    same = ask("evaluate/compare/", before=2, after=2, contexts=[{}])
    assert (same["changed"], same["sentence"]) == (0, "Between 2 and 2 nothing changes for these 1 contexts.")


def test_a_snapshot_that_is_gone_cannot_be_compared(ask):
    make_flag()
    make_flag("later")
    Snapshot.objects.filter(version=1).delete()

    assert ask("evaluate/compare/", before=1, contexts=[{}])["status"] == 404


@pytest.mark.parametrize(
    "body",
    [
        {}, {"flag": "new-parser", "context": []}, {"flag": "new-parser", "context": {"targetingKey": "\ud800"}},
        {"flag": "new-parser", "snapshot": -1}, {"flag": "new-parser", "snapshot": 10**30},
        {"flag": "new-parser", "context": {"a\0": 1}},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(ask, body):
    make_flag()

    assert ask("evaluate/", **body)["status"] == 400


@pytest.mark.parametrize(
    "context", [{"targetingKey": 5}, {"targetingKey": None}, {"targetingKey": ["a"]}, {"a": {"b": []}}]
)
def test_odd_contexts_are_answered(ask, context):
    make_route(rules=RULES)
    weigh(flash_lite=1000, gpt_4_1=9000)

    assert ask("evaluate/", flag="invoice-extraction", context=context)["status"] == 200


def test_a_stranger_and_a_key_of_another_environment_get_nothing(ask, charlie):
    make_flag()
    make_environment("other")
    client = Client()
    client.force_login(charlie)
    other = Client(headers=make_key("other", ["manage:read"]))
    body = {"environment": "production", "flag": "new-parser", "before": 1, "contexts": [{}]}

    for path in ("evaluate/", "evaluate/compare/"):
        assert client.post(f"/api/v1/{path}", body, content_type="application/json").status_code == 404
        assert other.post(f"/api/v1/{path}", body, content_type="application/json").status_code == 404
