"""What differs between two states of a flag, field by field, in the words of the API."""

from collections.abc import Mapping
from typing import Any

from apps.flags.domain import segments

Difference = dict[str, dict[str, Any]]  # {"field": {"was": …, "is": …}}
DERIVED = ("targeting",)  # said by the rules, where a flag has them
TRAFFIC = ("segments", "default_variant", "shadow", "bucketing_unit")  # where requests go: a rollout moves these
NEVER_REVERTED = (
    "key", "type", "bucketing", "salt", "segments", "shadow", "switch", "held_by", "trial", "archived_at",
)  # fmt: skip


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """Fields that only one side has are told as null on the other."""
    told: Difference = {}
    for name in [*before, *(name for name in after if name not in before)]:
        was, now = before.get(name), after.get(name)
        if same(was, now):
            continue
        if name == "segments":
            told["weights"] = {"was": percents(was), "is": percents(now)}
        elif name not in DERIVED or not (before.get("rules") or after.get("rules")):
            told[name] = {"was": was, "is": now}
    return told


def same(one: Any, other: Any) -> bool:
    """As JSON: 1 is not 1.0, and not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def percents(stored: Any) -> dict[str, float]:
    return {name: size / 100 for name, size in segments.weights_of(segments.of(stored or ())).items()}


def to_revert(now: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a revert would set. Where traffic goes, and what is pinned, is never among them."""
    fields = {
        name: value
        for name, value in target.items()
        if name in now and name not in NEVER_REVERTED and not same(value, now[name])
    }
    if "rules" in fields and fields["rules"] is not None:
        fields.pop("targeting", None)  # the rules say it, with the audiences as they are today
    elif "targeting" in fields or "rules" in fields:
        fields.pop("rules", None)
        fields["targeting"] = target["targeting"]
    return fields
