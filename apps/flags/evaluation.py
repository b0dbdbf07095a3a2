"""Evaluates a flag of the newest snapshot for whoever asks outside the hot doors: the tester page and the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from apps.flags import queries
from changeover import Resolution
from changeover import Snapshot as Compiled

SENTENCES = {
    "split": "The split put this subject on {variant}.",
    "rule": "A rule answered {variant}.",
    "fallback": "The route is on its fallback: everybody gets {variant}.",
    "default": "Neither a rule nor a split answered: the default variant is {variant}.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    environment: str
    flag: str
    value: Any
    variant: str | None
    reason: str
    assigned_by: str | None
    error_code: str | None
    error_details: str | None
    metadata: Mapping[str, Any]
    version: int
    why: str


def evaluate(environment: str, key: str, context: Mapping[str, Any], *, now: datetime) -> Evaluation | None:
    """None if there is no such flag."""
    version = queries.newest_version(environment)
    answer = compiled(environment, *version).evaluate(key, dict(context), now=now.timestamp())
    if answer.error_code == "FLAG_NOT_FOUND":
        return None
    return Evaluation(
        environment=environment,
        flag=key,
        value=answer.value,
        variant=answer.variant,
        reason=answer.reason,
        assigned_by=answer.assigned_by,
        error_code=answer.error_code,
        error_details=answer.error_details,
        metadata=answer.metadata,
        version=version[0],
        why=why(answer),
    )


@lru_cache(maxsize=8)
def compiled(environment: str, version: int, digest: str) -> Compiled:
    return Compiled.from_flagd(queries.snapshot(environment, version).body)


def why(answer: Resolution) -> str:
    if answer.error_code is not None:
        return f"The evaluation failed: {answer.error_details or answer.error_code}"
    if answer.reason == "DISABLED":
        return "The flag is switched off: the caller uses the default in its code."
    if answer.variant is None:
        return "Nothing answered and there is no default variant: the caller uses the default in its code."
    return SENTENCES.get(answer.assigned_by or "", "The answer is {variant}.").format(variant=answer.variant)
