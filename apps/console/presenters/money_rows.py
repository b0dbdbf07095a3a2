"""Budgets as rows: spent, limit, pace, forecast, what comes next; and what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe

from apps.budgets.domain import periods
from apps.budgets.domain.money import MoneyVerdict
from apps.budgets.domain.thresholds import AT, BURN, RUNS_OUT
from apps.budgets.queries import BudgetStatus
from apps.console import drawings, figures
from apps.console.sentences import amount, glued
from apps.console.spending import Rate

DO = {
    "alert": "Alert",
    "hold": "Hold the ramp",
    "stop_shadow": "Stop the shadow",
    "cap_share": "Cap the share",
    "step_back": "Step back a stage",
    "pause": "Pause the rollout",
    "roll_back": "Roll back",
    "fall_back": "Fall back",
    "block": "Block",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRow:
    id: str
    name: str
    second: str
    spent: SafeString
    limit: str
    bar: SafeString
    used: str
    forecast: str
    is_over: bool
    range: str
    no_forecast: str
    burn: str
    next: str
    state: str
    word: str
    estimated: str
    unpriced: str
    is_current: bool


def name_of(one: BudgetStatus) -> str:
    """The budget's own name, or what it is about."""
    budget = one.budget
    return budget.name or ", ".join(str(value) for value in budget.scope.values()) or "the whole environment"


def period_words(period: str, timezone: str) -> str:
    if period == periods.REQUEST:
        return "for one request"
    if periods.is_rolling(period):
        return periods.words(period)
    return f"calendar {period} in {timezone}"


def scope_words(one: BudgetStatus) -> str:
    kinds = ", ".join(sorted(one.budget.scope)) or "environment"
    hard = ", hard cap" if one.budget.is_hard else ""
    return f"{kinds}, {period_words(one.verdict.period, one.verdict.timezone)}{hard}"


def is_over(one: BudgetStatus) -> bool:
    forecast = one.verdict.forecast
    return forecast is not None and forecast.nano > one.verdict.limit_nano


def verdict_word(one: BudgetStatus) -> str:
    verdict = one.verdict
    if verdict.state == "warning" and verdict.threshold is not None:
        if verdict.threshold.kind == BURN:
            return "Burns fast"
        if verdict.threshold.kind == RUNS_OUT:
            return "Soon gone"
        return f"Above {figures.percent(verdict.threshold.level)}" if verdict.threshold.kind == AT else "Forecast over"
    if verdict.state == "inconclusive":
        return "Not all priced"
    return "Forecast over" if verdict.state == "within" and is_over(one) else ""


def unpriced_words(verdict: MoneyVerdict) -> str:
    """Of a sum that holds what calls without a price are taken for."""
    if not verdict.unpriced:
        return ""
    calls = figures.counted(verdict.unpriced, "call")
    if not verdict.assumed_nano:
        return f"{calls} without a price: nobody knows what they cost."
    return f"{figures.nano(verdict.assumed_nano)} of it is assumed for {calls} without a price."


def unpriced_cell(verdict: MoneyVerdict) -> str:
    """`60 without a price, taken for $0.60`"""
    if not verdict.unpriced:
        return ""
    told = f"{figures.count(verdict.unpriced)} without a price"
    return f"{told}, taken for {figures.nano(verdict.assumed_nano)}" if verdict.assumed_nano else told


def row(one: BudgetStatus, burn: Rate | None, current: str) -> BudgetRow:
    verdict, forecast = one.verdict, one.verdict.forecast
    word = verdict_word(one)
    return BudgetRow(
        id=one.budget.id,
        name=name_of(one),
        second=scope_words(one),
        spent=amount(verdict.spent_nano),
        limit=figures.nano(verdict.limit_nano),
        bar=mark_safe(drawings.bar(verdict.fraction, verdict.pace, width=116)),
        used=figures.percent(verdict.fraction),
        forecast=figures.nano(forecast.nano) if forecast else "",
        is_over=is_over(one),
        range=f"{figures.nano(forecast.low_nano)} to {figures.nano(forecast.high_nano)}" if forecast else "",
        no_forecast="" if forecast else glued(verdict.no_forecast),
        burn=figures.times(burn.times) if burn and burn.times is not None else "",
        next=next_words(one),
        state="warning" if word == "Forecast over" else verdict.state,
        word=word,
        estimated=figures.nano(verdict.estimated_nano) if verdict.estimated_nano else "",
        unpriced=unpriced_cell(verdict),
        is_current=one.budget.id == current,
    )


def next_words(one: BudgetStatus) -> str:
    if one.next_threshold is None:
        return "nothing more" if one.budget.thresholds else "nothing, no threshold is set"
    word = DO[one.next_threshold.do]
    return f"{word[0].lower()}{word[1:]} at {figures.percent(one.next_threshold.level)}"


def summary(rows: Sequence[BudgetStatus], environment: str, month: str = "") -> str:
    """Of the whole environment where it has a budget; else how many stand how. `month`: one that is over."""
    whole = next((one for one in rows if not one.budget.scope and one.verdict.period != periods.REQUEST), None)
    if whole is not None:
        verdict = whole.verdict
        spent = f"{figures.nano(verdict.spent_nano)} of {figures.nano(verdict.limit_nano)}"
        if month:
            return f"{environment.capitalize()} spent {spent} in {month}: {figures.percent(verdict.fraction)}."
        told = (
            f"{environment.capitalize()} has spent {spent} {periods.words(verdict.period)}: "
            f"{figures.percent(verdict.fraction)} with {figures.percent(verdict.pace)} of the period gone."
        )
        return f"{told} Forecast {figures.nano(verdict.forecast.nano)}." if verdict.forecast else told
    exceeded = sum(1 for one in rows if one.verdict.state == "exceeded")
    warned = sum(1 for one in rows if one.verdict.state != "exceeded" and (verdict_word(one) or is_over(one)))
    parts = [f"{figures.counted(len(rows), 'budget')}."]
    if exceeded:
        parts.append(f"{exceeded} exceeded.")
    if warned:
        parts.append(f"{warned} may be exceeded or burn fast.")
    if not exceeded and not warned:
        parts.append("All are within their limits.")
    return " ".join(parts)
