"""What others ask about guardrails and money. A query never changes anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apps.budgets import packing
from apps.budgets.domain import eprocess, forecast, judge, money, periods, recheck
from apps.budgets.domain.forecast import Forecast, NotYet
from apps.budgets.domain.money import MoneyVerdict, Spent, Threshold
from apps.budgets.domain.periods import Period
from apps.budgets.domain.trial import Trial
from apps.budgets.models import Budget, Guardrail, Look, TrialState
from apps.telemetry import queries as telemetry


def guardrails(trial: str) -> list[Guardrail]:
    return list(Guardrail.objects.of_trial(trial).in_order())


# --- evidence -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LookPoint:
    """E after one look, for charts. None while a mark was still being measured."""

    look: int
    at: datetime
    share: int
    evidence: dict[str, float | None]  # by guardrail


def looks(trial: str, since: datetime, *, most: int = 5000) -> list[LookPoint]:
    """How the evidence went, oldest first: the newest `most` looks."""
    state = TrialState.objects.filter(trial=trial).first()
    if state is None:
        return []
    ids = [rule.id for rule in packing.unpack_trial(state.packed).rules]
    newest = Look.objects.filter(trial=trial, at__gte=since).order_by("-look").values_list("at", "packed")[:most]
    points = []
    for at, packed in reversed(newest):
        record, logs = packing.unpack_look(packed)
        found = [None if log is None else eprocess.odds_of(log) for log in logs]
        points.append(LookPoint(record[0], at, record[3], dict(zip(ids, found, strict=True))))
    return points


def trial_state(trial: str) -> Trial | None:
    """Both arms' sums and all evidence of a trial."""
    state = TrialState.objects.filter(trial=trial).first()
    return None if state is None else packing.unpack_trial(state.packed)


def evidence(trial: str, *, circumstances: judge.Circumstances | None = None) -> dict[str, Any]:
    """What a decision stores, so that `recheck` can compute the same verdicts again. {} where nothing is judged yet.

    `circumstances` are those of the judging (`Judged.circumstances`); without them, those of the newest look.
    """
    state = TrialState.objects.filter(trial=trial).first()
    if state is None or state.look == 0:
        return {}
    kept = packing.unpack_trial(state.packed)
    rows = list(Look.objects.since_checkpoint(trial, until=state.look).values_list("packed", "checkpoint"))
    records = [packing.unpack_look(packed)[0] for packed, _ in rows]
    if rows and rows[0][1] is not None:
        checkpoint, records, share = packing.plain_trial(rows[0][1]), records[1:], records[-1][3]
    else:  # the looks are gone: what is left is the sum
        checkpoint, records, share = packing.plain_trial(state.packed), [], 0
    told = circumstances or judge.Circumstances(now=kept.at or 0.0, share=share)
    return recheck.evidence(
        checkpoint=checkpoint,
        records=records,
        trial=kept,
        circumstances=told,
        verdicts=judge.judge(kept, told),
    )


# --- money --------------------------------------------------------------------------------------------------------

SCOPE_COLUMNS = {"rollout": "trial"}  # others have the ledger's own names


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """One budget as pages and endpoints show it."""

    budget: Budget
    verdict: MoneyVerdict
    next_threshold: Threshold | None

    @property
    def next_action(self) -> str:
        """What will happen next, and at how much: "fall_back at $50.00"."""
        if self.next_threshold is None:
            return ""
        at = money.dollars(round(self.next_threshold.level * self.verdict.limit_nano))
        return f"{self.next_threshold.do} at {at}"

    @property
    def ahead_of_pace(self) -> float:
        """Above 1: spends faster than the period passes."""
        return self.verdict.fraction / self.verdict.pace if self.verdict.pace else 0.0


def budgets(environment: str) -> list[Budget]:
    return list(Budget.objects.of(environment).in_force().order_by("-created_at", "-id"))


def budget_status(environment: str, now: datetime) -> list[BudgetStatus]:
    """Every budget in force, the fullest first."""
    rows = [status_of(budget, now) for budget in budgets(environment)]
    return sorted(rows, key=lambda row: (-row.verdict.fraction, row.budget.id))


def status_of(budget: Budget, now: datetime) -> BudgetStatus:
    """What is spent is asked anew; the forecast may be the last one that was made."""
    reading = read(budget, now, renew_forecast=False)
    reading.spent = _spent(budget.rule, reading.period.since, reading.period.until)
    verdict = verdict_of(budget, reading, now)
    return BudgetStatus(budget, verdict, money.next_threshold(budget.rule, verdict.fraction))


FORECAST_STAYS = timedelta(minutes=5)  # it reads four weeks of hours
SPENT_STAYS = {"week": timedelta(seconds=30), "month": timedelta(seconds=60)}  # others are asked at every tick


@dataclass(slots=True)
class Reading:
    """What the ledger said for a budget, and when."""

    period: Period
    spent: Spent
    spent_at: datetime
    outlook: Forecast | NotYet
    outlook_at: datetime

    def plain(self) -> dict[str, Any]:
        spent = self.spent
        return {
            "period_from": self.period.since.isoformat(),
            "spent": [spent.confirmed_nano, spent.estimated_nano, spent.calls, spent.unpriced],
            "spent_at": self.spent_at.isoformat(),
            "outlook": forecast.to_plain(self.outlook),
            "outlook_at": self.outlook_at.isoformat(),
        }


def read(budget: Budget, now: datetime, *, renew_forecast: bool) -> Reading:
    """Everything is asked of the ledger; nothing is counted here. `renew_forecast`: once it is 5 minutes old."""
    rule = budget.rule
    zone = ZoneInfo(rule.timezone)
    period = periods.period_at(rule.period, now, zone)
    kept = budget.kept if budget.kept.get("period_from") == period.since.isoformat() else None
    if kept is not None and now - (spent_at := datetime.fromisoformat(kept["spent_at"])) < SPENT_STAYS.get(
        rule.period, timedelta(0)
    ):
        spent = Spent(*kept["spent"])
    else:
        spent, spent_at = _spent(rule, period.since, period.until), now
    if kept is not None:
        outlook_at = datetime.fromisoformat(kept["outlook_at"])
        if not renew_forecast or now - outlook_at < FORECAST_STAYS:
            return Reading(period, spent, spent_at, forecast.from_plain(kept["outlook"]), outlook_at)
    return Reading(period, spent, spent_at, _outlook(rule, period, spent, now, zone), now)


def verdict_of(budget: Budget, reading: Reading, now: datetime) -> MoneyVerdict:
    rule = budget.rule
    return money.judge(
        rule,
        period=reading.period,
        spent=reading.spent,
        outlook=reading.outlook,
        burn_spend=_burn_spend(rule, now),
        now=now,
    )


def _where(rule: money.Rule) -> dict[str, str]:
    return {SCOPE_COLUMNS.get(name, name): value for name, value in rule.scope.items()}


def _spent(rule: money.Rule, since: datetime, until: datetime) -> Spent:
    (row,) = telemetry.spend(rule.environment, since, until, where=_where(rule))
    return Spent(row.confirmed_nano, row.estimated_nano, row.calls, row.unpriced)


def _burn_spend(rule: money.Rule, now: datetime) -> Callable[[timedelta], Spent]:
    def spent(window: timedelta) -> Spent:
        return _spent(rule, now - window, now + timedelta(minutes=1))

    return spent


def _outlook(rule: money.Rule, period: Period, spent: Spent, now: datetime, zone: ZoneInfo) -> Forecast | NotYet:
    since = periods.whole_days_before(now, forecast.HISTORY_DAYS, zone).astimezone(UTC)
    rows = telemetry.spend(rule.environment, since, now + timedelta(minutes=1), where=_where(rule), step="1h")
    return forecast.forecast(
        hours={row.since: row.spent_nano for row in rows},
        calls=sum(row.calls - row.unpriced for row in rows),
        spent_nano=spent.nano,
        limit_nano=rule.limit_nano,
        until=period.until,
        now=now,
        zone=zone,
    )
