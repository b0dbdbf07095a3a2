"""A stored decision becomes its page."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from apps.alerts.models import Alert
from apps.budgets.domain.verdicts import Verdict
from apps.budgets.queries import LookPoint
from apps.console import figures, glyphs, queries, sentences
from apps.console.acts import Act
from apps.console.presenters import around, judged, plan_steps, presses, rows
from apps.console.presenters.board import Line
from apps.console.presenters.decision import DecisionPage, Fact
from apps.console.presenters.route import Pair, Panel
from apps.console.queries import Measured, Standing
from apps.console.visits import Visit
from apps.journal.models import Entry
from apps.rollouts.domain import evidence as kept
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import Decision, PlanStep


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
    verdict = around.decisive(row)
    names = row.evidence.get("names", {})
    baseline, candidate = names.get("baseline", ""), names.get("candidate", "")
    short_candidate = figures.short_name(candidate)
    since, until, step = around.window(row, now)
    return DecisionPage(
        id=row.id,
        short_id=row.id[-6:],
        environment=row.environment,
        route=row.route,
        route_href=presses.home(visit, row.route),
        baseline=baseline,
        candidate=candidate,
        word=around.WORDS.get(row.kind, row.kind),
        glyph=glyph,
        tone=tone,
        pie=(row.share or 0) / 10_000 if row.kind == "advance" else None,
        at=row.at,
        long_moment=figures.long_moment(row.at),
        sentence=rows.told(row),
        more=more(row, one, verdict, short_candidate),
        meta=meta(row, alert, now),
        facts=facts(row, one, verdict, short_candidate, steps, now),
        charts=around.charts_of(row, verdict, measured, looks, siblings, since=since, until=until, step=step),
        charts_title="The measure that broke"
        if row.kind in ("roll_back", "step_back", "fall_back") and verdict
        else "What was measured",
        charts_note=around.charts_note(row, measured, short_candidate),
        guardrails=[judged.row(found) for found in around.verdicts_of(row)],
        stage_told=f"stage {row.before['stage'] + 1}" if row.before.get("stage") is not None else "",
        steps=[plan_steps.row_of(step, row) for step in steps],
        steps_told=plan_steps.told(steps, row),
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
    if fact := plan_steps.clients_fact(steps):
        out.append(fact)
    return out


def traffic_now(one: Standing) -> str:
    if one.route.is_off:
        return "switched off"
    if one.route.on_fallback:
        return f"100{figures.NBSP}% {figures.short_name(one.name(one.route.fallback_variant))}"
    most = max(one.route.weights, key=lambda variant: one.route.weights[variant])
    return f"{figures.share(one.route.weights[most])} {figures.short_name(one.name(most))}"


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
    span = f"from {figures.clock(one.since)} to {figures.clock(one.until)}"
    return f"{figures.counted(one.requests, 'candidate request')} {span}"


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
                    "A person may arm it {}, with a reason, from the first stage. It is then judged more strictly.",
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
