"""OFREP to the letter: what clients fall over is asked here one by one."""

import json

import pytest

from apps.flags import queries, services
from apps.flags.serving import events
from apps.flags.serving.counting import counter
from tests.flags.doors import ask, look, make_key
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shelf_of_this_test")]
ONE = "/ofrep/v1/evaluate/flags/"
BULK = "/ofrep/v1/evaluate/flags"
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
BETA = {"if": [{"==": [{"var": "plan"}, "beta"]}, "on"]}


def evaluate(key: str, context: object, headers: dict[str, str]) -> object:
    return ask("POST", ONE + key, body={"context": context}, headers=headers)


def test_a_rule_answers_with_the_whole_form():
    make_flag(targeting=BETA, metadata={"team": "parsing"})
    key = make_key()
    look()

    answer = evaluate("new-parser", {"targetingKey": "u-1", "plan": "beta"}, key)

    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.json == {
        "key": "new-parser",
        "value": True,
        "variant": "on",
        "reason": "TARGETING_MATCH",
        "metadata": {
            "flagSetId": "production",
            "version": "1",
            "revision": 1,
            "team": "parsing",
            "bucketing": "v3",
            "salt": "new-parser",
            "assigned_by": "rule",
        },
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"reason": "STATIC", "variant": "off", "value": False}),
        ({"targeting": BETA}, {"reason": "DEFAULT", "variant": "off", "value": False}),
        ({"default_variant": ""}, {"reason": "DEFAULT", "variant": ""}),
        ({"enabled": False}, {"reason": "DISABLED", "variant": ""}),
    ],
)
def test_reason_variant_and_value(fields, expected):
    make_flag(**fields)
    key = make_key()
    look()

    told = evaluate("new-parser", {"targetingKey": "u"}, key).json

    assert {name: told[name] for name in ("reason", "variant", "value") if name in told} == expected


def test_a_split_says_so_and_the_fallback_switch_too():
    make_route(fallback_variant="flash-lite")
    route = SAID | {"key": "invoice-extraction"}
    services.change_weights(**route, weights={"flash-lite": 1000, "gpt-4.1": 9000})
    key = make_key()
    look()

    split = evaluate("invoice-extraction", {"targetingKey": "user-3"}, key).json
    services.switch_to_fallback(**route)
    look()
    fallback = evaluate("invoice-extraction", {"targetingKey": "user-1"}, key).json

    assert (split["variant"], split["reason"], split["metadata"]["assigned_by"]) == (
        "flash-lite",
        "TARGETING_MATCH",
        "split",
    )
    assert (fallback["variant"], fallback["metadata"]["assigned_by"]) == ("flash-lite", "fallback")


def test_without_a_targeting_key_the_default_comes_and_says_why():
    make_route()
    services.change_weights(**SAID, key="invoice-extraction", weights={"flash-lite": 9000, "gpt-4.1": 1000})
    key = make_key()
    look()

    told = evaluate("invoice-extraction", {}, key).json

    assert (told["variant"], told["reason"]) == ("gpt-4.1", "DEFAULT")
    assert told["metadata"]["targetingKeyMissing"] is True


def test_a_flag_that_needs_a_targeting_key_refuses_without_one():
    make_flag(metadata={"targetingKeyRequired": True})
    key = make_key()
    look()

    answer = evaluate("new-parser", {}, key)

    assert (answer.status, answer.json["errorCode"]) == (400, "TARGETING_KEY_MISSING")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"context": {}}', b'{"unknown": 1}'])
def test_an_empty_context_is_a_context(body):
    make_flag()
    key = make_key()
    look()

    assert ask("POST", ONE + "new-parser", body=body, headers=key).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b'{"context": 1}',
        b'{"context": {"targetingKey": 7}}',
        b'{"a": NaN}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_context_is_refused(body):
    make_flag()
    key = make_key()
    look()

    one = ask("POST", ONE + "new-parser", body=body, headers=key)
    every = ask("POST", BULK, body=body, headers=key)

    assert one.status == every.status == 400
    assert one.json["errorCode"] == every.json["errorCode"] == "INVALID_CONTEXT"
    assert one.json["key"] == "new-parser"
    assert one.json["errorDetails"] and every.json["errorDetails"]


def test_whole_numbers_beyond_64_bits_and_lone_surrogates_are_json():
    make_flag()
    key = make_key()
    look()

    assert (
        ask("POST", ONE + "new-parser", body=b'{"context": {"a": 123456789012345678901234567890}}', headers=key).status
        == 200
    )
    assert ask("POST", ONE + "new-parser", body=b'{"context": {"a": "\\ud800"}}', headers=key).status == 200


def test_an_unknown_flag_is_404_with_its_key():
    make_flag()
    key = make_key()
    look()

    answer = evaluate("nobody", {"targetingKey": "u"}, key)

    assert (answer.status, answer.json["key"], answer.json["errorCode"]) == (404, "nobody", "FLAG_NOT_FOUND")
    assert answer.json["errorDetails"]


def test_the_key_is_all_that_follows_decoded_once():
    make_flag()
    key = make_key()
    look()

    assert ask("POST", ONE + "a/b/../c", headers=key).json["key"] == "a/b/../c"


def test_no_key_401_and_a_key_without_the_scope_403():
    make_flag()
    wrong = make_key(scopes=["telemetry:write"])
    look()

    for path in (ONE + "new-parser", BULK):
        nobody, stranger = ask("POST", path), ask("POST", path, headers=wrong)
        assert (nobody.status, stranger.status) == (401, 403)
        assert nobody.json["errorDetails"] and stranger.json["errorDetails"]


def test_the_key_may_come_as_x_api_key():
    make_flag()
    secret = make_key()["Authorization"].removeprefix("Bearer ")
    look()

    assert ask("POST", BULK, headers={"X-API-Key": secret}).status == 200


def test_a_key_sees_its_own_environment_only():
    make_flag()
    make_flag("only-staging", environment="staging")
    key = make_key("staging")
    look()

    assert [flag["key"] for flag in ask("POST", BULK, headers=key).json["flags"]] == ["only-staging"]
    assert evaluate("new-parser", {}, key).status == 404


def test_a_body_over_one_mebibyte_is_413():
    make_flag()
    key = make_key()
    look()

    answer = ask("POST", BULK, body=b" " * (2**20 + 1), headers=key)

    assert (answer.status, list(answer.json)) == (413, ["errorDetails"])


@pytest.mark.parametrize("path", [BULK, BULK + "/"])
def test_bulk_answers_every_flag_and_the_set(path):
    make_flag()
    make_flag("disabled", enabled=False)
    key = make_key()
    look()

    answer = ask("POST", path, body={"context": {"targetingKey": "u"}}, headers=key)

    assert answer.status == 200
    assert [flag["key"] for flag in answer.json["flags"]] == ["disabled", "new-parser"]
    assert answer.json["metadata"] == {"flagSetId": "production", "version": "2", "revision": 2}
    assert answer.header("etag")
    assert answer.header("cache-control") == "private, no-cache"


def test_the_same_context_on_the_same_version_is_304_without_a_body():
    make_flag()
    key = make_key()
    look()
    body = {"context": {"targetingKey": "u"}}
    tag = ask("POST", BULK, body=body, headers=key).header("etag")

    again = ask("POST", BULK, body=body, headers=key | {"If-None-Match": tag})
    other = ask(
        "POST", BULK, body={"context": {"targetingKey": "u", "plan": "beta"}}, headers=key | {"If-None-Match": tag}
    )
    services.update_flag(**SAID, key="new-parser", default_variant="on")
    look()
    changed = ask("POST", BULK, body=body, headers=key | {"If-None-Match": tag})

    assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
    assert (other.status, changed.status) == (200, 200)
    assert changed.json["flags"][0]["value"] is True


@pytest.mark.parametrize("wrap", ["W/{}", '"x", {}', '"x",W/{} ', "*"])
def test_tags_are_compared_as_http_says(wrap):
    make_flag()
    key = make_key()
    look()
    tag = ask("POST", BULK, headers=key).header("etag")

    assert ask("POST", BULK, headers=key | {"If-None-Match": wrap.format(tag)}).status == 304


def test_a_match_evaluates_nothing(monkeypatch, shelf_of_this_test):
    make_flag()
    key = make_key()
    look()
    tag = ask("POST", BULK, headers=key).header("etag")
    monkeypatch.setattr("apps.flags.serving.held.Held.evaluate_all", lambda *_: pytest.fail("it evaluated"))

    assert ask("POST", BULK, headers=key | {"If-None-Match": tag}).status == 304


def test_where_a_rule_reads_the_time_the_tag_covers_the_answer(monkeypatch):
    make_flag(targeting={"if": [{">": [{"var": "$flagd.timestamp"}, 1000]}, "on"]})
    key = make_key()
    look()
    monkeypatch.setattr("time.time", lambda: 999.0)
    tag = ask("POST", BULK, headers=key).header("etag")

    same = ask("POST", BULK, headers=key | {"If-None-Match": tag}).status
    monkeypatch.setattr("time.time", lambda: 1001.0)
    later = ask("POST", BULK, headers=key | {"If-None-Match": tag})

    assert (same, later.status) == (304, 200)
    assert later.json["flags"][0]["value"] is True


@pytest.mark.django_db(transaction=True)
def test_a_reader_that_heard_of_a_newer_version_gets_it():
    make_flag()
    key = make_key()
    look()
    services.update_flag(**SAID, key="new-parser", default_variant="on")

    answer = ask("POST", BULK, headers=key, query="flagConfigEtag=2")

    assert answer.json["metadata"]["revision"] == 2


def test_one_broken_flag_does_not_break_the_bulk():
    make_flag(targeting={"if": [{"/": [1, {"var": "zero"}]}, "on"]})
    make_flag("sound")
    key = make_key()
    look()

    broken, sound = ask("POST", BULK, body={"context": {"zero": 0}}, headers=key).json["flags"]

    assert (broken["key"], broken["errorCode"]) == ("new-parser", "GENERAL")
    assert sound["value"] is False


def test_a_float_stays_a_float_and_an_integer_an_integer():
    make_flag("real", type="float", variants={"a": 1}, default_variant="a")
    make_flag("whole", type="integer", variants={"a": 1}, default_variant="a")
    key = make_key()
    look()

    assert b'"value":1.0' in ask("POST", ONE + "real", headers=key).body
    assert b'"value":1}' in ask("POST", ONE + "whole", headers=key).body.replace(b',"', b'}"')


def test_evaluations_are_counted_and_written_down(shelf_of_this_test):
    make_route()
    key = make_key()
    look()
    for number in range(3):
        evaluate("invoice-extraction", {"targetingKey": f"r-{number}"}, key)

    counter.flush()

    (row,) = queries.exposures("production", "invoice-extraction")
    assert (row.variant, row.assigned_by, row.snapshot, row.count) == ("gpt-4.1", "default", 1, 3)
    assert counter.counts == {}


def test_every_answer_is_flat_json_that_says_its_revision():
    make_flag()
    key = make_key()
    look()

    metadata = json.loads(evaluate("new-parser", {"targetingKey": "u"}, key).body)["metadata"]

    assert all(isinstance(value, str | bool | int | float) for value in metadata.values())
    assert metadata["revision"] == 1


def test_a_request_that_comes_again_and_again_keeps_its_tag_until_the_address_of_the_stream_changes(monkeypatch):
    make_flag()
    key = make_key()
    look()
    body = {"context": {"targetingKey": "u"}}
    tag = ask("POST", BULK, headers=key, body=body).header("etag")
    again = key | {"If-None-Match": tag}

    assert [ask("POST", BULK, headers=again, body=body).status for _ in range(3)] == [304] * 3
    monkeypatch.setattr(events, "turn", lambda now: 7)
    assert ask("POST", BULK, headers=again, body=body).status == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("timed", [False, True])
def test_a_tag_of_a_newer_version_from_another_process_is_never_answered_with_an_older_one(timed):
    make_flag(targeting={"if": [{"<": [{"var": "$flagd.timestamp"}, 0]}, "on"]} if timed else {})
    key = make_key()
    look()
    services.update_flag(**SAID, key="new-parser", default_variant="on")

    answer = ask("POST", BULK, headers=key | {"If-None-Match": '"2-0123456789abcdef"'}, body={})

    assert (answer.status, answer.json["metadata"]["revision"]) == (200, 2)
