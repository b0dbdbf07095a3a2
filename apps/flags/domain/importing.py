"""A flagd definition read whole: what flagd would take is taken, and each thing that deserves a word gets one.

Nothing may change its meaning: numbers stay as they were written, rules too, and a flag that would fail to evaluate
goes on failing. Only what no reader of ours could carry is left out, and that is said.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.flags.domain import lint, targeting, variants
from apps.flags.domain.unfit import Unfit

LONGEST_KEY = 512
LONGEST_NAME = 128
DROPPED = ("flagSetId", "version", "revision", "assigned_by", "switch")  # the server's own words in every answer
PINS = ("v1", "v2", "v3")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFlag:
    key: str
    type: str
    enabled: bool
    variants: dict[str, Any]
    default_variant: str
    targeting: dict[str, Any]
    metadata: dict[str, Any]
    bucketing: str
    salt: str


@dataclass(slots=True)
class Imported:
    flags: list[ImportedFlag] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, key: str, text: str) -> None:
        self.warnings.append(f"{key}: {text}")


def read(document: Any, *, bucketing: str) -> Imported:
    """`bucketing`: the pin of flags that name none. Refuses what flagd refuses: no flags, a default that is none."""
    if not isinstance(document, Mapping):
        raise Unfit("document", "A flag definition is an object.")
    shared = document.get("$evaluators") or {}
    if not isinstance(shared, Mapping):
        raise Unfit("document", "$evaluators is an object of name and rule.")
    found = Imported()
    of_all = document.get("metadata")
    for key, definition in definitions(document.get("flags"), found):
        try:
            definition = json.loads(json.dumps(definition, allow_nan=False))
            flag = read_flag(key, definition, found, list(shared.items()), of_all, bucketing)
        except (ValueError, RecursionError) as fault:
            if isinstance(fault, Unfit):
                raise
            found.warn(key, f"It holds what JSON cannot carry, and is left out: {fault}")
            continue
        if flag is not None:
            found.flags.append(flag)
    return found


def definitions(flags: Any, found: Imported) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(flags, Mapping):
        named: Iterable[tuple[Any, Any]] = flags.items()
    elif isinstance(flags, list):  # flagd itself takes a list too
        named = [(flag.get("key") if isinstance(flag, Mapping) else None, flag) for flag in flags]
    else:
        raise Unfit("document", "A flag definition has flags: an object of key and flag.")
    for key, definition in named:
        if not isinstance(key, str) or not key or len(key) > LONGEST_KEY or "\0" in key:
            found.warnings.append(f"A flag has no key that can be kept: {str(key)[:60]!r}. It is left out.")
        elif not isinstance(definition, Mapping):
            found.warn(key, "It is no object, and left out.")
        else:
            yield key, definition


def read_flag(
    key: str, definition: Mapping[str, Any], found: Imported, shared: list[tuple[str, Any]], of_all: Any, bucketing: str
) -> ImportedFlag | None:
    values = definition.get("variants")
    if not isinstance(values, Mapping) or not values:
        found.warn(key, "It has no variants, and is left out.")
        return None
    if definition.get("state") not in ("ENABLED", "DISABLED"):
        found.warn(key, "Its state is neither ENABLED nor DISABLED; it is taken as enabled.")
    if not variants.KEY.fullmatch(key):
        found.warn(key, "Most clients do not escape such a key in an address: they cannot ask for it by OFREP.")
    given = [part for part in (of_all, definition.get("metadata")) if isinstance(part, Mapping)]
    metadata = metadata_of(key, {name: value for part in given for name, value in part.items()}, found)
    pin = metadata.pop("bucketing", None)
    salt = metadata.pop("salt", None)
    return ImportedFlag(
        key=key,
        type=type_of(key, values, found),
        enabled=definition.get("state") != "DISABLED",
        variants=dict(values),
        default_variant=default_of(key, definition.get("defaultVariant"), values),
        targeting=rules_of(key, definition.get("targeting"), values, shared, found),
        metadata=metadata,
        bucketing=pin if pin in PINS else bucketing,
        salt=salt if pin in PINS and isinstance(salt, str) and salt else key,
    )


def type_of(key: str, values: Mapping[str, Any], found: Imported) -> str:
    try:
        return variants.type_of(values)
    except Unfit as unfit:
        found.warn(key, str(unfit))
    return next((kind for value in values.values() if (kind := variants.kind_of(value))), "object")


def default_of(key: str, default: Any, values: Mapping[str, Any]) -> str:
    name = str(default).lower() if isinstance(default, bool) else default
    if not name:
        return ""
    if not isinstance(name, str) or name not in values or len(name) > LONGEST_NAME:
        raise Unfit("document", f"{key}: its defaultVariant {default!r} is no variant.")
    return name


def rules_of(
    key: str, rule: Any, values: Mapping[str, Any], shared: list[tuple[str, Any]], found: Imported
) -> dict[str, Any]:
    if not rule:
        return {}
    if not isinstance(rule, dict):
        found.warn(key, "Its targeting is no object, and is left out.")
        return {}
    written: dict[str, Any] = targeting.inlined(rule, shared)
    try:
        targeting.check(written, values)
    except Unfit as unfit:
        found.warn(key, str(unfit))
    for warning in lint.warnings(written):
        found.warn(key, warning)
    return written


def metadata_of(key: str, given: Mapping[str, Any], found: Imported) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if name in DROPPED or name == "$schema":
            continue
        if isinstance(value, str | bool | int | float):
            kept[name] = value
        else:
            found.warn(key, f"Metadata {name} is no text, number or boolean, and is left out.")
    return kept
