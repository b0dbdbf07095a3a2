"""One flag of a snapshot: its definition read and its rule compiled, once.

The compiled part knows nothing of the flag set's metadata (which holds the version and so changes with every snapshot):
a flag whose definition stays the same keeps it from one snapshot to the next.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from changeover.resolution import Resolution, failed
from changeover.rules import generated
from changeover.rules.answering import RuleCompiler
from changeover.rules.answers import Answer, Answers, default_answer
from changeover.rules.bucketing import VERSIONS
from changeover.rules.closures import Value
from changeover.rules.operators import UnknownOperator
from changeover.rules.tree import check_size

Metadata = Mapping[str, str | int | float | bool]

DEFAULT_BUCKETING = "v3"
# What a rule can stumble over in the data of one evaluation; anything else is a fault of ours and rises.
DATA_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class BrokenFlag(ValueError):
    """A definition that cannot be read. It breaks this flag alone."""


class Compiled:
    """A flag's definition, ready to be evaluated. Without a rule it always gives the one answer it has."""

    __slots__ = ("answers", "digest", "metadata", "needs_data", "rule", "time_dependent")

    def __init__(
        self,
        digest: bytes,
        metadata: Metadata,
        answers: list[Answer],
        rule: Value | None = None,
        needs_data: bool = False,
        time_dependent: bool = False,
    ) -> None:
        self.digest = digest
        self.metadata = metadata
        self.answers = answers
        self.rule = rule
        self.needs_data = needs_data
        self.time_dependent = time_dependent


class Flag:
    __slots__ = ("_answers", "_needs_data", "_rule", "compiled", "key", "metadata", "time_dependent")

    def __init__(self, key: str, compiled: Compiled, set_metadata: Metadata) -> None:
        self.key = key
        self.compiled = compiled
        self.metadata: Metadata = {**set_metadata, **compiled.metadata}
        self.time_dependent = compiled.time_dependent
        self._needs_data = compiled.needs_data
        self._rule = compiled.rule
        self._answers = [
            Resolution(
                value=answer.value,
                variant=answer.variant,
                reason=answer.reason,
                error_code=answer.error_code,
                error_details=answer.error_details,
                metadata=self.metadata,
                assigned_by=answer.assigned_by,
                index=index,
            )
            for index, answer in enumerate(compiled.answers)
        ]

    @property
    def answers(self) -> list[Resolution]:
        """Every answer that can be known before an evaluation, by its `index`."""
        return self._answers

    @property
    def digest(self) -> bytes:
        return self.compiled.digest

    @property
    def ready(self) -> tuple[Value, list[Resolution]] | None:
        """The rule and what it chooses from, where it needs nothing but the context; else None."""
        if self._needs_data or self.time_dependent:
            return None
        return self._rule or the_one, self._answers

    def evaluate(self, context: dict[str, Any], now: float | None = None) -> Resolution:
        rule = self._rule
        if rule is None:
            return self._answers[0]
        if self.time_dependent:
            now = int(time.time() if now is None else now)
        if self._needs_data:
            context = whole_data(context, self.key, now)
        try:
            return self._answers[rule(context, now)]
        except UnknownOperator as fault:
            return failed("PARSE_ERROR", str(fault), self.metadata)
        except DATA_FAULTS as fault:
            return failed("GENERAL", str(fault) or type(fault).__name__, self.metadata)


def the_one(data: Any, now: Any) -> int:
    """The rule of a flag that has none."""
    return 0


def whole_data(context: dict[str, Any], key: str, now: Any) -> dict[str, Any]:
    """The data as a rule sees it if it may look anywhere."""
    data = {name: value for name, value in context.items() if name != "targetingKey"}
    data["$flagd"] = {"flagKey": key, "timestamp": now}
    data["targetingKey"] = context.get("targetingKey")
    return data


def digest_of(key: str, text: Any, bucketing: Any) -> bytes:
    """Of a definition as JSON text: any object of bytes."""
    digest = hashlib.blake2b(f"{key}\n{bucketing}\n".encode("utf-8", "surrogatepass"), digest_size=16)
    digest.update(text)
    return digest.digest()


def read_flag(key: str, definition: Any, bucketing: Any, previous: Compiled | None) -> Compiled:
    """The flag of this definition, or what was compiled from the same one before."""
    try:
        text = json.dumps(definition, separators=(",", ":"), default=repr).encode()
    except (ValueError, RecursionError) as fault:  # a definition that holds itself
        return Compiled(b"", {}, [broken(fault)])
    digest = digest_of(key, text, bucketing)
    if previous is not None and previous.digest == digest:
        return previous
    return compile_flag(key, definition, bucketing, digest)


def read_text(key: str, text: Any, bucketing: Any, previous: Compiled | None) -> Compiled:
    """The same from JSON text, which is parsed only if it is new."""
    digest = digest_of(key, text, bucketing)
    if previous is not None and previous.digest == digest:
        return previous
    try:
        return compile_flag(key, json.loads(bytes(text)), bucketing, digest)
    except (ValueError, RecursionError) as fault:
        return Compiled(digest, {}, [broken(fault)])


def broken(fault: Exception) -> Answer:
    return Answer(error_code="PARSE_ERROR", error_details=str(fault) or type(fault).__name__)


def compile_flag(key: str, definition: Any, set_bucketing: Any, digest: bytes) -> Compiled:
    metadata: Metadata = {}
    try:
        if not isinstance(definition, dict):
            raise BrokenFlag("A flag must be an object.")
        metadata = read_metadata(definition.get("metadata"))
        variants, default = read_variants(definition)
        if definition["state"] == "DISABLED":
            return Compiled(digest, metadata, [Answer(reason="DISABLED")])
        is_on_fallback = metadata.get("switch") == "fallback"
        targeting = definition.get("targeting")
        if not targeting:
            by = "fallback" if is_on_fallback else "default"
            return Compiled(digest, metadata, [default_answer(variants, default, "STATIC", by)])
        if not isinstance(targeting, dict):
            raise BrokenFlag("The targeting must be an object.")
        check_size(targeting)
        rule = RuleCompiler(
            flag_key=key,
            bucketing=read_bucketing(metadata.get("bucketing", set_bucketing)),
            salt=read_salt(metadata.get("salt", key)),
            answers=Answers(variants=variants, default=default, is_on_fallback=is_on_fallback),
        )
        answer = fastest(rule, targeting)
    except (ValueError, RecursionError) as fault:
        return Compiled(digest, metadata, [broken(fault)])
    return Compiled(digest, metadata, rule.answers.all, answer, rule.needs_data, rule.time_dependent)


def fastest(rule: RuleCompiler, targeting: dict[str, Any]) -> Value:
    try:
        return generated.compile_rule(rule, targeting)
    except generated.CannotGenerate:
        return rule.answer(targeting)


def read_variants(definition: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    if definition.get("state") not in ("ENABLED", "DISABLED"):
        raise BrokenFlag("The state must be ENABLED or DISABLED.")
    variants, default = definition.get("variants"), definition.get("defaultVariant")
    if not isinstance(variants, dict) or not variants:
        raise BrokenFlag("The variants must be an object with at least one variant.")
    if default and not isinstance(default, (str, bool)):
        raise BrokenFlag("The defaultVariant must be the name of a variant, null or absent.")
    return variants, default


def read_metadata(metadata: Any) -> Metadata:
    if metadata is None or metadata == {}:
        return {}
    if not isinstance(metadata, dict):
        raise BrokenFlag("The metadata must be an object.")
    for name, value in metadata.items():
        if not is_metadata(name, value):
            raise BrokenFlag(f"Metadata {name!r} must be text, a number or a boolean.")
    return metadata


def is_metadata(name: Any, value: Any) -> bool:
    return isinstance(name, str) and bool(name) and isinstance(value, (str, int, float, bool))


def read_bucketing(pin: Any) -> str:
    if pin not in VERSIONS:
        raise BrokenFlag(f"The bucketing must be one of {', '.join(VERSIONS)}.")
    return str(pin)


def read_salt(salt: Any) -> str:
    if not isinstance(salt, str) or not salt:
        raise BrokenFlag("The salt must be text.")
    return salt
