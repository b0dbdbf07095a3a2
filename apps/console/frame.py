"""What stands around every page: where you are, whether the protection is alive, what fires, where you can go."""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.urls import reverse

from apps.access import queries as access
from apps.access.domain.roles import Role
from apps.access.models import Environment
from apps.alerts import queries as alerts
from apps.alerts.models import Alert
from apps.console import figures, flag_queries, queries


@dataclass(frozen=True, slots=True)
class Item:
    key: str
    title: str
    icon: str
    href: str
    is_current: bool
    count: int = 0
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    items: list[Item]


@dataclass(frozen=True, slots=True)
class Protection:
    ok: bool
    word: str
    detail: str
    short: str


@dataclass(frozen=True, slots=True)
class Band:
    tone: str
    glyph: str
    word: str
    words: str
    link: str = ""
    href: str = ""
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    environment: str
    is_production: bool
    environments: list[Environment]
    protection: Protection
    bands: list[Band]
    firing: int
    acknowledged: int
    silenced: int
    nav: list[Group]
    role: str
    initials: str
    now: datetime


PAGES = (
    (
        "Watch",
        (
            ("now", "Now", "gauge"),
            ("alerts", "Alerts", "bell"),
            ("budgets", "Budgets", "wallet"),
            ("prices", "Prices", "scale"),
        ),
    ),
    (
        "Move",
        (
            ("routes", "Routes", "route"),
            ("flags", "Flags", "split"),
            ("audiences", "Audiences", "user"),
            ("changes", "Changes", "list-checks"),
            ("tester", "Tester", "flask-conical"),
        ),
    ),
    (
        "Prove",
        (
            ("journal", "Activity", "activity"),
            ("sources", "Sources", "radio"),
            ("protection", "Protection", "shield-check"),
            ("clients", "Clients", "monitor"),
        ),
    ),
)


def of(environment: Environment, role: Role, user: User, now: datetime, current: str) -> Frame:
    open_alerts = alerts.counts(environment.key)
    pulse = queries.pulse(environment.key, now)
    counts = {"alerts": (open_alerts["firing"], "danger"), "changes": (flag_queries.waiting(environment.key), "")}
    return Frame(
        environment=environment.key,
        is_production=environment.is_production,
        environments=access.environments_of(user),
        protection=protection(pulse, now),
        bands=bands(pulse, environment, now),
        **open_alerts,
        nav=[
            Group(
                title,
                [
                    Item(key, name, icon, reverse(key), key == current, *counts.get(key, ()))
                    for key, name, icon in items
                ],
            )
            for title, items in PAGES
        ],
        role=role.value,
        initials=initials(user),
        now=now,
    )


def initials(user: User) -> str:
    words = user.get_full_name().split() or [user.get_username()]
    return "".join(word[0] for word in words[:2]).upper()


def protection(pulse: queries.Pulse, now: datetime) -> Protection:
    evaluated = f"Evaluated {figures.ago(pulse.evaluated_at, now)}" if pulse.evaluated_at else "Not evaluated yet"
    queue = f"queue {pulse.queue}" if pulse.queue is not None else "queue not reachable"
    data = f"data {figures.span((now - pulse.data_at).total_seconds())}" if pulse.data_at else "no data yet"
    word = "Protected" if pulse.is_protected else "Unprotected"
    short = f"· {evaluated[0].lower()}{evaluated[1:]}"
    return Protection(pulse.is_protected, word, f"{evaluated} · {queue} · {data}", short)


def bands(pulse: queries.Pulse, environment: Environment, now: datetime) -> list[Band]:
    """What is not watched, since when, what still works: on every page."""
    if pulse.is_protected:
        missing = [one for one in alerts.unprotected(environment.key) if one.condition != "watch:beat"]
        return [
            Band("danger", "unprotected", "Unprotected", told(one), link="Open Protection", href=reverse("protection"))
            for one in missing
        ]
    since = (
        f"Nothing has been evaluated for {figures.span((now - pulse.evaluated_at).total_seconds())}."
        if pulse.evaluated_at
        else "Nothing has been evaluated yet."
    )
    rest = f"Services keep their last snapshot, {environment.snapshot_version}. You can still roll back by hand."
    return [
        Band(
            "danger",
            "unprotected",
            "Unprotected",
            f"{since} {rest}",
            link="Open Protection",
            href=reverse("protection"),
        )
    ]


def told(one: Alert) -> str:
    still = "Rollouts are still judged; nobody is told." if one.condition == "watch:deliveries" else ""
    return f"{one.sentence} {still or 'You can still roll back by hand.'}"
