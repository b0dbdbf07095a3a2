"""Budgets as rows, and one budget as a page: spent, what comes, what an hour costs, what happens when."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils.safestring import SafeString, mark_safe

from apps.budgets.domain import periods
from apps.budgets.domain.thresholds import AT, BURN, Threshold
from apps.budgets.queries import BudgetStatus
from apps.console import bars, charts, drawings, figures
from apps.console.bars import Bars
from apps.console.charts import Chart, Limit, Mark, Series
from apps.console.presenters.route import Pair
from apps.console.spending import Future, Money, Rate
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import Decision
from apps.telemetry.queries import SpendRow

MONTHS = ("month", "week")
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
NOTES = {"fall_back": "never to a dearer variant", "stop_shadow": "it costs, and answers nobody"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRow:
    id: str
    name: str
    second: str
    spent: str
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
    unpriced: int
    is_current: bool


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
        return f"Above {figures.percent(verdict.threshold.level)}" if verdict.threshold.kind == AT else "Forecast over"
    return "Forecast over" if verdict.state == "within" and is_over(one) else ""


def row(one: BudgetStatus, burn: Rate | None, current: str) -> BudgetRow:
    verdict, forecast = one.verdict, one.verdict.forecast
    word = verdict_word(one)
    return BudgetRow(
        id=one.budget.id,
        name=name_of(one),
        second=scope_words(one),
        spent=figures.nano(verdict.spent_nano),
        limit=figures.nano(verdict.limit_nano),
        bar=mark_safe(drawings.bar(verdict.fraction, verdict.pace, width=116)),
        used=figures.percent(verdict.fraction),
        forecast=figures.nano(forecast.nano) if forecast else "",
        is_over=is_over(one),
        range=f"{figures.nano(forecast.low_nano)} to {figures.nano(forecast.high_nano)}" if forecast else "",
        no_forecast="" if forecast else verdict.no_forecast,
        burn=figures.times(burn.times) if burn and burn.times is not None else "",
        next=next_words(one),
        state="warning" if word == "Forecast over" else verdict.state,
        word=word,
        estimated=figures.nano(verdict.estimated_nano) if verdict.estimated_nano else "",
        unpriced=verdict.unpriced,
        is_current=one.budget.id == current,
    )


def next_words(one: BudgetStatus) -> str:
    if one.next_threshold is None:
        return "nothing more" if one.budget.thresholds else "nothing, no threshold is set"
    word = DO[one.next_threshold.do]
    return f"{word[0].lower()}{word[1:]} at {figures.percent(one.next_threshold.level)}"


def summary(rows: Sequence[BudgetStatus], environment: str, now: datetime) -> str:
    """Of the whole environment where it has a budget; else how many stand how."""
    whole = next((one for one in rows if not one.budget.scope and one.verdict.period != periods.REQUEST), None)
    if whole is not None:
        verdict = whole.verdict
        told = (
            f"{environment.capitalize()} has spent {figures.nano(verdict.spent_nano)} of "
            f"{figures.nano(verdict.limit_nano)} {periods.words(verdict.period)}: {figures.percent(verdict.fraction)} "
            f"with {figures.percent(verdict.pace)} of the period gone."
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
        sentence=verdict.sentence,
        period=f"spend {periods.words(verdict.period)}, cumulative",
        chart=chart,
        days=by_day(money, names, now),
        forecast_for="Forecast for its highest in one period from now"
        if periods.is_rolling(verdict.period)
        else f"Forecast for {ends.day} {ends:%B}",
        forecast=figures.nano(main.end_nano if main else verdict.forecast.nano) if verdict.forecast else "",
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


def forecast_note(money: Money, main: Future | None) -> str:
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
    if verdict.fraction < 1 and verdict.forecast is not None and verdict.forecast.exhausted_at is not None:
        used_up = figures.whole_minute(verdict.forecast.exhausted_at)
        out.append(Pair(name="Used up about", value=used_up, tone="danger"))
    if len(money.futures) > 1:
        out.append(Pair(name="Rolled back now", value=figures.nano(money.futures[1].end_nano)))
    if verdict.estimated_nano:
        out.append(Pair(name="Of it estimated", value=figures.nano(verdict.estimated_nano)))
    if one.reserved_nano:
        out.append(Pair(name="Reserved for calls under way", value=figures.nano(one.reserved_nano)))
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
    order = {AT: 0, "forecast": 1, BURN: 2}
    out = []
    for threshold in sorted(one.budget.rule.thresholds, key=lambda each: (order[each.kind], each.level)):
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


# --- its charts ---------------------------------------------------------------------------------------------------


def burn_up(money: Money, decisions: Sequence[Decision], now: datetime) -> Chart:
    verdict = money.status.verdict
    rolls = periods.is_rolling(verdict.period)
    since, until = verdict.period_from.timestamp(), (now if rolls else verdict.period_to).timestamp()
    actual = [(at.timestamp(), nano / 1e9) for at, nano in money.up.actual]
    if actual and actual[-1][0] < now.timestamp():
        actual.append((now.timestamp(), actual[-1][1]))
    limit = verdict.limit_nano / 1e9
    series = [Series("spent", "ink", actual, told="" if money.futures else figures.nano(verdict.spent_nano))]
    arms: list[charts.Arm] = ["candidate", "baseline"] if len(money.futures) > 1 else ["ink"]
    for place, (future, arm) in enumerate(zip(money.futures, arms, strict=False)):
        points = [(at.timestamp(), nano / 1e9) for at, nano in future.path]
        cone = cone_of(future, verdict.spent_nano) if place == 0 else ()
        series.append(Series(future.name, arm, points, band=cone, told=figures.nano(future.end_nano), kind="forecast"))
    if not rolls:  # a value at each moment of the others: uPlot draws no line through moments that lack one
        moments = sorted({since, until, *(t for one in series for t, _ in one.points)})
        even = [(t, limit * (t - since) / (until - since)) for t in moments if since <= t <= until]
        series.insert(1, Series("even pace", "ink", even, kind="pace"))
    says = verdict.sentence
    if money.futures:
        ways = " ".join(f"{one.name}: {figures.nano(one.end_nano)}." for one in money.futures)
        says = f"{says} {ways}"
    return Chart(
        "burn-up",
        "Spent, cumulative",
        says,
        series,
        since=since,
        until=until,
        unit="usd",
        height=290,
        limits=[Limit(limit, f"limit {figures.nano(verdict.limit_nano)}")],
        marks=marks(decisions, since, until),
        waits="No spend in this period yet.",
        end_room=112,
    )


def cone_of(future: Future, spent_nano: int) -> list[tuple[float, float, float]]:
    """The range is computed for the end; on the way there it widens as spend grows."""
    gain = future.end_nano - spent_nano
    if gain <= 0:
        return []
    low, high = ((end - spent_nano) / gain for end in (future.low_nano, future.high_nano))
    out = []
    for at, nano in future.path:
        more = nano - spent_nano
        out.append((at.timestamp(), (spent_nano + more * low) / 1e9, (spent_nano + more * high) / 1e9))
    return out


def marks(decisions: Sequence[Decision], since: float, until: float) -> list[Mark]:
    found = [
        Mark(one.at.timestamp(), figures.share(one.share or 0), "act" if one.kind == "roll_back" else "stage")
        for one in decisions
        if one.kind in ("advance", "roll_back", "finish") and since < one.at.timestamp() < until
    ]
    found.sort(key=lambda mark: mark.at)
    out: list[Mark] = []
    for mark in found:  # words that would run into each other go, the line stays
        crowded = out and mark.at - out[-1].at < (until - since) / 14
        out.append(Mark(mark.at, "" if crowded else mark.words, mark.kind))
    return out[-8:]


def by_day(money: Money, names: dict[str, str], now: datetime) -> Bars | None:
    """Spend of each day by model, for periods of days."""
    verdict = money.status.verdict
    if periods.kind_of(verdict.period) not in MONTHS or not money.up.by_day_and_model:
        return None
    days: dict[datetime, dict[str, float]] = defaultdict(dict)
    totals: dict[str, int] = defaultdict(int)
    for at, model, nano in money.up.by_day_and_model:
        days[at][model] = days[at].get(model, 0.0) + nano / 1e9
        totals[model] += nano
    arms = arms_of(money, sorted(totals, key=lambda model: (-totals[model], model)))
    until = now if periods.is_rolling(verdict.period) else verdict.period_to
    return bars.Bars(
        title="Spend per day, by model",
        days=dict(sorted(days.items())),
        arms=arms,
        since=verdict.period_from,
        until=until,
        now=now,
    )


def arms_of(money: Money, models: Sequence[str]) -> dict[str, str]:
    """The baseline's and the candidate's model keep their colours; of the others three are told apart."""
    arms: dict[str, str] = {}
    if money.route is not None:
        named = [("baseline", money.rollout.baseline if money.rollout else money.route.default_variant)]
        if money.rollout is not None:
            named.append(("candidate", money.rollout.candidate))
        for arm, variant in named:
            model = money.route.model(variant).partition("/")[2]
            if model in models:
                arms.setdefault(model, arm)
    free = [arm for arm in ("baseline", "candidate", "arm3", "arm4") if arm not in arms.values()]
    if money.route is not None:
        free = [arm for arm in free if arm not in ("baseline", "candidate")]
    for model in models:
        if model not in arms:
            arms[model] = free.pop(0) if free else "other"
    return arms
