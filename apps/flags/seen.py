"""What services and our own doors tell about evaluations: who has which snapshot, and how often which variant came."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef

from apps.access.models import Environment
from apps.flags.models import ClientSeen, Exposure, Flag, Snapshot, Split

SUBJECTS = 20
EARLIEST, LATEST = timedelta(hours=48), timedelta(minutes=5)  # as far from now as a call may lie
SNAPSHOTS_STAY = timedelta(days=90)
EXPOSURES_STAY = timedelta(days=30)
CLIENTS_STAY = timedelta(days=30)
ASSIGNED_BY = ("split", "rule", "default", "fallback")

Counted = tuple[str, str, int, str, datetime]  # flag, variant, snapshot, assigned_by, minute


@transaction.atomic
def note_seen(
    *, environment: str, client: Mapping[str, Any] | None, exposures: Iterable[Mapping[str, Any]], now: datetime
) -> None:
    """Takes what a batch says as it comes: what cannot be read, or is about no flag of ours, is left out."""
    name = clean(client.get("name"), 128) if client else ""
    if client and name:
        see_client(environment, "", name, clean(client.get("sdk"), 128), whole_number(client.get("snapshot")), now)
    counts: dict[Counted, int] = {}
    subjects: dict[Counted, list[str]] = {}
    for exposure in exposures:
        if key := read(exposure, now):
            counts[key] = counts.get(key, 0) + (whole_number(exposure.get("count")) or 0)
            named = exposure.get("subjects")
            if isinstance(named, list):
                subjects.setdefault(key, []).extend(clean(subject, 256) for subject in named[:SUBJECTS])
    if not counts:
        return
    known = set(Flag.objects.of(environment).filter(key__in={key[0] for key in counts}).values_list("key", flat=True))
    rows = [
        (environment, *key[:4], name, key[4], counts[key], subjects.get(key, [])[:SUBJECTS])
        for key in sorted(counts)  # one order for all writers: no deadlock
        if key[0] in known and counts[key] > 0
    ]
    add_up(rows)


Reader = tuple[str, str, str, str]  # environment, door, name of the key, what the client calls itself


@transaction.atomic
def note_readers(*, given: Mapping[Reader, int], now: datetime) -> None:
    """Clients that read whole definitions at a door, each with the snapshot that it was given last."""
    known = set(Environment.objects.filter(key__in={key for key, *_ in given}).values_list("key", flat=True))
    for (environment, door, name, agent), snapshot in sorted(given.items()):  # one order for all writers: no deadlock
        if environment in known:
            see_client(environment, door, name, clean(agent, 128), snapshot, now)


def see_client(environment: str, door: str, name: str, sdk: str, snapshot: int | None, now: datetime) -> None:
    row, is_new = ClientSeen.objects.get_or_create(
        environment_id=environment,
        name=name,
        sdk=sdk,
        door=door,
        defaults={"snapshot": snapshot, "has_since": now, "seen_at": now},
    )
    if not is_new:
        row.see(snapshot, now)


def read(exposure: Mapping[str, Any], now: datetime) -> Counted | None:
    if not isinstance(exposure, Mapping):
        return None
    flag = clean(exposure.get("flag"), 512)
    minute = moment(exposure.get("minute")) or now
    if not flag or not now - EARLIEST <= minute <= now + LATEST:
        return None
    by = exposure.get("assigned_by")
    return (
        flag,
        clean(exposure.get("variant"), 128),
        whole_number(exposure.get("snapshot")) or 0,
        by if by in ASSIGNED_BY else "",
        minute.astimezone(UTC).replace(second=0, microsecond=0),
    )


def clean(value: object, longest: int) -> str:
    """Text as every database takes it: without NUL and lone surrogates, which JSON can carry."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:longest]


def whole_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else None
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return None
        return at if at.tzinfo else None
    return None


def forget_old(*, now: datetime) -> None:
    """Snapshots after 90 days but for the newest, splits that no kept snapshot needs, exposures and silent clients."""
    before = now - SNAPSHOTS_STAY
    Snapshot.objects.filter(published_at__lt=before).exclude(version=F("environment__snapshot_version")).delete()
    newer = Split.objects.filter(
        environment=OuterRef("environment"),
        flag=OuterRef("flag"),
        since_version__gt=OuterRef("since_version"),
        published_at__lt=before,
    )
    Split.objects.filter(Exists(newer), published_at__lt=before).delete()
    Exposure.objects.filter(minute__lt=now - EXPOSURES_STAY).delete()
    ClientSeen.objects.filter(seen_at__lt=now - CLIENTS_STAY).delete()


def add_up(rows: list[tuple[Any, ...]]) -> None:
    """One statement adds to the counts that are there and makes those that are not, on both databases."""
    columns = (
        "environment", "flag", "variant", "snapshot", "assigned_by", "client", "minute", "count", "subjects",
    )  # fmt: skip
    fields = [field for field in Exposure._meta.concrete_fields if field.column in columns]
    fields.sort(key=lambda field: columns.index(field.column))
    sql = (
        f"INSERT INTO flags_exposure ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"
        " ON CONFLICT (environment, flag, variant, snapshot, assigned_by, client, minute)"
        " DO UPDATE SET count = flags_exposure.count + excluded.count"
    )
    values = [
        [field.get_db_prep_save(value, connection) for field, value in zip(fields, row, strict=True)] for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, values)
