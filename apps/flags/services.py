"""What can be done to flags and routes. Each verb locks the environment, changes, publishes and records: one
transaction, one version, one journal entry."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.flags import editing, publishing, requiring
from apps.flags.domain import segments
from apps.flags.domain.definition import FALLBACK, OFF
from apps.flags.domain.unfit import Unfit
from apps.flags.domain.variants import check_texts, configurations
from apps.flags.editing import must_be_free, must_name, must_not_be_preview
from apps.flags.models import Flag, Route
from apps.flags.publishing import Change, Published
from apps.flags.refusals import FlagIsHeld, FlagIsRequired, NoFallback, PreviewIsShadowOnly, VariantIsUsed
from apps.flags.seen import forget_old, note_seen

__all__ = [
    "FlagIsHeld", "NoFallback", "PreviewIsShadowOnly", "Published", "VariantIsUsed", "change_weights", "create_flag",
    "create_route", "forget_old", "note_seen", "release_hold", "restore", "set_shadow", "settle_on", "switch_off",
    "switch_to_fallback", "take_hold", "update_flag", "update_route",
]  # fmt: skip


@transaction.atomic
def create_flag(
    *,
    environment: str,
    key: str,
    variants: Mapping[str, Any],
    by: Actor,
    now: datetime,
    type: str = "",
    default_variant: str = "",
    targeting: Mapping[str, Any] | None = None,
    rules: Sequence[Mapping[str, Any]] | None = None,
    prerequisites: Sequence[Mapping[str, Any]] | None = None,
    enabled: bool = True,
    owner: str = "",
    expires_on: date | None = None,
    is_permanent: bool = False,
    metadata: Mapping[str, Any] | None = None,
    description: str = "",
    bucketing: str = Flag.Bucketing.V3,
    salt: str = "",
    because: str = "",
) -> Published:
    change = publishing.begin(environment, by=by, because=because, now=now)
    with publishing.fit():
        flag = editing.new_flag(
            change,
            key=key,
            type=type,
            variants=variants,
            default_variant=default_variant,
            targeting=targeting,
            rules=rules,
            prerequisites=prerequisites,
            enabled=enabled,
            owner=owner,
            expires_on=expires_on,
            is_permanent=is_permanent,
            metadata=metadata,
            description=description,
            bucketing=bucketing,
            salt=salt,
            is_route=False,
        )
    change.after = {"type": flag.type, "variants": flag.variants, "default_variant": flag.default_variant}
    change.add(flag.add())
    return change.publish("flag.created")


@transaction.atomic
def create_route(
    *,
    environment: str,
    key: str,
    variants: Mapping[str, Any],
    default_variant: str,
    by: Actor,
    now: datetime,
    fallback_variant: str = "",
    task_type: str = "",
    owner: str = "",
    is_critical: bool = False,
    targeting: Mapping[str, Any] | None = None,
    rules: Sequence[Mapping[str, Any]] | None = None,
    prerequisites: Sequence[Mapping[str, Any]] | None = None,
    expires_on: date | None = None,
    is_permanent: bool = False,
    bucketing_unit: str = "request",
    breaker: Mapping[str, Any] | None = None,
    runbook: str = "",
    metadata: Mapping[str, Any] | None = None,
    description: str = "",
    bucketing: str = Flag.Bucketing.V3,
    salt: str = "",
    because: str = "",
) -> Published:
    change = publishing.begin(environment, by=by, because=because, now=now)
    with publishing.fit():
        flag = editing.new_flag(
            change,
            key=key,
            type=Flag.Type.OBJECT,
            variants=configurations(variants),
            default_variant=default_variant,
            targeting=targeting,
            rules=rules,
            prerequisites=prerequisites,
            enabled=True,
            owner=owner,
            expires_on=expires_on,
            is_permanent=is_permanent,
            metadata=metadata,
            description=description,
            bucketing=bucketing,
            salt=salt,
            is_route=True,
        )
        check_texts("breaker", dict(breaker or {}))
        must_name(flag.variants, default_variant, "default_variant")
        must_name(flag.variants, fallback_variant, "fallback_variant", or_none=True)
    flag.segments = segments.whole(default_variant)
    route = Route(
        flag=flag,
        task_type=task_type,
        is_critical=is_critical,
        fallback_variant=fallback_variant,
        bucketing_unit=bucketing_unit,
        breaker=dict(breaker) if breaker else None,
        runbook=runbook,
    )
    must_not_be_preview(flag, route, default_variant, fallback_variant)
    flag.add()
    route.add()
    change.after = {
        "variants": flag.variants, "default_variant": default_variant, "fallback_variant": fallback_variant,
        "owner": owner, "task_type": task_type, "is_critical": is_critical,
    }  # fmt: skip
    change.add(flag)
    return change.publish("route.created")


@transaction.atomic
def update_flag(
    *,
    environment: str,
    key: str,
    by: Actor,
    because: str,
    now: datetime,
    expected: int | None = None,
    holder: str = "",
    weights: Mapping[str, int] | None = None,
    **fields: Any,
) -> Published:
    """Sets the named fields: variants, default_variant, rules or targeting, prerequisites, enabled, metadata,
    description, owner, expires_on, is_permanent; and, in the same version, the weights."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    editing.update(change, flag, fields, expected=expected, holder=holder, weights=weights)
    return change.publish(changed_kind(flag))


@transaction.atomic
def update_route(
    *,
    environment: str,
    key: str,
    by: Actor,
    because: str,
    now: datetime,
    expected: int | None = None,
    holder: str = "",
    weights: Mapping[str, int] | None = None,
    **fields: Any,
) -> Published:
    """As update_flag, and: fallback_variant, task_type, is_critical, breaker, runbook, bucketing_unit."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.route(key)
    editing.update(change, flag, fields, expected=expected, holder=holder, weights=weights)
    return change.publish(changed_kind(flag))


def changed_kind(flag: Flag) -> str:
    return "route.changed" if flag.route_or_none else "flag.changed"


@transaction.atomic
def take_hold(
    *, environment: str, key: str, holder: str, trial: str, by: Actor, because: str, now: datetime
) -> Published:
    """From here on only `holder` changes this flag, and its splits belong to `trial`."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    must_be_free(flag, holder)
    must_mean_the_same_elsewhere(flag)
    change.set(flag, held_by=holder, trial=trial)
    return change.publish("flag.held")


def must_mean_the_same_elsewhere(flag: Flag) -> None:
    """Said before a rollout begins, not at its first step: a required flag may not be split by its own key."""
    others = requiring.requirers(flag)
    if others and flag.salt == flag.key:
        names = ", ".join(other.key for other in others)
        raise FlagIsRequired(key=flag.key, others=names, why="it cannot be split by its own key")


@transaction.atomic
def release_hold(*, environment: str, key: str, holder: str, by: Actor, because: str, now: datetime) -> Published:
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    must_be_free(flag, holder)
    change.set(flag, held_by="", trial="")
    return change.publish("flag.released")


@transaction.atomic
def change_weights(
    *,
    environment: str,
    key: str,
    weights: Mapping[str, int],
    by: Actor,
    because: str,
    now: datetime,
    holder: str = "",
    trial: str | None = None,
    expected: int | None = None,
) -> Published:
    """Variant to ten-thousandths, 10,000 in all. Moves nobody but those who must move (domain/segments.py)."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    publishing.must_be_current(flag, expected)
    must_be_free(flag, holder)
    with publishing.fit():
        after = editing.reweighed(flag, weights)
    shrinks = editing.shrinks(flag, weights)
    if not holder and not shrinks:  # taking traffic away is an act of safety
        change.must_be_approved()
    if flag.route_or_none:
        must_not_be_preview(flag, flag.route, *(variant for variant, _ in after))
    change.set(flag, segments=after, **({} if trial is None else {"trial": trial}))
    return change.publish("flag.weights_changed", urgent=shrinks)


@transaction.atomic
def settle_on(
    *, environment: str, key: str, variant: str, by: Actor, because: str, now: datetime, holder: str = ""
) -> Published:
    """The variant becomes the default for everybody: weights collapse, shadow ends, the fallback stays."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    must_be_free(flag, holder)
    with publishing.fit():
        must_name(flag.variants, variant, "variant")
    if flag.route_or_none:
        must_not_be_preview(flag, flag.route, variant)
    whole = [list(segment) for segment in segments.whole(variant)]
    change.set(flag, default_variant=variant, segments=whole, shadow=None)
    return change.publish("flag.settled")


@transaction.atomic
def set_shadow(
    *,
    environment: str,
    key: str,
    shadow: Mapping[str, Any] | None,
    by: Actor,
    because: str,
    now: datetime,
    holder: str = "",
) -> Published:
    """`{"variant", "percent"}`: this share of requests is repeated on the variant, unseen by users. None: nobody's."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.route(key)
    must_be_free(flag, holder)
    with publishing.fit():
        after = checked_shadow(flag, shadow)
    change.set(flag, shadow=after)
    return change.publish("flag.shadow_changed", urgent=after is None)


def checked_shadow(flag: Flag, shadow: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if shadow is None or not shadow.get("percent"):
        return None
    must_name(flag.variants, shadow.get("variant"), "shadow")
    percent = shadow["percent"]
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 < percent <= 100:
        raise Unfit("shadow", "The percent of a shadow is above 0 and at most 100.")
    return {"variant": shadow["variant"], "percent": percent}


@transaction.atomic
def switch_to_fallback(*, environment: str, key: str, by: Actor, because: str, now: datetime) -> Published:
    """Everybody gets the fallback variant, whatever rules, split or holder say."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.route(key)
    if not flag.route.fallback_variant:
        raise NoFallback(key=key)
    return turn(change, flag, FALLBACK, "route.fell_back")


@transaction.atomic
def switch_off(*, environment: str, key: str, by: Actor, because: str, now: datetime) -> Published:
    """The kill switch: the flag is disabled, callers use the default in their code. Nobody's hold stands against it."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    return turn(change, flag, OFF, "flag.switched_off")


@transaction.atomic
def restore(*, environment: str, key: str, by: Actor, because: str, now: datetime) -> Published:
    """Takes either switch back: rules and split decide again."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    return turn(change, flag, "", "route.restored" if flag.route_or_none else "flag.restored")


def turn(change: Change, flag: Flag, switch: str, kind: str) -> Published:
    """A switch pressed twice stays where it is, and says since when."""
    if flag.switch == switch:
        return Published(flag.since_version, flag.changed_at)
    change.set(flag, switch=switch)
    return change.publish(kind, urgent=switch != "")
