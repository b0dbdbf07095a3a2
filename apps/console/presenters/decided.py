"""A stored decision becomes its page."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from apps.alerts.models import Alert
from apps.budgets.domain.verdicts import Verdict
from apps.budgets.queries import LookPoint
from apps.console import figures, glyphs, queries, sentences
from apps.console.acts import Act
from apps.console.charts import Chart, Limit, Mark, Series
from apps.console.presenters import judged, presses, rows
from apps.console.presenters.board import Line
from apps.console.presenters.decision import DecisionPage, Fact, StepRow
from apps.console.presenters.route import Pair, Panel
from apps.console.queries import Measured, Standing
from apps.console.visits import Visit
from apps.journal.models import Entry
from apps.rollouts.domain import evidence as kept
from apps.rollouts.domain import plan as planning
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import Decision, PlanStep

WORDS = {
    "hold": "Held", "advance": "Advanced", "step_back": "Stepped back", "cap_share": "Capped", "roll_back": "Rolled back",
    "stop_shadow": "Shadow stopped", "fall_back": "Fell back", "block": "Blocked", "pause": "Paused", "finish": "Finished",
}  # fmt: skip
STEP_WORDS = {
    "done": ("done", "within", "ok"),
    "waiting": ("under way", "inconclusive", "warn"),
    "unseen": ("nothing was visible", "holding", "warn"),
    "failed": ("failed", "firing", "danger"),
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


def page(
    visit: Visit,
    row: Decision,
    one: Standing | None,
    *,
    measured: dict[str, dict[datetime, Measured]],
    looks: Sequence[LookPoint],
    siblings: Sequence[Decision],
    steps: Sequence[PlanStep],
    alert: Alert | None,
    prices: Sequence[Cost],
    before: Sequence[Entry],
    exposed: queries.Exposure | None,
) -> DecisionPage:
    now = visit.now
    glyph, tone = glyphs.DECISIONS.get(row.kind, ("holding", ""))
    verdict = decisive(row)
    names = row.evidence.get("names", {})
    baseline, candidate = names.get("baseline", ""), names.get("candidate", "")
    short_candidate = figures.short_name(candidate)
    since, until, step = window(row, now)
    return DecisionPage(
        id=row.id,
        short_id=row.id[-6:],
        environment=row.environment,
        route=row.route,
        route_href=presses.home(visit, row.route),
        baseline=baseline,
        candidate=candidate,
        word=WORDS.get(row.kind, row.kind),
        glyph=glyph,
        tone=tone,
        pie=(row.share or 0) / 10_000 if row.kind == "advance" else None,
        at=row.at,
        long_moment=figures.long_moment(row.at),
        sentence=mark_safe(sentences.marked_parts(row.parts, row.at) or sentences.marked(row.sentence, row.at)),
        more=more(row, one, verdict, short_candidate),
        meta=meta(row, alert, now),
        facts=facts(row, one, verdict, short_candidate, steps, now),
        charts=charts_of(row, verdict, measured, looks, siblings, since=since, until=until, step=step),
        charts_title="The measure that broke"
        if row.kind in ("roll_back", "step_back", "fall_back") and verdict
        else "What was measured",
        charts_note=charts_note(row, measured, short_candidate),
        guardrails=[judged.row(found) for found in verdicts_of(row)],
        stage_told=f"stage {row.before['stage'] + 1}" if row.before.get("stage") is not None else "",
        steps=[step_row(found, row) for found in steps],
        steps_told=steps_told(steps, row),
        exposure=exposure(exposed, short_candidate, baseline) if exposed else [],
        exposure_told=exposure_told(exposed) if exposed else "",
        acts=acts(visit, row, one, alert, prices),
        silences=silences(visit, alert),
        acts_note=acts_note(alert, now),
        next=what_next(row, one, prices, now),
        hour_before=[before_line(entry) for entry in before],
        proof=proof(row, verdict),
    )


def more(row: Decision, one: Standing | None, verdict: Verdict | None, candidate: str) -> SafeString:
    """What the stored sentence leaves out: since when, how many, and where the traffic is now."""
    parts: list[SafeString] = []
    if verdict is not None and verdict.exceeded and verdict.k and verdict.unit != "usd":
        what = "were slower than the limit" if verdict.unit == "s" else "were bad"
        allowed = f", where {(1 - verdict.quantile) * 100:g}{figures.NBSP}% are allowed" if verdict.quantile else ""
        began = (
            format_html(
                "Since about {}, ", mark_safe(sentences.timed(figures.minute(verdict.began_at), verdict.began_at))
            )
            if verdict.began_at
            else SafeString()
        )
        parts.append(
            format_html(
                "{}<strong>{} of {}</strong> {} answers {}{}.",
                began,
                figures.count(verdict.k),
                figures.count(verdict.n),
                candidate,
                what,
                allowed,
            )
        )
    if one is not None:
        parts.append(mark_safe(sentences.timed(rows.all_on(one), None)))
    return mark_safe(" ".join(parts))


def meta(row: Decision, alert: Alert | None, now: datetime) -> list[str]:
    by = "the rollout worker" if row.by.startswith("worker:") else row.by
    words = [f"Decided by {by}"]
    stages = row.rollout.stages if row.rollout is not None else []
    if row.before.get("stage") is not None and stages:
        words.append(f"Stage {row.before['stage'] + 1} of {len(stages)}")
    if row.version:
        words.append(f"Snapshot {row.version}")
    if row.undone_by:
        words.append(f"Undone by {row.undone_by}")
    if alert is not None:
        words.append(alert_told(alert, now))
    if row.repeats:
        words.append(f"{figures.counted(row.repeats, 'equal hold')} folded, the last {figures.ago(row.last_at, now)}")
    return words


def alert_told(alert: Alert, now: datetime) -> str:
    if alert.state == Alert.State.SILENCED and alert.silenced_until:
        return f"Silenced until {figures.moment(alert.silenced_until, now)} by {alert.silenced_by}"
    if alert.acknowledged_at is not None:
        return f"Acknowledged by {alert.acknowledged_by}, {figures.moment(alert.acknowledged_at, now)}"
    if alert.state == Alert.State.RESOLVED:
        return "Resolved"
    return "Not acknowledged yet"


def facts(
    row: Decision,
    one: Standing | None,
    verdict: Verdict | None,
    candidate: str,
    steps: Sequence[PlanStep],
    now: datetime,
) -> list[Fact]:
    out = []
    if verdict is not None:
        limit = judged.value(verdict.limit, verdict.unit, verdict.metric)
        earlier = judged.value(verdict.baseline, verdict.unit, verdict.metric)
        observed = judged.value(verdict.observed, verdict.unit, verdict.metric)
        out.append(
            Fact(
                label=f"{judged.title(verdict.metric)}, {candidate}",
                value=observed + (" or more" if verdict.at_least else ""),
                second=", ".join(
                    part
                    for part in (f"limit {limit}" if limit else "", f"baseline {earlier}" if earlier else "")
                    if part
                ),
                tone="danger" if verdict.exceeded else "",
            )
        )
    if one is not None:
        shown = rows.measured_now(one, now)
        p95 = f"p95 {figures.seconds(shown.p95)}" if shown.p95 is not None else ""
        errors = f"errors {figures.percent(shown.error_rate)}" if shown.error_rate is not None else ""
        out.append(
            Fact(label="Traffic now", value=traffic_now(one), second=", ".join(part for part in (p95, errors) if part))
        )
    if verdict is not None and verdict.exceeded:
        slow = {"s": "slow or failed", "share": "bad"}.get(verdict.unit, "")
        out.append(
            Fact(
                label="Exposed since harm began",
                value=figures.counted(verdict.n, "request"),
                second=f"{figures.count(verdict.k)} {slow}" if slow else "",
            )
        )
    if fact := clients_fact(steps):
        out.append(fact)
    return out


def traffic_now(one: Standing) -> str:
    if one.route.is_off:
        return "switched off"
    if one.route.on_fallback:
        return f"100{figures.NBSP}% {figures.short_name(one.name(one.route.fallback_variant))}"
    most = max(one.route.weights, key=lambda variant: one.route.weights[variant])
    return f"{figures.share(one.route.weights[most])} {figures.short_name(one.name(most))}"


def clients_fact(steps: Sequence[PlanStep]) -> Fact | None:
    step = next((one for one in steps if one.kind == planning.CONFIRM), None)
    if step is None:
        return None
    there, behind = step.evidence.get("there"), step.evidence.get("behind")
    if there is None or behind is None:
        return Fact(
            label="Clients confirmed",
            value="none yet" if step.state == "waiting" else "not visible",
            second=step.outcome,
        )
    took = step.evidence.get("seconds")
    whole = len(there) + len([name for name in behind if name not in there])
    second = (
        f"all in {figures.seconds(took)}"
        if took is not None and not behind
        else f"behind: {', '.join(behind[:3])}"
        if behind
        else ""
    )
    return Fact(label="Clients confirmed", value=f"{len(there)} of {whole}", second=second)


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
    span = {"since": since.timestamp(), "until": until.timestamp()}
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
    span: dict[str, float],
    step: int,
    act: Mark,
    shade: tuple[float, float, str] | None,
) -> Chart:
    metric = verdict.metric if verdict is not None else "latency_p95"
    read, unit = reader_of(metric)
    series = []
    for arm, variant in (("baseline", progress["baseline"]), ("candidate", progress["candidate"])):
        steps = {at.timestamp(): one for at, one in measured.get(variant, {}).items()}
        begin, points = span["since"] // step * step, []
        while begin < span["until"]:
            points.append((begin, read(steps[begin]) if begin in steps else None))
            begin += step
        if any(value is not None for _, value in points):
            series.append(Series(figures.short_name(names.get(arm, variant)), arm, points, told=" "))  # type: ignore[arg-type]
    factor = 100 if unit == "percent" else 1000 if metric == "cost_per_request" else 1
    limit = verdict.limit * factor if verdict is not None and verdict.limit is not None else None
    title = judged.title(metric)
    told = judged.value(verdict.limit, verdict.unit, metric) if verdict is not None else ""
    return Chart(
        "measure",
        f"{title}, {figures.span(step)} windows",
        f"{title} by variant around the decision" + (f", limit {told}" if told else ""),
        series,
        unit=unit,  # type: ignore[arg-type]  # of the three that reader_of gives
        height=168,
        limits=[Limit(limit, f"limit {told}")] if limit is not None else [],
        marks=[act],
        shade=shade,
        with_time=False,
        end_room=70,
        waits="No calls are kept from this time.",
        **span,
    )


def reader_of(metric: str) -> tuple[Reader, str]:
    if metric.startswith("cost"):
        return (lambda one: one.nano_per_1k / 1e9 if one.nano_per_1k is not None else None), "usd"
    if metric.startswith("latency"):
        quantile = {"latency_p50": 0.5, "latency_p99": 0.99}.get(metric, 0.95)
        return (lambda one: one.latency.quantile(quantile) if one.latency.count >= 5 else None), "seconds"
    return (lambda one: one.error_rate * 100 if one.error_rate is not None else None), "percent"


def evidence_chart(
    verdict: Verdict,
    looks: Sequence[LookPoint],
    span: dict[str, float],
    act: Mark,
    shade: tuple[float, float, str] | None,
) -> Chart:
    points = [
        (look.at.timestamp(), value)
        for look in looks
        if (value := look.evidence.get(verdict.guardrail)) is not None
        and span["since"] <= look.at.timestamp() <= span["until"]
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
        **span,
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


def step_row(step: PlanStep, row: Decision) -> StepRow:
    word, glyph, tone = STEP_WORDS[step.state]
    partly = step.state == "done" and ("did not" in step.outcome or "fails" in step.outcome)
    if partly:
        word, glyph, tone = "partly done", "holding", "warn"
    done_at, after = "", ""
    if step.done_at is not None:
        at = step.done_at
        done_at = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
        after = f"+{(at - row.at).total_seconds():.2f}{figures.NBSP}s"
    return StepRow(
        position=step.position,
        title=step.title,
        outcome=step.outcome,
        word=word,
        glyph=glyph,
        tone=tone,
        done_at=done_at,
        after=after,
    )


def steps_told(steps: Sequence[PlanStep], row: Decision) -> str:
    done = [one for one in steps if one.state == "done" and one.done_at is not None]
    if not steps:
        return ""
    last = max((one.done_at for one in done if one.done_at), default=None)
    took = (
        f" in {figures.seconds((last - row.at).total_seconds())}"
        if last is not None and len(done) == len(steps)
        else ""
    )
    return f"{len(done)} of {len(steps)} steps done{took}"


def exposure(one: queries.Exposure, candidate: str, baseline: str) -> list[Pair]:
    pairs = [
        Pair(name="Confirmed", value=figures.nano(one.confirmed_nano)),
        Pair(name="Estimated, no price from the sender", value=figures.nano(one.estimated_nano)),
    ]
    if one.baseline_nano is not None:
        pairs.append(Pair(name=f"The same requests on {baseline}", value=figures.nano(one.baseline_nano)))
        extra = one.spent_nano - one.baseline_nano
        pairs.append(
            Pair(
                name="The exposure cost" if extra >= 0 else "The exposure saved",
                value=f"{figures.nano(abs(extra))}{' more' if extra >= 0 else ''}",
            )
        )
    if one.unpriced:
        pairs.append(Pair(name="Without a price, not in it", value=figures.counted(one.unpriced, "request")))
    return pairs


def exposure_told(one: queries.Exposure) -> str:
    return f"{figures.counted(one.requests, 'candidate request')} from {figures.clock(one.since)} to {figures.clock(one.until)}"


def acts(visit: Visit, row: Decision, one: Standing | None, alert: Alert | None, prices: Sequence[Cost]) -> list[Act]:
    """What is safe to do from here; after an automatic rollback that is to acknowledge it."""
    out: list[Act] = []
    if alert is not None and alert.state == Alert.State.FIRING:
        whose = rows.all_on(one) if one is not None else ""
        effect = f"Says that you have it. Changes no traffic. {whose}".strip()
        out.append(presses.acknowledge(visit, alert.id, big=True, effect=effect))
    if one is not None:
        if one.act is not None and one.act.id == row.id and (undo := presses.undo(visit, one, row)):
            out.append(undo)
        if one.live is not None and row.rollout_id == one.live.id:
            out.append(presses.roll_back(visit, one, one.live, presses.Prices(prices)))
        elif one.route.switch:
            out.append(presses.restore(visit, one))
    return out


def silences(visit: Visit, alert: Alert | None) -> list[Act]:
    if alert is None or alert.state != Alert.State.FIRING:
        return []
    return [presses.silence(visit, alert.id, hours, visit.now + timedelta(hours=hours)) for hours in (1, 8)]


def acts_note(alert: Alert | None, now: datetime) -> str:
    return f"{alert_told(alert, now)}." if alert is not None and alert.state != Alert.State.FIRING else ""


def what_next(row: Decision, one: Standing | None, prices: Sequence[Cost], now: datetime) -> Panel | None:
    rollout = row.rollout
    lines: list[SafeString] = []
    pairs = []
    if row.kind in ("roll_back", "step_back") and rollout is not None and not rollout.is_live:
        lines.append(
            format_html("{} stays at 0{}%. Nothing raises it again by itself.", rollout.candidate_name, figures.NBSP)
        )
        free_at = queries.free_at(rollout)
        if free_at is not None and rollout.ended_by_machine:
            when = mark_safe(f"<strong>{sentences.timed(figures.moment(free_at, now), free_at)}</strong>")
            lines.append(
                format_html(
                    "A person may arm it {}, with a reason, from the first stage. The next try is judged twice as strictly.",
                    format_html("after {}", when) if free_at > now else "again now",
                )
            )
    elif one is not None:
        lines += [
            format_html("{} {}", line.when.capitalize() + ":", line.words) for line in rows.comes_next([one], now)
        ]
    hourly = {cost.target: cost for cost in prices if cost.nano_per_hour is not None}
    names = row.evidence.get("names", {})
    for target in ("baseline", "candidate"):
        if target in hourly:
            pairs.append(
                Pair(
                    name=f"All on {figures.short_name(names.get(target) or target)}",
                    value=f"{figures.nano(hourly[target].nano_per_hour or 0)} an hour",
                )
            )
    if not lines and not pairs:
        return None
    return Panel(
        title="What comes next", words=format_html_join("", "<p>{}</p>", ((line,) for line in lines)), pairs=pairs
    )


def before_line(entry: Entry) -> Line:
    subject, _, verb = entry.kind.replace("_", " ").partition(".")
    glyph, tone = ENTRY_GLYPHS.get(verb, ("steady" if ":" in entry.by else "person", ""))
    told = entry.sentence or (entry.because if entry.by.startswith("worker:") else "")
    if told:
        words = mark_safe(sentences.marked(told, entry.at))
    else:
        because = f": {entry.because}" if entry.because else ""
        words = format_html("<strong>{} {}</strong> by {}{}", subject.capitalize(), verb, entry.by, because)
    return Line(when=figures.minute(entry.at), at=entry.at, glyph=glyph, tone=tone, words=words)


ENTRY_GLYPHS = {
    "advanced": ("ramping", "info"),
    "rolled back": ("rolled_back", "danger"),
    "paused": ("paused", ""),
    "fell back": ("fallback", "danger"),
    "held": ("holding", "warn"),
    "exceeded": ("firing", "danger"),
}


def proof(row: Decision, verdict: Verdict | None) -> Panel | None:
    """The decision is made again from what was stored; the page says whether it came out the same."""
    same = recomputed(row)
    pairs = [Pair(name="Decision", value=row.id[-6:])]
    if verdict is not None:
        pairs += [
            Pair(name="Rule", value=f"{judged.title(verdict.metric)} {judged.AGAINST.get(verdict.against, '')}"),
            Pair(name="Looks since start", value=figures.count(verdict.looks)),
            Pair(name="Evidence needed", value=figures.odds(verdict.needed)),
        ]
    newest = row.evidence.get("newest_at")
    if isinstance(newest, str):
        age = (row.at - datetime.fromisoformat(newest)).total_seconds()
        pairs.append(Pair(name="Data age at decision", value=figures.span(age)))
    if same is None:
        return Panel(title="Proof", warn="A person decided this; there is nothing to recompute.", pairs=pairs)
    if same:
        return Panel(title="Proof", ok="Recomputed from stored evidence: same verdict.", pairs=pairs)
    return Panel(
        title="Proof", warn="Recomputed from stored evidence: it came out differently. Report this.", pairs=pairs
    )


def recomputed(row: Decision) -> bool | None:
    if not row.by.startswith("worker:") or not row.evidence.get("progress") or row.code == "start":
        return None
    try:
        again, _ = kept.again(row.evidence, row.at)
    except (KeyError, TypeError, ValueError):
        return None  # evidence of an older format
    return again.kind == row.kind
