"""The journal: who changed what, when and why, field by field."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpResponse

from apps.console import figures
from apps.console.visits import Visit, visited
from apps.journal.models import Entry, EntryQuerySet

PAGE = 40
LONGEST = 160


@dataclass(frozen=True, slots=True)
class Change:
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class EntryView:
    id: str
    at: datetime
    day: str
    kind: str
    by: str
    is_person: bool
    because: str
    subject: str
    href: str
    version: int | None
    changes: list[Change]


@visited
def page(visit: Visit) -> HttpResponse:
    asked = {name: visit.request.GET.get(name, "").strip() for name in ("route", "by", "kind")}
    pages = Paginator(entries(visit.environment.key, asked), PAGE)
    shown = pages.get_page(visit.request.GET.get("page"))
    kept = urlencode({name: value for name, value in asked.items() if value})
    return visit.page(
        "console/activity.html",
        current="journal",
        entries=[view_of(entry) for entry in shown],
        shown=shown,
        asked=asked,
        kept=f"{kept}&" if kept else "",
    )


def entries(environment: str, asked: dict[str, str]) -> EntryQuerySet:
    rows = Entry.objects.of_environment(environment).newest_first()
    if asked["route"]:
        rows = rows.filter(about__route=asked["route"]) | rows.filter(about__flag=asked["route"])
    if asked["by"]:
        rows = rows.filter(by=asked["by"])
    if asked["kind"]:
        rows = rows.filter(kind__startswith=asked["kind"])
    return rows


def view_of(entry: Entry) -> EntryView:
    about = entry.about or {}
    subject = (
        about.get("route") or about.get("flag") or about.get("person") or about.get("channel") or entry.environment
    )
    href = (
        f"/d/{about['decision']}"
        if about.get("decision")
        else f"/routes/{about['route']}/"
        if about.get("route")
        else ""
    )
    return EntryView(
        id=entry.id,
        at=entry.at,
        day=figures.day(entry.at),
        kind=entry.kind.replace("_", " ").replace(".", " ", 1),
        by=entry.by,
        is_person=":" not in entry.by,
        because=entry.because,
        subject=str(subject),
        href=href,
        version=entry.version,
        changes=changes_of(entry),
    )


def changes_of(entry: Entry) -> list[Change]:
    """Field by field. Where the state after names fewer fields than the state before, the others did not change."""
    after = entry.after if isinstance(entry.after, dict) else None
    return [
        Change((name or "value").replace("_", " "), told(name, old), told(name, new))
        for name, (old, new) in entry.changes.items()
        if after is None or name in after
    ]


def told(name: str, value: Any) -> str:
    """A value of the journal as one line; long ones lose their end."""
    if value is None:
        return ""
    if name == "weights" and isinstance(value, dict):
        return ", ".join(f"{figures.share(weight)} {variant}" for variant, weight in value.items() if weight)
    if name == "share" and isinstance(value, int):
        return figures.share(value)
    if name == "stage" and isinstance(value, int):
        return str(value + 1)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
