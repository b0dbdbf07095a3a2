"""The flags of a whole environment as one file that a person can read, review and keep in Git.

What stands at its default is left out of the file, and what is absent from it is put at its default. Three things are
no definition and never in it: switches (an operator's act of safety), shadow traffic and the weights of a flag that a
rollout holds. Absent weights stay as they are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from apps.flags.domain import prerequisites, rules, segments, targeting, variants
from apps.flags.domain.segments import Segments
from apps.flags.domain.unfit import Unfit

Fields = dict[str, Any]
PINNED = ("type", "bucketing", "salt")
# In the order in which a person would tell them.
OF_ALL: Fields = {
    "description": "", "owner": "", "expires_on": None, "is_permanent": False, "enabled": True, "default_variant": "",
    "rules": [], "targeting": {}, "prerequisites": [], "metadata": {},
}  # fmt: skip
OF_ROUTES: Fields = {
    "task_type": "", "is_critical": False, "fallback_variant": "", "bucketing_unit": "request", "breaker": None,
    "runbook": "",
}  # fmt: skip
PINS: Fields = {"bucketing": "v3", "salt": ""}
TEXTS = {"description": 1000, "owner": 128, "default_variant": 128, "salt": 512, "task_type": 64,
         "fallback_variant": 128, "bucketing_unit": 128, "runbook": 100_000}  # fmt: skip
CLAIMS = ("is_permanent", "enabled", "is_critical")
LONGEST_KEY = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFlag:
    key: str
    is_route: bool
    fields: Fields  # every field, at its default where the file does not name it
    as_imported: bool = False  # taken as flagd takes it: it holds what the editor would refuse
    weights: dict[str, int] | None = None
    split: Segments | None = None  # how the weights lie on the hash's range, for a flag that is not there yet


@dataclass(slots=True)
class Wanted:
    environment: str = ""
    audiences: dict[str, Fields] = field(default_factory=dict)
    flags: dict[str, WantedFlag] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)  # parts of other apps, as they were written

    @property
    def edges(self) -> dict[str, list[str]]:
        return {key: [one["flag"] for one in flag.fields["prerequisites"]] for key, flag in self.flags.items()}

    def in_order(self) -> list[WantedFlag]:
        """Each after those that it requires."""
        edges = self.edges
        for key, required in edges.items():
            if required:
                prerequisites.check_cycle({one: to for one, to in edges.items() if one != key}, key, required)
        return [self.flags[key] for key in prerequisites.in_order(edges, self.flags)]


# Writing


def document(environment: str, audiences: Mapping[str, Fields], flags: Mapping[str, tuple[Fields, bool]]) -> Fields:
    """`flags`: key to the fields as a version stores them, and whether it is a route."""
    told: Fields = {"environment": environment}
    if audiences:
        told["audiences"] = {
            key: ({"description": one["description"]} if one["description"] else {}) | {"conditions": one["conditions"]}
            for key, one in sorted(audiences.items())
        }
    for name, wanted in (("routes", True), ("flags", False)):
        if some := {
            key: flag_entry(one, wanted) for key, (one, is_route) in sorted(flags.items()) if is_route is wanted
        }:
            told[name] = some
    return told


def flag_entry(fields: Mapping[str, Any], is_route: bool) -> Fields:
    entry: Fields = {} if is_route else {"type": fields["type"]}
    if not fits(fields, is_route):
        entry["as_imported"] = True
    plain = OF_ALL | (OF_ROUTES if is_route else {}) | PINS | {"salt": fields["key"]}
    for name in ("description", "owner"):
        if fields[name]:
            entry[name] = fields[name]
    entry["variants"] = fields["variants"]
    named = "targeting" if fields["rules"] is None else "rules"
    for name, default in plain.items():
        if name in entry or (name in ("rules", "targeting") and name != named):
            continue
        value = fields[name]
        if value != default and not (value is None and default == {}):
            entry[name] = value
    if not fields["held_by"]:
        entry |= split_entry(segments.of(fields["segments"] or ()), fields["default_variant"], fields["variants"])
    return entry


def split_entry(split: Segments, default: str, values: Mapping[str, Any]) -> Fields:
    """The weights; how they lie too, where they would lie otherwise if they were set at once."""
    if not split:
        return {}
    weights = segments.weights_of(split)
    told: Fields = {"weights": {name: percent(weights[name]) for name in values if weights.get(name)}}
    at_once = {name: weights.get(name, 0) for name in values}
    if not default or segments.reweigh(segments.whole(default), at_once, default) != split:
        told["split"] = [[variant, percent(size)] for variant, size in split]
    return told


def percent(size: int) -> int | float:
    return size // 100 if size % 100 == 0 else size / 100


def fits(fields: Mapping[str, Any], is_route: bool) -> bool:
    """Whether the editor would take it as it is. What came in by an import may hold more."""
    if is_route:
        return True
    try:
        variants.check_key(fields["key"])
        same = variants.of_type(fields["type"], fields["variants"])
        variants.flat(fields["metadata"] or {})
        if fields["rules"] is None:
            targeting.check(fields["targeting"], fields["variants"])
    except Unfit:
        return False
    return [(name, type(value)) for name, value in same.items()] == [
        (name, type(value)) for name, value in fields["variants"].items()
    ]


# Reading


def read(given: Any, *, others: Iterable[str] = ()) -> Wanted:
    """The wanted state, every shape checked; what a rule may say is checked against the tables later.

    `others`: the names of parts that other apps read.
    """
    try:
        given = json.loads(json.dumps(given, allow_nan=False))  # JSON is all that a flag can hold
    except (TypeError, ValueError, RecursionError) as fault:
        raise Unfit("file", f"It holds what JSON cannot carry: {fault}") from fault
    entry = an_object(given, "The file")
    others = list(others)
    only(entry, "The file", "environment", "audiences", "routes", "flags", *others)
    wanted = Wanted(environment=a_text(entry.get("environment", ""), "environment", 64))
    wanted.others = {name: entry[name] for name in others if entry.get(name) is not None}
    for key, one in an_object(entry.get("audiences"), "audiences").items():
        place = f"audience {key}"
        told = an_object(one, place)
        only(told, place, "description", "conditions")
        wanted.audiences[variants.check_key(key)] = {
            "description": a_text(told.get("description", ""), f"{place}: description", 1000),
            "conditions": an_object(told.get("conditions"), f"{place}: conditions"),
        }
    for name, is_route in (("routes", True), ("flags", False)):
        for key, one in an_object(entry.get(name), name).items():
            if key in wanted.flags:
                raise Unfit("file", f"{key} is here twice, as a route and as a flag.")
            try:
                wanted.flags[key] = read_flag(key, an_object(one, str(key)), is_route)
            except Unfit as unfit:
                raise Unfit("file", f"{name} {key}: {unfit}") from unfit
    return wanted


def read_flag(key: Any, entry: Fields, is_route: bool) -> WantedFlag:
    as_imported = a_claim(entry.get("as_imported", False), "as_imported")
    if as_imported and not is_route:
        if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or "\0" in key:
            raise Unfit("key", "This key cannot be kept.")
    else:
        variants.check_key(key)
    known = OF_ALL | (OF_ROUTES if is_route else {}) | PINS | {"variants": {}}
    only(entry, "It", *known, *(() if is_route else ("type",)), "as_imported", "weights", "split")
    if "rules" in entry and "targeting" in entry:
        raise Unfit("rules", "Give rules or targeting, not both: the one is written from the other.")
    fields = {name: of_kind(name, entry.get(name, default), default) for name, default in known.items()}
    fields["salt"] = fields["salt"] or key
    values = fields["variants"]
    if is_route:
        fields["type"], fields["variants"] = "object", variants.configurations(values)
    else:
        fields["type"] = kind = a_text(entry.get("type") or variants.type_of(values), "type", 8)
        if not values or kind not in variants.TYPES:
            variants.of_type(kind, values)
        fields["variants"] = values if as_imported else variants.of_type(kind, values)
    if not as_imported:
        fields["metadata"] = variants.flat(fields["metadata"])
        fields["rules"] = None if fields["targeting"] else [rules.as_dict(one) for one in rules.parse(fields["rules"])]
        fields["prerequisites"] = prerequisites.check(fields["prerequisites"], key=key)
    elif not fields["rules"]:
        fields["rules"] = None if fields["targeting"] else []
    weights, split = read_split(entry, fields["variants"])
    return WantedFlag(
        key=key, is_route=is_route, fields=fields, as_imported=as_imported, weights=weights, split=split
    )  # fmt: skip


def read_split(entry: Fields, values: Mapping[str, Any]) -> tuple[dict[str, int] | None, Segments | None]:
    weights = split = None
    if entry.get("weights") is not None:
        told = an_object(entry["weights"], "weights")
        weights = {str(name): parts_of(share, "weights") for name, share in told.items()}
        segments.check(weights, values)
    if entry.get("split") is not None:
        if not isinstance(entry["split"], Sequence) or isinstance(entry["split"], str):
            raise Unfit("split", "A split is a list of variant and percent.")
        pairs = []
        for pair in entry["split"]:
            if not isinstance(pair, list) or len(pair) != 2:
                raise Unfit("split", "A split is a list of variant and percent.")
            pairs.append((str(pair[0]), parts_of(pair[1], "split")))
        split = segments.merge(pairs)
        lying = segments.weights_of(split)
        segments.check(lying, values)
        if weights is not None and lying != {name: size for name, size in weights.items() if size}:
            raise Unfit("split", "Weights and split say different things.")
        weights = lying
    return weights, split


def of_kind(name: str, value: Any, default: Any) -> Any:
    """The value if it is what this field holds."""
    if name in TEXTS:
        return a_text(value, name, TEXTS[name])
    if name in CLAIMS:
        return a_claim(value, name)
    if name == "bucketing":
        if value not in ("v1", "v2", "v3"):
            raise Unfit(name, "The bucketing is v1, v2 or v3.")
        return value
    if name == "expires_on":
        return a_day(value)
    if name == "breaker":
        return an_object(value, name) or None
    if isinstance(default, list):
        if value is not None and not isinstance(value, list):
            raise Unfit(name, f"{name} is a list.")
        return value or []
    return an_object(value, name)


def parts_of(share: Any, name: str) -> int:
    """Percent as ten-thousandths."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 100:
        raise Unfit(name, f"{share!r} is no share between 0 and 100 %.")
    size = round(share * 100)
    if abs(size - share * 100) > 1e-6:
        raise Unfit(name, "Shares come in steps of 0.01 %.")
    return size


def an_object(value: Any, place: str) -> Fields:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Unfit("file", f"{place} is an object of name and value.")
    for name in value:
        if not isinstance(name, str):
            raise Unfit("file", f"{place}: the name {name!r} is no text; put it in quotes.")
    return dict(value)


def a_text(value: Any, name: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise Unfit(name, f"{name} is a text of at most {longest:,} characters.")
    variants.check_texts(name, value)
    return value


def a_claim(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise Unfit(name, f"{name} is true or false.")
    return value


def a_day(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError) as fault:
        raise Unfit("expires_on", "expires_on is a day like 2026-12-31.") from fault


def only(entry: Fields, place: str, *known: str) -> None:
    if unknown := sorted(set(entry) - set(known)):
        raise Unfit("file", f"{place} has no {', '.join(unknown)}; known are {', '.join(known)}.")
