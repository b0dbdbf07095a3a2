"""What can be done to flags and routes. Each verb locks the environment, changes, publishes and records: one
transaction, one version, one journal entry."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.refusals import AlreadyThere, Refused
from apps.flags import publishing, queries
from apps.flags.domain import segments, targeting, variants
from apps.flags.domain.definition import FALLBACK, OFF
from apps.flags.domain.unfit import Unfit
from apps.flags.models import Flag, Route
from apps.flags.publishing import Change, Published
from apps.flags.seen import forget_old, note_seen

__all__ = [
    "FlagIsHeld", "NoFallback", "PreviewIsShadowOnly", "Published", "VariantIsUsed", "change_weights", "create_flag",
    "create_route", "forget_old", "note_seen", "release_hold", "restore", "set_shadow", "settle_on", "switch_off",
    "switch_to_fallback", "take_hold", "update_flag", "update_route",
]  # fmt: skip

FREE_WHILE_HELD = {"description", "metadata", "owner", "task_type", "runbook", "breaker"}


class FlagIsHeld(Refused):
    code = "flag_is_held"
    sentence = "{holder} holds {key}. Pause or abort it first."


class NoFallback(Refused):
    code = "no_fallback"
    sentence = "{key} has no fallback variant to switch to."


class VariantIsUsed(Refused):
    code = "variant_is_used"
    sentence = "Variant {variant} of {key} is still {use}."


class PreviewIsShadowOnly(Refused):
    code = "preview_is_shadow_only"
    sentence = "{model} is a preview: it may serve {key}, a critical route, in shadow only."


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
    enabled: bool = True,
    metadata: Mapping[str, Any] | None = None,
    description: str = "",
    bucketing: str = Flag.Bucketing.V3,
    salt: str = "",
    because: str = "",
) -> Published:
    change = publishing.begin(environment, by=by, because=because, now=now)
    with publishing.fit():
        flag = new_flag(
            change,
            key=key,
            type=type,
            variants=variants,
            default_variant=default_variant,
            targeting=targeting,
            enabled=enabled,
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
        flag = new_flag(
            change,
            key=key,
            type=Flag.Type.OBJECT,
            variants=configurations(variants),
            default_variant=default_variant,
            targeting=targeting,
            enabled=True,
            metadata=metadata,
            description=description,
            bucketing=bucketing,
            salt=salt,
            is_route=True,
        )
        must_name(flag.variants, default_variant, "default_variant")
        must_name(flag.variants, fallback_variant, "fallback_variant", or_none=True)
    flag.segments = segments.whole(default_variant)
    route = Route(
        flag=flag,
        task_type=task_type,
        owner=owner,
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


def new_flag(change: Change, *, key: str, type: str, **fields: Any) -> Flag:
    """The row of a flag that is not there yet, checked and unsaved."""
    variants.check_key(key)
    if Flag.objects.of(change.environment.key).filter(key=key).exists():
        raise AlreadyThere(what="flag", key=key)
    values = variants.of_type(type or variants.type_of(fields["variants"]), fields["variants"])
    default = fields["default_variant"]
    must_name(values, default, "default_variant", or_none=True)
    rules = targeting.check(fields["targeting"], values, may_split=not fields["is_route"])
    return Flag(
        environment=change.environment,
        key=key,
        type=type or variants.type_of(fields["variants"]),
        description=fields["description"],
        enabled=fields["enabled"],
        variants=values,
        default_variant=default,
        targeting=rules,
        metadata=variants.flat(fields["metadata"] or {}),
        bucketing=fields["bucketing"],
        salt=fields["salt"] or key,
        since_version=change.version,
        revision=1,
        changed_by=str(change.by),
        changed_at=change.now,
        created_at=change.now,
    )


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
    **fields: Any,
) -> Published:
    """Sets the named fields: variants, default_variant, targeting, enabled, metadata, description."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    return apply_fields(change, flag, fields, expected=expected, holder=holder)


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
    **fields: Any,
) -> Published:
    """As update_flag, and: fallback_variant, owner, task_type, is_critical, breaker, runbook, bucketing_unit."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.route(key)
    return apply_fields(change, flag, fields, expected=expected, holder=holder)


def apply_fields(change: Change, flag: Flag, fields: dict[str, Any], *, expected: int | None, holder: str) -> Published:
    publishing.must_be_current(flag, expected)
    if set(fields) - FREE_WHILE_HELD:
        must_be_free(flag, holder)
    route = flag.route_or_none
    with publishing.fit():
        fields = checked(flag, fields)
    values = fields.get("variants", flag.variants)
    default = fields.get("default_variant", flag.default_variant)
    if route:
        critical = fields.get("is_critical", route.is_critical)
        used = {default, fields.get("fallback_variant", route.fallback_variant), *live(flag)}
        must_not_be_preview(flag, route, *used, values=values, is_critical=critical)
    if flag.split == segments.whole(flag.default_variant) and default:
        fields["segments"] = segments.whole(default)
    change.set(flag, **fields)
    return change.publish("route.changed" if route else "flag.changed")


def checked(flag: Flag, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as they will stand, each checked against the others."""
    route = flag.route_or_none
    fields = dict(fields)
    if "variants" in fields:
        given = fields["variants"]
        fields["variants"] = configurations(given) if route else variants.of_type(flag.type, given)
    values: dict[str, Any] = fields.get("variants") or flag.variants
    default = fields.get("default_variant", flag.default_variant)
    must_name(values, default, "default_variant", or_none=route is None)
    if route:
        must_name(values, fields.get("fallback_variant", route.fallback_variant), "fallback_variant", or_none=True)
        if "bucketing_unit" in fields and len(live(flag)) > 1 and fields["bucketing_unit"] != route.bucketing_unit:
            raise Unfit("bucketing_unit", "The unit cannot change while traffic is split: everybody would move.")
    for variant in live(flag) - {flag.default_variant}:
        if variant not in values:
            raise VariantIsUsed(variant=variant, key=flag.key, use="getting traffic")
    if flag.shadow and flag.shadow["variant"] not in values:
        raise VariantIsUsed(variant=flag.shadow["variant"], key=flag.key, use="shadowed")
    if "targeting" in fields or "variants" in fields:
        fields["targeting"] = targeting.check(fields.get("targeting", flag.targeting), values, may_split=route is None)
    if "metadata" in fields:
        fields["metadata"] = variants.flat(fields["metadata"])
    return fields


@transaction.atomic
def take_hold(
    *, environment: str, key: str, holder: str, trial: str, by: Actor, because: str, now: datetime
) -> Published:
    """From here on only `holder` changes this flag, and its splits belong to `trial`."""
    change = publishing.begin(environment, by=by, because=because, now=now)
    flag = change.flag(key)
    must_be_free(flag, holder)
    change.set(flag, held_by=holder, trial=trial)
    return change.publish("flag.held")


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
        segments.check(weights, flag.variants)
        must_name(flag.variants, flag.default_variant, "default_variant")
        after = segments.reweigh(flag.split, weights, flag.default_variant)
    if flag.route_or_none:
        must_not_be_preview(flag, flag.route, *(variant for variant, _ in after))
    grew = any(size > flag.weights[name] for name, size in weights.items() if name != flag.default_variant)
    change.set(flag, segments=[list(segment) for segment in after], **({} if trial is None else {"trial": trial}))
    return change.publish("flag.weights_changed", urgent=not grew)


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


def must_be_free(flag: Flag, holder: str) -> None:
    if flag.held_by and flag.held_by != holder:
        raise FlagIsHeld(holder=flag.held_by, key=flag.key)


def must_name(values: Mapping[str, Any], variant: Any, field: str, *, or_none: bool = False) -> None:
    if variant not in values and not (or_none and not variant):
        raise Unfit(field, f"{variant} is no variant of this flag." if variant else "Name a variant.")


def live(flag: Flag) -> set[str]:
    """The variants that the split sends anybody to."""
    return {variant for variant, _ in flag.split}


def configurations(given: Any) -> dict[str, Any]:
    return variants.configurations(given)


def must_not_be_preview(
    flag: Flag,
    route: Route,
    *used: str,
    values: Mapping[str, Any] | None = None,
    is_critical: bool | None = None,
) -> None:
    """A research preview stays out of the live traffic of a critical route."""
    if not (route.is_critical if is_critical is None else is_critical):
        return
    values = flag.variants if values is None else values
    models = {values[variant]["model"] for variant in used if variant in values}
    for model in sorted(queries.previews(models)):
        raise PreviewIsShadowOnly(model=model, key=flag.key)
