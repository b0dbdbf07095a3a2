"""A route's standing becomes its row on the board."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from apps.access.domain.roles import Role
from apps.alerts.models import Alert
from apps.budgets.queries import BudgetStatus
from apps.console import charts, drawings, figures, glyphs, queries, sentences
from apps.console.presenters import covered, judged, presses, states
from apps.console.presenters.board import Figure, Line, Row
from apps.console.queries import Measured, Standing
from apps.console.visits import Visit
from apps.rollouts.models import Decision, Rollout

HOUR = timedelta(hours=1)
NOW = timedelta(minutes=5)  # what "p95 now" looks at
HARMFUL = {"roll_back", "fall_back", "block", "step_back", "stop_shadow", "pause"}
LEAST = 20  # requests below which a p95 says nothing
PATIENCE = timedelta(minutes=5)  # data older than this is shown with its age


def row(visit: Visit, one: Standing, budget: BudgetStatus | None) -> Row:
    now = visit.now
    state = one.state.value
    told, second = states.traffic(one, now)
    baseline, candidate = arms(one, state)
    firing = one.alert is not None and one.alert.state == Alert.State.FIRING
    mine = asks_me(visit, one)
    says = say(one, visit) if firing or mine else SafeString()
    acts = []
    if mine and one.live is not None:
        acts.append(presses.approve(visit, one, one.live))
    if firing and one.alert is not None:
        acts.append(presses.acknowledge(visit, one.alert.id))
    shown = measured_now(one, now)
    return Row(
        key=one.route.key,
        href=presses.home(visit, one.route.key),
        state=state,
        state_second=states.alert_words(one.alert, now) if state != "Steady" else "",
        share=states.part_of(one),
        baseline=one.name(baseline),
        candidate=one.name(candidate) if candidate else "",
        traffic=told,
        traffic_second=second,
        spark=spark(one, baseline, candidate, now),
        p95=p95(shown, judged.limit_of(one.verdicts, "latency_p95"), covered.why_empty(one.untold)),
        errors=errors(shown, judged.limit_of(one.verdicts, "error")),
        cost=cost(shown, judged.limit_of(one.verdicts, "cost")),
        bar=mark_safe(drawings.bar(budget.verdict.fraction, budget.verdict.pace)) if budget else SafeString(),
        budget_used=figures.percent(budget.verdict.fraction) if budget else "",
        budget_second=budget_words(budget) if budget else "",
        sentence=says,
        acts=tuple(acts),
        decision_href=f"/d/{one.act.id}" if says and one.act is not None and firing else "",
        is_stale=one.data_at is not None and now - one.data_at > PATIENCE and one.live is not None,
    )


def arms(one: Standing, state: str) -> tuple[str, str]:
    """(baseline, candidate); no candidate on a route on which nothing moves."""
    rollout = one.rollout
    if rollout is not None and (rollout.is_live or state == "Rolled back"):
        return rollout.baseline, rollout.candidate
    weights = one.route.weights
    return max(weights, key=lambda variant: weights[variant], default=one.route.default_variant), ""


def asks_me(visit: Visit, one: Standing) -> bool:
    """A stage waits for an approval, and this person may give it."""
    if one.approval is None or one.live is None or not visit.may(Role.APPROVER):
        return False
    return str(visit.actor) not in (one.live.requested_by, one.live.created_by)


def measured_now(one: Standing, now: datetime) -> Measured:
    """The arm that is looked at: the candidate while it has traffic, else who answers."""
    live = one.live
    variant = live.candidate if live is not None and live.share else arms(one, "")[0]
    if one.route.on_fallback:
        variant = one.route.fallback_variant
    steps = one.measured.get(variant, {})
    lately = queries.total(steps, now - NOW)
    return lately if lately.requests >= LEAST else queries.total(steps)


def p95(shown: Measured, limit: float | None, why_empty: str) -> Figure:
    second = f"limit {figures.seconds(limit)}" if limit is not None else ""
    if why_empty:
        return Figure(second=why_empty)
    if shown.latency.count < LEAST:
        return Figure(second=f"{shown.requests} of {LEAST} requests" if shown.requests else second)
    found = shown.p95
    return Figure(value=figures.seconds(found) if found is not None else "", second=second)


def errors(shown: Measured, limit: float | None) -> Figure:
    rate = shown.error_rate
    second = f"limit {figures.percent(limit)}" if limit is not None else ""
    return Figure(value=figures.percent(rate) if rate is not None else "", second=second)


def cost(shown: Measured, limit: float | None) -> Figure:
    found = shown.nano_per_1k
    second = f"limit {figures.usd(limit * 1000)}" if limit is not None else ""
    return Figure(value=figures.nano(found) if found is not None else "", second=second)


def budget_words(one: BudgetStatus) -> str:
    spent, limit = figures.nano_short(one.verdict.spent_nano), figures.nano_short(one.verdict.limit_nano)
    return f"{spent} of {limit} a {one.verdict.period}"


def spark(one: Standing, baseline: str, candidate: str, now: datetime) -> SafeString:
    """Both arms; one line of all answers where nothing moves, whichever models gave them."""
    since = now - HOUR
    drawn: list[tuple[charts.Arm, list[tuple[float, float | None]]]] = []
    for arm, variant in (("baseline", baseline), ("candidate", candidate)):
        steps = (one.measured.get(variant, {}) if candidate else of_all(one.measured)) if variant else {}
        if steps:
            drawn.append((arm, minutes(steps, since, now, 60 if queries.total(steps).requests > 600 else 180)))  # type: ignore[arg-type]  # the two literals above
    limit = judged.limit_of(one.verdicts, "latency_p95")
    says = f"p95 latency of {one.route.key} over the last hour"
    return mark_safe(drawings.spark(drawn, limit, says, since=since.timestamp(), until=now.timestamp()))


def of_all(measured: Mapping[str, Mapping[datetime, Measured]]) -> dict[datetime, Measured]:
    out: dict[datetime, Measured] = {}
    for steps in measured.values():
        for at, one in steps.items():
            out.setdefault(at, Measured()).add(one)
    return out


def minutes(
    steps: Mapping[datetime, Measured], since: datetime, until: datetime, step: int = 60
) -> list[tuple[float, float | None]]:
    """p95 by the step; a step without requests is a gap, one with too few takes no part."""
    begin = since.timestamp() // step * step
    by_time = by_step(steps, step)
    out: list[tuple[float, float | None]] = []
    while begin < until.timestamp():
        one = by_time.get(begin)
        out.append((begin, one.p95 if one is not None and one.latency.count >= 5 else None))
        begin += step
    first = next((index for index, (_, value) in enumerate(out) if value is not None), len(out))
    return out[first:]


def by_step(steps: Mapping[datetime, Measured], step: int) -> dict[float, Measured]:
    out: dict[float, Measured] = {}
    for at, one in steps.items():
        out.setdefault(at.timestamp() // step * step, Measured()).add(one)
    return out


def say(one: Standing, visit: Visit) -> SafeString:
    """The sentence of the row that needs somebody: the stored one, and what is true now."""
    decision = one.decision if one.approval is not None and one.alert is None else one.act or one.decision
    alert = one.alert
    if alert is not None and (decision is None or not alert.link.endswith(decision.id)):
        return mark_safe(sentences.marked(alert.sentence, alert.opened_at))
    if decision is None:
        return SafeString()
    text = told(decision)
    if decision.kind in ("roll_back", "fall_back") and one.live is None:
        return format_html("{} {}", text, mark_safe(sentences.timed(all_on(one), None)))
    return text


def all_on(one: Standing) -> str:
    """`All traffic is on GPT-4.1.`"""
    if one.route.is_off:
        return "The flag is off: services use their own default."
    if one.route.on_fallback:
        return f"All traffic is on {one.name(one.route.fallback_variant)}, the fallback."
    whole = [variant for variant, weight in one.route.weights.items() if weight == 10_000]
    if whole:
        return f"All traffic is on {one.name(whole[0])}."
    shares = [
        f"{figures.share(weight)} on {one.name(variant)}" for variant, weight in one.route.weights.items() if weight
    ]
    return f"Traffic now: {', '.join(shares)}."


def told(decision: Decision) -> SafeString:
    """The stored sentence, marked up."""
    parts = sentences.marked_parts(decision.parts, decision.at)
    return mark_safe(parts or sentences.marked(decision.sentence, decision.at))


def decided(rows: Sequence[Decision], now: datetime, *, with_link: bool = True) -> list[Line]:
    return [line_of(one, now, with_link=with_link) for one in rows]


def line_of(one: Decision, now: datetime, *, with_link: bool = True) -> Line:
    glyph, tone = glyphs.DECISIONS.get(one.kind, ("holding", ""))
    at = one.last_at if one.repeats else one.at
    folded = f"{figures.counted(one.repeats, 'equal hold')} folded." if one.repeats else ""
    return Line(
        when=figures.clock(at) if at.date() == now.date() else figures.day(at),
        at=at,
        glyph=glyph,
        tone=tone,
        share=(one.share or 0) / 10_000 if one.kind == "advance" else None,
        words=told(one),
        folded=folded,
        href=f"/d/{one.id}" if with_link and one.kind in HARMFUL else "",
        link=f"Decision {one.id[-6:]}",
    )


def comes_next(found: Sequence[Standing], now: datetime, most: int = 5) -> list[Line]:
    """What happens unless somebody acts, the soonest first. What has no time of its own stands last."""
    lines: list[tuple[datetime | None, Line]] = []
    for one in found:
        lines += next_of(one, now)
    lines.sort(key=lambda pair: (pair[0] is None, pair[0] or now))
    return [line for _, line in lines[:most]]


def next_of(one: Standing, now: datetime) -> list[tuple[datetime | None, Line]]:
    out: list[tuple[datetime | None, Line]] = []
    rollout, key = one.live, one.route.key
    if one.alert is not None and one.alert.silenced_until and one.alert.state == Alert.State.SILENCED:
        out.append(
            coming(
                one.alert.silenced_until,
                now,
                "silenced",
                "",
                format_html("the silence of {} <strong>ends</strong>.", key),
            )
        )
    if rollout is None:
        last = one.rollout
        if last is not None and last.state == Rollout.State.ROLLED_BACK and last.ended_by_machine:
            free_at = queries.free_at(last)
            if free_at is not None and free_at > now:
                words = format_html("{} <strong>may be armed again</strong>, by a person, with a reason.", key)
                out.append(coming(free_at, now, "paused", "", words))
        return out
    progress = rollout.progress()
    following = progress.following
    if rollout.state == Rollout.State.PAUSED or one.route.switch:
        return out
    if one.approval is not None:
        words = format_html("{} <strong>waits for an approval</strong> of {}.", key, next_words(rollout))
        out.append(coming(None, now, "approval", "warn", words))
    elif following is not None or rollout.share:
        present = progress.present
        ends_at = progress.stage_began_at + present.least_time if present is not None else now
        words = format_html(
            "{} <strong>{}</strong> {}, if {} within.",
            key,
            "may advance" if following is not None else "may finish",
            f"from {figures.share(rollout.share)} to {next_words(rollout)}"
            if following is not None
            else f"on {rollout.candidate_name}",
            f"{figures.counted(len(one.verdicts), 'guardrail')} {'is' if len(one.verdicts) == 1 else 'are'}"
            if one.verdicts
            else "all is",
        )
        out.append(coming(ends_at if ends_at > now else None, now, "ramping", "info", words, rollout.share / 10_000))
    return out


def next_words(rollout: Rollout) -> str:
    following = rollout.progress().following
    if following is None:
        return f"100{figures.NBSP}%"
    share = figures.share(following.share or following.shadow)
    return f"{share} {rollout.candidate_name}" if following.share else f"a {share} shadow"


def coming(
    at: datetime | None, now: datetime, glyph: str, tone: str, words: SafeString, share: float | None = None
) -> tuple[datetime | None, Line]:
    when = "soon" if at is None else figures.clock(at) if at.date() == now.date() else figures.day(at)
    return at, Line(when=when, at=at, glyph=glyph, tone=tone, words=words, share=share)
