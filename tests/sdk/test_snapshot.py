"""A snapshot read from flagd's format: what it holds, what breaks, what is kept from the one before."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from changeover import Snapshot, UnreadableDocument

PLAIN: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
NESTED: Any = "on"
for _ in range(200):
    NESTED = {"if": [True, NESTED]}


def document(**flags: Any) -> dict[str, Any]:
    return {"metadata": {"version": "412", "revision": 412, "flagSetId": "production"}, "flags": flags}


def test_it_reads_text_bytes_and_objects_alike():
    whole = document(f=PLAIN)

    for form in (whole, json.dumps(whole), json.dumps(whole).encode()):
        snapshot = Snapshot.from_flagd(form)
        assert (snapshot.version, snapshot.evaluate("f").value) == (412, True)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"flags": 7}', '{"flags": {}, "$evaluators": 7}'])
def test_what_is_no_definition_at_all_is_refused(text):
    with pytest.raises(UnreadableDocument):
        Snapshot.from_flagd(text)


@pytest.mark.parametrize(
    ("metadata", "version"),
    [({}, 0), ({"version": "7"}, 7), ({"version": 7}, 7), ({"version": "v7"}, 0), ({"revision": 9, "version": "7"}, 9)],
)
def test_the_version_is_the_revision_or_the_number_that_flagd_calls_version(metadata, version):
    assert Snapshot.from_flagd({"metadata": metadata, "flags": {}}).version == version


@pytest.mark.parametrize(
    "broken",
    [
        "text",
        None,
        {**PLAIN, "state": "ON"},
        {"variants": {"a": 1}},
        {**PLAIN, "variants": {}},
        {**PLAIN, "variants": ["on"]},
        {**PLAIN, "defaultVariant": 7},
        {**PLAIN, "targeting": "on"},
        {**PLAIN, "targeting": [1]},
        {**PLAIN, "targeting": {"nope": []}},
        {**PLAIN, "targeting": NESTED},
        {**PLAIN, "targeting": {"or": [{"!": 1}] * 10_001}},
        {**PLAIN, "metadata": {"tags": ["a"]}},
        {**PLAIN, "metadata": {"salt": 7}, "targeting": {"fractional": [["on"]]}},
    ],
)
def test_a_broken_flag_is_an_error_of_that_flag_only(broken):
    snapshot = Snapshot.from_flagd(document(bad=broken, good=PLAIN))

    bad = snapshot.evaluate("bad", {"targetingKey": "x"})
    assert (bad.error_code, bad.reason, bad.variant) == ("PARSE_ERROR", "ERROR", None)
    assert bad.error_details
    assert snapshot.evaluate("good").value is True


def test_a_disabled_flag_has_no_value_however_broken_its_rule():
    snapshot = Snapshot.from_flagd(document(f={**PLAIN, "state": "DISABLED", "targeting": {"nope": 1}}))

    answer = snapshot.evaluate("f")

    assert (answer.value, answer.variant, answer.reason, answer.error_code) == (None, None, "DISABLED", None)


@pytest.mark.parametrize("default", [None, "", "absent"])
def test_without_a_default_variant_the_caller_keeps_its_own(default):
    flag = {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": default}
    if default == "absent":
        del flag["defaultVariant"]

    answer = Snapshot.from_flagd(document(f=flag)).evaluate("f")

    assert (answer.value, answer.variant, answer.reason, answer.error_code) == (None, None, "DEFAULT", None)


def test_a_default_variant_that_does_not_exist_is_an_error_when_it_is_used():
    flag = {**PLAIN, "defaultVariant": "gone", "targeting": {"if": [{"var": "x"}, "on"]}}
    snapshot = Snapshot.from_flagd(document(f=flag))

    assert snapshot.evaluate("f", {"x": 1}).value is True
    assert snapshot.evaluate("f", {}).error_code == "GENERAL"


def test_an_unknown_flag_is_told_with_the_metadata_of_the_set():
    answer = Snapshot.from_flagd(document()).evaluate("nothing")

    assert (answer.error_code, answer.reason) == ("FLAG_NOT_FOUND", "ERROR")
    assert answer.metadata["flagSetId"] == "production"


def test_a_flags_metadata_wins_over_the_sets():
    flag = {**PLAIN, "metadata": {"owner": "payments", "flagSetId": "mine"}}

    answer = Snapshot.from_flagd(document(f=flag)).evaluate("f")

    assert answer.metadata == {"version": "412", "revision": 412, "flagSetId": "mine", "owner": "payments"}


def test_every_answer_before_an_evaluation_has_its_number():
    flag = {**PLAIN, "targeting": {"if": [{"var": "x"}, {"fractional": [["on"], ["zzz", 0]]}, "off"]}}
    [loaded] = Snapshot.from_flagd(document(f=flag)).flags.values()

    for context in ({"x": 1, "targetingKey": "a"}, {"x": 1}, {}):
        answer = loaded.evaluate(context)
        assert loaded.answers[answer.index] is answer


def test_an_unchanged_flag_is_not_compiled_again():
    flag = {**PLAIN, "targeting": {"if": [{"var": "x"}, "off"]}}
    first = Snapshot.from_flagd({"metadata": {"version": "1"}, "flags": {"kept": flag, "changed": flag}})
    changed = {**flag, "defaultVariant": "off"}
    second = Snapshot.from_flagd(
        {"metadata": {"version": "2"}, "flags": {"kept": flag, "changed": changed}}, previous=first
    )

    assert second.flags["kept"].compiled is first.flags["kept"].compiled
    assert second.flags["changed"].compiled is not first.flags["changed"].compiled
    assert second.evaluate("kept").metadata == {"version": "2"}
    assert first.evaluate("kept").metadata == {"version": "1"}


def test_one_and_one_point_nought_are_different_definitions():
    first = Snapshot.from_flagd(document(f={**PLAIN, "variants": {"on": 1}}))
    second = Snapshot.from_flagd(document(f={**PLAIN, "variants": {"on": 1.0}}), previous=first)

    assert repr(second.evaluate("f").value) == "1.0"


def test_the_time_is_an_argument():
    flag = {**PLAIN, "targeting": {"if": [{">=": [{"var": "$flagd.timestamp"}, 100]}, "on", "off"]}}
    snapshot = Snapshot.from_flagd(document(f=flag, plain=PLAIN))

    assert snapshot.time_dependent
    assert not snapshot.flags["plain"].time_dependent
    assert [snapshot.evaluate("f", now=now).value for now in (99.9, 100.0)] == [False, True]
    assert snapshot.evaluate("f").value is True


def test_shared_rules_are_put_where_a_flag_refers_to_them():
    flag = {**PLAIN, "targeting": {"if": [{"$ref": "is-zoë"}, "off"]}}
    shared = {"is-zoë": {"or": [{"$ref": "later"}, False]}, "later": {"==": [{"var": "name"}, "zoë\n"]}}

    snapshot = Snapshot.from_flagd({**document(f=flag), "$evaluators": shared})

    assert snapshot.evaluate("f", {"name": "zoë\n"}).variant == "off"
    assert snapshot.evaluate("f", {"name": "x"}).variant == "on"


def test_a_shared_rule_nobody_wrote_is_a_parse_error():
    flag = {**PLAIN, "targeting": {"if": [{"$ref": "nothing"}, "off"]}}

    snapshot = Snapshot.from_flagd({**document(f=flag), "$evaluators": {"other": True}})

    assert snapshot.evaluate("f").error_code == "PARSE_ERROR"


def test_shared_rules_that_multiply_end():
    shared: dict[str, Any] = {f"r{n}": {"and": [{"$ref": f"r{n + 1}"}] * 2} for n in range(60)}
    flag = {**PLAIN, "targeting": {"if": [{"$ref": "r0"}, "off"]}}

    snapshot = Snapshot.from_flagd({**document(f=flag, good=PLAIN), "$evaluators": shared})

    assert snapshot.evaluate("f").error_code == "PARSE_ERROR"
    assert snapshot.evaluate("good").value is True


def test_a_bottomless_rule_breaks_its_flag_only_where_rules_are_shared_too():
    deep: Any = "on"
    for _ in range(5000):
        deep = [deep]
    flag = {**PLAIN, "targeting": {"in": deep}}

    snapshot = Snapshot.from_flagd({**document(f=flag, good=PLAIN), "$evaluators": {"r": True}})

    assert snapshot.evaluate("f").error_code == "PARSE_ERROR"
    assert snapshot.evaluate("good").value is True


def test_a_list_of_flags_is_read_as_flagd_reads_it():
    snapshot = Snapshot.from_flagd({"flags": [{"key": "f", **PLAIN}, {"no": "key"}]})

    assert list(snapshot.flags) == ["f"]
    assert snapshot.evaluate("f").value is True


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (True, "boolean", True),
        (True, "integer", None),
        (True, "float", None),
        (2**53, "float", None),
        (2**53 - 1, "float", float(2**53 - 1)),
        (1, "boolean", None),
        (1, "integer", 1),
        (1, "float", 1.0),
        (1.0, "integer", None),
        (1.5, "float", 1.5),
        ("1", "integer", None),
        ("1", "string", "1"),
        ({"a": 1}, "object", {"a": 1}),
        ([1], "object", [1]),
        ("{}", "object", None),
    ],
)
def test_a_value_of_another_type_is_a_type_mismatch(value, kind, told):
    flag = {"state": "ENABLED", "variants": {"x": value}, "defaultVariant": "x"}

    answer = Snapshot.from_flagd(document(f=flag)).evaluate("f").as_type(kind)

    assert repr(answer.value) == repr(told)
    assert answer.error_code == (None if told is not None else "TYPE_MISMATCH")


def test_a_context_is_never_changed():
    flag = {**PLAIN, "targeting": {"in": ["x", {"var": ""}]}}
    context = {"targetingKey": "u", "$flagd": {"flagKey": "mine"}, "n": 1}

    Snapshot.from_flagd(document(f=flag)).evaluate("f", context)

    assert context == {"targetingKey": "u", "$flagd": {"flagKey": "mine"}, "n": 1}


def texts(**flags: object) -> dict[str, bytes]:
    return {key: json.dumps(flag).encode() for key, flag in flags.items()}


def test_flags_as_texts_answer_as_the_whole_document_does():
    split = {**PLAIN, "targeting": {"if": [{"var": "x"}, "off", {"fractional": [["on", 1], ["off", 1]]}]}}
    metadata = {"version": "7", "bucketing": "v2"}
    whole = Snapshot.from_flagd({"metadata": metadata, "flags": {"plain": PLAIN, "split": split}})
    parts = Snapshot.from_texts(texts(plain=PLAIN, split=split), metadata)

    assert parts.version == whole.version
    assert list(parts.flags) == list(whole.flags)
    for key in ("plain", "split", "nothing"):
        for context in ({"x": 1}, {"targetingKey": "user-1"}, {"targetingKey": "user-2"}, {}):
            assert parts.evaluate(key, context) == whole.evaluate(key, context)


def test_of_flags_as_texts_only_a_changed_one_is_compiled_again():
    first = Snapshot.from_texts(texts(kept=PLAIN, changed=PLAIN), {"version": "1"})
    second = Snapshot.from_texts(
        texts(kept=PLAIN, changed={**PLAIN, "state": "DISABLED"}), {"version": "2"}, previous=first
    )

    assert second.flags["kept"].compiled is first.flags["kept"].compiled
    assert second.evaluate("changed").reason == "DISABLED"
    assert first.evaluate("changed").reason == "STATIC"
    assert second.evaluate("kept").metadata == {"version": "2"}


def test_another_bucketing_for_the_whole_set_compiles_every_flag_again():
    split = {**PLAIN, "targeting": {"fractional": [["on", 1], ["off", 1]]}}
    first = Snapshot.from_texts(texts(f=split), {"bucketing": "v2"})
    second = Snapshot.from_texts(texts(f=split), {"bucketing": "v3"}, previous=first)

    assert second.flags["f"].compiled is not first.flags["f"].compiled


def test_a_text_that_is_no_json_breaks_its_flag_alone():
    snapshot = Snapshot.from_texts({"bad": b"{", "good": json.dumps(PLAIN).encode()}, {})

    assert snapshot.evaluate("bad").error_code == "PARSE_ERROR"
    assert snapshot.evaluate("good").reason == "STATIC"


def test_a_rule_that_stumbles_once_answers_the_next_time():
    flag = {**PLAIN, "targeting": {"if": [{">": [{"/": [1, {"var": "x"}]}, 0]}, "on", "off"]}}
    snapshot = Snapshot.from_flagd(document(f=flag))

    assert snapshot.evaluate("f", {"x": 0}).error_code == "GENERAL"
    assert snapshot.evaluate("f", {"x": 2}).variant == "on"
    assert snapshot.evaluate("f", {"x": 0}).error_code == "GENERAL"


def test_a_context_may_be_any_mapping_or_none():
    flag = {**PLAIN, "targeting": {"if": [{"==": [{"var": "x"}, 1]}, "on", "off"]}}
    snapshot = Snapshot.from_flagd(document(f=flag))

    assert snapshot.evaluate("f", {"x": 1}).variant == "on"
    assert snapshot.evaluate("f", MappingProxyType({"x": 1})).variant == "on"
    assert snapshot.evaluate("f", None).variant == "off"


def test_a_subject_that_cannot_be_encoded_is_nobody():
    flag = {**PLAIN, "targeting": {"fractional": [["on", 1], ["off", 1]]}}
    answer = Snapshot.from_flagd(document(f=flag)).evaluate("f", {"targetingKey": "\ud800"})

    assert (answer.variant, answer.reason, answer.assigned_by) == ("on", "DEFAULT", "default")
