"""What an evaluation answers, and what a route answers for one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["boolean", "string", "integer", "float", "object"]

PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "string": (str,),
    "integer": (int,),
    "float": (int, float),
    "object": (dict, list),
}
NUMBERS = ("integer", "float")
EXACT = 2**53 - 1  # beyond, a float would be another number


@dataclass(frozen=True, slots=True)
class Resolution:
    """A flag's answer. The value and the metadata are shared between evaluations: read them, do not change them.

    `value` is None where there is none: the flag is disabled or names no default variant (use your own default), or
    the evaluation failed. `assigned_by` says which part of the flag answered: "split", "rule", "default" or "fallback".
    `index` numbers the answer among `Flag.answers`; -1 for what is only known at an evaluation, like an error.
    """

    value: Any
    variant: str | None
    reason: str
    error_code: str | None
    error_details: str | None
    metadata: Mapping[str, str | int | float | bool]
    assigned_by: str | None
    index: int = -1

    @property
    def has_value(self) -> bool:
        return self.variant is not None

    def as_type(self, kind: Kind) -> Resolution:
        """The same answer, asked for as one type: TYPE_MISMATCH if its value is of another."""
        if self.variant is None:
            return self
        value, expected = self.value, PYTHON_TYPES[kind]
        is_none = not isinstance(value, expected) or (kind in NUMBERS and isinstance(value, bool))
        if is_none or (kind == "float" and isinstance(value, int) and abs(value) > EXACT):
            return Resolution(
                value=None,
                variant=None,
                reason="ERROR",
                error_code="TYPE_MISMATCH",
                error_details=f"Expected {kind} but the value is of type {type(value).__name__}.",
                metadata=self.metadata,
                assigned_by=None,
            )
        if kind == "float" and isinstance(value, int):
            return replace(self, value=float(value))
        return self


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a route answered for one request, with all that its report must carry."""

    flag: str
    request_id: str
    value: Any
    """The variant's configuration, or the default given by the caller. Shared: read it, do not change it."""
    variant: str | None
    reason: str
    error_code: str | None
    error_details: str | None
    snapshot: int
    assigned_by: str | None

    @property
    def assigned(self) -> str | None:
        return self.variant

    @property
    def config(self) -> Mapping[str, Any]:
        return self.value if isinstance(self.value, Mapping) else {}


def failed(code: str, details: str, metadata: Mapping[str, str | int | float | bool]) -> Resolution:
    return Resolution(
        value=None,
        variant=None,
        reason="ERROR",
        error_code=code,
        error_details=details,
        metadata=metadata,
        assigned_by=None,
    )
