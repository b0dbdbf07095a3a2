"""Holds: the same again is a counter, another reason is a row; what a person must know is told, and told when over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import OuterRef, Subquery

from apps.budgets import ledger
from apps.budgets.domain.verdicts import Verdict
from apps.core.actors import WORKER
from apps.flags.queries import RouteView
from apps.rollouts import acting, telling
from apps.rollouts.acting import Grounds
from apps.rollouts.domain import machine, sentences, words
from apps.rollouts.domain.machine import Pressure
from apps.rollouts.leases import Lease
from apps.rollouts.models import Approval, Decision, Rollout


@dataclass(frozen=True, slots=True)
class Held:
    rollout: Rollout
    route: RouteView
    decision: machine.Decision
    grounds: Grounds


@transaction.atomic
def repeat_or_tell(held: Sequence[Held], *, lease: Lease, now: datetime) -> None:
    """All holds of a shard in one transaction: mostly one update of counters."""
    if not held or not lease.holds(now):
        return
    newest = newest_decisions([one.rollout.id for one in held])
    repeats, told_anew = [], []
    for one in held:
        last = newest.get(one.rollout.id)
        if last is not None and last.is_hold and last.reason == one.decision.reason[:500]:
            names = acting.names_without_fallback(one.rollout)
            parts = sentences.tell(one.rollout.progress(switch=one.route.switch), one.decision, names)
            repeats.append(last.pk)
            if last.tell_anew(sentences.text(parts), parts):
                told_anew.append(last)
        else:
            write(one, last, now)
    Decision.objects.repeat(repeats, now)
    Decision.objects.bulk_update(told_anew, ["sentence", "parts"], batch_size=500)


def newest_decisions(rollouts: Sequence[str]) -> dict[str, Decision]:
    newest = Decision.objects.filter(rollout=OuterRef("pk")).order_by("-generation").values("pk")[:1]
    ids = Rollout.objects.filter(pk__in=rollouts).annotate(newest=Subquery(newest)).values_list("newest", flat=True)
    rows = Decision.objects.filter(pk__in=[one for one in ids if one]).defer("evidence", "before", "because")
    return {str(row.rollout_id): row for row in rows}


def write(one: Held, last: Decision | None, now: datetime) -> None:
    """A hold for another reason than the one before."""
    rollout = Rollout.objects.select_for_update().filter(pk=one.rollout.pk, generation=one.rollout.generation).first()
    if rollout is None or not rollout.is_live:
        return  # somebody acted since it was judged
    progress = one.rollout.progress(switch=one.route.switch)
    names = acting.names_without_fallback(one.rollout)
    parts = sentences.tell(progress, one.decision, names)
    evidence = acting.evidence_of(progress, one.grounds, names, "")
    row = acting.write(rollout, one.route, one.decision, parts, by=WORKER, now=now, evidence=evidence)
    rollout.keep_generation()
    if one.decision.code == "approval":
        ask_for_approval(rollout, progress, evidence, now)
    telling.tell(row, one.route, by=WORKER, because=row.sentence, now=now)
    told = last.code if last is not None and last.is_hold else ""
    if told and told != one.decision.code and (page := telling.PAGES.get(told)):
        over = f"{rollout.route} holds for another reason now: {one.decision.code}."
        telling.close(rollout.environment, rollout.route, page[0], by=WORKER, sentence=over, now=now)


def ask_for_approval(rollout: Rollout, progress: machine.Progress, evidence: dict[str, object], now: datetime) -> None:
    Approval.objects.get_or_create(
        rollout=rollout,
        state=Approval.State.WAITING,
        defaults={
            "stage": progress.following_index or 0,
            "asked_at": now,
            "asked_by": rollout.requested_by or rollout.created_by,
            "evidence": evidence,
        },
    )


def warning_words(verdicts: Sequence[Verdict]) -> str:
    """What a person who wants to go on must know; empty while nothing speaks of harm."""
    bad = [verdict for verdict in verdicts if verdict.exceeded or verdict.warning]
    said = [f"{words.metric(one.metric)} {words.evidence(one.evidence)}" for one in sentences.worst_first(bad)]
    return words.listed(said)[:200]


def shadow_spend(rollout: Rollout, limit_nano: int, now: datetime) -> Pressure | None:
    """What this shadow has cost, once that is more than its stage allows."""
    scope = {"rollout": rollout.id, "arm": "shadow"}
    spent = ledger.spent_in(rollout.environment, scope, rollout.started_at or now, now)
    if spent.nano < limit_nano:
        return None
    return Pressure(
        budget=f"shadow of {rollout.id}",
        do="stop_shadow",
        once=f"shadow/{rollout.id}/{rollout.stage}",
        spent_nano=spent.nano,
        limit_nano=limit_nano,
        estimated_nano=spent.unconfirmed_nano,
        scope=rollout.candidate_name,
        period="shadow",
    )
