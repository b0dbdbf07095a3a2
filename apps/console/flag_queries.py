"""What the flag pages read together, each in a fixed number of queries however many flags there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max, Min, QuerySet, Sum

from apps.flags import clean_up, queries
from apps.flags.models import ChangeRequest, Exposure, Flag, Snapshot
from apps.flags.queries import FlagView
from apps.rollouts.models import Rollout

MOST_NAMES = 2000  # that a form offers


@dataclass(frozen=True, slots=True)
class Served:
    flag: FlagView
    is_route: bool


def listed(
    environment: str, *, archived: bool = False, asked: str = "", owner: str = "", keys: Iterable[str] | None = None
) -> "QuerySet[Flag]":
    """By key; what is asked for is part of it."""
    rows = Flag.objects.with_route().of(environment).order_by("key")
    rows = rows.archived() if archived else rows.served()
    if asked:
        rows = rows.filter(key__icontains=asked.replace("\0", ""))
    if owner:
        rows = rows.filter(owner=owner.replace("\0", ""))
    return rows if keys is None else rows.filter(key__in=list(keys))


def keys_of(environment: str) -> list[str]:
    return list(Flag.objects.of(environment).served().order_by("key").values_list("key", flat=True)[:MOST_NAMES])


def view_of(row: Flag) -> Served:
    is_route = row.route_or_none is not None
    return Served(queries.route_view(row) if is_route else queries.flag_view(row), is_route)


def one(environment: str, key: str) -> Served:
    """A flag with what it has as a route, if it is one. Raises NotFound."""
    flag = queries.flag(environment, key)
    found = Flag.objects.with_route().of(environment).named(key).first()
    return view_of(found) if found is not None else Served(flag, False)


def stale(environment: str, now: datetime, *, only: str = "") -> dict[str, clean_up.StaleFlag]:
    return {one.key: one for one in clean_up.clean_up(environment, now, only=only)}


@dataclass(frozen=True, slots=True)
class Given:
    variant: str
    client: str
    count: int
    last: datetime


def given(environment: str, key: str, since: datetime) -> list[Given]:
    """How often which variant, to whose clients; the most first."""
    rows = Exposure.objects.filter(environment_id=environment, flag=key, minute__gte=since)
    summed = rows.values("variant", "client").annotate(total=Sum("count"), last=Max("minute")).order_by("-total")
    return [Given(row["variant"], row["client"], row["total"], row["last"]) for row in summed]


def last_subject(environment: str) -> str:
    """A subject that a client has reported lately: what a tester begins with."""
    rows = (
        Exposure.objects.filter(environment_id=environment)
        .order_by("-minute", "-id")
        .values_list("subjects", flat=True)
    )
    return next((subject for subjects in rows[:50] for subject in subjects if subject), "")


def attributes(environment: str, key: str = "") -> list[str]:
    """What the readable rules ask for, each once; of one flag, or of all."""
    rows = Flag.objects.of(environment).served().exclude(rules=[]).order_by("key")
    rows = rows.named(key) if key else rows
    found: dict[str, None] = {}
    stack: list[object] = list(rows.values_list("rules", flat=True)[:MOST_NAMES])
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            if isinstance(part.get("attribute"), str):
                found[part["attribute"]] = None
            stack += part.values()
        elif isinstance(part, list):
            stack += part
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Recent:
    version: int
    published_at: datetime


def snapshots(environment: str, most: int = 100) -> list[Recent]:
    rows = Snapshot.objects.of(environment).order_by("-version").values_list("version", "published_at")
    return [Recent(*row) for row in rows[:most]]


def outdated_since(environment: str, version: int) -> datetime | None:
    """When that snapshot was followed by another one."""
    newer = Snapshot.objects.of(environment).filter(version__gt=version)
    found: datetime | None = newer.aggregate(first=Min("published_at"))["first"]
    return found


def waiting(environment: str) -> int:
    """Change requests that wait for a person."""
    states = (ChangeRequest.State.SUBMITTED, ChangeRequest.State.APPROVED, ChangeRequest.State.CONFLICTED)
    return ChangeRequest.objects.of(environment).filter(state__in=states).count()


def waiting_on(environment: str, subject: str) -> list[ChangeRequest]:
    rows = ChangeRequest.objects.of(environment).open().filter(subject=subject.replace("\0", ""))
    return list(rows.order_by("-created_at", "-id")[:10])


def stages(environment: str, route: str) -> tuple[str, list[int]]:
    """The candidate of the live rollout and the shares of its stages, in ten-thousandths."""
    rollout = Rollout.objects.live().filter(environment=environment, route=route).first()
    if rollout is None:
        return "", []
    return rollout.candidate, sorted({stage.share for stage in rollout.plan if stage.share})
