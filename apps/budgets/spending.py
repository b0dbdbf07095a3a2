"""Budgets: made, changed, ended, and judged against the ledger. They ask for acts; rollouts acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo, available_timezones

from django.db import transaction

from apps.budgets import conditions, faults, ledger, queries, refusing, repairing
from apps.budgets.domain import lasting, money, periods, scopes, thresholds
from apps.budgets.domain.money import MoneyVerdict
from apps.budgets.domain.thresholds import AT, BURN, RUNS_OUT, Threshold
from apps.budgets.models import Budget
from apps.core.actors import Actor
from apps.core.money import MOST_USD, nano_to_text, usd_to_nano
from apps.core.refusals import Invalid, NotFound, Stale
from apps.journal import services as journal
from apps.journal.models import changes as changes_of
from apps.journal.services import Severity

FORECASTS_A_TICK = 2  # each reads four weeks of hours: a hundred budgets are spread over the ticks of five minutes


def judge_money(*, now: datetime, environment: str | None = None) -> list[MoneyVerdict]:
    """What every budget in force says. A threshold that is newly crossed, or no longer, is told to the journal once.

    One budget that cannot be read does not keep the others from being judged.
    """
    rows = Budget.objects.in_force().light().order_by("id")
    if environment is not None:
        rows = rows.of(environment)
    verdicts, read_anew = [], []
    forecasts = FORECASTS_A_TICK
    found = list(rows)
    asked = ledger.Asked((row.rule for row in found if row.is_sound), now)
    reserved = queries.reserved_nano(row for row in found if row.is_hard)
    learnt = []
    for row in found:
        with faults.kept_apart(row):
            reading = ledger.read(row, now, renew_forecast=forecasts > 0, asked=asked, in_tick=True)
            forecasts -= reading.outlook_at == now
            if now == reading.outlook_at or (now == reading.spent_at and row.period in ledger.SPENT_STAYS):
                row.kept = reading.plain()
                read_anew.append(row)
            if reading.hours is not None:
                row.hours = reading.plain_hours
                learnt.append(row)
            held = reserved[row.id] if row.is_hard else None
            verdict = _tell_crossings(row, ledger.verdict_of(row, reading, now, asked, reserved_nano=held), now)
            refusing.end_with_period(row, now)
            verdicts.append(ledger.with_routes(verdict, row.rule, now))
            faults.note_none(row, now)
            continue
        faults.note(row, now)
    Budget.objects.keep(read_anew)
    Budget.objects.keep_hours(learnt)
    return verdicts


def look_ahead(*, now: datetime) -> int:
    """Forecasts that take too long for a tick: four weeks of whatever is wider than a route. How many were made."""
    rows = Budget.objects.in_force().light().order_by("id")
    due = [row for row in rows if row.is_sound and "route" not in row.scope and ledger.is_due(row, now)]
    asked = ledger.Asked((row.rule for row in due), now)
    read = []
    for row in due:
        with faults.kept_apart(row):
            reading = ledger.read(row, now, renew_forecast=True, fresh=True, asked=asked)
            row.kept, row.hours = reading.plain(), reading.plain_hours
            read.append(row)
    Budget.objects.keep(read)
    Budget.objects.keep_hours(read)
    return len(read)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold that is newly crossed, or that is worse than it was told to be."""

    threshold: Threshold
    severity: Severity
    is_new: bool


def _tell_crossings(row: Budget, verdict: MoneyVerdict, now: datetime) -> MoneyVerdict:
    """Since when each threshold is crossed is kept: whoever acts must know one crossing from the next."""
    verdict, untold = _compared(row, verdict, now)
    if untold or verdict.cleared:
        verdict = _note_crossings(row, verdict, now=now)
    return verdict


def _compared(row: Budget, verdict: MoneyVerdict, now: datetime) -> tuple[MoneyVerdict, list[Crossing]]:
    """Against what the row says: what is to be told, what has cleared, and since when the others are crossed."""
    known = row.crossed_in_period(verdict.period_from)
    began = {threshold.name: known.get(threshold.name, now) for threshold in verdict.crossed}
    cleared = tuple(sorted(set(row.crossed) - set(began)))
    untold = []
    for threshold in verdict.crossed:
        severity, is_new = severity_of(threshold, verdict, now), threshold.name not in known
        if is_new or is_worse(severity, row.told.get(threshold.name, severity)):
            untold.append(Crossing(threshold, severity, is_new))
    is_new = any(crossing.is_new for crossing in untold)
    return replace(verdict, is_new=is_new, began=began, cleared=cleared), untold


@transaction.atomic
def _note_crossings(row: Budget, verdict: MoneyVerdict, *, now: datetime) -> MoneyVerdict:
    locked = Budget.objects.locked(row.pk)
    verdict, untold = _compared(locked, verdict, now)  # another worker may have told it
    for crossing in untold:
        threshold = crossing.threshold
        is_over = threshold.kind == AT and threshold.level >= 1
        conditions.tell(
            locked,
            "budget.exceeded" if is_over else "budget.threshold_crossed",
            threshold.name,
            effect="opens",
            severity=crossing.severity,
            sentence=money.sentence_of(locked.rule, verdict, threshold),
            because=f"Crossed: {threshold.words}." if crossing.is_new else f"More urgent now: {threshold.words}.",
            after=verdict.as_dict(),
            now=now,
        )
    for name in verdict.cleared:
        conditions.tell(
            locked,
            "budget.recovered",
            name,
            effect="closes",
            severity="info",
            sentence=verdict.sentence,
            because="The threshold is no longer crossed.",
            after=verdict.as_dict(),
            now=now,
        )
    if untold or verdict.cleared:
        told = {name: severity for name, severity in locked.told.items() if name in verdict.began}
        told |= {crossing.threshold.name: crossing.severity for crossing in untold}
        locked.note_crossed(verdict.crossed, period_from=verdict.period_from, began=verdict.began, told=told)
    return verdict


def is_worse(severity: Severity, than: Severity) -> bool:
    worst_first = get_args(Severity)
    return worst_first.index(severity) < worst_first.index(than)


def severity_of(threshold: Threshold, verdict: MoneyVerdict, now: datetime) -> Severity:
    """What pages, what may wait: all of the limit, the fast rates of the table, money that ends within two hours."""
    if threshold.kind == AT:
        return "critical" if threshold.level >= 1 else "warning"
    if threshold.kind == BURN:
        window = thresholds.windows_of(verdict.period, threshold.level)
        return "error" if window is not None and window[3] == thresholds.PAGE else "warning"
    if threshold.kind == RUNS_OUT:
        return "error"
    ends_at = verdict.forecast.exhausted_at if verdict.forecast else None
    return "error" if ends_at is not None and ends_at - now < lasting.SOON else "warning"


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
    is_hard: bool = False,
    on_unreachable: str | None = None,
    at_cap: str = Budget.AtCap.FINISH,
) -> Budget:
    """`on_unreachable`: without a choice a hard cap is closed to those who cannot ask, a soft one open."""
    fields = check_budget(
        {
            "environment": environment,
            "scope": scope,
            "period": period,
            "limit_nano": limit_nano,
            "thresholds": list(thresholds),
            "timezone": timezone,
            "name": name,
            "owner": owner,
            "is_hard": is_hard,
            "on_unreachable": on_unreachable or unreachable_default(is_hard),
            "at_cap": at_cap,
        }
    )
    row = Budget.objects.create(created_at=now, changed_at=now, changed_by=str(by), **fields)
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
    """`changes`: any of BUDGET_FIELDS."""
    row = _budget_for_change(budget, expected_revision)
    before = _facts(row)
    asked = {name: value for name, value in changes.items() if value is not None}
    if "is_hard" in asked and "on_unreachable" not in asked and asked["is_hard"] != row.is_hard:
        asked["on_unreachable"] = unreachable_default(asked["is_hard"])
    fields = check_budget({"environment": row.environment} | _facts(row) | asked)
    if any(before[name] != fields[name] for name in ("scope", "period", "timezone")):
        repairing.start_over(row, has_other_calls=before["scope"] != fields["scope"], now=now)
    if row.is_hard and not fields["is_hard"]:
        sentence = f"The budget of {row.words} is no hard cap any more."
        conditions.close(row, *conditions.OF_HARD_CAPS, sentence=sentence, because=because, now=now)
    row.change(fields, by=str(by), now=now)
    _record_budget("budget.changed", row, by=by, because=because, now=now, before=before, after=_facts(row))
    return row


@transaction.atomic
def end_budget(*, budget: str, by: Actor, because: str, now: datetime, expected_revision: int | None = None) -> Budget:
    """From now on it judges nothing. What was spent stays in the ledger."""
    row = _budget_for_change(budget, expected_revision)
    sentence = f"The budget of {row.words} was ended."
    names = (*row.crossed, *conditions.OF_ALL, *(f"{conditions.LATE}{since}" for since in row.late))
    conditions.close(row, *names, sentence=sentence, because=because, now=now)
    row.end(by=str(by), now=now)
    _record_budget("budget.ended", row, by=by, because=because, now=now, before=_facts(row), after=None)
    return row


BUDGET_FIELDS = (
    "scope", "period", "limit_nano", "thresholds", "timezone", "name", "owner", "is_hard", "on_unreachable", "at_cap",
)  # fmt: skip


def unreachable_default(is_hard: bool) -> str:
    return Budget.OnUnreachable.CLOSED if is_hard else Budget.OnUnreachable.OPEN


def check_budget(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as they are stored. Raises with what is wrong, by field."""
    faults: dict[str, str] = {}
    scope, fault = scopes.parse(fields["scope"], environment=fields["environment"], period=fields["period"])
    if fault:
        faults["scope"] = fault
    if fields["period"] not in periods.LENGTHS:
        faults["period"] = f"Use one of {', '.join(periods.LENGTHS)}."
    elif fields["is_hard"] and fields["period"] == periods.REQUEST:
        faults["is_hard"] = "What one request may cost is capped by its variant's max_cost_usd."
    if not isinstance(fields["limit_nano"], int) or not 0 < fields["limit_nano"] <= usd_to_nano(MOST_USD):
        faults["limit_usd"] = f"Give a limit above 0, of {MOST_USD} at most."
    parsed, wrong = thresholds.parse(fields["thresholds"], period=fields["period"], scope=scope)
    if wrong:
        faults["thresholds"] = wrong
    if not _is_zone(fields["timezone"]):
        faults["timezone"] = "Use a name such as Europe/Berlin."
    for name, choices in (("on_unreachable", Budget.OnUnreachable), ("at_cap", Budget.AtCap)):
        if fields[name] not in choices.values:
            faults[name] = f"Use one of {', '.join(choices.values)}."
    if faults:
        place, text = next(iter(faults.items()))
        raise Invalid(f"{place}: {text}", **faults)
    return fields | {"scope": scope, "thresholds": [threshold.plain() for threshold in parsed]}


def _is_zone(name: Any) -> bool:
    if not isinstance(name, str) or name not in available_timezones() | {"UTC"}:
        return False
    ZoneInfo(name)
    return True


def _budget_for_change(budget: str, expected_revision: int | None) -> Budget:
    row = Budget.objects.in_force().select_for_update().filter(pk=budget).first()
    if row is None:
        raise NotFound(what="budget", key=budget)
    if expected_revision is not None and expected_revision != row.revision:
        raise Stale(by=row.changed_by, at=row.changed_at.isoformat(), changes=_changed_since(row, expected_revision))
    return row


def _changed_since(row: Budget, revision: int) -> dict[str, Any]:
    """What the caller has not seen, field by field, as people write it."""
    seen = queries.fields_at(row, revision)
    found = changes_of(seen, _facts(row)) if seen else {}
    told: dict[str, Any] = {name: {"was": was, "is": now} for name, (was, now) in found.items()}
    if (limit := told.pop("limit_nano", None)) is not None:
        told["limit_usd"] = {side: nano_to_text(nano) for side, nano in limit.items()}
    return told


def _facts(row: Budget) -> dict[str, Any]:
    return {name: getattr(row, name) for name in BUDGET_FIELDS}


def _record_budget(kind: str, row: Budget, *, by: Actor, because: str, now: datetime, before: Any, after: Any) -> None:
    journal.record(
        kind,
        environment=row.environment,
        by=by,
        because=because,
        about={"budget": row.id} | ({"route": row.route} if row.route else {}),
        now=now,
        before=before,
        after=after,
    )
