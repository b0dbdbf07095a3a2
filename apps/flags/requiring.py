"""Flags that require others: which, and what that means for the rule that is served.

A flag's guards are its prerequisites written out as JSONLogic from the rules of the required flags. Whoever changes a
flag changes the guards of those that require it too, in the same publish.
"""

from collections import defaultdict
from collections.abc import Iterable

from apps.flags.domain import definition, prerequisites, rules, targeting
from apps.flags.domain.unfit import Unfit
from apps.flags.models import Audience, Flag


def link(flag: Flag) -> None:
    """Keeps the tables of who requires and who uses what in step with the flag's own fields."""
    wanted = [one["flag"] for one in flag.prerequisites or ()]
    here = flag.environment_id
    flag.requires.set(Flag.objects.of(here).filter(key__in=wanted) if wanted else [])
    used = rules.audiences_of(rules.parse(flag.rules))
    flag.uses.set(Audience.objects.of(here).filter(key__in=used) if used else [])


def edges(environment: str) -> dict[str, list[str]]:
    """Flag to the flags that it requires."""
    found: dict[str, list[str]] = defaultdict(list)
    rows = Flag.requires.through.objects.filter(from_flag__environment=environment)
    for flag, required in rows.values_list("from_flag__key", "to_flag__key").order_by("id"):
        found[flag].append(required)
    return found


def requirers(flag: Flag) -> list[Flag]:
    return list(flag.required_by.filter(archived_at=None).order_by("key"))


def check(flag: Flag, wanted: list[dict[str, str]]) -> None:
    """Every required flag is there, has the variant, and leads not back to this one."""
    names = [one["flag"] for one in wanted]
    there = {row.key: row for row in Flag.objects.of(flag.environment_id).filter(key__in=names)}
    for one in wanted:
        required = there.get(one["flag"])
        if required is None or required.archived_at is not None:
            raise Unfit("prerequisites", f"There is no flag {one['flag']}.")
        if one["variant"] not in required.variants:
            raise Unfit("prerequisites", f"{one['variant']} is no variant of {one['flag']}.")
    others = {key: required for key, required in edges(flag.environment_id).items() if key != flag.key}
    prerequisites.check_cycle(others, flag.key, names)


def follow(changed: Iterable[Flag], *, environment: str, version: int) -> list[Flag]:
    """Writes the guards of the changed flags and of all that require them, directly or not; answers the latter."""
    mine = {flag.key: flag for flag in changed}
    through = Flag.requires.through.objects
    if (
        not any(flag.prerequisites or flag.guards for flag in mine.values())
        and not through.filter(to_flag__in=[flag.pk for flag in mine.values()]).exists()
    ):
        return []
    known = edges(environment)
    above: dict[str, list[str]] = defaultdict(list)
    for lower, required in known.items():
        for one in required:
            above[one].append(lower)
    touched, stack = set(mine), list(mine)
    while stack:
        for key in above[stack.pop()]:
            if key not in touched:
                touched.add(key)
                stack.append(key)
    wanted = touched | {one for key in touched for one in known.get(key, ())}
    rows = {row.key: row for row in Flag.objects.with_route().of(environment).filter(key__in=wanted - set(mine))}
    rows |= mine
    derived = []
    for key in prerequisites.in_order(known, touched):
        flag = rows[key]
        found = [guard(flag, rows[one["flag"]], one["variant"]) for one in flag.prerequisites or ()]
        if found != flag.guards:
            targeting.check_size(found)
            flag.guard_by(found, version=version)
            if key not in mine:
                derived.append(flag)
    return derived


def guards(flag: Flag, wanted: list[dict[str, str]]) -> list[object]:
    """What these prerequisites would be written out as."""
    rows = Flag.objects.with_route().of(flag.environment_id).filter(key__in=[one["flag"] for one in wanted])
    there = {row.key: row for row in rows}
    return [guard(flag, there[one["flag"]], one["variant"]) for one in wanted]


def guard(flag: Flag, required: Flag, variant: str) -> object:
    """Raises Unfit where the required flag's rule would mean something else inside another flag."""
    parts = required.parts
    rule = definition.rule_of(parts)
    if rule and definition.is_on(parts):
        if prerequisites.depends_on_key(rule):
            raise Unfit(
                "prerequisites",
                f"{required.key} splits by its own key, which means something else inside {flag.key}: a flag"
                " that others require answers by rules, or has a salt of its own from the start.",
            )
        if prerequisites.is_random(rule) and flag.route_or_none:
            raise Unfit(
                "prerequisites", f"A route cannot require {required.key}, which is split: its own split is judged."
            )
        if prerequisites.is_random(rule) and flag.bucketing != required.bucketing:
            raise Unfit(
                "prerequisites", f"{required.key} is bucketed by {required.bucketing}, {flag.key} by {flag.bucketing}."
            )
    return prerequisites.guard(rule, definition.default_of(parts), variant, is_on=definition.is_on(parts))
