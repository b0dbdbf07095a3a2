"""What is remembered of traces, as rows: read and locked, followed to where they were taken, written again."""

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec
from django.db import connection

from apps.telemetry import rows
from apps.telemetry.domain.traces import Trace
from apps.telemetry.models import Trace as TraceRow

FIND = f"SELECT trace_id, body FROM {TraceRow._meta.db_table} WHERE environment = %s AND trace_id"
FIND_AND_LOCK = {  # SQLite has one writer at a time: its transaction is the lock
    "sqlite": f"{FIND} IN (SELECT value FROM json_each(%s))",
    "postgresql": f"{FIND} = ANY(%s) ORDER BY trace_id FOR UPDATE",
}

Key = tuple[str, str]  # environment, trace
States = dict[Key, Trace]

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Trace).decode


def load(keys: Iterable[Key]) -> States:
    """Those that have a row, and where they were taken; locked, so that two processes do not both read a trace as it
    was. Most are new."""
    states: States = {}
    asked: set[Key] = set()
    while wanted := set(keys) - asked:
        asked |= wanted
        found = load_rows(wanted)
        states |= found
        keys = [(environment, state.home) for (environment, _), state in found.items() if state.home]
    return states


def load_rows(keys: Collection[Key]) -> States:
    states: States = {}
    for environment in sorted({environment for environment, _ in keys}):
        names = [trace_id for of, trace_id in keys if of == environment]
        many = names if connection.vendor == "postgresql" else msgspec.json.encode(names).decode()
        with connection.cursor() as cursor:
            cursor.execute(FIND_AND_LOCK[connection.vendor], [environment, many])
            for trace_id, body in cursor.fetchall():
                states[environment, trace_id] = decode(bytes(body))
    return states


def home_of(states: States, key: Key) -> Key:
    """Where all is told that came of this trace."""
    while key in states and states[key].home:
        key = key[0], states[key].home
    return key


def save(states: States, known: Collection[Key], now: datetime) -> None:
    """Where another process has made a row meanwhile the database says so, and the commit group looks once more."""
    told = [((*key, now, encode(states[key])), key in known) for key in sorted(states)]
    rows.insert(TraceRow, [row for row, is_known in told if not is_known])
    rows.insert(
        TraceRow,
        [row for row, is_known in told if is_known],
        "ON CONFLICT (environment, trace_id) DO UPDATE SET at = excluded.at, body = excluded.body",
    )
