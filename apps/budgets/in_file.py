"""Budgets as a part of an environment's file: a list, each entry as the API takes it, defaults left out.

A budget is known by its name, or without one by its scope and period; of equal ones the oldest comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from rest_framework.exceptions import ValidationError

from apps.budgets import services
from apps.budgets.api import BudgetIn
from apps.budgets.models import Budget
from apps.core.actors import Actor
from apps.core.money import nano_to_usd
from apps.core.refusals import Invalid
from apps.core.sections import Step

DEFAULTS: dict[str, Any] = {
    "name": "", "scope": {}, "timezone": "UTC", "owner": "", "is_hard": False, "at_cap": Budget.AtCap.FINISH.value,
    "thresholds": [],
}  # fmt: skip
Fields = dict[str, Any]


class Budgets:
    name = "budgets"

    def export(self, environment: str) -> list[Fields]:
        return [entry(row) for row in in_force(environment)]

    def apply(
        self, *, environment: str, wanted: Any, by: Actor, because: str, now: datetime, prune: bool
    ) -> Sequence[Step]:
        asked, there = grouped(read(wanted), key_of), grouped(in_force(environment), lambda row: key_of(facts(row)))
        said: Fields = {"by": by, "because": because, "now": now}
        steps: list[Step] = []
        for key in dict.fromkeys([*asked, *there]):
            for fields, row in zip_longest(asked.get(key, ()), there.get(key, ())):
                if row is None:
                    services.create_budget(environment=environment, **fields, **said)
                    steps.append(Step(action="add", kind="budget", key=key, changes=differing({}, fields)))
                elif fields is None and prune:
                    services.end_budget(budget=row.pk, **said)
                    steps.append(Step(action="delete", kind="budget", key=key))
                elif fields is None:
                    note = "not in the file; --prune ends it"
                    steps.append(Step(action="leave", kind="budget", key=key, notes=(note,)))
                elif changes := differing(facts(row), fields):
                    services.update_budget(budget=row.pk, changes=fields, **said)
                    steps.append(Step(action="change", kind="budget", key=key, changes=changes))
        return steps


def in_force(environment: str) -> list[Budget]:
    return list(Budget.objects.of(environment).in_force().order_by("created_at", "id"))


def facts(row: Budget) -> Fields:
    names = (*DEFAULTS, "period", "limit_nano", "on_unreachable")
    return {name: getattr(row, name) for name in names}


def entry(row: Budget) -> Fields:
    """As it stands in the file."""
    known = facts(row)
    told = {"name": row.name} if row.name else {}
    told |= {"scope": row.scope, "period": row.period, "limit_usd": in_usd(row.limit_nano)}
    told |= {name: known[name] for name, default in DEFAULTS.items() if name not in told and known[name] != default}
    if row.on_unreachable != services.unreachable_default(row.is_hard):
        told["on_unreachable"] = row.on_unreachable
    return told


def in_usd(nano: int) -> str:
    """Exact, with two decimals at least."""
    whole, _, rest = f"{nano_to_usd(nano):f}".partition(".")
    return f"{whole}.{rest.rstrip('0'):0<2}"


def read(wanted: Any) -> list[Fields]:
    if not isinstance(wanted, list):
        raise Invalid("budgets is a list.", budgets="A list of budgets.")
    found = []
    for number, one in enumerate(wanted, 1):
        reading = BudgetIn(data=one)
        try:
            reading.is_valid(raise_exception=True)
        except ValidationError as fault:
            raise Invalid(f"Budget {number}: {told(fault)}", budgets=f"Budget {number}: {told(fault)}") from fault
        if unknown := sorted(set(one) - set(reading.fields) | set(one) & {"environment", "because"}):
            raise Invalid(f"Budget {number} has no {', '.join(unknown)}.", budgets=f"No {unknown[0]} here.")
        fields = {name: value for name, value in reading.validated_data.items() if name != "because"}
        fields["limit_nano"] = fields.pop("limit_usd")
        fields.setdefault("on_unreachable", services.unreachable_default(fields["is_hard"]))
        found.append(fields)
    return found


def told(fault: ValidationError) -> str:
    """The first fault, with its place."""
    place = ""
    detail: Any = fault.detail
    while isinstance(detail, dict | list) and detail:
        name, detail = next(iter(detail.items())) if isinstance(detail, dict) else ("", detail[0])
        place += f"{name}: " if isinstance(name, str) and name else ""
    return f"{place}{detail}"


def key_of(fields: Mapping[str, Any]) -> str:
    if fields["name"]:
        return str(fields["name"])
    scope = ", ".join(f"{name} {value}" for name, value in sorted(fields["scope"].items()))
    return f"{scope or 'everything'} a {fields['period']}"


def grouped(rows: Sequence[Any], key: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def differing(was: Fields, now: Fields) -> dict[str, dict[str, Any]]:
    changed = {name: {"was": was.get(name), "is": now[name]} for name in now if was.get(name) != now[name]}
    if "limit_nano" in changed:
        limit = changed.pop("limit_nano")
        changed["limit_usd"] = {side: limit[side] and in_usd(limit[side]) for side in ("was", "is")}
    return changed
