"""Takes a whole flagd definition into an environment: one publish, one journal entry."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.flags import publishing, requiring
from apps.flags.domain import importing
from apps.flags.domain.importing import ImportedFlag
from apps.flags.models import Flag
from apps.flags.publishing import Change, Published

SET = ("type", "enabled", "variants", "default_variant", "targeting", "metadata")
FROM_ANEW: dict[str, Any] = {"segments": [], "prerequisites": [], "guards": [], "archived_at": None}


@dataclass(frozen=True, slots=True)
class Report:
    created: list[str]
    changed: list[str]
    warnings: list[str]
    published: Published | None


@transaction.atomic
def import_definition(
    *, environment: str, document: Any, bucketing: str, by: Actor, because: str, now: datetime
) -> Report:
    """Creates the flags that are not there and changes those that are; others stay. A route is not touched."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    with publishing.fit():
        imported = importing.read(document, bucketing=bucketing)
    rows = Flag.objects.select_for_update(of=("self",)).with_route().of(environment)
    there = {flag.key: flag for flag in rows}
    created: list[Flag] = []
    changed: list[Flag] = []
    for one in imported.flags:
        flag = there.get(one.key)
        if flag is None:
            created.append(new_row(one, change))
        elif flag.route_or_none:
            imported.warn(one.key, "There is a route of this key; it stays as it is.")
        elif flag.held_by:
            imported.warn(one.key, f"{flag.held_by} holds it; it stays as it is.")
        elif differs(flag, one):
            if flag.bucketing != one.bucketing:
                imported.warn(one.key, f"It stays pinned to {flag.bucketing}: another pin would move its subjects.")
            linked = bool(flag.rules or flag.prerequisites)
            whole = {name: getattr(one, name) for name in SET} | FROM_ANEW
            flag.change(by=str(by), at=now, version=change.version, rules=written(one), **whole)
            changed.append(flag)
            if linked:
                requiring.link(flag)
    Flag.objects.bulk_create(created, batch_size=500)
    for flag in [*created, *changed]:
        change.add(flag, links=False)
    report = Report([flag.key for flag in created], [flag.key for flag in changed], imported.warnings, None)
    if not change.changed:
        return report
    change.after = {"created": report.created, "changed": report.changed}
    published = change.publish("flags.imported", about={})
    return Report(report.created, report.changed, report.warnings, published)


def new_row(one: ImportedFlag, change: Change) -> Flag:
    flag = Flag(
        environment=change.environment,
        key=one.key,
        bucketing=one.bucketing,
        salt=one.salt,
        since_version=change.version,
        revision=1,
        changed_by=str(change.by),
        changed_at=change.now,
        created_at=change.now,
        rules=written(one),
        **{name: getattr(one, name) for name in SET},
    )
    flag.encode()
    return flag


def written(one: ImportedFlag) -> list[Any] | None:
    """No rules, or an expert's."""
    return None if one.targeting else []


def differs(flag: Flag, one: ImportedFlag) -> bool:
    if flag.guards or flag.segments or flag.archived_at:
        return True
    return any(getattr(flag, name) != getattr(one, name) for name in SET)
