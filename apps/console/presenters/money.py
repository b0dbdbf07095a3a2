"""One budget as a page: spent, what comes, what an hour costs, what happens when, who spent it on what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apps.budgets.domain import periods, thresholds
from apps.budgets.domain.lasting import AMBER, RED
from apps.budgets.domain.thresholds import AT, BURN, FORECAST, RUNS_OUT, Threshold
from apps.budgets.queries import BudgetStatus
from apps.console import figures
from apps.console.bars import Bars
from apps.console.charts import Chart
from apps.console.presenters.money_charts import Fall, burn_up, by_day, falls, sentence, when_spent
from apps.console.presenters.money_rows import DO, name_of, scope_words
from apps.console.presenters.route import Pair
from apps.console.spending import Future, Money
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import Decision
from apps.telemetry.queries import SpendRow

LEVELS = {AMBER: "warn", RED: "danger"}
NOTES = {"fall_back": "never to a dearer variant", "stop_shadow": "it costs, and answers nobody"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCost:
    arm: str
    name: str
    value: str
    is_now: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happens:
    when: str
    glyph: str
    tone: str
    words: str
    note: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    variant: str
    model: str
    route: str = ""
    calls: str
    confirmed: str
    estimated: str
    unpriced: str
    reported: str = ""
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPage:
    id: str
    name: str
    second: str
    sentence: str
    period: str
    chart: Chart
    days: Bars | None
    falls: list[Fall]
    falls_note: str
    forecast_for: str
    forecast: str
    forecast_note: str
    pairs: list[Pair]
    hours: list[HourCost]
    hours_note: str
    happens: list[Happens]
    parts: list[PartRow]
    billed: list[PartRow]
    unpriced: list[PartRow]
    unpriced_note: str
    total: PartRow | None
    revision: int
    is_hard: bool
    timezone: str
    route: str = ""

    @property
    def charts(self) -> list[Chart]:
        return [self.chart]


# --- one budget ---------------------------------------------------------------------------------------------------


def page(money: Money, names: dict[str, str], decisions: Sequence[Decision], now: datetime) -> BudgetPage:
    one = money.status
    verdict = one.verdict
    chart = burn_up(money, decisions, now)
    ends = verdict.period_to.astimezone(ZoneInfo(verdict.timezone)) - timedelta(seconds=1)
    main = money.futures[0] if money.futures else None
    total = sum_row(money.parts)
    return BudgetPage(
        id=one.budget.id,
        name=name_of(one),
        second=scope_words(one),
        sentence=sentence(money),
        period=f"spend {when_spent(money)}, cumulative{clock_words(verdict.timezone)}",
        chart=chart,
        days=by_day(money, now),
        falls=falls(money, names),
        falls_note=falls_note(money, names),
        forecast_for=forecast_for(money, ends),
        forecast=figures.nano(verdict.spent_nano)
        if money.is_over
        else figures.nano(main.end_nano if main else verdict.forecast.nano)
        if verdict.forecast
        else "",
        forecast_note=forecast_note(money, main),
        pairs=pairs(money, now),
        hours=[hour for cost in money.costs if (hour := hour_cost(cost, money, names))],
        hours_note=hours_note(money),
        happens=happens(one, now),
        parts=[part_row(row, names) for row in money.parts],
        billed=[billed_row(row) for row in money.billed],
        unpriced=[part_row(row, names) for row in money.parts if row.unpriced],
        unpriced_note=f"They are taken for {figures.nano(verdict.assumed_nano)} together, never for free."
        if verdict.assumed_nano
        else "Nothing is known of what such a call may cost: set a price, or a cap on its variant.",
        total=total if len(money.parts) > 1 else None,
        revision=one.budget.revision,
        is_hard=one.budget.is_hard,
        timezone=verdict.timezone,
        route=str(one.budget.scope.get("route", "")),
    )


def clock_words(timezone: str) -> str:
    """Days are those of the budget, moments those of the whole console."""
    return "" if timezone == "UTC" else f"; its days are those of {timezone}, moments are in UTC"


def forecast_for(money: Money, ends: datetime) -> str:
    if money.is_over:
        return f"Spent {when_spent(money)}"
    if not money.status.verdict.forecast and periods.kind_of(money.status.verdict.period) in ("hour", periods.REQUEST):
        return "Forecast"
    if periods.is_rolling(money.status.verdict.period):
        return "Forecast for its highest in one period from now"
    return f"Forecast for {ends.day} {ends:%B}"


def forecast_note(money: Money, main: Future | None) -> str:
    verdict = money.status.verdict
    if money.is_over:
        return f"{figures.percent(verdict.fraction)} of {figures.nano(verdict.limit_nano)}, the limit as it is now."
    outlook = money.status.verdict.forecast
    if outlook is None:
        return money.status.verdict.no_forecast
    low, high = (main.low_nano, main.high_nano) if main else (outlook.low_nano, outlook.high_nano)
    goes_on = ", if the plan goes on" if len(money.futures) > 1 else ", in 8 of 10 futures"
    return f"{figures.nano(low)} to {figures.nano(high)}{goes_on}."


def pairs(money: Money, now: datetime) -> list[Pair]:
    one, verdict = money.status, money.status.verdict
    out = [Pair(name="Left", value=figures.nano(one.left_nano), tone="" if one.left_nano else "danger")]
    if money.hour.nano and one.left_nano:
        lasts = one.left_nano / money.hour.nano * 3600
        out.append(Pair(name="Would last, at the last hour's rate", value=figures.span(min(lasts, 9999 * 86400))))
    for name, rate in (("Burn, last hour", money.hour), ("Burn, last 24 h", money.day)):
        if rate.times is not None:
            out.append(Pair(name=name, value=figures.times(rate.times)))
    present = verdict.lasting
    if verdict.fraction < 1 and present is not None and present.runs_out_at is not None:
        gone, tone = figures.whole_minute(present.runs_out_at), LEVELS[present.level]
        out.append(Pair(name=f"Gone at the rate of {present.of}", value=gone, tone=tone))
    if verdict.fraction < 1 and verdict.forecast is not None and verdict.forecast.exhausted_at is not None:
        used_up = figures.whole_minute(verdict.forecast.exhausted_at)
        out.append(Pair(name="Used up about", value=used_up, tone="danger"))
    if len(money.futures) > 1:
        out.append(Pair(name="Rolled back now", value=figures.nano(money.futures[1].end_nano)))
    if verdict.estimated_nano:
        out.append(Pair(name="Of it estimated", value=figures.nano(verdict.estimated_nano)))
    if verdict.assumed_nano:
        assumed = figures.nano(verdict.assumed_nano)
        out.append(Pair(name="Of it assumed, for calls without a price", value=assumed, tone="warn"))
    if one.reserved_nano:
        out.append(Pair(name="Reserved for calls under way", value=figures.nano(one.reserved_nano)))
    if one.unverified_nano:
        out.append(Pair(name="Spent without asking for room", value=figures.nano(one.unverified_nano), tone="warn"))
    if one.may_overshoot_nano:
        out.append(Pair(name="May be passed by", value=figures.nano(one.may_overshoot_nano)))
    out.append(
        Pair(
            name="Calls without a price", value=figures.count(verdict.unpriced), tone="warn" if verdict.unpriced else ""
        )
    )
    return out


def hour_cost(cost: Cost, money: Money, names: dict[str, str]) -> HourCost | None:
    """What an hour costs on one target; a target that nobody can price is said to be so."""
    value = figures.nano(cost.nano_per_hour) if cost.nano_per_hour is not None else "not known yet"
    if cost.target == "now":
        if money.rollout is None:
            return HourCost(arm="baseline", name="As it is split now", value=value, is_now=True)
        candidate = figures.short_name(names.get(money.rollout.candidate, money.rollout.candidate))
        told = f"{figures.share(money.rollout.share)} {candidate}, now"
        return HourCost(arm="candidate", name=told, value=value, is_now=True)
    name = figures.short_name(names.get(cost.variant, cost.variant))
    arm = "candidate" if cost.target == "candidate" else "baseline"
    fallback = ", the fallback" if cost.target == "fallback" else ""
    note = "by the price list, not tried yet" if cost.is_listed else ""
    return HourCost(arm=arm, name=f"100{figures.NBSP}% {name}{fallback}", value=value, note=note)


def falls_note(money: Money, names: dict[str, str]) -> str:
    moved = money.moved
    if moved is None:
        return ""
    saved, old = moved.all_nano - moved.spent_nano, names.get(moved.baseline, moved.baseline)
    told = f"Staying on {old} would have cost {figures.nano(abs(saved))} {'more' if saved > 0 else 'less'}"
    if saved > 0:
        told += f": {figures.percent(saved / moved.all_nano)}"
    how = "by the price list, at the tokens of these calls" if moved.is_listed else "at what its own calls cost"
    return f"{told}. {old} is reckoned {how}."


def hours_note(money: Money) -> str:
    known = {cost.target: cost for cost in money.costs}
    here = known.get("now")
    if here is None or not here.requests_per_hour:
        return "No requests came in the last hour." if money.costs else ""
    told = f"At {figures.counted(round(here.requests_per_hour), 'request')} an hour."
    back = known.get("baseline")
    if money.rollout is None or back is None or back.nano_per_hour is None or here.nano_per_hour is None:
        return told
    more = back.nano_per_hour - here.nano_per_hour
    verb = "adds" if more > 0 else "saves"
    return f"{told} A rollback {verb} {figures.nano(abs(more))} an hour." if more else told


def happens(one: BudgetStatus, now: datetime) -> list[Happens]:
    crossed = {threshold.name for threshold in one.verdict.crossed}
    order = {AT: 0, FORECAST: 1, RUNS_OUT: 2, BURN: 3}
    rule, out = one.budget.rule, []
    watched = [*rule.thresholds, *thresholds.built_in(rule.period, rule.thresholds)]
    for threshold in sorted(watched, key=lambda each: (order[each.kind], each.level)):
        is_crossed = threshold.name in crossed
        began = one.verdict.began.get(threshold.name)
        out.append(
            Happens(
                when=when(threshold),
                glyph="firing" if is_crossed and threshold.kind == AT and threshold.level >= 1
                else "holding" if is_crossed else "to_come",
                tone="danger" if is_crossed and threshold.kind == AT and threshold.level >= 1
                else "warn" if is_crossed else "",
                words=act_words(threshold),
                note=NOTES.get(threshold.do, ""),
                since=f"crossed since {figures.moment(began, now)}" if is_crossed and began
                else "crossed" if is_crossed else "",
            )
        )  # fmt: skip
    return out


def act_words(threshold: Threshold) -> str:
    cap = f" at {threshold.share}{figures.NBSP}%" if threshold.share is not None else ""
    return f"{DO[threshold.do]}{cap}"


def when(threshold: Threshold) -> str:
    level = figures.percent(threshold.level)
    if threshold.kind == RUNS_OUT:
        return f"lasts {threshold.level:g}{figures.NBSP}h"
    if threshold.kind == BURN:
        return f"burns {threshold.level:g}{figures.NBSP}times"
    return level if threshold.kind == AT else f"forecast {level}"


def part_row(row: SpendRow, names: dict[str, str]) -> PartRow:
    variant = row.keys["variant"]
    return PartRow(
        variant=variant or "not by a variant",
        model="/".join(part for part in (row.keys["provider"], row.keys["model"]) if part) or "unknown",
        route=row.keys["route"],
        calls=figures.count(row.calls),
        confirmed=figures.nano(row.confirmed_nano),
        estimated=figures.nano(row.estimated_nano) if row.estimated_nano else "",
        unpriced=figures.count(row.unpriced) if row.unpriced else "",
    )


def sum_row(rows: Sequence[SpendRow]) -> PartRow:
    estimated, unpriced = sum(row.estimated_nano for row in rows), sum(row.unpriced for row in rows)
    return PartRow(
        variant="All",
        model="",
        calls=figures.count(sum(row.calls for row in rows)),
        confirmed=figures.nano(sum(row.confirmed_nano for row in rows)),
        estimated=figures.nano(estimated) if estimated else "",
        unpriced=figures.count(unpriced) if unpriced else "",
    )


def billed_row(row: SpendRow) -> PartRow:
    reported = row.reported_nano or 0
    return PartRow(
        variant="",
        model="/".join(part for part in (row.keys["provider"], row.keys["model"]) if part),
        calls=figures.count(row.calls),
        confirmed=figures.nano(row.confirmed_nano),
        estimated=figures.nano(row.estimated_nano) if row.estimated_nano else "",
        unpriced=figures.count(row.unpriced) if row.unpriced else "",
        reported=figures.nano(reported),
        difference=figures.plus(figures.nano(reported - row.spent_nano)),
    )
