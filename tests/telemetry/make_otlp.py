"""OTLP bodies as JSON; what is not named is ordinary."""

import itertools
import json
from typing import Any

from tests.telemetry.make_telemetry import NOW, ROUTE

numbers = itertools.count(1)
SECOND = 10**9
TRACES = "/otlp/v1/traces"


def nanos(seconds_ago: float = 10) -> int:
    return int((NOW.timestamp() - seconds_ago) * SECOND)


def value(held: Any) -> dict[str, Any]:
    if isinstance(held, bool):
        return {"boolValue": held}
    if isinstance(held, int):
        return {"intValue": str(held)}
    if isinstance(held, float):
        return {"doubleValue": held if held == held and abs(held) != float("inf") else str(held).replace("nan", "NaN")}
    if isinstance(held, list):
        return {"arrayValue": {"values": [value(one) for one in held]}}
    return {"stringValue": held}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": value(held)} for name, held in attributes.items()]


CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "changeover.route": ROUTE,
}
COST = 1000 * 2000 + 100 * 8000  # nano-USD of such a call


def span(attributes: dict[str, Any] | None = None, *, seconds_ago: float = 10, took: float = 0.4, **fields: Any) -> Any:
    number = next(numbers)
    begin = nanos(seconds_ago)
    ordinary = {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "chat gpt-4.1",
        "kind": 3,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + int(took * SECOND)),
        "attributes": pairs(CALL if attributes is None else attributes),
    }
    return ordinary | fields


def event(name: str, *, seconds_ago: float = 11, **attributes: Any) -> Any:
    told = {key.replace("__", "."): held for key, held in attributes.items()}
    return {"name": name, "timeUnixNano": str(nanos(seconds_ago)), "attributes": pairs(told)}


def evaluation(route: str = ROUTE, variant: str = "flash-lite", *, seconds_ago: float = 11) -> Any:
    return event(
        "feature_flag.evaluation",
        seconds_ago=seconds_ago,
        feature_flag__key=route,
        feature_flag__result__variant=variant,
    )


def flag_log(route: str, variant: str, seconds_ago: float, **where: Any) -> Any:
    told = evaluation(route, variant, seconds_ago=seconds_ago)
    return {"eventName": told["name"], "timeUnixNano": told["timeUnixNano"], "attributes": told["attributes"]} | where


def call_log(seconds_ago: float, **where: Any) -> Any:
    name = "gen_ai.client.inference.operation.details"
    return {"eventName": name, "timeUnixNano": str(nanos(seconds_ago)), "attributes": pairs(CALL)} | where


def traces(*spans: Any, scope: str = "test", **resource: Any) -> bytes:
    told = {"service.name": "payments"} | {key.replace("__", "."): held for key, held in resource.items()}
    scoped = {"scope": {"name": scope}, "spans": list(spans)}
    return json.dumps({"resourceSpans": [{"resource": {"attributes": pairs(told)}, "scopeSpans": [scoped]}]}).encode()


def logs(*records: Any) -> bytes:
    of_resource = {"resource": {"attributes": pairs({"service.name": "payments"})},
                   "scopeLogs": [{"scope": {"name": "test"}, "logRecords": list(records)}]}  # fmt: skip
    return json.dumps({"resourceLogs": [of_resource]}).encode()


def tokens(kind: str, total: float, *, seconds_ago: float, begin: float = 500, temporality: int = 2, count: int = 1,
           name: str = "gen_ai.client.token.usage", **attributes: Any) -> Any:  # fmt: skip
    told = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4.1",
        "gen_ai.token.type": kind, "changeover.route": ROUTE, **attributes,
    }  # fmt: skip
    point = {
        "startTimeUnixNano": str(nanos(begin)), "timeUnixNano": str(nanos(seconds_ago)), "count": str(count),
        "sum": total, "bucketCounts": [str(count)], "explicitBounds": [], "attributes": pairs(told),
    }  # fmt: skip
    return {"name": name, "unit": "{token}",
            "histogram": {"aggregationTemporality": temporality, "dataPoints": [point]}}  # fmt: skip


def durations(counts: dict[int, int], bounds: list[float], *, seconds_ago: float, temporality: int = 1,
              **attributes: Any) -> Any:  # fmt: skip
    """Explicit buckets, by their number."""
    told = CALL | attributes
    buckets = [str(counts.get(number, 0)) for number in range(len(bounds) + 1)]
    point = {
        "startTimeUnixNano": str(nanos(seconds_ago + 60)), "timeUnixNano": str(nanos(seconds_ago)),
        "count": str(sum(counts.values())), "sum": 1.0, "bucketCounts": buckets, "explicitBounds": bounds,
        "attributes": pairs(told),
    }  # fmt: skip
    return {"name": "gen_ai.client.operation.duration", "unit": "s",
            "histogram": {"aggregationTemporality": temporality, "dataPoints": [point]}}  # fmt: skip


def exponential(offset: int, counts: list[int], scale: int, *, seconds_ago: float) -> Any:
    """Durations as delta, in cells from `offset` on."""
    point = {
        "startTimeUnixNano": str(nanos(seconds_ago + 60)), "timeUnixNano": str(nanos(seconds_ago)),
        "count": str(sum(counts)), "sum": 1.0, "scale": scale, "zeroCount": "0", "attributes": pairs(CALL),
        "positive": {"offset": offset, "bucketCounts": [str(n) for n in counts]},
    }  # fmt: skip
    return {"name": "gen_ai.client.operation.duration", "unit": "s",
            "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [point]}}  # fmt: skip


def counter(name: str, total: int, *, seconds_ago: float, **attributes: Any) -> Any:
    """As delta."""
    point = {"startTimeUnixNano": str(nanos(seconds_ago + 60)), "timeUnixNano": str(nanos(seconds_ago)),
             "asInt": str(total), "attributes": pairs(CALL | attributes)}  # fmt: skip
    return {"name": name, "unit": "{token}", "sum": {"aggregationTemporality": 1, "dataPoints": [point]}}


def metrics(*told: Any, **resource: Any) -> bytes:
    names = {"service.name": "payments"} | {key.replace("__", "."): held for key, held in resource.items()}
    scoped = {"scope": {"name": "test"}, "metrics": list(told)}
    of_resource = {"resource": {"attributes": pairs(names)}, "scopeMetrics": [scoped]}
    return json.dumps({"resourceMetrics": [of_resource]}).encode()
