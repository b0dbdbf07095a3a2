"""Counting batches: one commit group, one transaction, and nothing counted twice."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import mmh3
from django.conf import settings
from django.db import transaction

from apps.catalog.domain.pricing import PriceBook
from apps.core import spans
from apps.core.actors import Actor
from apps.core.ids import new_id
from apps.core.refusals import Invalid, NotFound
from apps.flags import queries as flags_queries
from apps.flags import services as flags
from apps.journal import services as journal
from apps.telemetry import gathering, measuring, metering, retention, rolling, rows, thinning, tracing, writing
from apps.telemetry.domain.batch import Batch, Call, Client, Exposure, Outcome
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.intake import Intake
from apps.telemetry.memory import RouteKey, WriterMemory
from apps.telemetry.models import CallMinute, Cursor, Mapping

ID_BITS = 58
ID = (1 << ID_BITS) - 1  # of the key of a call: what its id says, whatever its moment


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch, and the environment of the key that it came with. Through other doors than the native one: an intake."""

    environment: str
    batch: Batch
    intake: Intake | None = None

    @property
    def key(self) -> str:
        return f"{self.environment}\n{self.batch.batch_id}"

    @property
    def size(self) -> int:
        """Calls."""
        return len(self.batch.calls) + (len(self.intake.calls) if self.intake is not None else 0)


@dataclass(slots=True)
class Receipt:
    """What became of a batch. accepted + duplicates + rejected = the calls that were sent."""

    accepted: int = 0
    duplicates: int = 0
    unassigned: dict[str, int] = field(default_factory=dict)
    accepted_outcomes: int = 0
    duplicate_outcomes: int = 0


@dataclass(slots=True)
class Claimed:
    """A batch with what is new in it."""

    sent: Sent
    is_new: bool
    calls: list[bool]
    outcomes: list[bool]
    traced: list[bool]  # calls of the intake


@spans.traced("commit")
def count(*, sent: Sequence[Sent], writer: WriterMemory, now: datetime) -> list[Receipt]:
    """One commit group: a receipt for each batch, in order. Durable when it returns."""
    writer.seq += 1  # at every try: a commit whose answer was lost must not share its number
    calls = sum(one.size for one in sent)
    waits = writer.gathering.may_wait(calls, now)
    with transaction.atomic():
        claimed, ids = claim(sent, writer, now)
        fresh = [one for one in claimed if one.is_new]
        fold = fold_all(fresh, writer, now)
        take_intakes(fresh, fold, writer, now)
        late = measuring.late_calls(fold)  # before what waited is added to it
        if waits:
            gathering.keep(fold.sums, writer, now)
        else:
            gathering.lay_out(fold.sums, writer)
        freshened = writing.write(fold, writer, now)
        noted = note_seen([one.sent for one in fresh], writer, now)
        saving = writer.histories_to_save(fold.learned, now)
        writing.save_histories(saving, writer)
    if waits:
        writer.gathering.has_kept(fold.sums, writer.seq, calls)
    else:
        writer.gathering.has_laid_out(calls, now)
    writer.histories_are_saved(saving, now)
    writer.are_fresh(freshened, now)
    writer.clients.update(noted)
    writer.recent.remember(ids)
    receipts = [receipt_of(one, writer) for one in claimed]
    measuring.note(sent, receipts, fold, late)
    spans.note(batches=len(sent), calls=sum(receipt.accepted for receipt in receipts))
    return receipts


def claim(sent: Sequence[Sent], writer: WriterMemory, now: datetime) -> tuple[list[Claimed], set[int]]:
    """Of batches and calls that come twice, here or ever before, only the first is new. With the ids that came."""
    new_batches = rows.claim_batches(list({one.key for one in sent}), now)
    first = []
    for one in sent:
        first.append(one.key in new_batches)
        new_batches.discard(one.key)
    keys = [
        (call_keys(one, one.batch.calls, "call"), call_keys(one, one.batch.outcomes, "outcome"), traced_keys(one))
        if is_new
        else ([], [], [])
        for one, is_new in zip(sent, first, strict=True)
    ]
    offered = [key for of_batch in keys for kind in of_batch for key in kind]
    distinct = set(offered)
    told = offered
    if any(traced for *_, traced in keys):  # those have other keys
        told = [key for calls, outcomes, _ in keys for kind in (calls, outcomes) for key in kind]
    ids = {hash & ID for _, hash in told}
    distinct.difference_update(told_again(told, ids, writer.recent.known(ids, now)))
    new = rows.claim_calls(distinct) if distinct else distinct
    if new:
        minutes = sorted({minute for minute, _ in new})
        latest = "ON CONFLICT (minute) DO UPDATE SET last_arrival_at = excluded.last_arrival_at"
        rows.insert(CallMinute, [(minute, now) for minute in minutes], latest)
    pick = take_all if len(new) == len(offered) else take
    claimed = []
    for one, is_new, (calls, outcomes, traced) in zip(sent, first, keys, strict=True):
        claimed.append(Claimed(one, is_new, pick(calls, new), pick(outcomes, new), pick(traced, new)))
    return claimed, ids


def told_again(told: Sequence[rows.CallKey], ids: set[int], known: set[int]) -> list[rows.CallKey]:
    """Those whose id came before, or earlier among these, maybe with another moment."""
    if not known and len(ids) == len(told):
        return []
    firsts = {hash & ID: (minute, hash) for minute, hash in reversed(told)}
    return [key for key in told if key[1] & ID in known or firsts[key[1] & ID] != key]


def call_keys(sent: Sent, items: Sequence[Call] | Sequence[Outcome], kind: str) -> list[rows.CallKey]:
    """(minute, hash): the kind is part of it, since a call and an outcome may share an id.

    The second of the minute stands in front of the hash: calls of one second then lie in few pages of the index."""
    prefix = f"{sent.environment}\n{kind}\n"
    keys = []
    for item in items:
        minute, second = divmod(int(item.at.timestamp()), 60)
        hash = mmh3.hash64(f"{prefix}{item.route}\n{item.id}", signed=False)[0]
        keys.append((minute, (second - 32 << ID_BITS) + (hash >> 6)))
    return keys


def traced_keys(sent: Sent) -> list[rows.CallKey]:
    """Of spans, rows of a webhook and points of metrics: what makes them the same if they come in another body.

    Two doors may tell of one call with moments that differ a little: their seconds are not asked."""
    if sent.intake is None:
        return []
    prefix = f"{sent.environment}\ntraced\n"
    return [
        (minute, mmh3.hash64(f"{prefix}{identity}", signed=True)[0]) for minute, identity in sent.intake.identities()
    ]


def take_all(keys: Sequence[rows.CallKey], new: set[rows.CallKey]) -> list[bool]:
    return [True] * len(keys)


def take(keys: Sequence[rows.CallKey], new: set[rows.CallKey]) -> list[bool]:
    taken = []
    for key in keys:
        taken.append(key in new)
        new.discard(key)
    return taken


def fold_all(fresh: Sequence[Claimed], writer: WriterMemory, now: datetime) -> Fold:
    routes: set[RouteKey] = set()
    for one in fresh:
        environment, batch = one.sent.environment, one.sent.batch
        named = {call.route for call in batch.calls} | {outcome.route for outcome in batch.outcomes}
        routes.update((environment, route) for route in named)
    book = writer.refresh({one.sent.environment for one in fresh}, routes, now)
    fold = new_fold(writer, book, now)
    for environment in {one.sent.environment for one in fresh}:
        batches = [(one.sent.batch.calls, one.calls) for one in fresh if one.sent.environment == environment]
        fold.add_calls(environment, batches)
    for one in fresh:
        fold.add_outcomes(one.sent.environment, one.sent.batch.outcomes, one.outcomes)
    return fold


def new_fold(writer: WriterMemory, book: PriceBook, now: datetime) -> Fold:
    keeps_raw = settings.RAW_HOURS > 0
    seconds = settings.WINDOW_SECONDS
    return Fold(writer, book, window_seconds=seconds, arrived_at=now.timestamp(), keeps_raw=keeps_raw)


def take_intakes(fresh: Sequence[Claimed], fold: Fold, writer: WriterMemory, now: datetime) -> None:
    taken = [(one.sent.environment, one.sent.intake, one.traced) for one in fresh if one.sent.intake is not None]
    if taken:
        calls = [(environment, intake, new[: len(intake.calls)]) for environment, intake, new in taken]
        points = [(environment, intake, new[len(intake.calls) :]) for environment, intake, new in taken]
        metering.meet(calls, writer, now)
        tracing.take(calls, fold, writer, now)
        metering.take(points, fold, writer, now)
        metering.give_back(fold, writer)


def note_seen(
    fresh: Sequence[Sent], writer: WriterMemory, now: datetime
) -> dict[tuple[str, str, str], tuple[int | None, datetime]]:
    """Hands clients and exposures down to flags: those of new batches, so each once."""
    clients: dict[tuple[str, str, str], Client] = {}
    exposures: dict[str, list[dict[str, Any]]] = {}
    for sent in fresh:
        client = sent.batch.client
        if client is not None:
            clients[sent.environment, client.name, client.sdk] = client
        if sent.batch.exposures:
            exposures.setdefault(sent.environment, []).extend(map(plain, sent.batch.exposures))
    news = {key: client for key, client in clients.items() if writer.is_news_of(key, client.snapshot, now)}
    for (environment, name, sdk), client in sorted(news.items(), key=lambda pair: pair[0]):  # one order for all writers
        told = {"name": name, "sdk": sdk, "snapshot": client.snapshot}
        flags.note_seen(environment=environment, client=told, exposures=exposures.pop(environment, []), now=now)
    for environment, counted in sorted(exposures.items()):
        flags.note_seen(environment=environment, client=None, exposures=counted, now=now)
    return {key: (client.snapshot, now) for key, client in news.items()}


def plain(exposure: Exposure) -> dict[str, Any]:
    return {
        "flag": exposure.flag,
        "variant": exposure.variant,
        "snapshot": exposure.snapshot,
        "assigned_by": exposure.assigned_by,
        "minute": exposure.minute,
        "count": exposure.count,
        "subjects": exposure.subjects,
    }


def receipt_of(one: Claimed, writer: WriterMemory) -> Receipt:
    batch = one.sent.batch
    accepted, accepted_outcomes = sum(one.calls), sum(one.outcomes)
    if one.sent.intake is not None:
        calls = len(one.sent.intake.calls)
        new = sum(one.traced[:calls])
        return Receipt(accepted=new, duplicates=calls - new)
    receipt = Receipt(
        accepted=accepted,
        duplicates=len(batch.calls) - accepted,
        accepted_outcomes=accepted_outcomes,
        duplicate_outcomes=len(batch.outcomes) - accepted_outcomes,
    )
    if accepted:
        counts = Counter([call.route for call, is_new in zip(batch.calls, one.calls, strict=True) if is_new])
        environment = one.sent.environment
        receipt.unassigned = {name: n for name, n in counts.items() if not writer.route(environment, name).is_known}
    return receipt


def save_cursor(*, reader: str, shard: int, cursor: dict[str, int]) -> None:
    """In the reader's own transaction, with what it made of the rows: both are saved, or neither."""
    rows.insert(
        Cursor,
        [(reader, shard, writer, seq) for writer, seq in sorted(cursor.items())],
        "ON CONFLICT (reader, shard, writer) DO UPDATE SET seq = excluded.seq",
    )


@transaction.atomic
def map_calls(
    *, environment: str, service: str, model: str, route: str, by: Actor, because: str, now: datetime
) -> Mapping:
    """Calls of a service to a model that name no route are of this one from now on; an empty model means any."""
    flags_queries.route(environment, route)  # raises NotFound
    if not service:
        raise Invalid("Which service?", service="Name the service as its resource does.")
    mapping, is_new = Mapping.objects.get_or_create(
        environment=environment,
        service=service,
        model=model,
        defaults={"id": new_id(), "route": route, "by": str(by), "at": now},
    )
    before = None if is_new else mapping.route
    mapping.move_to(route, by=str(by), at=now)
    about = {"route": route, "service": service, "model": model}
    journal.record(
        "telemetry.calls_mapped", environment=environment, by=by, because=because, about=about, now=now,
        before=before, after=route,
    )  # fmt: skip
    return mapping


@transaction.atomic
def unmap_calls(*, environment: str, id: str, by: Actor, because: str, now: datetime) -> None:
    mapping = Mapping.objects.filter(environment=environment, id=id).first()
    if mapping is None:
        raise NotFound(what="mapping", key=id)
    about = {"route": mapping.route, "service": mapping.service, "model": mapping.model}
    mapping.delete()
    journal.record(
        "telemetry.calls_unmapped", environment=environment, by=by, because=because, about=about, now=now,
        before=mapping.route,
    )  # fmt: skip


@transaction.atomic
def settle_old(*, now: datetime) -> int:
    """Calls whose trace told nothing more are counted under no route. Says how many traces there were."""
    writer = WriterMemory()
    writer.seq += 1
    keys = tracing.quiet(now)
    if keys:
        writer.refresh({environment for environment, _ in keys}, set(), now)
        fold = new_fold(writer, writer.price_book, now)
        tracing.settle_quiet(keys, fold, writer, now)
        writing.write_all(fold, writer, now)
        writing.save_histories(writer.histories_to_save(fold.learned, now, most=len(fold.learned)), writer)
    return len(keys)


def forget_old(*, now: datetime) -> None:
    """What nobody needs any more goes, and what nobody needs apart is drawn together."""
    while settle_old(now=now):
        pass
    rolling.roll_up()  # only lines that stand in totals are drawn together
    retention.forget_old(now)
    thinning.thin_out(now)
