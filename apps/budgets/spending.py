"""Budgets: made, changed, ended, and judged against the ledger. They ask for acts; rollouts acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.db import transaction

from apps.budgets import queries
from apps.budgets.domain import money, periods
from apps.budgets.domain.money import MoneyVerdict, Threshold
from apps.budgets.models import Budget
from apps.core.actors import WORKER, Actor
from apps.core.refusals import Invalid, NotFound, Stale
from apps.journal import services as journal
from apps.journal.services import Condition

FORECASTS_A_TICK = 2  # each reads four weeks of hours: a hundred budgets are spread over the ticks of five minutes


def judge_money(*, now: datetime, environment: str | None = None) -> list[MoneyVerdict]:
    """What every budget in force says. A threshold that is newly crossed, or no longer, is told to the journal once."""
    rows = Budget.objects.in_force().order_by("id")
    if environment is not None:
        rows = rows.of(environment)
    verdicts, read_anew = [], []
    forecasts = FORECASTS_A_TICK
    for row in rows:
        reading = queries.read(row, now, renew_forecast=forecasts > 0)
        forecasts -= reading.outlook_at == now
        if now == reading.outlook_at or (now == reading.spent_at and row.period in queries.SPENT_STAYS):
            row.kept = reading.plain()
            read_anew.append(row)
        verdicts.append(_tell_crossings(row, queries.verdict_of(row, reading, now), now))
    Budget.objects.keep(read_anew)
    return verdicts


def _tell_crossings(row: Budget, verdict: MoneyVerdict, now: datetime) -> MoneyVerdict:
    same_period = row.crossed_in == verdict.period_from
    before = set(row.crossed)
    is_now = {threshold.name for threshold in verdict.crossed}
    new = [t for t in verdict.crossed if not (same_period and t.name in before)]
    if new or before != is_now:
        _note_crossings(row, verdict, new, gone=before - is_now, now=now)
    return replace(verdict, is_new=bool(new))


@transaction.atomic
def _note_crossings(
    row: Budget, verdict: MoneyVerdict, new: Sequence[Threshold], *, gone: set[str], now: datetime
) -> None:
    locked = Budget.objects.locked(row.pk)
    if (locked.crossed, locked.crossed_in) != (row.crossed, row.crossed_in):
        return  # another worker has told it
    for threshold in new:
        is_over = threshold.kind == money.AT and threshold.level >= 1
        _tell(
            "budget.exceeded" if is_over else "budget.threshold_crossed",
            locked,
            verdict,
            threshold.name,
            effect="opens",
            severity="critical" if is_over else "warning",
            sentence=verdict.sentence,
            because=f"Crossed: {threshold.words}.",
            now=now,
        )
    for name in sorted(gone):
        _tell(
            "budget.recovered",
            locked,
            verdict,
            name,
            effect="closes",
            severity="info",
            sentence=verdict.sentence,
            because="The threshold is no longer crossed.",
            now=now,
        )
    locked.note_crossed(verdict.crossed, period_from=verdict.period_from)


def _tell(
    kind: str,
    row: Budget,
    verdict: MoneyVerdict,
    threshold: str,
    *,
    effect: Any,
    severity: Any,
    sentence: str,
    because: str,
    now: datetime,
) -> None:
    route = verdict.scope.get("route", "")
    journal.record(
        kind,
        environment=row.environment,
        by=WORKER,
        because=because,
        about={"budget": row.id} | ({"route": route} if route else {}),
        now=now,
        after=verdict.as_dict(),
        condition=Condition(
            key=f"budget:{row.id}:{threshold}",
            effect=effect,
            severity=severity,
            sentence=sentence,
            route=route,
            owner=row.owner,
            link="/b/",
        ),
    )


@transaction.atomic
def create_budget(
    *,
    environment: str,
    scope: Mapping[str, str],
    period: str,
    limit_nano: int,
    thresholds: Sequence[Mapping[str, Any]],
    by: Actor,
    because: str,
    now: datetime,
    timezone: str = "UTC",
    name: str = "",
    owner: str = "",
) -> Budget:
    fields = check_budget(
        {
            "scope": dict(scope),
            "period": period,
            "limit_nano": limit_nano,
            "thresholds": list(thresholds),
            "timezone": timezone,
            "name": name,
            "owner": owner,
        }
    )
    row = Budget.objects.create(environment=environment, created_at=now, changed_at=now, changed_by=str(by), **fields)
    _record_budget("budget.created", row, by=by, because=because, now=now, before=None, after=_facts(row))
    return row


@transaction.atomic
def update_budget(
    *,
    budget: str,
    changes: Mapping[str, Any],
    by: Actor,
    because: str,
    now: datetime,
    expected_revision: int | None = None,
) -> Budget:
    """`changes`: any of scope, period, limit_nano, thresholds, timezone, name, owner."""
    row = _budget_for_change(budget, expected_revision, changes)
    before = _facts(row)
    fields = check_budget({name: getattr(row, name) for name in BUDGET_FIELDS} | dict(changes))
    row.change(fields, by=str(by), now=now)
    _record_budget("budget.changed", row, by=by, because=because, now=now, before=before, after=_facts(row))
    return row


@transaction.atomic
def end_budget(*, budget: str, by: Actor, because: str, now: datetime, expected_revision: int | None = None) -> Budget:
    """From now on it judges nothing. What was spent stays in the ledger."""
    row = _budget_for_change(budget, expected_revision, {})
    for name in row.crossed:
        _tell(
            "budget.recovered",
            row,
            queries.status_of(row, now).verdict,
            name,
            effect="closes",
            severity="info",
            sentence=f"The budget of {row.rule.scope_words} was ended.",
            because=because,
            now=now,
        )
    row.end(by=str(by), now=now)
    _record_budget("budget.ended", row, by=by, because=because, now=now, before=_facts(row), after=None)
    return row


BUDGET_FIELDS = ("scope", "period", "limit_nano", "thresholds", "timezone", "name", "owner")


def check_budget(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as they are stored. Raises with what is wrong, by field."""
    faults: dict[str, str] = {}
    scope = fields["scope"]
    if not isinstance(scope, dict) or any(not isinstance(v, str) or not v for v in scope.values()):
        faults["scope"] = 'A scope names values: {"route": "invoice-extraction"}. {} is the whole environment.'
    elif unknown := sorted(set(scope) - set(money.SCOPES)):
        faults["scope"] = f"{unknown[0]} is no scope. Use {', '.join(money.SCOPES)}."
    if fields["period"] not in periods.LENGTHS:
        faults["period"] = f"Use one of {', '.join(periods.LENGTHS)}."
    if not isinstance(fields["limit_nano"], int) or fields["limit_nano"] <= 0:
        faults["limit_usd"] = "Give a limit above 0."
    thresholds, wrong = money.parse_thresholds(fields["thresholds"])
    if wrong:
        faults["thresholds"] = wrong
    elif fields["period"] == "hour" and any(t.kind != money.AT for t in thresholds):
        faults["thresholds"] = "A budget of an hour has thresholds of actual spend only."
    if not _is_zone(fields["timezone"]):
        faults["timezone"] = "Use a name such as Europe/Berlin."
    if faults:
        place, text = next(iter(faults.items()))
        raise Invalid(f"{place}: {text}", **faults)
    return fields | {"thresholds": [threshold.plain() for threshold in thresholds]}


def _is_zone(name: Any) -> bool:
    if not isinstance(name, str) or name not in available_timezones() | {"UTC"}:
        return False
    ZoneInfo(name)
    return True


def _budget_for_change(budget: str, expected_revision: int | None, changes: Mapping[str, Any]) -> Budget:
    row = Budget.objects.in_force().select_for_update().filter(pk=budget).first()
    if row is None:
        raise NotFound(what="budget", key=budget)
    if expected_revision is not None and expected_revision != row.revision:
        now_there = {name: getattr(row, name) for name in changes if name in BUDGET_FIELDS}
        raise Stale(
            by=row.changed_by,
            at=row.changed_at.isoformat(),
            changes={name: {"yours": changes[name], "theirs": value} for name, value in now_there.items()},
        )
    return row


def _facts(row: Budget) -> dict[str, Any]:
    return {name: getattr(row, name) for name in BUDGET_FIELDS}


def _record_budget(kind: str, row: Budget, *, by: Actor, because: str, now: datetime, before: Any, after: Any) -> None:
    route = row.scope.get("route", "")
    journal.record(
        kind,
        environment=row.environment,
        by=by,
        because=because,
        about={"budget": row.id} | ({"route": route} if route else {}),
        now=now,
        before=before,
        after=after,
    )
