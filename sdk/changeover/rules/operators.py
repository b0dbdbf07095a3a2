"""What each JSONLogic operator answers for values that are already known.

The reference is `openfeature-flagd-core` 2.0.0 with its engine, oddities included: a flag must mean the same here and
in any flagd provider. Every operator takes the data in scope first. A wrong number of arguments is a TypeError, as
there; the evaluation then ends in GENERAL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from math import isnan
from time import mktime
from typing import Any
from wsgiref.handlers import format_date_time

from changeover.rules import versions

log = logging.getLogger("changeover.rules")

Operator = Callable[..., Any]

NAN = float("nan")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INFINITE_TEXTS = ("inf", "-inf", "+inf")  # Python reads these as numbers, JavaScript does not


def to_bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    if value is None:
        return False
    if isinstance(value, float):
        return value == value and value != 0.0
    if isinstance(value, (str, int, list)):
        return bool(value)
    return True  # an object, even an empty one


def to_number(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    if value is None:
        return 0
    if isinstance(value, list):
        if not value:
            return 0
        return NAN if len(value) > 1 else to_number(value[0])
    if isinstance(value, dict):
        return NAN
    if isinstance(value, str) and value.strip().lower() in INFINITE_TEXTS:
        return NAN
    if isinstance(value, datetime):
        return (value - EPOCH).total_seconds() * 1000.0
    if isinstance(value, date):
        return (datetime.combine(value, time()) - EPOCH).total_seconds() * 1000.0
    try:
        return float(value)
    except ValueError:
        return NAN


def to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, int):  # a boolean too: "True" and "False", as flagd's Python engine writes them
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, list):
        return ",".join(map(to_text, value))
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, date):
        return format_date_time(mktime(value.timetuple()))
    return str(value)


def equals(a: Any, b: Any) -> bool:
    kind = type(a)
    if kind is type(b):
        return a is b if kind in (list, dict) else bool(a == b)
    if isinstance(a, (int, float)):
        return bool(a == to_number(b))
    if isinstance(b, (int, float)):
        return bool(to_number(a) == b)
    if a is None or b is None:
        return False
    if isinstance(a, str) and isinstance(b, (list, dict)):
        return a == to_text(b)
    if isinstance(a, (list, dict)):
        if isinstance(b, (list, dict)):
            return False
        if isinstance(b, str):
            return to_text(a) == b
    raise TypeError(f"cannot compare {type(a).__name__} with {type(b).__name__}")


def _ordered(a: Any, b: Any) -> tuple[Any, Any]:
    """Both sides as they are ordered: as numbers if one is a number, as texts if one is a text."""
    if isinstance(a, (int, float)):
        return a, to_number(b)
    if isinstance(b, (int, float)):
        return to_number(a), b
    if isinstance(a, str):
        return a, to_text(b)
    if isinstance(b, str):
        return to_text(a), b
    return to_number(a), to_number(b)


def less(a: Any, b: Any) -> bool:
    x, y = _ordered(a, b)
    return bool(x < y)


def less_or_equal(a: Any, b: Any) -> bool:
    x, y = _ordered(a, b)
    return bool(x <= y)


def greater(a: Any, b: Any) -> bool:
    x, y = _ordered(a, b)
    return bool(x > y)


def greater_or_equal(a: Any, b: Any) -> bool:
    x, y = _ordered(a, b)
    return bool(x >= y)


def _between(order: Callable[[Any, Any], bool]) -> Operator:
    def operator(data: Any, a: Any = None, b: Any = None, c: Any = None, *_: Any) -> bool:
        return order(a, b) and (c is None or order(b, c))

    return operator


def walk(data: Any, path: tuple[str, ...], default: Any = None) -> Any:
    """What stands at this path; the default where nothing, or null, stands."""
    for name in path:
        if isinstance(data, dict):
            data = data.get(name)
        elif isinstance(data, (list, str)):
            if name == "length":
                return len(data)  # the rest of the path is not looked at
            try:
                index = int(name, 10)
            except ValueError:
                return default
            if name != str(index) or index < 0 or index >= len(data):
                return default
            data = data[index]
        else:
            return default
    return default if data is None else data


def var(data: Any, key: Any = None, default: Any = None) -> Any:
    if key is None or key == "":
        return data
    if isinstance(key, (int, float)):
        if isinstance(data, (list, str)):
            try:
                index = int(key)
            except ValueError:
                return default
            return data[index] if index == key and 0 <= index < len(data) else default
        if not isinstance(data, dict):
            return default
        data = data.get(key)
        if data is None:
            return default
    return walk(data, tuple(to_text(key).split(".")), default)


def missing(data: Any, *args: Any) -> list[Any]:
    keys = args[0] if args and isinstance(args[0], list) else args
    return [key for key in keys if (value := var(data, key)) is None or value == ""]


def missing_some(data: Any, need: Any = 0, keys: Any = None, *_: Any) -> list[Any]:
    if not isinstance(keys, list):
        return []
    need = to_number(need)
    absent = missing(data, keys)
    return [] if len(keys) - len(absent) >= need else absent


def _plus(data: Any, *args: Any) -> Any:
    total: Any = 0
    for arg in args:
        total += to_number(arg)
    return total


def _times(data: Any, *args: Any) -> Any:
    product: Any = 1
    for arg in args:
        product *= to_number(arg)
    return product


def _minus(data: Any, a: Any = None, b: Any = None, *_: Any) -> Any:
    return -to_number(a) if b is None else to_number(a) - to_number(b)


def _divided(data: Any, a: Any = None, b: Any = None, *_: Any) -> Any:
    return to_number(a) / to_number(b)


def _remainder(data: Any, a: Any = None, b: Any = None, *_: Any) -> Any:
    return to_number(a) % to_number(b)


def _least(data: Any, *args: Any) -> Any:
    return min(map(to_number, args)) if args else NAN


def _most(data: Any, *args: Any) -> Any:
    return max(map(to_number, args)) if args else NAN


def _cat(data: Any, *args: Any) -> str:
    return "".join(map(to_text, args))


def contains(needle: Any, haystack: Any) -> bool:
    if isinstance(haystack, list):
        return needle in haystack
    return isinstance(haystack, str) and to_text(needle) in haystack


def _merge(data: Any, *args: Any) -> list[Any]:
    merged: list[Any] = []
    for arg in args:
        if isinstance(arg, list):
            merged.extend(arg)
        else:
            merged.append(arg)
    return merged


def _substr(data: Any, text: Any = None, start: Any = None, length: Any = None, *_: Any) -> str:
    whole, start = to_text(text), to_number(start)
    size = len(whole)
    if isnan(start):
        start = 0
    elif start < 0:
        start = 0 if -start >= size else size - int(-start)
    else:
        start = min(int(start), size)
    if length is None:
        return whole[start:]
    length = to_number(length)
    if isnan(length):
        return ""
    length = int(length)
    return whole[start : max(size + length, start) if length < 0 else start + length]


def _log(data: Any, value: Any = None, *_: Any) -> Any:
    log.debug("log: %r", value)
    return value


def starts_with(data: Any, *args: Any) -> bool | None:
    if len(args) != 2 or not isinstance(args[0], str) or not isinstance(args[1], str):
        return None
    return args[0].startswith(args[1])


def ends_with(data: Any, *args: Any) -> bool | None:
    if len(args) != 2 or not isinstance(args[0], str) or not isinstance(args[1], str):
        return None
    return args[0].endswith(args[1])


def sem_ver(data: Any, *args: Any) -> bool | None:
    if len(args) != 3:
        return None
    return versions.compare(versions.parse(args[0]), args[1], versions.parse(args[2]))


# All operators whose arguments are known before they begin. `fractional` is among them, in bucketing.py, because it
# needs the flag; the others (if, and, or, filter …) choose what is evaluated and live in the compiler.
OPERATORS: dict[str, Operator] = {
    "var": var,
    "missing": missing,
    "missing_some": missing_some,
    "==": lambda data, a=None, b=None, *_: equals(a, b),
    "!=": lambda data, a=None, b=None, *_: not equals(a, b),
    "===": lambda data, a=None, b=None, *_: a == b,
    "!==": lambda data, a=None, b=None, *_: a != b,
    "!": lambda data, a=None, *_: not to_bool(a),
    "!!": lambda data, a=None, *_: to_bool(a),
    "<": _between(less),
    "<=": _between(less_or_equal),
    ">": _between(greater),
    ">=": _between(greater_or_equal),
    "+": _plus,
    "*": _times,
    "-": _minus,
    "/": _divided,
    "%": _remainder,
    "min": _least,
    "max": _most,
    "cat": _cat,
    "in": lambda data, needle=None, haystack=None, *_: contains(needle, haystack),
    "merge": _merge,
    "substr": _substr,
    "log": _log,
    "starts_with": starts_with,
    "ends_with": ends_with,
    "sem_ver": sem_ver,
}


class UnknownOperator(ValueError):
    """A rule names an operator that nobody knows."""


def unknown(name: str) -> Exception:
    """What reaching an operator nobody knows raises. A dotted name whose first part is known is a TypeError in flagd's
    engine, so the evaluation ends in GENERAL rather than PARSE_ERROR."""
    first, dot, _ = name.partition(".")
    if dot and (first in OPERATORS or first == "fractional"):
        return TypeError(f"operator {first!r} has no parts")
    return UnknownOperator(f"Unrecognized operation: {name!r}")
