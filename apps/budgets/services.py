"""What is done with guardrails and budgets: set, judged, changed. They judge; rollouts acts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.budgets import assigning, blindness, packing, queries, reading
from apps.budgets.caps import BudgetExceeded, BudgetUnverifiable
from apps.budgets.comparing import compare
from apps.budgets.domain import judge as judging
from apps.budgets.domain import looks, rules
from apps.budgets.domain.judge import Circumstances
from apps.budgets.domain.trial import Arm, Trial
from apps.budgets.domain.verdicts import Verdict
from apps.budgets.faults import note_all as note_unjudged
from apps.budgets.holding import (
    Held,
    HoldHasEnded,
    HoldIsThere,
    expire,
    extend,
    reserve,
    settle,
    settle_unverified,
)
from apps.budgets.models import Guardrail, Look, TrialState
from apps.budgets.spending import create_budget, end_budget, judge_money, unreachable_default, update_budget
from apps.core.actors import Actor
from apps.core.refusals import Invalid, NotFound, Refused
from apps.journal import services as journal
from apps.telemetry import queries as telemetry
from apps.telemetry import services as telemetry_services
from apps.telemetry.domain.shards import shard_of

__all__ = [
    "BudgetExceeded", "BudgetUnverifiable", "EvidenceIsGathered", "Held", "HoldHasEnded", "HoldIsThere", "Judged",
    "Watched", "as_spec", "change_on_breach", "compare", "create_budget", "end_budget", "expire", "extend",
    "forget_looks", "judge", "judge_money", "note_unjudged", "parse_all", "reserve", "set_guardrails", "settle",
    "settle_unverified", "unreachable_default", "update_budget",
]  # fmt: skip

READER = "budgets"
HISTORY = timedelta(days=7)
LOOKS_KEPT = timedelta(hours=48)
PIECE, MOST_PIECES = 5_000, 40


class EvidenceIsGathered(Refused):
    code = "evidence_is_gathered"
    sentence = "The guardrails of {trial} have judged {looks} looks. To judge by others, start another rollout."


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A trial whose candidate gets live or shadow traffic."""

    trial: str
    environment: str
    route: str
    baseline: str
    candidate: str
    share_bp: int
    stage_began_at: datetime
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a look found for one trial. The counts of requests are those of its present stage."""

    trial: str
    verdicts: tuple[Verdict, ...]
    requests_candidate: int
    requests_baseline: int
    looks: int
    newest_at: datetime | None
    circumstances: Circumstances
    requests_in_all: int = 0  # that the candidate answered in the whole trial


@transaction.atomic
def set_guardrails(
    *,
    environment: str,
    route: str,
    trial: str,
    specs: Sequence[Mapping[str, Any]],
    candidate: str,
    baseline: str,
    by: Actor,
    because: str,
    now: datetime,
    retries: int = 0,
) -> list[Guardrail]:
    """The guardrails of a trial, whole. Once a look has been judged they stay: another hypothesis is another trial.

    `retries`: how often this very candidate was rolled back before. Each retry gets half of the alpha before it.
    """
    kept = TrialState.objects.select_for_update().filter(trial=trial).first()
    if kept is not None and kept.look > 0:
        raise EvidenceIsGathered(trial=trial, looks=kept.look)
    fields = parse_all(specs)
    alphas = rules.with_alphas(fields, retries=retries)
    before = [as_spec(row) for row in queries.guardrails(trial)]
    Guardrail.objects.of_trial(trial).delete()
    rows = Guardrail.objects.bulk_create(
        Guardrail(
            environment=environment,
            route=route,
            trial=trial,
            position=position,
            alpha=alpha,
            created_at=now,
            **values,
        )
        for position, (values, alpha) in enumerate(zip(fields, alphas, strict=True))
    )
    state = Trial(candidate=candidate, baseline=baseline, rules=tuple(row.rule for row in rows))
    TrialState.objects.put([_state_row(trial, environment, route, state, now=None)])
    journal.record(
        "guardrails.set",
        environment=environment,
        by=by,
        because=because,
        about={"route": route, "rollout": trial},
        now=now,
        before=before or None,
        after=[as_spec(row) for row in rows],
    )
    return rows


@transaction.atomic
def change_on_breach(*, guardrail: str, on_breach: str, by: Actor, because: str, now: datetime) -> Guardrail:
    """What a breach leads to may change at any time: the evidence stays what it is."""
    row = Guardrail.objects.filter(pk=guardrail).first()
    if row is None:
        raise NotFound(what="guardrail", key=guardrail)
    if on_breach not in rules.ACTS:
        raise Invalid("This cannot be done on a breach.", on_breach=f"Use one of {', '.join(rules.ACTS)}.")
    before = row.on_breach
    row.set_on_breach(on_breach)
    state = TrialState.objects.select_for_update().get(trial=row.trial)
    trial = packing.unpack_trial(state.packed)
    trial.rules = tuple(replace(r, on_breach=on_breach) if r.id == row.id else r for r in trial.rules)
    state.packed = packing.pack_trial(trial)
    TrialState.objects.put([state])
    journal.record(
        "guardrail.changed",
        environment=row.environment,
        by=by,
        because=because,
        about={"route": row.route, "rollout": row.trial, "guardrail": row.id},
        now=now,
        before={"on_breach": before},
        after={"on_breach": on_breach},
    )
    return row


def parse_all(specs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Raises with the place of each fault: {"guardrails.1.limit_ms": "Give limit_ms as a number above 0."}."""
    found: list[dict[str, Any]] = []
    faults: dict[str, str] = {}
    for position, spec in enumerate(specs):
        fields, wrong = rules.parse(spec)
        faults |= {f"guardrails.{position}.{name}": text for name, text in wrong.items()}
        found.append(fields)
    if faults:
        place, text = next(iter(faults.items()))
        raise Invalid(f"{place}: {text}", **faults)
    return found


def as_spec(row: Guardrail) -> dict[str, Any]:
    """The guardrail as people write it."""
    spec: dict[str, Any] = {"metric": row.metric, "against": row.against, "on_breach": row.on_breach}
    kind = row.rule.kind
    if row.limit is not None:
        name = {rules.LATENCY: "limit_ms", rules.COST: "limit_usd"}.get(kind, "limit")
        spec[name] = row.limit * 1000 if kind == rules.LATENCY else row.limit
    if row.against != rules.LIMIT:
        spec["tolerance"] = row.tolerance
    return spec


def judge(*, shard: int, watched: Sequence[Watched], now: datetime) -> dict[str, Judged]:
    """One look at a shard: everything committed since the last one is added to the evidence, and judged.

    States, looks and cursor are written in one transaction. Two ticks that read the same rows cannot both count them:
    the second fails on (trial, look), and with it its whole transaction.
    """
    unread = telemetry.unread(READER, shard)
    news = reading.by_trial(unread)
    asked = {one.trial: one for one in watched}
    states = {row.trial: row for row in TrialState.objects.filter(trial__in=[*asked, *(news.keys() - asked.keys())])}
    trials: dict[str, Trial] = {}
    written: list[TrialState] = []
    told: list[Look] = []
    for trial_id, row in states.items():
        trials[trial_id] = packing.unpack_trial(row.packed)
    _look_for_answers(watched, trials, now)
    for trial_id, row in states.items():
        trial, watch = trials[trial_id], asked.get(trial_id)
        if watch is not None:
            trial.enter_stage(watch.stage_began_at.timestamp())
        if trial_id in news:
            look = _look(row, trial, news[trial_id], watch, now)
            if look is not None:
                told.append(look)
                written.append(row)
    if written or unread.cursor:
        with transaction.atomic():
            Look.objects.add(told)
            TrialState.objects.put(written)
            telemetry_services.save_cursor(reader=READER, shard=shard, cursor=unread.cursor)
    coarse = _coarse(watched, trials, now)
    return {one.trial: _judged(one, trials[one.trial], coarse, now) for one in watched if one.trial in trials}


def _coarse(watched: Sequence[Watched], trials: Mapping[str, Trial], now: datetime) -> set[tuple[str, str]]:
    """Environments and routes whose calls hardly tell how long a request took."""
    thin = [one for one in watched if one.trial in trials and queries.is_thin(trials[one.trial])]
    return queries.coarse_routes([(one.environment, one.route) for one in thin], now)


def _look_for_answers(watched: Sequence[Watched], trials: Mapping[str, Trial], now: datetime) -> None:
    """Once a minute: whose candidate is served without answering, and how often is it served?"""
    moment = now.timestamp()
    due = [
        one
        for one in watched
        if one.share_bp > 0 and one.trial in trials and moment - trials[one.trial].blind_at >= blindness.EVERY_SECONDS
    ]
    asked = [
        blindness.Asked(one.trial, one.environment, one.route, one.candidate, one.baseline, one.stage_began_at)
        for one in due
    ]
    found = blindness.blind(asked, now)
    assigning.count(asked, trials, now)
    for one in due:
        trials[one.trial].blind, trials[one.trial].blind_at = one.trial in found, moment


def _look(row: TrialState, trial: Trial, news: reading.News, watch: Watched | None, now: datetime) -> Look | None:
    """Adds the news to a trial and its row. None where none of it counts."""
    seen = reading.seen(trial, news)
    if not seen.splits and not seen.unclear and seen.marking is None:
        return None
    moment = now.timestamp()
    if trial.started_at is None:
        started_at = watch.started_at if watch is not None else now
        looks.begin(trial, now=moment, started_at=started_at.timestamp(), history=_history(row, trial, started_at))
        if watch is not None:
            trial.stage_at = watch.stage_began_at.timestamp()
    block_before = trial.block
    record = looks.reduce(trial, seen, now=moment, share=watch.share_bp if watch is not None else 0)
    looks.apply(trial, record)
    frozen = looks.freeze_what_can_be(trial, seen)
    packed = packing.pack_trial(trial)
    row.look, row.looked_at, row.packed = record.look, now, packed
    is_checkpoint = frozen or record.look == 1 or record.block != block_before
    return Look(
        trial=row.trial,
        look=record.look,
        at=now,
        packed=packing.pack_look(record, [looks.log_evidence(s.harm) if s.harm else None for s in trial.states]),
        checkpoint=packed if is_checkpoint else None,
    )


def _history(row: TrialState, trial: Trial, started_at: datetime) -> Arm | None:
    """How the baseline did in the week before, if a rule needs that."""
    if not looks.needs_history(trial.rules):
        return None
    found = telemetry.baseline(row.environment, row.route, trial.baseline, started_at - HISTORY, started_at)
    return Arm(found.requests, found.errors, 0, found.cost_nano, found.latency, found.cost)


def _judged(watch: Watched, trial: Trial, coarse: Collection[tuple[str, str]], now: datetime) -> Judged:
    is_coarse = (watch.environment, watch.route) in coarse
    circumstances = queries.circumstances(trial, share=watch.share_bp, is_coarse=is_coarse, now=now)
    candidate, baseline = trial.stage_requests
    return Judged(
        trial=watch.trial,
        verdicts=judging.judge(trial, circumstances),
        requests_candidate=candidate,
        requests_baseline=baseline,
        looks=trial.look,
        newest_at=None if trial.at is None else datetime.fromtimestamp(trial.at, now.tzinfo),
        circumstances=circumstances,
        requests_in_all=trial.requests,
    )


def _state_row(trial_id: str, environment: str, route: str, trial: Trial, now: datetime | None) -> TrialState:
    return TrialState(
        trial=trial_id,
        environment=environment,
        route=route,
        shard=shard_of(environment, route),
        look=trial.look,
        packed=packing.pack_trial(trial),
        looked_at=now,
    )


def forget_looks(*, now: datetime) -> int:
    """Looks older than 48 h go, some thousands at a time: writers get their turn in between.

    What a decision cites it has stored itself.
    """
    gone = 0
    for _ in range(MOST_PIECES):
        piece = list(Look.objects.filter(at__lt=now - LOOKS_KEPT).order_by("at").values_list("id", flat=True)[:PIECE])
        if not piece:
            break
        gone += Look.objects.filter(id__in=piece).delete()[0]
    return gone
