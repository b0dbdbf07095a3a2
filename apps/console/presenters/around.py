"""The three charts around a decision: the measure, the evidence and the share, on one time axis."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from apps.budgets.domain.verdicts import Verdict
from apps.budgets.queries import LookPoint
from apps.console import figures
from apps.console.charts import Arm, Chart, Limit, Mark, Series, Unit
from apps.console.presenters import judged
from apps.console.queries import Measured
from apps.rollouts.domain import evidence as kept
from apps.rollouts.models import Decision

WORDS = {
    "hold": "Held",
    "advance": "Advanced",
    "step_back": "Stepped back",
    "cap_share": "Capped",
    "stop_shadow": "Shadow stopped",
    "roll_back": "Rolled back",
    "fall_back": "Fell back",
    "block": "Blocked",
    "pause": "Paused",
    "finish": "Finished",
}
AROUND = timedelta(minutes=30)
Reader = Callable[[Measured], float | None]


def verdicts_of(row: Decision) -> list[Verdict]:
    return [kept.to_verdict(one) for one in row.evidence.get("verdicts", [])]


def decisive(row: Decision) -> Verdict | None:
    """The verdict that decided: named in the decision's because, the strongest of them."""
    named = {one.get("guardrail") for one in row.because}
    found = [one for one in verdicts_of(row) if one.guardrail in named]
    return judged.worst(found)


def window(row: Decision, now: datetime) -> tuple[datetime, datetime, int]:
    """What the charts show: half an hour before harm began or the act, a little after it; and in which steps."""
    verdict = decisive(row)
    began_at = verdict.began_at if verdict is not None and verdict.began_at is not None else row.at
    rollout_began = row.rollout.started_at if row.rollout is not None and row.rollout.started_at else row.at - AROUND
    since = max(min(began_at, row.at) - AROUND, rollout_began - timedelta(minutes=5), row.at - timedelta(hours=6))
    until = min(row.at + max(AROUND / 6, (row.at - since) / 12), now)
    span = (until - since).total_seconds()
    step = next((one for one in (10, 30, 60, 300, 900) if span / one <= 120), 900)
    return since, until, step


def charts_of(
    row: Decision,
    verdict: Verdict | None,
    measured: dict[str, dict[datetime, Measured]],
    looks: Sequence[LookPoint],
    siblings: Sequence[Decision],
    *,
    since: datetime,
    until: datetime,
    step: int,
) -> list[Chart]:
    """Measure, evidence and share on one time axis."""
    progress = row.evidence.get("progress")
    if not progress:
        return []
    began = verdict.began_at if verdict is not None and verdict.exceeded else None
    shade = (
        (max(began, since).timestamp(), row.at.timestamp(), f"harm began, about {figures.minute(began)}")
        if began
        else None
    )
    word = WORDS.get(row.kind, row.kind).lower()
    act = Mark(row.at.timestamp(), f"{word} {figures.clock(row.at)}")
    bare = Mark(row.at.timestamp(), "")
    silent = (shade[0], shade[1], "") if shade else None
    names = row.evidence.get("names", {})
    span = (since.timestamp(), until.timestamp())
    out = [measure_chart(row, verdict, measured, names, progress, span, step, act, shade)]
    if verdict is not None and looks:
        out.append(evidence_chart(verdict, looks, span, bare, silent))
    out.append(share_chart(row, siblings, names, since, until, bare))
    return out


def measure_chart(
    row: Decision,
    verdict: Verdict | None,
    measured: dict[str, dict[datetime, Measured]],
    names: dict[str, str],
    progress: dict[str, Any],
    span: tuple[float, float],
    step: int,
    act: Mark,
    shade: tuple[float, float, str] | None,
) -> Chart:
    metric = verdict.metric if verdict is not None else "latency_p95"
    read, unit = reader_of(metric)
    series = []
    arms: tuple[Arm, ...] = ("baseline", "candidate")
    for arm in arms:
        variant = progress[arm]
        steps = {at.timestamp(): one for at, one in measured.get(variant, {}).items()}
        begin, points = span[0] // step * step, []
        while begin < span[1]:
            points.append((begin, read(steps[begin]) if begin in steps else None))
            begin += step
        if any(value is not None for _, value in points):
            series.append(Series(figures.short_name(names.get(arm, variant)), arm, points, told=" "))
    factor = 100 if unit == "percent" else 1000 if metric == "cost_per_request" else 1
    limit = verdict.limit * factor if verdict is not None and verdict.limit is not None else None
    title = judged.title(metric)
    told = judged.value(verdict.limit, verdict.unit, metric) if verdict is not None else ""
    return Chart(
        "measure",
        f"{title}, {figures.span(step)} windows",
        f"{title} by variant around the decision" + (f", limit {told}" if told else ""),
        series,
        unit=unit,
        height=168,
        limits=[Limit(limit, f"limit {told}")] if limit is not None else [],
        marks=[act],
        shade=shade,
        with_time=False,
        end_room=70,
        waits="No calls are kept from this time.",
        since=span[0],
        until=span[1],
    )


def reader_of(metric: str) -> tuple[Reader, Unit]:
    if metric.startswith("cost"):
        return (lambda one: one.nano_per_1k / 1e9 if one.nano_per_1k is not None else None), "usd"
    if metric.startswith("attempts"):
        return (lambda one: one.seen.attempts_per_request), "plain"
    if metric.startswith("latency"):
        quantile = {"latency_p50": 0.5, "latency_p99": 0.99}.get(metric, 0.95)
        return (lambda one: one.latency.quantile(quantile) if one.latency.count >= 5 else None), "seconds"
    return (lambda one: one.error_rate * 100 if one.error_rate is not None else None), "percent"


def evidence_chart(
    verdict: Verdict,
    looks: Sequence[LookPoint],
    span: tuple[float, float],
    act: Mark,
    shade: tuple[float, float, str] | None,
) -> Chart:
    points = [
        (look.at.timestamp(), value)
        for look in looks
        if (value := look.evidence.get(verdict.guardrail)) is not None and span[0] <= look.at.timestamp() <= span[1]
    ]
    shown = [(t, min(max(value, 0.1), 1e6)) for t, value in points]
    top = max([verdict.needed * 2, *(value for _, value in shown)], default=1000.0)
    return Chart(
        "evidence",
        "Evidence for harm, log scale",
        f"Evidence for harm as odds, limit {figures.odds(verdict.needed)}, warning 20 to 1",
        [Series(figures.odds(verdict.evidence), "ink", shown)],
        unit="odds",
        height=86,
        limits=[
            Limit(verdict.needed, f"limit {figures.odds(verdict.needed)}"),
            Limit(20, f"warn {figures.odds(20)}, ramp freezes", "second"),
        ],
        marks=[act],
        shade=shade,
        log=True,
        floor=0.1,
        ticks=[tick for tick in (1, 20, round(verdict.needed), 10_000, 1_000_000) if tick <= top * 2],
        with_time=False,
        end_room=70,
        waits="The first look is still to come.",
        since=span[0],
        until=span[1],
    )


def share_chart(
    row: Decision, siblings: Sequence[Decision], names: dict[str, str], since: datetime, until: datetime, act: Mark
) -> Chart:
    moves = sorted((one for one in siblings if one.share is not None and one.kind != "hold"), key=lambda one: one.at)
    share = next(
        (one.share or 0 for one in reversed(moves) if one.at <= since),
        (moves[0].before.get("share", 0) if moves else 0),
    )
    points: list[tuple[float, float | None]] = [(since.timestamp(), share / 100)]
    for one in moves:
        if since < one.at <= until:
            points.append((one.at.timestamp(), (one.share or 0) / 100))
    points.append((until.timestamp(), points[-1][1]))
    highest = max((value or 0 for _, value in points), default=0) or 1
    name = figures.short_name(names.get("candidate", ""))
    return Chart(
        "share",
        f"Share of {name}",
        f"Share of {name} around the decision",
        [Series(name, "candidate", points, area=True, steps=True)],
        since=since.timestamp(),
        until=until.timestamp(),
        unit="percent",
        height=34,
        marks=[act],
        ticks=[0, highest],
        end_room=70,
    )


def charts_note(row: Decision, measured: dict[str, dict[datetime, Measured]], candidate: str) -> str:
    progress = row.evidence.get("progress") or {}
    steps = measured.get(progress.get("candidate", ""), {})
    if row.kind in ("roll_back", "fall_back") and steps:
        return f"The last {candidate} requests ended about {figures.clock(max(steps))}."
    return ""
