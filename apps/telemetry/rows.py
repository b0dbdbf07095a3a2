"""Many rows in one statement, without building a model instance for each.

PostgreSQL takes new rows by COPY, and one array per column where rows may be there already: `on_conflict` ends the
statement. SQLite takes the rows themselves.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from django.db import IntegrityError, connection, models, transaction

from apps.telemetry.models import Batch, CallId, LedgerLine

Row = Sequence[Any]
CallKey = tuple[int, int]
LEDGER_IDS = (
    7_316_294  # advisory lock: shared by who adds lines to the ledger, whole for who reads up to which they are
)
NEW_ONES = "ON CONFLICT DO NOTHING RETURNING hash"
Columns = list["models.Field[Any, Any]"]
CLAIM = {
    vendor: f"INSERT INTO {CallId._meta.db_table} (minute, hash) SELECT %s, value FROM {source} WHERE true"
    for vendor, source in {"sqlite": "json_each(%s)", "postgresql": "unnest(%s::bigint[]) AS each (value)"}.items()
}


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@cache
def columns_of(model: type[models.Model]) -> Columns:
    return [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]


@cache
def types_of(model: type[models.Model]) -> list[str]:
    """PostgreSQL's names for the columns; lengths are the table's to check."""
    names = [str(column.db_type(connection)).partition("(")[0] for column in columns_of(model)]
    return ["text" if name == "varchar" else name for name in names]


def insert(model: type[models.Model], rows: Sequence[Row], on_conflict: str = "") -> None:
    """Each row holds a value for every column but an automatic id, in the order of the model's fields."""
    if not rows:
        return
    columns = columns_of(model)
    table, names = model._meta.db_table, ", ".join(str(column.column) for column in columns)
    adapted = adapt(columns, rows)
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(
                f"INSERT INTO {table} ({names}) VALUES ({marks}) {on_conflict}", list(zip(*adapted, strict=True))
            )
            return
        if model is LedgerLine:  # ids are taken before lines can be seen: see `rolling`
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LEDGER_IDS])
        if on_conflict:
            arrays = ", ".join(f"%s::{column.db_type(connection)}[]" for column in columns)
            into = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) {on_conflict}"
            cursor.execute(into, [list(values) for values in adapted])
            return
        into = f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)"  # a fifth less than as text
        with connection.wrap_database_errors, cursor.copy(into) as copy:
            copy.set_types(types_of(model))
            for row in zip(*adapted, strict=True):
                copy.write_row(row)


def adapt(columns: Columns, rows: Sequence[Row]) -> list[Sequence[Any]]:
    """The values of each column, as the database wants them."""
    return [[adapt_one(value) for value in values] if (adapt_one := adapter(column)) else values
            for column, values in zip(columns, zip(*rows, strict=True), strict=True)]  # fmt: skip


def adapter(column: "models.Field[Any, Any]") -> Callable[[Any], Any] | None:
    if isinstance(column, models.DateTimeField) and connection.vendor == "sqlite":
        return cache(sqlite_moment)  # many rows, few moments
    if isinstance(column, models.JSONField):
        return lambda value: msgspec.json.encode(value).decode()
    return None


def sqlite_moment(moment: datetime | None) -> str | None:
    """As Django writes it, in a fifth of its time."""
    return None if moment is None else moment.astimezone(UTC).isoformat(" ")[:-6]


def claim_batches(keys: Sequence[str], at: Any) -> set[str]:
    """Writes the keys down; those that nobody wrote before come back. They are ours once the transaction commits."""
    if not keys:
        return set()
    ordered = sorted(keys)  # one order for all writers: no deadlock
    moment = connection.ops.adapt_datetimefield_value(at)
    values = ", ".join(["(%s, %s)"] * len(ordered))
    sql = f"INSERT INTO {Batch._meta.db_table} (key, at) VALUES {values} ON CONFLICT (key) DO NOTHING RETURNING key"
    with connection.cursor() as cursor:
        cursor.execute(sql, [part for key in ordered for part in (key, moment)])
        return {key for (key,) in cursor.fetchall()}


def claim_calls(keys: set[CallKey]) -> set[CallKey]:
    """The same for calls, by (minute, hash): a repeat carries the same moment, so it meets its first."""
    minutes: dict[int, list[int]] = {}
    for minute, hash in keys:
        minutes.setdefault(minute, []).append(hash)
    for hashes in minutes.values():
        hashes.sort()
    ordered = sorted(minutes.items())  # for all writers: no deadlock, and neighbours in one page
    with connection.cursor() as cursor:
        try:  # nearly always all are new: then nobody need ask for each whether it is
            with transaction.atomic():
                for minute, hashes in ordered:
                    cursor.execute(CLAIM[connection.vendor], [minute, numbers(hashes)])
            return keys
        except IntegrityError:
            new: set[CallKey] = set()
            for minute, hashes in ordered:
                cursor.execute(f"{CLAIM[connection.vendor]} {NEW_ONES}", [minute, numbers(hashes)])
                new.update((minute, hash) for (hash,) in cursor.fetchall())
            return new


def numbers(many: Sequence[int]) -> str:
    """As one parameter, and one statement: the thread waits once, and the interpreter is free meanwhile."""
    text = ",".join(map(str, many))
    return f"{{{text}}}" if connection.vendor == "postgresql" else f"[{text}]"
