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
from apps.telemetry import keeping, measuring, metering, retention, rolling, rows, tracing
from apps.telemetry.domain.batch import Batch, Call, Client, Exposure, Outcome
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.intake import Intake
from apps.telemetry.domain.shards import shard_of
from apps.telemetry.memory import RouteKey, WriterMemory
from apps.telemetry.models import (
    CallMinute,
    Cursor,
    Freshness,
    Heard,
    LedgerLine,
    Mapping,
    OutcomeSum,
    RequestSum,
    RouteTokens,
    Unassigned,
    Window,
    Writer,
)
from apps.telemetry.queries.steps import floor
from apps.telemetry.rows import moment


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch, and the environment of the key that it came with. Through other doors than the native one: an intake."""

    environment: str
    batch: Batch
    intake: Intake | None = None

    @property
    def key(self) -> str:
        return f"{self.environment}\n{self.batch.batch_id}"


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
    with transaction.atomic():
        claimed = claim(sent, now)
        fresh = [one for one in claimed if one.is_new]
        fold = fold_all(fresh, writer, now)
        take_intakes(fresh, fold, writer, now)
        freshened = write(fold, writer, now)
        noted = note_seen([one.sent for one in fresh], writer, now)
        saving = writer.histories_to_save(fold.learned, now)
        save_histories(saving, writer)
    writer.histories_are_saved(saving, now)
    writer.are_fresh(freshened, now)
    writer.clients.update(noted)
    receipts = [receipt_of(one, writer) for one in claimed]
    measuring.note(sent, receipts, fold)
    spans.note(batches=len(sent), calls=sum(receipt.accepted for receipt in receipts))
    return receipts


def claim(sent: Sequence[Sent], now: datetime) -> list[Claimed]:
    """Of batches and calls that come twice, here or ever before, only the first is new."""
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
    new = rows.claim_calls(distinct) if distinct else distinct
    if new:
        minutes = sorted({minute for minute, _ in new})
        latest = "ON CONFLICT (minute) DO UPDATE SET last_arrival_at = excluded.last_arrival_at"
        rows.insert(CallMinute, [(minute, now) for minute in minutes], latest)
    pick = take_all if len(new) == len(offered) else take
    claimed = []
    for one, is_new, (calls, outcomes, traced) in zip(sent, first, keys, strict=True):
        claimed.append(Claimed(one, is_new, pick(calls, new), pick(outcomes, new), pick(traced, new)))
    return claimed


def call_keys(sent: Sent, items: Sequence[Call] | Sequence[Outcome], kind: str) -> list[rows.CallKey]:
    """(minute, hash): the kind is part of it, since a call and an outcome may share an id.

    The second of the minute stands in front of the hash: calls of one second then lie in few pages of the index."""
    prefix = f"{sent.environment}\n{kind}\n"
    keys = []
    for item in items:
        minute, second = divmod(int(item.at.timestamp()), 60)
        hash = mmh3.hash64(f"{prefix}{item.route}\n{item.id}", signed=False)[0]
        keys.append((minute, (second - 32 << 58) + (hash >> 6)))
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
        metering.meet(calls, now)
        tracing.take(calls, fold, writer, now)
        metering.take(points, fold, writer, now)
        metering.give_back(fold, writer)


def write(fold: Fold, writer: WriterMemory, now: datetime) -> list[RouteKey]:
    """Which routes it says are fresh comes back, for when that is committed."""
    shards = {key: shard_of(*key) for key in fold.touched}
    rows.insert(
        Writer,
        [(writer.id, writer.seq, now)],
        "ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, at = excluded.at",
    )
    rows.insert(
        Window,
        [
            (*key[:4], moment(key.starts_at), w.calls, w.errors, w.input_tokens, w.cached_input_tokens,
             w.output_tokens, w.confirmed_nano, w.estimated_nano, w.unpriced, w.late, w.coarse,
             w.latency.pack())
            for key, w in fold.windows.items()
        ],
    )  # fmt: skip
    rows.insert(
        RequestSum,
        [
            (shards[key[:2]], writer.id, writer.seq, *key[:7], moment(key.starts_at), r.requests, r.errors, r.unfinal,
             r.attempts, r.cost_nano, r.estimated_nano, r.unpriced, r.unnamed, moment(r.first_at), moment(r.last_at),
             r.latency.pack(), r.cost.pack())
            for key, r in fold.requests.items()
        ],
    )  # fmt: skip
    rows.insert(
        OutcomeSum,
        [
            (shards[key[:2]], writer.id, writer.seq, key.environment, key.route, key.trial, key.split, key.assigned,
             key.arm, key.assigned_by, moment(key.starts_at), key.variant, key.name, o.count, o.ones, o.zeros, o.total)
            for key, o in fold.outcomes.items()
        ],
    )  # fmt: skip
    rows.insert(
        LedgerLine,
        [
            (moment(key.minute * 60), *key[1:], line.calls, line.confirmed_nano, line.estimated_nano, line.unpriced,
             line.input_tokens, line.cached_input_tokens, line.output_tokens, line.cache_write_tokens,
             line.cache_write_1h_tokens)
            for key, line in fold.ledger.items()
            if line.says_something
        ],
    )  # fmt: skip
    rows.insert(
        Heard,
        [(*key, floor(now, 3600), n) for key, n in sorted(fold.heard.items()) if n],
        "ON CONFLICT (environment, service, source, what, key, hour) DO UPDATE SET n = telemetry_heard.n + excluded.n",
    )
    freshened = writer.to_freshen(fold.touched, now)
    rows.insert(
        Freshness,
        [(*key, now, now) for key in freshened],
        "ON CONFLICT (environment, route) DO UPDATE SET newest_at = excluded.newest_at",
    )
    rows.insert(
        Unassigned,
        [
            (*key, *fold.unassigned_of.get(key, ("", "")), calls, now, now)
            for key, calls in sorted(fold.unassigned.items())
            if calls
        ],
        "ON CONFLICT (environment, name) DO UPDATE"
        " SET calls = telemetry_unassigned.calls + excluded.calls, last_at = excluded.last_at",
    )
    keeping.keep(fold, now)
    return freshened


def save_histories(keys: Sequence[RouteKey], writer: WriterMemory) -> None:
    rows.insert(
        RouteTokens,
        [(*key, *writer.histories[key].plain()) for key in keys],
        "ON CONFLICT (environment, route) DO UPDATE"
        " SET inputs = excluded.inputs, outputs = excluded.outputs, models = excluded.models",
    )


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
        write(fold, writer, now)
        save_histories(writer.histories_to_save(fold.learned, now, most=len(fold.learned)), writer)
    return len(keys)


def forget_old(*, now: datetime) -> None:
    """What nobody needs any more goes, and what nobody needs apart is drawn together."""
    while settle_old(now=now):
        pass
    rolling.roll_up()  # only lines that stand in totals are drawn together
    retention.forget_old(now)
