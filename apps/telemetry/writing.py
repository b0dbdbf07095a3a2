"""What a commit group leaves in the tables, in its transaction."""

from collections.abc import Sequence
from datetime import datetime

from apps.telemetry import keeping, rows
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.shards import shard_of
from apps.telemetry.domain.sums import Sums
from apps.telemetry.memory import RouteKey, WriterMemory
from apps.telemetry.models import (
    Freshness,
    Heard,
    LedgerLine,
    OutcomeSum,
    RequestSum,
    RouteTokens,
    Unassigned,
    Window,
    Writer,
)
from apps.telemetry.queries.steps import floor
from apps.telemetry.rows import moment


def number(writer: WriterMemory, now: datetime) -> None:
    """So that readers know up to which group this writer has committed."""
    rows.insert(
        Writer,
        [(writer.id, writer.seq, now)],
        "ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, at = excluded.at",
    )


def write_all(fold: Fold, writer: WriterMemory, now: datetime) -> None:
    """For those who keep nothing for later."""
    write_sums(fold.sums, writer)
    write(fold, writer, now)


def write(fold: Fold, writer: WriterMemory, now: datetime) -> list[RouteKey]:
    """All but windows, requests and outcomes. Which routes it says are fresh comes back, for when that is committed."""
    number(writer, now)
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


def write_sums(sums: Sums, writer: WriterMemory) -> None:
    """Rows that people search and judges read, under the number of this group."""
    rows.insert(
        Window,
        [
            (*key[:4], moment(key.starts_at), w.calls, w.errors, w.input_tokens, w.cached_input_tokens,
             w.output_tokens, w.confirmed_nano, w.estimated_nano, w.unpriced, w.late, w.coarse,
             w.latency.pack())
            for key, w in sums.windows.items()
        ],
    )  # fmt: skip
    rows.insert(
        RequestSum,
        [
            (shard_of(*key[:2]), writer.id, writer.seq, *key[:7], moment(key.starts_at), r.requests, r.errors,
             r.unfinal, r.attempts, r.cost_nano, r.estimated_nano, r.unpriced, r.unnamed,
             moment(r.first_at), moment(r.last_at), r.latency.pack(), r.cost.pack())
            for key, r in sums.requests.items()
        ],
    )  # fmt: skip
    rows.insert(
        OutcomeSum,
        [
            (shard_of(*key[:2]), writer.id, writer.seq, key.environment, key.route, key.trial, key.split, key.assigned,
             key.arm, key.assigned_by, moment(key.starts_at), key.variant, key.name, o.count, o.ones, o.zeros, o.total)
            for key, o in sums.outcomes.items()
        ],
    )  # fmt: skip
