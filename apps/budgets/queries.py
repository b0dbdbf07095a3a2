"""What others ask about guardrails and money. A query never changes anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Sum

from apps.budgets import faults, ledger, packing
from apps.budgets.domain import eprocess, judge, money, periods, ratio, recheck
from apps.budgets.domain.forecast import Forecast
from apps.budgets.domain.money import MoneyVerdict
from apps.budgets.domain.thresholds import Threshold
from apps.budgets.domain.trial import Trial
from apps.budgets.domain.verdicts import Verdict
from apps.budgets.models import Budget, Guardrail, Hold, HoldPart, Look, Oddity, TrialState
from apps.journal.models import Entry
from apps.telemetry import queries as telemetry

LATELY = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)  # the window that has just begun


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


def is_thin(trial: Trial) -> bool:
    """So few requests that it is worth asking whether its source tells of any."""
    return trial.requests < judge.LEAST_REQUESTS


def coarse_routes(some: Sequence[tuple[str, str]], now: datetime) -> set[tuple[str, str]]:
    """Of these environments and routes, those whose calls hardly tell how long a request took."""
    return telemetry.coarse_routes(some, now - LATELY, now + MINUTE) if some else set()


def circumstances(trial: Trial, *, share: int, is_coarse: bool, now: datetime) -> judge.Circumstances:
    """What is true of a trial now, besides its evidence. `share`: the candidate's, in ten-thousandths."""
    given = trial.assigned
    return judge.Circumstances(
        now=now.timestamp(),
        share=share,
        tick_seconds=settings.TICK_SECONDS,
        blind=trial.blind,
        is_skewed=given is not None and ratio.is_wrong(given.candidate, given.baseline, share / 10_000),
        is_coarse=is_coarse,
    )


def verdicts(environment: str, route: str, trial: str, *, share: int, now: datetime) -> tuple[Verdict, ...]:
    """As the next tick would judge what is known. () where nothing was looked at yet."""
    known = trial_state(trial)
    if known is None:
        return ()
    is_coarse = is_thin(known) and bool(coarse_routes([(environment, route)], now))
    return judge.judge(known, circumstances(known, share=share, is_coarse=is_coarse, now=now))


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


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """One budget as pages and endpoints show it."""

    budget: Budget
    verdict: MoneyVerdict
    next_threshold: Threshold | None
    reserved_nano: int = 0  # by holds that are open, of a hard cap
    may_overshoot_nano: int = 0  # by which a soft cap can be passed before anybody acts
    unverified_nano: int = 0  # spent in this period while nobody could be asked for room

    @property
    def next_action(self) -> str:
        """What will happen next, and at how much: "fall_back at $50.00"."""
        if self.next_threshold is None:
            return ""
        at = money.dollars(round(self.next_threshold.level * self.verdict.limit_nano))
        return f"{self.next_threshold.do} at {at}"

    @property
    def left_nano(self) -> int:
        return max(self.verdict.limit_nano - self.verdict.spent_nano - self.reserved_nano, 0)


@dataclass(frozen=True, slots=True)
class BurnUp:
    """For a chart: (moment, what was spent until then), and the middle line from now to the period's end."""

    actual: list[tuple[datetime, int]]
    expected: list[tuple[datetime, int]]
    by_day_and_model: list[tuple[datetime, str, int]]


def budgets(environment: str) -> list[Budget]:
    return list(Budget.objects.of(environment).in_force().light().order_by("-created_at", "-id"))


def fields_at(budget: Budget, revision: int) -> dict[str, Any]:
    """What was set as that revision: the journal has an entry of each. {} where it is not known."""
    written = Entry.objects.of_environment(budget.environment).about(budget=budget.id)
    entries = written.filter(kind__in=("budget.created", "budget.changed")).order_by("at", "id")
    found = entries[revision - 1 : revision] if 0 < revision < budget.revision else ()
    return next((dict(entry.after) for entry in found if entry.after), {})


def shared(some: Iterable[Budget], now: datetime) -> ledger.Asked:
    """For pages and lists: what several of these budgets ask the ledger is asked once."""
    return ledger.Asked((budget.rule for budget in some if budget.is_sound), now)


def budget_status(environment: str, now: datetime, asked: ledger.Asked | None = None) -> list[BudgetStatus]:
    """Every budget in force that can be read, the fullest first. Of the others people were told."""
    found = budgets(environment)
    asked = asked or shared(found, now)
    rows = []
    for budget in found:
        with faults.kept_apart(budget):
            rows.append(status_of(budget, now, asked))
    return sorted(rows, key=lambda row: (-row.verdict.fraction, row.budget.id))


def status_of(budget: Budget, now: datetime, asked: ledger.Asked | None = None) -> BudgetStatus:
    """What is spent is asked anew; the forecast may be the last one that was made."""
    asked = asked or ledger.Asked()
    reading = ledger.read(budget, now, renew_forecast=False, fresh=True, asked=asked)
    reserved = reserved_nano([budget])[budget.id] if budget.is_hard else None
    verdict = ledger.verdict_of(budget, reading, now, asked, reserved_nano=reserved)
    soft = not budget.is_hard and budget.period != periods.REQUEST
    return BudgetStatus(
        budget,
        replace(verdict, began=budget.crossed_since),
        money.next_threshold(budget.rule, verdict.fraction),
        reserved_nano=verdict.reserved_nano,
        may_overshoot_nano=ledger.overshoot_nano(budget.rule, now, asked) if soft else 0,
        unverified_nano=unverified_nano(budget.id, verdict.period_from) if budget.is_hard else 0,
    )


def status_at_end(budget: Budget, ended_at: datetime, asked: ledger.Asked) -> BudgetStatus:
    """How the calendar period that ended then came out: nothing is forecast, burns or is reserved any more."""
    rule, last = budget.rule, ended_at - timedelta(seconds=1)
    period = periods.period_at(rule.period, last, rule.zone)
    spent = asked.spent(rule, *period)
    verdict = money.judge(rule, period=period, spent=spent, outlook=None, burn_spend=None, now=last)
    return BudgetStatus(budget, verdict, money.next_threshold(rule, verdict.fraction))


def unjudged_since(environment: str) -> datetime | None:
    """Since when none of its budgets was judged. None: some are, or there are none."""
    since = list(Budget.objects.of(environment).in_force().values_list("faulty_since", flat=True))
    known = [at for at in since if at is not None]
    return max(known) if known and len(known) == len(since) else None


def reserved_nano(some: Iterable[Budget]) -> Counter[str]:
    """By open holds, by budget."""
    held = HoldPart.objects.filter(budget__in=[budget.id for budget in some], state=Hold.State.OPEN)
    return Counter(dict(held.values_list("budget").annotate(nano=Sum("nano")).order_by()))


def unverified_nano(budget: str, since: datetime) -> int:
    """As far as holds are kept: for a week."""
    told = HoldPart.objects.filter(budget=budget, state=Hold.State.SETTLED, ended_at__gte=since)
    found = told.filter(hold__is_unverified=True).aggregate(nano=Sum("nano"))
    return int(found["nano"] or 0)


def burn_up(budget: Budget, now: datetime) -> BurnUp:
    """Hour by hour (minute by minute in an hour), as the ledger has it."""
    rule = budget.rule
    reading = ledger.read(budget, now, renew_forecast=False, fresh=True)
    since, until = reading.period
    step = "1m" if periods.kind_of(rule.period) in ("hour", "request") else "1h"
    rows = telemetry.spend(rule.environment, since, until, where=ledger.where(rule), step=step)
    total, actual = 0, [(since, 0)]
    for row in rows:
        total += row.spent_nano
        actual.append((min(row.until, now), total))
    expected: list[tuple[datetime, int]] = []
    if not periods.is_rolling(rule.period) and isinstance(reading.outlook, Forecast):
        at, nano = now, float(reading.spent.nano)
        while at < until:
            ends = min(at + timedelta(hours=1), until)
            nano += reading.season.expected(at, ends, rule.zone) * reading.season.level
            expected.append((ends, round(nano)))
            at = ends
    days = telemetry.spend(
        rule.environment, since, until, by=("model",), where=ledger.where(rule), step="1d", zone=rule.zone
    )
    return BurnUp(actual, expected, [(row.since, row.keys["model"], row.spent_nano) for row in days])


@dataclass(frozen=True, slots=True)
class OddityView:
    """Something odd about a route's money that is not over."""

    route: str
    kind: str
    began_at: datetime
    sentence: str


def oddities(environment: str, route: str | None = None) -> list[OddityView]:
    rows = Oddity.objects.filter(environment=environment).order_by("began_at", "id")
    if route is not None:
        rows = rows.filter(route=route)
    return [OddityView(row.route, row.kind, row.began_at, row.facts.get("sentence", "")) for row in rows]
