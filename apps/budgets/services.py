"""What is done with guardrails and budgets: set, judged, changed. They judge; rollouts acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.db import transaction

from apps.budgets import blindness, packing, queries, reading
from apps.budgets.domain import judge as judging
from apps.budgets.domain import looks, money, periods, rules
from apps.budgets.domain.judge import Circumstances
from apps.budgets.domain.money import MoneyVerdict, Threshold
from apps.budgets.domain.trial import Arm, Trial
from apps.budgets.domain.verdicts import Verdict
from apps.budgets.models import Budget, Guardrail, Look, TrialState
from apps.core.actors import WORKER, Actor
from apps.core.refusals import Invalid, NotFound, Refused, Stale
from apps.journal import services as journal
from apps.journal.services import Condition
from apps.telemetry import queries as telemetry
from apps.telemetry import services as telemetry_services
from apps.telemetry.domain.shards import shard_of

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


# --- guardrails ---------------------------------------------------------------------------------------------------


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


# --- a look -------------------------------------------------------------------------------------------------------


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
    return {one.trial: _judged(one, trials[one.trial], now) for one in watched if one.trial in trials}


def _look_for_answers(watched: Sequence[Watched], trials: Mapping[str, Trial], now: datetime) -> None:
    """Once a minute: whose candidate is served without answering?"""
    moment = now.timestamp()
    due = [
        one
        for one in watched
        if one.share_bp > 0 and one.trial in trials and moment - trials[one.trial].blind_at >= blindness.EVERY_SECONDS
    ]
    found = blindness.blind(
        [
            blindness.Asked(one.trial, one.environment, one.route, one.candidate, one.baseline, one.stage_began_at)
            for one in due
        ],
        now,
    )
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


def _judged(watch: Watched, trial: Trial, now: datetime) -> Judged:
    circumstances = Circumstances(
        now=now.timestamp(), share=watch.share_bp, tick_seconds=settings.TICK_SECONDS, blind=trial.blind
    )
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


# --- money --------------------------------------------------------------------------------------------------------


FORECASTS_A_TICK = 2  # each reads four weeks of hours: a hundred budgets are spread over the ticks of five minutes


def judge_money(*, now: datetime, environment: str | None = None) -> list[MoneyVerdict]:
    """What every budget in force says. A threshold that is newly crossed, or no longer, is told to the journal once."""
    rows = Budget.objects.in_force().order_by("id")
    if environment is not None:
        rows = rows.of(environment)
    verdicts, read_anew = [], []
    forecasts = FORECASTS_A_TICK
    for row in rows:
        reading = queries.read(row, now, renew_forecast=forecasts > 0)
        forecasts -= reading.outlook_at == now
        if now == reading.outlook_at or (now == reading.spent_at and row.period in queries.SPENT_STAYS):
            row.kept = reading.plain()
            read_anew.append(row)
        verdicts.append(_tell_crossings(row, queries.verdict_of(row, reading, now), now))
    Budget.objects.keep(read_anew)
    return verdicts


def _tell_crossings(row: Budget, verdict: MoneyVerdict, now: datetime) -> MoneyVerdict:
    same_period = row.crossed_in == verdict.period_from
    before = set(row.crossed)
    is_now = {threshold.name for threshold in verdict.crossed}
    new = [t for t in verdict.crossed if not (same_period and t.name in before)]
    if new or before != is_now:
        _note_crossings(row, verdict, new, gone=before - is_now, now=now)
    return replace(verdict, is_new=bool(new))


@transaction.atomic
def _note_crossings(
    row: Budget, verdict: MoneyVerdict, new: Sequence[Threshold], *, gone: set[str], now: datetime
) -> None:
    locked = Budget.objects.locked(row.pk)
    if (locked.crossed, locked.crossed_in) != (row.crossed, row.crossed_in):
        return  # another worker has told it
    for threshold in new:
        is_over = threshold.kind == money.AT and threshold.level >= 1
        _tell(
            "budget.exceeded" if is_over else "budget.threshold_crossed",
            locked,
            verdict,
            threshold.name,
            effect="opens",
            severity="critical" if is_over else "warning",
            sentence=verdict.sentence,
            because=f"Crossed: {threshold.words}.",
            now=now,
        )
    for name in sorted(gone):
        _tell(
            "budget.recovered",
            locked,
            verdict,
            name,
            effect="closes",
            severity="info",
            sentence=verdict.sentence,
            because="The threshold is no longer crossed.",
            now=now,
        )
    locked.note_crossed(verdict.crossed, period_from=verdict.period_from)


def _tell(
    kind: str,
    row: Budget,
    verdict: MoneyVerdict,
    threshold: str,
    *,
    effect: Any,
    severity: Any,
    sentence: str,
    because: str,
    now: datetime,
) -> None:
    route = verdict.scope.get("route", "")
    journal.record(
        kind,
        environment=row.environment,
        by=WORKER,
        because=because,
        about={"budget": row.id} | ({"route": route} if route else {}),
        now=now,
        after=verdict.as_dict(),
        condition=Condition(
            key=f"budget:{row.id}:{threshold}",
            effect=effect,
            severity=severity,
            sentence=sentence,
            route=route,
            owner=row.owner,
            link="/b/",
        ),
    )


@transaction.atomic
def create_budget(
    *,
    environment: str,
    scope: Mapping[str, str],
    period: str,
    limit_nano: int,
    thresholds: Sequence[Mapping[str, Any]],
    by: Actor,
    because: str,
    now: datetime,
    timezone: str = "UTC",
    name: str = "",
    owner: str = "",
) -> Budget:
    fields = check_budget(
        {
            "scope": dict(scope),
            "period": period,
            "limit_nano": limit_nano,
            "thresholds": list(thresholds),
            "timezone": timezone,
            "name": name,
            "owner": owner,
        }
    )
    row = Budget.objects.create(environment=environment, created_at=now, changed_at=now, changed_by=str(by), **fields)
    _record_budget("budget.created", row, by=by, because=because, now=now, before=None, after=_facts(row))
    return row


@transaction.atomic
def update_budget(
    *,
    budget: str,
    changes: Mapping[str, Any],
    by: Actor,
    because: str,
    now: datetime,
    expected_revision: int | None = None,
) -> Budget:
    """`changes`: any of scope, period, limit_nano, thresholds, timezone, name, owner."""
    row = _budget_for_change(budget, expected_revision, changes)
    before = _facts(row)
    fields = check_budget({name: getattr(row, name) for name in BUDGET_FIELDS} | dict(changes))
    row.change(fields, by=str(by), now=now)
    _record_budget("budget.changed", row, by=by, because=because, now=now, before=before, after=_facts(row))
    return row


@transaction.atomic
def end_budget(*, budget: str, by: Actor, because: str, now: datetime, expected_revision: int | None = None) -> Budget:
    """From now on it judges nothing. What was spent stays in the ledger."""
    row = _budget_for_change(budget, expected_revision, {})
    for name in row.crossed:
        _tell(
            "budget.recovered",
            row,
            queries.status_of(row, now).verdict,
            name,
            effect="closes",
            severity="info",
            sentence=f"The budget of {row.rule.scope_words} was ended.",
            because=because,
            now=now,
        )
    row.end(by=str(by), now=now)
    _record_budget("budget.ended", row, by=by, because=because, now=now, before=_facts(row), after=None)
    return row


BUDGET_FIELDS = ("scope", "period", "limit_nano", "thresholds", "timezone", "name", "owner")


def check_budget(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as they are stored. Raises with what is wrong, by field."""
    faults: dict[str, str] = {}
    scope = fields["scope"]
    if not isinstance(scope, dict) or any(not isinstance(v, str) or not v for v in scope.values()):
        faults["scope"] = 'A scope names values: {"route": "invoice-extraction"}. {} is the whole environment.'
    elif unknown := sorted(set(scope) - set(money.SCOPES)):
        faults["scope"] = f"{unknown[0]} is no scope. Use {', '.join(money.SCOPES)}."
    if fields["period"] not in periods.LENGTHS:
        faults["period"] = f"Use one of {', '.join(periods.LENGTHS)}."
    if not isinstance(fields["limit_nano"], int) or fields["limit_nano"] <= 0:
        faults["limit_usd"] = "Give a limit above 0."
    thresholds, wrong = money.parse_thresholds(fields["thresholds"])
    if wrong:
        faults["thresholds"] = wrong
    elif fields["period"] == "hour" and any(t.kind != money.AT for t in thresholds):
        faults["thresholds"] = "A budget of an hour has thresholds of actual spend only."
    if not _is_zone(fields["timezone"]):
        faults["timezone"] = "Use a name such as Europe/Berlin."
    if faults:
        place, text = next(iter(faults.items()))
        raise Invalid(f"{place}: {text}", **faults)
    return fields | {"thresholds": [threshold.plain() for threshold in thresholds]}


def _is_zone(name: Any) -> bool:
    if not isinstance(name, str) or name not in available_timezones() | {"UTC"}:
        return False
    ZoneInfo(name)
    return True


def _budget_for_change(budget: str, expected_revision: int | None, changes: Mapping[str, Any]) -> Budget:
    row = Budget.objects.in_force().select_for_update().filter(pk=budget).first()
    if row is None:
        raise NotFound(what="budget", key=budget)
    if expected_revision is not None and expected_revision != row.revision:
        now_there = {name: getattr(row, name) for name in changes if name in BUDGET_FIELDS}
        raise Stale(
            by=row.changed_by,
            at=row.changed_at.isoformat(),
            changes={name: {"yours": changes[name], "theirs": value} for name, value in now_there.items()},
        )
    return row


def _facts(row: Budget) -> dict[str, Any]:
    return {name: getattr(row, name) for name in BUDGET_FIELDS}


def _record_budget(kind: str, row: Budget, *, by: Actor, because: str, now: datetime, before: Any, after: Any) -> None:
    route = row.scope.get("route", "")
    journal.record(
        kind,
        environment=row.environment,
        by=by,
        because=because,
        about={"budget": row.id} | ({"route": route} if route else {}),
        now=now,
        before=before,
        after=after,
    )
