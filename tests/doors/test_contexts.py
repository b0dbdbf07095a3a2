"""Contexts as they come: large, deep, odd, without a subject."""

import pytest

from apps.flags import services
from tests.flags.doors import ask, look, make_key
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shelf_of_this_test")]
ONE, BULK = "/ofrep/v1/evaluate/flags/", "/ofrep/v1/evaluate/flags"
BETA = {"if": [{"==": [{"var": "plan"}, "beta"]}, "on"]}


@pytest.fixture
def key() -> dict[str, str]:
    make_flag(targeting=BETA)
    make_route()
    services.change_weights(
        environment="production", key="invoice-extraction", weights={"flash-lite": 5000, "gpt-4.1": 5000},
        by=ALICE, because="", now=NOW,
    )  # fmt: skip
    headers = make_key()
    look()
    return headers


def test_a_thousand_attributes_of_every_kind_are_read(key):
    kinds = ["text", 1, 1.5, True, None, [1, "a"], {"b": {"c": 1}}, "zoë 🦀"]
    context = {f"attribute-{number}": kinds[number % len(kinds)] for number in range(1000)}
    context |= {"plan": "beta", "targetingKey": "u"}

    one = ask("POST", ONE + "new-parser", body={"context": context, "unknown": 1}, headers=key)
    bulk = ask("POST", BULK, body={"context": context, "unknown": 1}, headers=key)

    assert one.json["value"] is True
    assert {flag["key"]: flag["reason"] for flag in bulk.json["flags"]}["new-parser"] == "TARGETING_MATCH"


@pytest.mark.parametrize("context", [{}, {"targetingKey": None}, {"targetingKey": ""}])
def test_without_a_subject_the_split_gives_the_default_and_every_answer_says_so(context, key):
    one = ask("POST", ONE + "invoice-extraction", body={"context": context}, headers=key).json
    bulk = ask("POST", BULK, body={"context": context}, headers=key).json["flags"]

    assert (one["variant"], one["reason"], one["metadata"]["targetingKeyMissing"]) == ("gpt-4.1", "DEFAULT", True)
    assert all(flag["metadata"]["targetingKeyMissing"] is True for flag in bulk)


@pytest.mark.parametrize("subject", [5, 1.5, True, ["u"], {"u": 1}])
def test_a_subject_that_is_no_text_is_refused_in_the_protocols_words(subject, key):
    body = {"context": {"targetingKey": subject}}

    one = ask("POST", ONE + "new-parser", body=body, headers=key)
    bulk = ask("POST", BULK, body=body, headers=key)

    assert (one.status, one.json["key"], one.json["errorCode"]) == (400, "new-parser", "INVALID_CONTEXT")
    assert (bulk.status, list(bulk.json)) == (400, ["errorCode", "errorDetails"])


@pytest.mark.parametrize("depth", [50, 5_000, 100_000])
def test_a_context_of_any_depth_is_answered(depth, key):
    body = b'{"context":{"targetingKey":"u","a":' + b"[" * depth + b"]" * depth + b"}}"

    assert ask("POST", ONE + "new-parser", body=body, headers=key).status in (200, 400)
    assert ask("POST", BULK, body=body, headers=key).status in (200, 400)


def test_an_attribute_called_as_ours_cannot_speak_for_us(key):
    make_flag("named", targeting={"if": [{"===": [{"var": "$flagd.flagKey"}, "named"]}, "on"]})
    look()
    context = {"targetingKey": "u", "$flagd": {"flagKey": "another", "timestamp": 0}}

    assert ask("POST", ONE + "named", body={"context": context}, headers=key).json["variant"] == "on"
