"""Did services pick it up: each client with the snapshot that it has, how far behind that is, and when it was heard."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpResponse

from apps.console import figures, flag_queries
from apps.console.presenters import flag_curve
from apps.console.visits import Visit, visited
from apps.flags import pins, queries
from apps.flags.queries import ClientView

SILENT = timedelta(minutes=10)
SILENT_STREAM = timedelta(minutes=20)  # between two versions nothing is heard but its coming back
REFUSED_LATELY = timedelta(days=1)
DOORS = {"flagd": "reads the definition over HTTP", "sync": "reads the definition over gRPC"}
GRACE = timedelta(seconds=30)  # a snapshot this young is still on its way
MOST_VERSIONS = 200  # that clients lag behind; of more it is not told since when
Since = dict[int, datetime | None]
WORST = {"silent": 0, "behind": 1, "unsaid": 2, "on its way": 3, "current": 4}


@dataclass(frozen=True, slots=True)
class ClientRow:
    name: str
    sdk: str
    door: str
    snapshot: int | None
    seen_at: datetime
    hashes: str  # how its package divides subjects, where flags are pinned otherwise
    state: str
    glyph: str
    tone: str
    word: str
    words: str


@visited
def page(visit: Visit) -> HttpResponse:
    environment = visit.environment.key
    recent = flag_queries.snapshots(environment, 1)
    found = queries.clients(environment, doors=True)
    by_package = any(pins.computed_by(client) is not None for client in found)
    pinned = pins.pinned(environment) if by_package else {}
    old = {client.snapshot for client in found if client.snapshot is not None and client.behind}
    since = {version: flag_queries.outdated_since(environment, version) for version in sorted(old)[:MOST_VERSIONS]}
    rows = [row_of(client, since, pinned, visit.now) for client in found]
    curve = flag_curve.of(found, recent[0].version, recent[0].published_at) if recent else None
    rows.sort(key=lambda row: (WORST[row.state], row.name, row.sdk))
    return visit.page(
        "console/flags/clients.html",
        current="clients",
        rows=rows,
        newest=recent[0] if recent else None,
        summary=summary(rows),
        curve=curve,
        curves=[flag_curve.drawn(curve, width) for width in (flag_curve.WIDE, flag_curve.PHONE)] if curve else [],
        refused=queries.refused_clients(environment, visit.now - REFUSED_LATELY),
    )


def row_of(client: ClientView, since: Since, pinned: Mapping[str, int], now: datetime) -> ClientRow:
    state, words = standing(client, since, now)
    glyph, tone, word = {
        "silent": ("unprotected", "danger", "Silent"),
        "behind": ("holding", "warn", "Behind"),
        "unsaid": ("inconclusive", "warn", "Not said"),
        "on its way": ("ramping", "info", "On its way"),
        "current": ("within", "ok", "Current"),
    }[state]
    return ClientRow(
        name=client.name,
        sdk=client.sdk,
        door=DOORS.get(client.door, ""),
        snapshot=client.snapshot,
        seen_at=client.seen_at,
        hashes=hashes(client, pinned),
        state=state,
        glyph=glyph,
        tone=tone,
        word=word,
        words=words,
    )


def hashes(client: ClientView, pinned: Mapping[str, int]) -> str:
    """Through flagd's doors the client's own package decides who gets what of a share."""
    computes = pins.computed_by(client)
    others = sum(count for pin, count in pinned.items() if pin != computes)
    if computes is None or not others:
        return ""
    told = f"Its package computes {computes}" if computes else "What its package computes is not known"
    flags = "flag that divides is" if others == 1 else "flags that divide are"
    return f"{told}; {others} {flags} pinned otherwise."


def standing(client: ClientView, outdated: Since, now: datetime) -> tuple[str, str]:
    age = now - client.seen_at
    if client.snapshot is None:
        behind = "It does not say which snapshot it has."
    elif not client.behind:
        behind = "It has the newest snapshot."
    else:
        since = outdated.get(client.snapshot)
        many = figures.counted(client.behind, "snapshot")
        behind = f"{many} behind" + (f": what it has was replaced {figures.ago(since, now)}." if since else ".")
        if age <= SILENT and since is not None and now - since <= GRACE:
            return "on its way", behind
    stopped = client.door == "flagd" and client.behind  # whoever polls has what was newest when it last asked
    if stopped or age > (SILENT_STREAM if client.door == "sync" else SILENT):
        return "silent", f"Not heard from for {figures.span(age.total_seconds())}. {behind}"
    return ("unsaid" if client.snapshot is None else "behind" if client.behind else "current"), behind


def summary(rows: list[ClientRow]) -> str:
    if not rows:
        return "No client has been heard from yet."
    current = sum(row.state == "current" for row in rows)
    told = (
        f"{current} of {figures.counted(len(rows), 'client')} {'has' if current == 1 else 'have'} the newest snapshot."
    )
    silent = sum(row.state == "silent" for row in rows)
    return f"{told} {figures.counted(silent, 'is', 'are')} silent." if silent else told
