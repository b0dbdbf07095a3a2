"""A route's standing becomes its page."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from apps.alerts.models import Alert
from apps.budgets.queries import BudgetStatus
from apps.console import drawings, figures, sentences
from apps.console.presenters import covered, judged, measured, money_rows, presses, rows, trends
from apps.console.presenters.route import BudgetPanel, Pair, Panel, RoutePage, StageView
from apps.console.queries import Standing
from apps.console.visits import Visit
from apps.flags.queries import ClientView
from apps.rollouts.domain.plan import Cost
from apps.rollouts.domain.states import QUIET
from apps.rollouts.models import Decision, RollbackPlan, Rollout
from apps.rollouts.queries import Measured as Compared
from apps.telemetry.queries import Attempts, Coverage

DECISIONS = 8


def page(
    visit: Visit,
    one: Standing,
    *,
    decisions: Sequence[Decision],
    prices: Sequence[Cost],
    plan: RollbackPlan | None,
    budget: BudgetStatus | None,
    clients: Sequence[ClientView],
    compared: tuple[Mapping[str, Compared], Mapping[str, Compared]] | None,
    since: datetime,
    step: int,
    tried: Attempts | None = None,
    coverage: Coverage | None = None,
) -> RoutePage:
    state = one.state.value
    baseline, candidate = rows.arms(one, state)
    live = one.live
    drawn = drawn_arms(one, baseline, candidate, since)
    acts = presses.of_route(visit, one, presses.Prices(prices))
    if one.alert is not None and one.alert.state == Alert.State.FIRING:
        effect = f"Says that you have it. Changes no traffic. {rows.all_on(one)}"
        acts.insert(0, presses.acknowledge(visit, one.alert.id, big=True, effect=effect))
    return RoutePage(
        key=one.route.key,
        state=state,
        share=live.share / 10_000 if live else 0.0,
        baseline=one.name(baseline),
        candidate=one.name(candidate) if candidate else "",
        meta=meta(visit, one),
        sentence=sentence(one, visit.now),
        stages=stage_views(one.rollout, visit.now, decisions) if candidate and one.rollout else [],
        stages_told=stages_told(live, visit.now) if live else SafeString(),
        verdicts=[judged.row(verdict) for verdict in one.verdicts] if candidate else [],
        verdicts_since=verdicts_since(one, visit.now),
        charts=trends.charts_of(one, *drawn, decisions, since=since, until=visit.now, step=step),
        charts_title=charts_title(one, *drawn, since, visit.now),
        charts_arms=[one.name(variant) for variant in drawn if variant],
        charts_note=f"The last window is open and drawn dotted. {tries(tried)}".strip(),
        by_variant=measured.by_variant(one),
        coverage_note=covered.words(coverage) if coverage else "",
        decisions=rows.decided(decisions[:DECISIONS], visit.now),
        before_after=measured.before_after(compared, one.rollout) if compared and one.rollout else [],
        before_after_arms=[one.name(one.rollout.baseline), one.name(one.rollout.candidate)] if one.rollout else [],
        before_after_note=before_after_note(one),
        acts=acts,
        acts_note="" if acts else "Nothing moves here: no rollout runs, and all traffic is on the fallback already.",
        budget=budget_panel(budget, prices, one.names) if budget else None,
        way_back=way_back(one, plan, clients, visit),
    )


def tries(tried: Attempts | None) -> str:
    """How often providers are called for what a user asks once: each call is paid."""
    if tried is None:
        return ""
    if tried.per_request is None:
        return "How many attempts a request takes is not visible from this source."
    told = f"{tried.per_request:.2f} attempts a request"
    calls = tried.calls_per_request
    shows_more = calls is not None and round(calls, 2) != round(tried.per_request, 2)
    return f"{told}, {calls:.2f} provider calls with shadows." if shows_more else f"{told}."


def drawn_arms(one: Standing, baseline: str, candidate: str, since: datetime) -> tuple[str, str]:
    """A rollout that ended within what the charts show: still both arms, since their difference is what it was for."""
    rollout = one.rollout
    if candidate or rollout is None or rollout.ended_at is None or rollout.ended_at < since:
        return baseline, candidate
    return rollout.baseline, rollout.candidate


def charts_title(one: Standing, baseline: str, candidate: str, since: datetime, now: datetime) -> str:
    begin = trends.first_moment(one, [baseline, candidate], since)
    return f"last {figures.span((now - begin).total_seconds())}"


def meta(visit: Visit, one: Standing) -> list[str]:
    route = one.route
    words = [f"{route.owner} team" if route.owner else "", "critical" if route.is_critical else "", route.task_type]
    return [word for word in words if word] + [f"snapshot {visit.environment.snapshot_version}"]


def sentence(one: Standing, now: datetime) -> SafeString:
    """What is true now, first word strong; the reason is the stored sentence of the newest decision."""
    live, decision = one.live, one.decision
    if one.route.switch or one.route.is_off:
        told = mark_safe(sentences.marked_parts(one.act.parts, one.act.at)) if one.act else SafeString()
        return format_html("{} {}", rows.all_on(one), told)
    if live is None:
        if one.state.value == "Rolled back" and one.act is not None:
            told = mark_safe(sentences.marked_parts(one.act.parts, one.act.at))
            return format_html("{} {}", told, rows.all_on(one))
        return steady(one, now)
    if decision is not None and decision.is_hold and decision.code not in QUIET:
        return format_html("{} {}", rows.told(decision), within(one))
    if live.state == Rollout.State.PAUSED and one.act is not None:
        return format_html("{} {}", rows.told(one.act), within(one))
    share = figures.share(live.share) if live.share else f"a {figures.share(live.shadow)} shadow of"
    began = live.stage_began_at or now
    return format_html(
        "<strong>On plan at {} {}</strong> since {}. {} {}",
        share,
        mark_safe(sentences.whole_names(escape(live.candidate_name))),
        mark_safe(sentences.timed(figures.moment(began, now), began)),
        within(one),
        next_step(live, now),
    )


def next_step(live: Rollout, now: datetime) -> SafeString:
    """`The next stage, 50 %, may begin at 10:22:22 UTC after 160 more requests, with an approval.`"""
    progress = live.progress()
    present, following = progress.present, progress.following
    if present is None:
        return SafeString()
    what = f"The next stage, {figures.share(following.share or following.shadow)}," if following else "The plan's end"
    ends_at = progress.stage_began_at + present.least_time
    when = SafeString(" at the next look")
    if ends_at > now:
        when = format_html(" at {} UTC", mark_safe(sentences.timed(figures.moment(ends_at, now), ends_at)))
    missing = present.min_samples - live.samples
    samples = f" after {figures.counted(missing, 'more request')}" if missing > 0 else ""
    approval = ", with an approval" if following is not None and following.approval else ""
    return format_html("{} may begin{}{}{}.", what, when, samples, approval)


def steady(one: Standing, now: datetime) -> SafeString:
    last = one.rollout
    tail = "No rollout was ever started here."
    if last is not None and last.ended_at is not None:
        ended = f"{figures.moment(last.ended_at, now)}: {last.state.replace('_', ' ')}"
        tail = f"The last rollout, to {last.candidate_name}, ended {ended}."
    text = rows.all_on(one)
    return format_html("<strong>{}</strong> {}", text, tail)


def within(one: Standing) -> str:
    """`Four of five guardrails are within.`"""
    whole = len(one.verdicts)
    if not whole:
        return "No guardrail is set."
    fine = sum(1 for verdict in one.verdicts if verdict.state == "within")
    if fine == whole:
        return "The guardrail is within." if whole == 1 else f"All {whole} guardrails are within."
    return f"{fine} of {whole} guardrails {'is' if fine == 1 else 'are'} within."


def verdicts_since(one: Standing, now: datetime) -> str:
    live = one.live
    if live is None:
        return (
            f"when it ended, {figures.moment(one.rollout.ended_at, now)}"
            if one.rollout and one.rollout.ended_at
            else ""
        )
    stage = f"stage {live.stage + 1}, " if live.stage is not None else ""
    return f"{stage}since {figures.moment(live.stage_began_at, now)}" if live.stage_began_at else stage


def stage_views(rollout: Rollout, now: datetime, decisions: Sequence[Decision] = ()) -> list[StageView]:
    out = []
    here = -1 if rollout.stage is None else rollout.stage
    plan = rollout.plan
    ends = (row for row in decisions if row.kind in ("roll_back", "fall_back") and row.rollout_id == rollout.id)
    stop = next(ends, None) if not rollout.is_live else None
    for index, stage in enumerate(plan):
        is_now = index == here and rollout.is_live
        is_stopped = stop is not None and index == stop.before.get("stage")
        is_done = index < here or (index == here and rollout.state == Rollout.State.FINISHED)
        state: drawings.Stage = "now" if is_now else "stopped" if is_stopped else "done" if is_done else "to_come"
        part = 0.0
        time, samples = "", ""
        if is_now:
            gone = (now - (rollout.stage_began_at or now)).total_seconds()
            part = min(gone / stage.min_seconds, 1.0) if stage.min_seconds else 1.0
            least = f" of {figures.span(stage.min_seconds)}" if stage.min_seconds else ""
            time = f"{figures.span(gone)}{least}"
            needed = f" of {figures.count(stage.min_samples)}" if rollout.samples < stage.min_samples else ""
            samples = f"{figures.count(rollout.samples)}{needed} requests"
        elif is_stopped and stop is not None:
            time = f"stopped {figures.moment(stop.at, now)}"
        elif is_done:
            time, samples = past_stage(rollout, index, decisions, now)
        else:
            time = (
                "needs approval"
                if stage.approval
                else f"at least {figures.span(stage.min_seconds)}"
                if stage.min_seconds
                else ""
            )
            samples = figures.counted(stage.min_samples, "request") if stage.min_samples else ""
        share = figures.share(stage.share) if stage.share else "Shadow"
        last = index == len(plan) - 1
        out.append(
            StageView(
                state=state,
                share=share,
                dot=mark_safe(drawings.stage_dot(state, (stage.share or stage.shadow) / 10_000)),
                rail=None if last else mark_safe(drawings.stage_rail(1.0 if is_done else part, now=is_now)),
                time=time,
                samples=samples,
            )
        )
    return out


def past_stage(rollout: Rollout, index: int, decisions: Sequence[Decision], now: datetime) -> tuple[str, str]:
    """When that stage began, how long it took, and how many requests it judged."""
    moves = sorted(
        (row for row in decisions if row.rollout_id == rollout.id and row.kind != "hold"), key=lambda row: row.at
    )
    began = next((row.at for row in reversed(moves) if row.kind == "advance" and row.stage == index), None)
    if began is None:
        return "", ""
    left = next((row for row in moves if row.at > began and row.before.get("stage") == index), None)
    when = figures.minute(began) if began.date() == now.date() else figures.day(began)
    if left is None:
        return when, ""
    samples = (left.evidence.get("progress") or {}).get("samples")
    return f"{when}, {figures.span((left.at - began).total_seconds())}", figures.counted(
        samples, "request"
    ) if samples else ""


def stages_told(rollout: Rollout, now: datetime) -> SafeString:
    """On a phone only the present stage and the next are told."""
    views = stage_views(rollout, now)
    present = next((index for index, view in enumerate(views) if view.state == "now"), None)
    if present is None:
        return SafeString()
    view = views[present]
    told = format_html(
        "<strong>{}</strong>, stage {} of {}: {}, {}.", view.share, present + 1, len(views), view.time, view.samples
    )
    if present + 1 < len(views):
        then = views[present + 1]
        rest = f": {then.time}" if then.time else ""
        told = format_html("{}<br /><strong>Next {}</strong>{}.", told, then.share, rest)
    return told


def before_after_note(one: Standing) -> str:
    return "the 24 h before the rollout, and what the candidate answered since" if one.rollout else ""


def budget_panel(status: BudgetStatus, prices: Sequence[Cost], names: Mapping[str, str]) -> BudgetPanel:
    verdict = status.verdict
    pairs = []
    if verdict.forecast is not None:
        over = verdict.forecast.nano > verdict.limit_nano
        pairs.append(
            Pair(name="Forecast for its end", value=figures.nano(verdict.forecast.nano), tone="danger" if over else "")
        )
        if verdict.forecast.exhausted_at is not None:
            pairs.append(
                Pair(
                    name="Used up about",
                    value=figures.whole_minute(verdict.forecast.exhausted_at),
                )
            )
    pairs.append(Pair(name="Next", value=money_rows.next_words(status)))
    hourly = {row.target: row for row in prices if row.nano_per_hour is not None}
    for target in ("now", "baseline", "candidate"):
        if (cost := hourly.get(target)) is not None:
            on = f"on {figures.short_name(names.get(cost.variant, cost.variant))}" if cost.variant else "now"
            pairs.append(Pair(name=f"An hour {on}", value=figures.nano(cost.nano_per_hour or 0)))
    if verdict.estimated_nano:
        pairs.append(Pair(name="Of it estimated", value=figures.nano(verdict.estimated_nano)))
    notes = [verdict.no_forecast if verdict.forecast is None else "", money_rows.unpriced_words(verdict)]
    gone = f"{figures.percent(verdict.pace)} of the {verdict.period} gone"
    return BudgetPanel(
        id=status.budget.id,
        title=f"{verdict.period.capitalize()} budget",
        timezone=verdict.timezone,
        spent=sentences.amount(verdict.spent_nano),
        limit=figures.nano(verdict.limit_nano),
        bar=mark_safe(drawings.bar(verdict.fraction, verdict.pace, full=True)),
        told=f"{figures.percent(verdict.fraction)} spent with {gone}.",
        pairs=pairs,
        note=" ".join(filter(None, notes)),
    )


def way_back(one: Standing, plan: RollbackPlan | None, clients: Sequence[ClientView], visit: Visit) -> Panel | None:
    live = one.live
    version = one.route.since_version
    pairs = []
    if live is not None:
        target = live.baseline_name
        if plan is not None and plan.target == "fallback" and one.route.fallback_variant:
            target = one.name(one.route.fallback_variant)
        pairs.append(Pair(name="Target", value=f"100{figures.NBSP}% {target}"))
    if one.route.fallback_variant:
        pairs.append(Pair(name="Fallback", value=one.name(one.route.fallback_variant)))
    if clients:
        there = sum(1 for client in clients if client.snapshot is not None and client.snapshot >= version)
        pairs.append(Pair(name=f"Clients on snapshot {version}", value=f"{there} of {len(clients)}"))
    if plan is not None:
        pairs.append(Pair(name="Clients may take", value=figures.span(plan.confirm_seconds)))
        pairs.append(Pair(name="Baseline watched for", value=figures.span(plan.watch_seconds)))
    if not pairs:
        return None
    guards = sum(1 for verdict in one.verdicts if verdict.rolls_back)
    armed = f"Armed by {figures.counted(guards, 'guardrail')}." if live is not None and guards else ""
    warn = "No guardrail would roll this back by itself." if live is not None and not guards else ""
    return Panel(title="Way back", ok=armed, warn=warn, pairs=pairs)
