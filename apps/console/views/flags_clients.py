"""Did services pick it up: each client with the snapshot that it has, how far behind that is, and when it was heard."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpResponse

from apps.console import figures, flag_queries
from apps.console.visits import Visit, visited
from apps.flags import queries
from apps.flags.queries import ClientView

SILENT = timedelta(minutes=10)
GRACE = timedelta(seconds=30)  # a snapshot this young is still on its way
MOST_VERSIONS = 200  # that clients lag behind; of more it is not told since when
Since = dict[int, datetime | None]
WORST = {"silent": 0, "behind": 1, "unsaid": 2, "on its way": 3, "current": 4}


@dataclass(frozen=True, slots=True)
class ClientRow:
    name: str
    sdk: str
    snapshot: int | None
    seen_at: datetime
    state: str
    glyph: str
    tone: str
    word: str
    words: str


@visited
def page(visit: Visit) -> HttpResponse:
    environment = visit.environment.key
    recent = flag_queries.snapshots(environment, 1)
    found = queries.clients(environment)
    old = {client.snapshot for client in found if client.snapshot is not None and client.behind}
    since = {version: flag_queries.outdated_since(environment, version) for version in sorted(old)[:MOST_VERSIONS]}
    rows = [row_of(client, since, visit.now) for client in found]
    rows.sort(key=lambda row: (WORST[row.state], row.name, row.sdk))
    return visit.page(
        "console/flags/clients.html",
        current="clients",
        rows=rows,
        newest=recent[0] if recent else None,
        summary=summary(rows),
    )


def row_of(client: ClientView, since: Since, now: datetime) -> ClientRow:
    state, words = standing(client, since, now)
    glyph, tone, word = {
        "silent": ("unprotected", "danger", "Silent"),
        "behind": ("holding", "warn", "Behind"),
        "unsaid": ("inconclusive", "warn", "Not said"),
        "on its way": ("ramping", "info", "On its way"),
        "current": ("within", "ok", "Current"),
    }[state]
    return ClientRow(client.name, client.sdk, client.snapshot, client.seen_at, state, glyph, tone, word, words)


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
    if age > SILENT:
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
