"""Protobuf's shorter way from attributes to our own names leads where the longer one does."""

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import MOST_PLACED, fields_of
from apps.telemetry.domain.otlp_protobuf import kept, told_of

NEW, OLD = "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"


def attributes(*pairs):
    span = Span()
    for name, value in pairs:
        told = span.attributes.add(key=name)
        if isinstance(value, str):
            told.value.string_value = value
        elif isinstance(value, bool):
            told.value.bool_value = value
        elif isinstance(value, int):
            told.value.int_value = value
        elif value is not None:
            told.value.array_value.values.add(string_value=value[0])
    return span.attributes


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([(NEW, 5), (OLD, 7)], {"input_tokens": 5}),
        ([(OLD, 7), (NEW, 5)], {"input_tokens": 5}),
        ([(OLD, 7), (NEW, "")], {"input_tokens": 7}),
        ([(OLD, 7), (NEW, None)], {"input_tokens": 7}),
        ([(OLD, 7), (NEW, 0)], {"input_tokens": 0}),
        ([(NEW, 5), (NEW, 6)], {"input_tokens": 6}),
        ([(NEW, 5), (NEW, "")], {}),
        ([("gen_ai.prompt", "secret"), ("changeover.final", True)], {"final": True}),
        ([("langfuse.observation.model.name", "m\0")], {"asked_model": "m", "response_model": "m"}),
        ([("llm.model_name", "a"), ("langfuse.observation.model.name", "b")],
         {"asked_model": "b", "response_model": "a"}),
        ([("gen_ai.response.finish_reasons", ["stop"]), ("gen_ai.usage.raw", "{}")],
         {"finish": ["stop"], "gen_ai.usage.raw": "{}"}),
        ([(f"own.{n}", n) for n in range(MOST_PLACED)] + [(NEW, 5)], {"input_tokens": 5}),
        ([], {}),
    ],
)  # fmt: skip
def test_of_each_field_the_newest_name_that_has_a_value_counts(pairs, told):
    sent = attributes(*pairs)

    assert told_of(sent) == told
    assert fields_of(kept(sent, aliases.KEPT)) == told
