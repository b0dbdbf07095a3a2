"""The charts of one budget: burn-up with both ways on, each day by model, from the old model to what was spent."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.safestring import SafeString, mark_safe

from apps.budgets.domain import periods
from apps.console import bars, charts, drawings, figures
from apps.console.bars import Bars
from apps.console.charts import Chart, Limit, Mark, Series
from apps.console.spending import Future, Money
from apps.rollouts.models import Decision

MONTHS = ("month", "week")


def when_spent(money: Money) -> str:
    """this month; of a period that is over: in October 2026"""
    verdict = money.status.verdict
    if not money.is_over:
        return periods.words(verdict.period)
    return f"in {verdict.period_from.astimezone(ZoneInfo(verdict.timezone)):%B %Y}"


def sentence(money: Money) -> str:
    verdict = money.status.verdict
    return verdict.sentence.replace(periods.words(verdict.period), when_spent(money))


def burn_up(money: Money, decisions: Sequence[Decision], now: datetime) -> Chart:
    verdict = money.status.verdict
    rolls = periods.is_rolling(verdict.period)
    since, until = verdict.period_from.timestamp(), (now if rolls else verdict.period_to).timestamp()
    actual = [(at.timestamp(), nano / 1e9) for at, nano in money.up.actual]
    if actual and actual[-1][0] <= now.timestamp():  # where it stands: with what calls without a price are taken for
        actual.append((now.timestamp(), verdict.spent_nano / 1e9))
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
    says = sentence(money)
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


def by_day(money: Money, now: datetime) -> Bars | None:
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
        zone=ZoneInfo(verdict.timezone),
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


# --- from the old model to what was spent -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fall:
    """One line of the waterfall: a sum, or what one variant took from it or added to it."""

    name: str
    calls: str
    amount: str
    bar: SafeString
    is_sum: bool = False


def falls(money: Money, names: dict[str, str]) -> list[Fall]:
    moved = money.moved
    if moved is None:
        return []
    widest = max(moved.all_nano, moved.spent_nano, *(moved.all_nano + sum(s.nano for s in moved.steps[: i + 1])
                                                     for i in range(len(moved.steps)))) or 1  # fmt: skip

    def bar(begin: int, end: int, css: str) -> SafeString:
        return mark_safe(drawings.fall(min(begin, end) / widest, max(begin, end) / widest, css))

    old = names.get(moved.baseline, moved.baseline)
    rows = [
        Fall(f"All on {old}", figures.count(moved.calls), figures.nano(moved.all_nano),
             bar(0, moved.all_nano, "is-baseline"), is_sum=True)
    ]  # fmt: skip
    level = moved.all_nano
    for step in moved.steps:
        name = names.get(step.variant, step.variant) or "no variant"
        rows.append(
            Fall(
                f"{name}, shadow" if step.is_shadow else name,
                figures.count(step.calls),
                figures.plus(figures.nano(step.nano)),
                bar(level, level + step.nano, "is-less" if step.nano < 0 else "is-more"),
            )
        )
        level += step.nano
    rows.append(Fall("Spent", "", figures.nano(moved.spent_nano), bar(0, moved.spent_nano, "is-ink"), is_sum=True))
    return rows
