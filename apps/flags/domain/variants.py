"""What a flag's variants may be: values of one kind, and for a route model configurations.

Numbers keep the kind that the flag has: a float flag never holds `1`, an integer flag never `1.0`, since clients tell
the two apart. Integers stay within ±(2^53 - 1), where every language agrees about them.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.flags.domain.unfit import Unfit

TYPES = ("boolean", "string", "integer", "float", "object")
SAFE = 2**53 - 1
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SET_BY_US = ("variant", "fallback", "shadow")  # fields of a route's value that no variant may name


def check_key(key: object) -> str:
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise Unfit("key", "A key has 1 to 128 letters, digits, dots, dashes and underscores, and begins with no dot.")
    return key


def of_type(kind: str, variants: object) -> dict[str, Any]:
    """The variants as values of this type, or Unfit."""
    if kind not in TYPES:
        raise Unfit("type", f"The type is one of {', '.join(TYPES)}.")
    if not isinstance(variants, Mapping) or not variants:
        raise Unfit("variants", "A flag needs at least one variant: an object of name and value.")
    check_texts("variants", variants)
    return {check_name(name): value_of(kind, name, value) for name, value in variants.items()}


def check_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > 128:
        raise Unfit("variants", "The name of a variant has 1 to 128 characters.")
    return name


def value_of(kind: str, name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "object" and isinstance(value, Mapping):
        check_numbers(name, value)
        return dict(value)
    if kind == "integer" and number and float(value).is_integer() and abs(value) <= SAFE:
        return int(value)
    if kind == "float" and number and math.isfinite(value):
        return float(value)
    raise Unfit("variants", f"Variant {name} is no {kind}.")


def check_texts(field: str, value: Any) -> None:
    """JSON can carry texts that no database takes."""
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise Unfit(field, "A text here holds a NUL or half a letter.")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            check_texts(field, name)
            check_texts(field, inner)
    elif isinstance(value, list):
        for inner in value:
            check_texts(field, inner)


def check_numbers(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Unfit("variants", f"Variant {name} holds a number that JSON cannot carry.")
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        check_numbers(name, inner)


def type_of(variants: Mapping[str, Any]) -> str:
    """The type of a definition that names none: by its values. A mix of 1 and 1.5 is float."""
    kinds = {kind_of(value) for value in variants.values()}
    if kinds == {"integer", "float"}:
        return "float"
    if len(kinds) != 1 or "" in kinds:
        raise Unfit("variants", "All variants hold values of one kind: boolean, string, number or object.")
    return kinds.pop()


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    named = {str: "string", int: "integer", float: "float", dict: "object"}
    return named.get(type(value), "")


def configurations(variants: object) -> dict[str, Any]:
    """The variants of a route: model configurations, or Unfit."""
    checked = of_type("object", variants)
    for name, fields in checked.items():
        check_configuration(name, fields)
    return checked


def check_configuration(name: str, fields: dict[str, Any]) -> None:
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        raise Unfit("variants", f'Variant {name} names no model: "model": "provider/model-id".')
    for field, least, most in (("timeout_ms", 1, 3_600_000), ("max_attempts", 1, 20)):
        value = fields.get(field)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
            raise Unfit("variants", f"{field} of variant {name} is a whole number from {least} to {most:,}.")
    if fields.get("max_cost_usd") is not None:
        fields["max_cost_usd"] = cap_text(name, fields["max_cost_usd"])
    if taken := [field for field in SET_BY_US if field in fields]:
        raise Unfit("variants", f"Variant {name} may not set {', '.join(taken)}: these are filled in.")


def cap_text(name: str, cap: Any) -> str:
    """Money travels as text, whatever it came as."""
    try:
        amount = Decimal(str(cap)) if isinstance(cap, str | int | float) and not isinstance(cap, bool) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount <= 0:
        raise Unfit("variants", f'max_cost_usd of variant {name} is an amount above 0, like "0.004".')
    return cap if isinstance(cap, str) else f"{amount:f}"


OURS = ("bucketing", "salt", "owner", "switch", "flagSetId", "version", "revision", "assigned_by")


def flat(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as clients can carry it: one level, text, numbers and booleans."""
    if not isinstance(metadata, Mapping):
        raise Unfit("metadata", "Metadata is an object of name and value.")
    check_texts("metadata", metadata)
    for name, value in metadata.items():
        if name in OURS:
            raise Unfit("metadata", f"{name} is filled in and cannot be set here.")
        if not isinstance(value, str | bool | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise Unfit("metadata", f"{name} must be text, a number or a boolean.")
    return dict(metadata)
