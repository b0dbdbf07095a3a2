"""Audiences: conditions with a name. Changing one changes every flag that uses it, in one publish.

They are written out into each flag's rule: clients of flagd disagree about shared rules.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.refusals import AlreadyThere, NotFound, Stale
from apps.flags import editing, publishing
from apps.flags.domain import conditions, differences, variants
from apps.flags.domain.unfit import Unfit
from apps.flags.models import Audience, AudienceVersion, Flag
from apps.flags.publishing import Change, Published
from apps.flags.refusals import AudienceIsUsed


def checked(given: Any) -> dict[str, Any]:
    group = conditions.parse_group(given)
    if not group.parts:
        raise Unfit("conditions", "An audience has at least one condition.")
    if list(conditions.audiences_of(group)):
        raise Unfit("conditions", "An audience is made of conditions, not of other audiences.")
    return conditions.as_dict(group)


@transaction.atomic
def create_audience(
    *,
    environment: str,
    key: str,
    conditions: Mapping[str, Any],
    by: Actor,
    now: datetime,
    description: str = "",
    because: str = "",
) -> Audience:
    """Nobody uses it yet: nothing is published."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    if Audience.objects.of(environment).named(key).exists():
        raise AlreadyThere(what="audience", key=key)
    with publishing.fit():
        made = Audience(
            environment=change.environment,
            key=variants.check_key(key),
            description=description,
            conditions=checked(conditions),
            changed_by=str(by),
            changed_at=now,
            created_at=now,
        ).add(because=because)
    change.after, change.version = made.fields, change.environment.snapshot_version
    change.record("audience.created", {"audience": key})
    return made


@transaction.atomic
def change_audience(
    *,
    environment: str,
    key: str,
    by: Actor,
    because: str,
    now: datetime,
    expected: int | None = None,
    **fields: Any,
) -> Published:
    """Sets conditions and description, and republishes the flags that use it."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    return update(change, key, fields, expected=expected)


def update(
    change: Change,
    key: str,
    given: Mapping[str, Any],
    *,
    expected: int | None,
    kind: str = "audience.changed",
) -> Published:
    audience = find(change.environment.key, key, locked=True)
    must_be_current(audience, expected)
    change.must_be_approved()
    if unknown := sorted(set(given) - {"conditions", "description"}):
        with publishing.fit():
            raise Unfit(unknown[0], f"An audience has no field {unknown[0]}.")
    fields = dict(given)
    with publishing.fit():
        if "conditions" in fields:
            fields["conditions"] = checked(fields["conditions"])
    before = {name: getattr(audience, name) for name in fields}
    audience.change(by=str(change.by), at=change.now, because=change.because, **fields)
    for flag in users(audience):
        logic, rules = write_anew(flag)
        if logic != flag.targeting:
            editing.must_be_free(flag, "")
            change.set(flag, targeting=logic, rules=rules)
    change.before, change.after = before, fields  # the flags' rules only follow
    about = {"audience": key}
    if not change.changed:
        change.version = change.environment.snapshot_version
        return change.record(kind, about)
    return change.publish(kind, about=about)


def write_anew(flag: Flag) -> tuple[dict[str, Any], Any]:
    with publishing.fit():
        return editing.rules_of(flag, {}, flag.variants, is_route=flag.route_or_none is not None)


@transaction.atomic
def delete_audience(
    *, environment: str, key: str, by: Actor, because: str, now: datetime, expected: int | None = None
) -> None:
    change = publishing.begin(environment, by=by, because=because, now=now)
    audience = find(environment, key, locked=True)
    must_be_current(audience, expected)
    if named := list(audience.flags.order_by("key").values_list("key", flat=True)[:10]):
        raise AudienceIsUsed(key=key, flags=", ".join(named))
    change.before, change.version = audience.fields, change.environment.snapshot_version
    audience.delete()
    change.record("audience.deleted", {"audience": key})


def find(environment: str, key: str, *, locked: bool = False) -> Audience:
    rows = Audience.objects.of(environment).named(key)
    audience = (rows.select_for_update(of=("self",)) if locked else rows).first()
    if audience is None:
        raise NotFound(what="audience", key=key)
    return audience


def users(audience: Audience) -> list[Flag]:
    """The flags whose rules name it and that are served."""
    rows = Flag.objects.select_for_update(of=("self",)).with_route().served()
    return list(rows.filter(uses=audience).order_by("key"))


def must_be_current(audience: Audience, expected: int | None) -> None:
    if expected is None or expected == audience.revision:
        return
    seen = AudienceVersion.objects.of(audience).filter(revision=expected).first()
    changes = differences.between(seen.fields, audience.fields) if seen else {}
    raise Stale(by=audience.changed_by, at=audience.changed_at.isoformat(), changes=changes)
