"""The two charts of a route's page: tail latency and cost by variant, over the same time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from apps.console import charts, figures, queries
from apps.console.charts import Chart, Limit, Mark, Series
from apps.console.presenters import judged, rows
from apps.console.queries import Measured, Standing
from apps.rollouts.models import Decision


def charts_of(
    one: Standing,
    baseline: str,
    candidate: str,
    decisions: Sequence[Decision],
    *,
    since: datetime,
    until: datetime,
    step: int,
) -> list[Chart]:
    variants: list[tuple[charts.Arm, str]] = [("baseline", baseline)]
    if candidate:
        variants.append(("candidate", candidate))
    marks = [
        Mark(row.at.timestamp(), figures.share(row.share or 0), "stage" if row.kind in ("advance", "finish") else "act")
        for row in decisions
        if row.kind in ("advance", "roll_back", "step_back", "finish") and since < row.at < until
    ]
    begin = first_moment(one, [variant for _, variant in variants], since)
    latency, cost = [], []
    for arm, variant in variants:
        steps = one.measured.get(variant, {})
        name = figures.short_name(one.name(variant))
        newest = queries.total(steps, until - timedelta(seconds=3 * step))
        p95 = figures.seconds(newest.p95) if newest.p95 else ""
        per_1k = figures.nano(newest.nano_per_1k) if newest.nano_per_1k else ""
        points = rows.minutes(steps, begin, until, step)
        latency.append(Series(name, arm, points, open_last=True, told=p95))
        cost.append(Series(name, arm, costs(steps, begin, until, step), open_last=True, told=per_1k))
    whose = f" for {figures.short_name(one.name(candidate))}" if candidate else ""
    p95_limit, cost_limit = judged.limit_of(one.verdicts, "latency_p95"), judged.limit_of(one.verdicts, "cost")
    step_words = figures.span(step)
    return [
        Chart(
            "p95",
            f"p95 latency, {step_words} windows",
            f"p95 latency of {one.route.key} by variant"
            + (f", limit {figures.seconds(p95_limit)}" if p95_limit else ""),
            latency,
            since=begin.timestamp(),
            until=until.timestamp(),
            height=118,
            limits=[Limit(p95_limit, f"limit {figures.seconds(p95_limit)}{whose}")] if p95_limit else [],
            marks=marks,
            gaps=gaps(one, begin, until, step),
        ),
        Chart(
            "cost",
            "Cost per 1k requests",
            f"Cost per thousand requests of {one.route.key} by variant",
            cost,
            since=begin.timestamp(),
            until=until.timestamp(),
            unit="usd",
            height=118,
            limits=[Limit(cost_limit * 1000, f"limit {figures.usd(cost_limit * 1000)}{whose}")] if cost_limit else [],
            marks=marks,
            gaps=gaps(one, begin, until, step),
        ),
    ]


def first_moment(one: Standing, variants: Sequence[str], since: datetime) -> datetime:
    """A route that is young does not begin with hours of nothing."""
    firsts = [min(steps) for variant in variants if (steps := one.measured.get(variant))]
    return max(since, min(firsts)) if firsts else since


def costs(
    steps: Mapping[datetime, Measured], since: datetime, until: datetime, step: int
) -> list[tuple[float, float | None]]:
    begin = since.timestamp() // step * step
    by_time = {at.timestamp(): one for at, one in steps.items()}
    out: list[tuple[float, float | None]] = []
    while begin < until.timestamp():
        one = by_time.get(begin)
        per_1k = one.nano_per_1k if one is not None and one.priced >= 5 else None
        out.append((begin, per_1k / 1e9 if per_1k is not None else None))
        begin += step
    first = next((index for index, (_, value) in enumerate(out) if value is not None), len(out))
    return out[first:]


def gaps(one: Standing, since: datetime, until: datetime, step: int) -> list[tuple[float, float]]:
    """Where no variant had a single request for two steps or more."""
    seen = sorted({at.timestamp() for steps in one.measured.values() for at in steps})
    found = [
        (before + step, after)
        for before, after in pairwise(seen)
        if after - before > 2 * step and before >= since.timestamp()
    ]
    return found[-6:]
