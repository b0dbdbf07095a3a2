"""A flag as flagd's definition, and the definitions of an environment as one document.

Only `state`, `variants`, `defaultVariant`, `targeting` and `metadata` go out: Python's flagd provider refuses a whole
update for one field more. The switches win over every rule: off is DISABLED, fallback is the fallback variant for all.
The same flags give the same bytes on every process: keys are sorted, separators fixed, and each flag is encoded once,
when it changes.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.flags.domain import prerequisites, segments, targeting
from apps.flags.domain.segments import Segments

SCHEMA = "https://flagd.dev/schema/v0/flags.json"
OFF, FALLBACK = "off", "fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteParts:
    fallback_variant: str
    unit: str = targeting.TARGETING_KEY
    shadow: Mapping[str, Any] | None = None
    breaker: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagParts:
    key: str
    variants: Mapping[str, Any]
    default_variant: str
    enabled: bool = True
    targeting: Mapping[str, Any] = field(default_factory=dict)
    segments: Segments = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    guards: Sequence[Any] = ()  # what its prerequisites say, as JSONLogic; False: one can never hold
    bucketing: str = "v3"
    salt: str = ""
    switch: str = ""
    route: RouteParts | None = None

    @property
    def on_fallback(self) -> bool:
        return self.switch == FALLBACK and self.route is not None and self.route.fallback_variant in self.variants

    @property
    def is_split(self) -> bool:
        return segments.divides(self.segments, self.default_variant)


def definition(flag: FlagParts) -> dict[str, Any]:
    default, rule = default_of(flag), rule_of(flag)
    return {
        "state": "ENABLED" if is_on(flag) else "DISABLED",
        "variants": {name: value_of(flag, name) for name in flag.variants},
        **({"defaultVariant": default} if default else {}),
        **({"targeting": rule} if rule else {}),
        "metadata": metadata_of(flag),
    }


def is_on(flag: FlagParts) -> bool:
    return flag.enabled and flag.switch != OFF


def default_of(flag: FlagParts) -> str:
    return flag.route.fallback_variant if flag.route and flag.on_fallback else flag.default_variant


def rule_of(flag: FlagParts) -> Any:
    """Everything that decides but the default: prerequisites, then rules, then the split."""
    if flag.on_fallback:
        return None
    return prerequisites.guarded(own_rule_of(flag), flag.guards)


def own_rule_of(flag: FlagParts) -> Any:
    rules = dict(flag.targeting)
    if not flag.is_split:
        return rules
    unit = flag.route.unit if flag.route else targeting.TARGETING_KEY
    split = targeting.split(flag.segments, key=flag.key, salt=flag.salt or flag.key, unit=unit)
    return targeting.joined(rules, split)


def value_of(flag: FlagParts, name: str) -> Any:
    """A plain value as it is; a model configuration with what a service needs beside it."""
    value, route = flag.variants[name], flag.route
    if route is None:
        return value
    fallback = route.fallback_variant if route.fallback_variant in flag.variants else ""
    return {
        **value,
        "variant": name,
        "fallback": {**flag.variants[fallback], "variant": fallback} if fallback and fallback != name else None,
        "breaker": value.get("breaker") or (dict(route.breaker) if route.breaker else None),
        "shadow": dict(route.shadow) if route.shadow and not flag.on_fallback else None,
    }


def metadata_of(flag: FlagParts) -> dict[str, Any]:
    """Flat, and never null or a list: one such value costs a Python client the whole update."""
    return {
        **flag.metadata,
        "bucketing": flag.bucketing,
        "salt": flag.salt or flag.key,
        **({"owner": flag.owner} if flag.owner else {}),
        **({"switch": flag.switch} if flag.switch else {}),
    }


def encode(value: Any) -> str:
    """Canonical JSON in ASCII: the same text everywhere, and no client's decoder can stumble over it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def document(fragments: Iterable[tuple[str, str]], *, environment: str, version: int) -> bytes:
    """The whole definition out of the encoded flags. `fragments`: key and `encode(definition(…))`."""
    flags = ",".join(f"{encode(key)}:{fragment}" for key, fragment in sorted(fragments))
    metadata = encode({"flagSetId": environment, "version": str(version), "revision": version})
    return f'{{"$schema":{encode(SCHEMA)},"flags":{{{flags}}},"metadata":{metadata}}}'.encode()


def digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=8).hexdigest()


def assignment(flag: FlagParts) -> str:
    """How requests of this route are assigned when their caller does not say.

    `rules` means that nobody can tell a rule's answer from the split's.
    """
    if flag.on_fallback:
        return "fallback"
    if flag.switch == OFF or not flag.enabled:
        return "off"
    return "rules" if flag.targeting or flag.guards else "split"
