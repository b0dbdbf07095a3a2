"""What a body holds is read alike in JSON and in protobuf; what cannot be believed costs itself."""

import json

import pytest

from apps.telemetry.domain import intake, otlp_json, otlp_protobuf
from apps.telemetry.domain.batch import Unreadable
from tests.telemetry.make_otlp import CALL, durations, exponential, metrics, span, tokens, traces
from tests.telemetry.make_telemetry import NOW, ROUTE
from tests.telemetry.otlp_samples import as_protobuf

NANOS = int(NOW.timestamp()) * 10**9
FROM_JSON = {"traces": otlp_json.read_traces, "metrics": otlp_json.read_metrics}
FROM_PROTOBUF = {"traces": otlp_protobuf.read_traces, "metrics": otlp_protobuf.read_metrics}


def understood(body, signal):
    """From both encodings, and they must not differ."""
    read = FROM_JSON[signal](body), FROM_PROTOBUF[signal](as_protobuf(json.loads(body), signal))
    told, otherwise = (intake.of_body(one, environment="production", now=NANOS) for one in read)
    assert told.message == otherwise.message
    assert (len(told.calls), len(told.points)) == (len(otherwise.calls), len(otherwise.points))
    return told


def changed(metric, **fields):
    (data,) = (held for held in metric.values() if isinstance(held, dict))
    data["dataPoints"][0] |= fields
    return metric


def explicit(**fields):
    return changed(durations({0: 1, 1: 1}, [1.0], seconds_ago=5), **fields)


def in_cells(**fields):
    return changed(exponential(2, [1, 1], 3, seconds_ago=5), **fields)


def used(**fields):
    return changed(tokens("input", 10.0, seconds_ago=5, temporality=1), **fields)


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        (explicit(), ""),
        (explicit(bucketCounts=[], explicitBounds=[]), ""),
        (explicit(bucketCounts=["0", "0"]), "count_is_not_its_buckets"),
        (explicit(bucketCounts=["1", "1"], explicitBounds=[1.0, 2.0, 3.0]), "no_bounds"),
        (explicit(min="NaN"), "no_number"),
        (explicit(max="Infinity"), "no_number"),
        (explicit(sum="-Infinity"), "no_number"),
        (explicit(sum=None), ""),
        (used(), ""),
        (used(sum=1e9), ""),
        (used(sum=None), "no_sum"),
        (used(sum=-1.0), "no_number"),
        (in_cells(), ""),
        (in_cells(negative={"bucketCounts": ["0"]}), ""),
        (in_cells(negative={"bucketCounts": ["1"]}), "negative"),
        (in_cells(zeroCount="2"), "count_is_not_its_buckets"),
        (in_cells(zeroThreshold=-1.0), "no_number"),
        (in_cells(positive={"offset": 2**31 - 1, "bucketCounts": ["1", "1"]}, scale=20), ""),
    ],
)
def test_points_that_cannot_be_are_refused_in_either_encoding(metric, fault):
    assert understood(metrics(metric), "metrics").message == (f"1 {fault}" if fault else "")


def test_a_point_without_a_recorded_value_is_no_point_and_no_fault():
    told = understood(metrics(explicit(flags=1), in_cells(flags=3), used(flags=2)), "metrics")

    assert (len(told.points), told.rejected) == (1, 0)


def test_exemplars_are_not_counted():
    exemplar = {"traceId": "ab" * 16, "spanId": "cd" * 8, "timeUnixNano": "1", "asDouble": 7.0}

    (point,) = understood(metrics(used(exemplars=[exemplar])), "metrics").points

    assert (point.count, point.total) == (1, 10)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (explicit(count=2.0, bucketCounts=[1, 1.0], flags="0"), ""),
        (in_cells(scale="3", positive={"offset": "2", "bucketCounts": ["1", "1"]}), ""),
        (in_cells(positive={"offset": 10**30, "bucketCounts": ["1", "1"]}), "1 unreadable_value"),
        (in_cells(scale=10**30), "1 unreadable_value"),
        (explicit(count=2.5), "1 unreadable_value"),
        ({"name": used()["name"], "histogram": used()["histogram"] | {"aggregationTemporality": "DELTA"}},
         "1 no_temporality"),
    ],
)  # fmt: skip
def test_json_may_write_a_number_in_several_ways_and_an_enum_in_one(metric, message):
    body = otlp_json.read_metrics(metrics(metric, explicit()))

    told = intake.of_body(body, environment="production", now=NANOS)

    assert (told.message, len(told.points)) == (message, 1 if message else 2)


def calls_in(body):
    return intake.of_body(otlp_json.read_traces(body), environment="production", now=NANOS).calls


@pytest.mark.parametrize("half", [r"\ud83d", r"\ude00", r"\ud83d\ud83d", r"\ud83d cut"])
def test_a_text_that_javascript_cut_in_the_middle_of_a_character_costs_nothing(half):
    body = traces(span(CALL | {"gen_ai.prompt": "?", "changeover.tag": "?"})).replace(b'"?"', f'"{half}"'.encode())

    (call,) = calls_in(body)

    assert (call.route, call.tag[0]) == (ROUTE, "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("whole", [r"\ud83d\ude00", r"\\ud83d"])
def test_whole_characters_stay_as_they_are_beside_a_half_one(whole):
    body = traces(span(CALL | {"gen_ai.prompt": "half", "changeover.tag": "?"}))

    (call,) = calls_in(body.replace(b'"half"', rb'"\ud83d"').replace(b'"?"', f'"{whole}"'.encode()))

    assert call.tag == json.loads(f'"{whole}"')


@pytest.mark.parametrize("held", [{"intValue": None}, {"doubleValue": None}, {}, None])
def test_a_value_that_is_null_is_unknown_and_not_zero(held):
    told = span()
    next(pair for pair in told["attributes"] if pair["key"] == "gen_ai.usage.input_tokens")["value"] = held

    (call,) = calls_in(traces(told))

    assert call.input_tokens is None


def test_text_that_is_no_text_costs_its_own_span():
    body = otlp_json.read_traces(traces(span(), span(CALL | {"changeover.tag": "?"})).replace(b'"?"', b'"\xff"'))

    assert (len(body.spans), body.faults) == (1, {("payments", "unreadable_value"): 1})


def test_a_span_with_more_attributes_than_are_looked_at_is_refused_and_counted():
    many = {f"llm.input_messages.{n}.message.role": "user" for n in range(4_096)}

    told = understood(traces(span(many | CALL), span(dict(list(many.items())[:4_000]) | CALL)), "traces")

    assert (told.message, len(told.calls)) == ("1 too_many_attributes", 1)


def test_keys_in_the_words_of_protobuf_are_unknown_and_unknown_ones_are_ignored():
    told = json.loads(traces(span() | {"anything": [{}], "links": 7, "start_time_unix_nano": "1"}))

    assert len(calls_in(json.dumps(told | {"more": 1}).encode())) == 1
    assert calls_in(json.dumps({"resource_spans": told["resourceSpans"]}).encode()) == []


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"resourceSpans": {}}', b'{"resourceSpans": [null]}', b'"\xff"'])
def test_what_is_no_request_at_all_is_refused_whole(body):
    with pytest.raises(Unreadable):
        otlp_json.read_traces(body)
