"""A batch is read whole where it can be, and call by call where one of them is broken."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.telemetry.domain import batch as batches
from tests.telemetry.make_telemetry import NOW, batch, call, outcome


def read(told):
    return batches.read(told if isinstance(told, bytes) else json.dumps(told).encode(), NOW)


def test_a_good_batch_is_read_whole():
    found = read(batch(call(id="c-1"), call(id="c-2"), outcomes=[outcome(id="o-1")]))

    assert [one.id for one in found.calls] == ["c-1", "c-2"]
    assert [one.id for one in found.outcomes] == ["o-1"]
    assert found.rejected == []


def test_only_four_fields_are_required():
    found = read(batch({"id": "c-1", "at": "2026-11-24T03:00:00Z", "route": "r", "latency_ms": 1}))

    assert len(found.calls) == 1


def test_fields_from_the_future_are_ignored():
    assert len(read(batch(call(colour="blue"), sender="x", rejected=[1])).calls) == 1


BROKEN = [
    ({"latency_ms": -1}, "latency_ms"),
    ({"latency_ms": None}, "latency_ms"),
    ({"latency_ms": "400"}, "latency_ms"),
    ({"latency_ms": float("nan")}, "latency_ms"),
    ({"latency_ms": float("inf")}, "latency_ms"),
    ({"latency_ms": True}, "latency_ms"),
    ({"input_tokens": -5}, "input_tokens"),
    ({"output_tokens": 1.5}, "output_tokens"),
    ({"output_tokens": 10**4000}, "output_tokens"),
    ({"attempt": 10**30}, "attempt"),
    ({"attempt": -1}, "attempt"),
    ({"at": "yesterday"}, "at"),
    ({"at": "2026-11-24T02:59:50"}, "timezone"),
    ({"at": 1764000000}, "at"),
    ({"at": "2026-11-22T02:59:59Z"}, "48 hours back"),
    ({"at": "2026-11-24T03:05:01Z"}, "5 minutes ahead"),
    ({"route": ""}, "route"),
    ({"route": 7}, "route"),
    ({"arm": "canary"}, "arm"),
    ({"assigned_by": "magic"}, "assigned_by"),
    ({"cost_usd": "much"}, "cost_usd"),
    ({"cost_usd": "-0.01"}, "cost_usd"),
    ({"cost_usd": "NaN"}, "cost_usd"),
    ({"cost_usd": True}, "cost_usd"),
    ({"variant": "x" * 129}, "variant"),
    ({"variant": "zero\0"}, "cannot be stored"),
    ({"variant": "\ud800"}, "cannot be stored"),
]


@pytest.mark.parametrize(("fault", "said"), BROKEN, ids=lambda value: str(value)[:40])
def test_a_broken_call_costs_itself_and_not_its_batch(fault, said):
    found = read(batch(call(id="good-1"), call(id="broken", **fault), call(id="good-2")))

    assert [one.id for one in found.calls] == ["good-1", "good-2"]
    assert [one.id for one in found.rejected] == ["broken"]
    assert said in found.rejected[0].reason


def test_what_is_no_call_at_all_has_no_id():
    found = read(batch(call(), "text", None, 7, {"id": 5}))

    assert len(found.calls) == 1
    assert [one.id for one in found.rejected] == ["", "", "", ""]


def test_the_edges_of_time_are_inside():
    found = read(
        batch(call(at="2026-11-22T03:00:00Z"), call(at="2026-11-24T03:05:00Z"), call(at="2026-11-24T04:00:00+01:00"))
    )

    assert len(found.calls) == 3


def test_costs_come_as_text_or_number():
    found = read(batch(call(cost_usd="0.000000001"), call(cost_usd=0.1), call(cost_usd=0)))

    assert [str(one.cost_usd) for one in found.calls] == ["1E-9", "0.1", "0"]


def test_broken_outcomes_are_told_apart():
    found = read(
        batch(call(), outcomes=[outcome(id="o-1"), outcome(id="o-2", value="good"), outcome(id="o-3", at="x")])
    )

    assert [one.id for one in found.outcomes] == ["o-1"]
    assert [one.id for one in found.rejected_outcomes] == ["o-2", "o-3"]


def test_a_broken_exposure_or_client_is_left_out():
    seen = {"flag": "f", "variant": "a", "minute": "2026-11-24T02:59:00Z", "count": 1}
    found = read(batch(call(), client={"name": 5}, exposures=[seen, {"flag": "f"}]))

    assert found.client is None
    assert len(found.exposures) == 1
    assert len(found.calls) == 1


UNREADABLE = [
    (b"", ""),
    (b"{", ""),
    (b'{"batch_id": "b", "calls": [}', "column 29"),
    (b"[]", "object"),
    (b"null", "object"),
    (b'{"calls": []}', "batch_id"),
    (b'{"batch_id": "", "calls": []}', "batch_id"),
    (b'{"batch_id": 5, "calls": []}', "$.batch_id"),
    (b'{"batch_id": "b", "calls": {}}', "$.calls"),
    (b'{"batch_id": "b\\u0000", "calls": []}', "$.batch_id"),
    (b'{"batch_id": "\xff", "calls": []}', "position 14"),
    (b"[" * 100_000, ""),
]


@pytest.mark.parametrize(("body", "place"), UNREADABLE, ids=lambda value: str(value)[:40])
def test_a_batch_that_cannot_be_read_names_the_place(body, place):
    with pytest.raises(batches.Unreadable) as told:
        read(body)

    assert place in str(told.value)


def test_a_number_of_thousands_of_digits_costs_its_call_only():
    found = read(b'{"batch_id": "b", "calls": [' + b"9" * 5000 + b', {"id": "long", "attempt": ' + b"9" * 5000 + b"}]}")

    assert [one.id for one in found.rejected] == ["", "long"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_comes_in_a_list_of_calls_is_rejected_one_by_one(anything):
    found = read({"batch_id": "b", "calls": [anything, call(id="good")]})

    assert [one.id for one in found.calls] == ["good"]
    assert len(found.rejected) == 1
