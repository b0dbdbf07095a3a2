"""The fields of a flag as they will stand, each checked against the others, before anything is saved."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from apps.core.refusals import AlreadyThere
from apps.flags import publishing, queries, requiring
from apps.flags.domain import conditions, prerequisites, rules, segments, targeting, variants
from apps.flags.domain.conditions import Group
from apps.flags.domain.unfit import Unfit
from apps.flags.models import Audience, Flag, Route
from apps.flags.publishing import Change
from apps.flags.refusals import FlagIsHeld, PreviewIsShadowOnly, VariantIsUsed

FREE_WHILE_HELD = {
    "description", "metadata", "owner", "expires_on", "is_permanent", "task_type", "runbook", "breaker",
}  # fmt: skip
PLAIN = ("description", "metadata", "owner", "expires_on", "is_permanent")
DECIDING = ("variants", "default_variant", "targeting", "rules", "prerequisites", "enabled")
OF_ROUTES = ("fallback_variant", "task_type", "is_critical", "bucketing_unit", "breaker", "runbook")
EDITABLE = (*DECIDING, *PLAIN, *OF_ROUTES)


def new_flag(change: Change, *, key: str, type: str, is_route: bool, **given: Any) -> Flag:
    """The row of a flag that is not there yet, checked and unsaved."""
    variants.check_key(key)
    if Flag.objects.of(change.environment.key).filter(key=key).exists():
        raise AlreadyThere(what="flag", key=key)
    values = variants.of_type(type or variants.type_of(given["variants"]), given["variants"])
    must_name(values, given["default_variant"], "default_variant", or_none=True)
    flag = Flag(
        environment=change.environment,
        key=key,
        type=type or variants.type_of(given["variants"]),
        description=given["description"],
        enabled=given["enabled"],
        variants=values,
        default_variant=given["default_variant"],
        metadata=variants.flat(given["metadata"] or {}),
        owner=given["owner"],
        expires_on=given["expires_on"],
        is_permanent=given["is_permanent"],
        bucketing=given["bucketing"],
        salt=given["salt"] or key,
        since_version=change.version,
        revision=1,
        changed_by=str(change.by),
        changed_at=change.now,
        created_at=change.now,
    )
    deciding = {name: given[name] for name in ("targeting", "rules") if given[name] is not None}
    flag.targeting, flag.rules = rules_of(flag, deciding or {"rules": []}, values, is_route=is_route)
    flag.prerequisites = prerequisites_of(flag, given["prerequisites"])
    return flag


def update(
    change: Change,
    flag: Flag,
    given: Mapping[str, Any],
    *,
    expected: int | None,
    holder: str = "",
    weights: Mapping[str, int] | None = None,
) -> None:
    """Sets the fields, checked, and the weights if they are given: one change of the flag."""
    publishing.must_be_current(flag, expected)
    if not holder:
        change.must_be_approved()
    if set(given) - FREE_WHILE_HELD or weights is not None:
        must_be_free(flag, holder)
    with publishing.fit():
        fields = as_it_would_stand(flag, given, weights)
    if route := flag.route_or_none:
        values = fields.get("variants", flag.variants)
        critical = fields.get("is_critical", route.is_critical)
        served = {variant for variant, _ in segments.of(fields.get("segments") or flag.segments)}
        default = fields.get("default_variant", flag.default_variant)
        used = {default, fields.get("fallback_variant", route.fallback_variant), *served}
        must_not_be_preview(flag, route, *used, values=values, is_critical=critical)
    change.set(flag, **fields)


def as_it_would_stand(flag: Flag, given: Mapping[str, Any], weights: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The fields as they would be stored, with the split that follows from default and weights; or Unfit."""
    fields = checked(flag, given)
    values = fields.get("variants", flag.variants)
    default = fields.get("default_variant", flag.default_variant)
    if flag.split == segments.whole(flag.default_variant) and default:
        fields["segments"] = [list(segment) for segment in segments.whole(default)]
    if weights is not None:
        split = segments.of(fields.get("segments") or flag.segments)
        fields["segments"] = reweighed(flag, weights, split=split, values=values, default=default)
    return fields


def reweighed(
    flag: Flag,
    weights: Mapping[str, int],
    *,
    split: segments.Segments | None = None,
    values: Mapping[str, Any] | None = None,
    default: str | None = None,
) -> list[list[Any]]:
    """The split with these weights, as it is stored."""
    default = flag.default_variant if default is None else default
    values = flag.variants if values is None else values
    segments.check(weights, values)
    must_name(values, default, "default_variant")
    after = segments.reweigh(flag.split if split is None else split, weights, default)
    return [list(segment) for segment in after]


def shrinks(flag: Flag, weights: Mapping[str, int]) -> bool:
    """Whether only the default variant gains: nobody is sent anywhere new."""
    return not any(size > flag.weights.get(name, 0) for name, size in weights.items() if name != flag.default_variant)


def checked(flag: Flag, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they will stand, each checked against the others."""
    route = flag.route_or_none
    if unknown := sorted(set(given) - set(EDITABLE if route else (*DECIDING, *PLAIN))):
        raise Unfit(unknown[0], f"A {'route' if route else 'flag'} has no field {unknown[0]} that could be changed.")
    fields = dict(given)
    if "variants" in fields:
        plain = fields["variants"]
        fields["variants"] = variants.configurations(plain) if route else variants.of_type(flag.type, plain)
    values: dict[str, Any] = fields.get("variants") or flag.variants
    default = fields.get("default_variant", flag.default_variant)
    must_name(values, default, "default_variant", or_none=route is None)
    if route:
        must_name(values, fields.get("fallback_variant", route.fallback_variant), "fallback_variant", or_none=True)
        if "bucketing_unit" in fields and len(live(flag)) > 1 and fields["bucketing_unit"] != route.bucketing_unit:
            raise Unfit("bucketing_unit", "The unit cannot change while traffic is split: everybody would move.")
    if "variants" in fields:
        must_not_be_used(flag, set(flag.variants) - set(values), fields)
    if {"targeting", "rules", "variants"} & set(fields):
        deciding: dict[str, Any] = {name: fields[name] for name in ("targeting", "rules") if name in fields}
        fields["targeting"], fields["rules"] = rules_of(flag, deciding, values, is_route=route is not None)
    if "prerequisites" in fields:
        fields["prerequisites"] = prerequisites_of(flag, fields["prerequisites"])
    if "metadata" in fields:
        fields["metadata"] = variants.flat(fields["metadata"])
    if fields.get("breaker"):
        variants.check_texts("breaker", fields["breaker"])
    if isinstance(fields.get("expires_on"), str):  # as versions and drafts keep it
        try:
            fields["expires_on"] = date.fromisoformat(fields["expires_on"])
        except ValueError as fault:
            raise Unfit("expires_on", "A day is written like 2026-12-31.") from fault
    return fields


def rules_of(
    flag: Flag, given: Mapping[str, Any], values: Mapping[str, Any], *, is_route: bool
) -> tuple[dict[str, Any], Any]:
    """JSONLogic and the readable rules that it is written from; None for the latter: an expert wrote it."""
    if given.get("targeting") and given.get("rules"):
        raise Unfit("rules", "Give rules or targeting, not both: the one is written from the other.")
    if "targeting" in given and "rules" not in given:
        plain = targeting.check(given["targeting"], values, may_split=not is_route)
        return plain, (None if plain else [])
    if "rules" not in given and flag.rules is None:
        return targeting.check(flag.targeting, values, may_split=not is_route), None
    found = rules.parse(given.get("rules", flag.rules))
    rules.check(found, values, may_split=not is_route)
    logic = rules.write(found, audiences(flag.environment_id, found), key=flag.key, salt=flag.salt)
    return targeting.check(logic, values), [rules.as_dict(rule) for rule in found]


def audiences(environment: str, found: list[rules.Rule]) -> dict[str, Group]:
    used = rules.audiences_of(found)
    rows = Audience.objects.of(environment).filter(key__in=used) if used else ()
    return {row.key: conditions.parse_group(row.conditions) for row in rows}


def prerequisites_of(flag: Flag, given: Any) -> list[dict[str, str]]:
    wanted = prerequisites.check(given, key=flag.key)
    if wanted:
        requiring.check(flag, wanted)
    return wanted


def must_not_be_used(flag: Flag, removed: set[str], fields: Mapping[str, Any]) -> None:
    """A variant that somebody gets, or that something names, stays."""
    for variant in sorted(removed):
        if variant in live(flag) - {flag.default_variant}:
            raise VariantIsUsed(variant=variant, key=flag.key, use="getting traffic")
        if flag.shadow and flag.shadow["variant"] == variant:
            raise VariantIsUsed(variant=variant, key=flag.key, use="shadowed")
        if "targeting" not in fields and "rules" not in fields and variant in answered(flag):
            raise VariantIsUsed(variant=variant, key=flag.key, use="the answer of a rule")
        for other in requiring.requirers(flag) if flag.pk else ():
            if {"flag": flag.key, "variant": variant} in other.prerequisites:
                raise VariantIsUsed(variant=variant, key=flag.key, use=f"required by {other.key}")


def answered(flag: Flag) -> set[str]:
    return {answer for answer in targeting.answers(flag.targeting) if isinstance(answer, str)}


def must_be_free(flag: Flag, holder: str) -> None:
    if flag.held_by and flag.held_by != holder:
        raise FlagIsHeld(holder=flag.held_by, key=flag.key)


def must_name(values: Mapping[str, Any], variant: Any, field: str, *, or_none: bool = False) -> None:
    if variant not in values and not (or_none and not variant):
        raise Unfit(field, f"{variant} is no variant of this flag." if variant else "Name a variant.")


def live(flag: Flag) -> set[str]:
    """The variants that the split sends anybody to."""
    return {variant for variant, _ in flag.split}


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
