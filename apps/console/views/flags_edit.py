"""Changing a flag: small forms, each of which adds to the draft. Nothing here is live: see flags_review."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from apps.access.domain.roles import Role
from apps.console import flag_queries
from apps.console.flag_queries import Served
from apps.console.presenters import flag_conditions, flag_forms, flag_words
from apps.console.presenters.flag_forms import RuleForm
from apps.console.views import flags as pages
from apps.console.views import flags_draft
from apps.console.views.flags_draft import Draft, to
from apps.console.visits import Visit, visited
from apps.core.refusals import Invalid, NotFound
from apps.flags import queries
from apps.flags.domain import lint
from apps.flags.queries import FlagView, RouteView
from apps.flags.refusals import FlagIsArchived


def opened(visit: Visit, key: str) -> tuple[Served, Draft]:
    """The flag for someone who may change it."""
    found = flag_queries.one(visit.environment.key, key)
    visit.must(Role.OPERATOR)
    if found.flag.archived_at is not None:
        raise FlagIsArchived(key=key)
    return found, flags_draft.draft_of(visit, found)


def back(visit: Visit, key: str, part: str = "") -> HttpResponseRedirect:
    return HttpResponseRedirect(to(visit, "flag", key) + (f"#{part}" if part else ""))


# --- rules --------------------------------------------------------------------------------------------------------


@visited
def rule(visit: Visit, *, key: str, number: int) -> HttpResponse:
    """The form of one rule; number 0 is a new one, which comes last."""
    found, draft = opened(visit, key)
    flag = draft.on(found)
    rules = list(flag.rules or [])
    if flag.rules is None or number > len(rules):
        raise NotFound(what=f"rule of {key}", key=number)
    variants = list(flag.variants)
    if visit.request.method != "POST":
        return rule_page(
            visit, found, flag, number, flag_forms.rule_form(rules[number - 1] if number else None, variants)
        )
    data = visit.request.POST.dict()
    form = flag_forms.posted_rule(data, variants)
    try:
        if changed := flag_conditions.edited(form.when, data.get("do", "")):
            return rule_page(visit, found, flag, number, replace(form, when=changed))
        written = flag_forms.read_rule(form, number or len(rules) + 1)
        if number:
            rules[number - 1] = written
        else:
            rules.append(written)
        flags_draft.keep(visit, found, rules=rules)
    except Invalid as refused:
        return rule_page(visit, found, flag, number, form, error=flags_draft.sentences_of(refused))
    return back(visit, key, "rules")


def rule_page(
    visit: Visit, found: Served, flag: FlagView, number: int, form: RuleForm, *, error: str = ""
) -> HttpResponse:
    return visit.page(
        "console/flags/rule.html",
        current="flags",
        status=400 if error else 200,
        flag=flag,
        number=number,
        form=form,
        error=error,
        operators=flag_conditions.operators(with_audiences=True),
        variants=[(at, name, form.shares.get(name, "")) for at, name in enumerate(flag.variants)],
        divides=flag_forms.DIVIDES,
        may_divide=not found.is_route,
        audiences=[one.key for one in queries.audiences(visit.environment.key)],
        attributes=flag_queries.attributes(visit.environment.key),
        links=pages.links(visit, flag.key),
        here=to(visit, "flag-rule", flag.key, number),
    )


@visited
def arrange(visit: Visit, *, key: str, number: int, act: str) -> HttpResponse:
    """Up, down or out; of the draft."""
    found, draft = opened(visit, key)
    rules = list(draft.on(found).rules or [])
    if visit.request.method != "POST" or not 1 <= number <= len(rules):
        return back(visit, key, "rules")
    at = number - 1
    if act == "delete":
        rules.pop(at)
    elif act in ("up", "down"):
        other = at + (1 if act == "down" else -1)
        if 0 <= other < len(rules):
            rules[at], rules[other] = rules[other], rules[at]
    try:
        flags_draft.keep(visit, found, rules=rules)
    except Invalid as refused:
        return page_with(visit, found, flags_draft.sentences_of(refused))
    return back(visit, key, "rules")


def page_with(visit: Visit, found: Served, error: str) -> HttpResponse:
    whole = pages.context(visit, found, flags_draft.draft_of(visit, found))
    return visit.page("console/flags/page.html", current="flags", status=400, error=error, **whole)


# --- the other parts ----------------------------------------------------------------------------------------------


@visited
def part(visit: Visit, *, key: str, part: str) -> HttpResponse:
    found, draft = opened(visit, key)
    if part not in flag_words.PARTS:
        raise NotFound(what="part of a flag", key=part)
    flag = draft.on(found)
    if visit.request.method != "POST":
        return part_page(visit, found, flag, part, {})
    data = visit.request.POST.dict()
    try:
        if data.get("do") == "more":
            return part_page(visit, found, flag, part, data)
        fields = READ[part](flag, data)
        if part == "weights" and data.get("do") == "preview":
            return part_page(visit, found, flag, part, data, weights=fields["weights"])
        flags_draft.keep(visit, found, **fields)
    except Invalid as refused:
        return part_page(visit, found, flag, part, data, error=flags_draft.sentences_of(refused))
    return back(visit, key, part)


def part_page(
    visit: Visit,
    found: Served,
    flag: FlagView,
    part: str,
    data: Mapping[str, str],
    *,
    error: str = "",
    weights: dict[str, int] | None = None,
) -> HttpResponse:
    preview, no_preview = pages.preview(visit, flag.key, weights) if weights is not None else (None, "")
    others = flag_queries.keys_of(visit.environment.key) if part == "prerequisites" else []
    return visit.page(
        "console/flags/edit.html",
        current="flags",
        status=400 if error else 200,
        flag=flag,
        part=part,
        words=flag_words.PARTS[part],
        is_route=found.is_route,
        error=error,
        preview=preview,
        no_preview=no_preview,
        form=FORMS[part](flag, data),
        warnings=lint.warnings(flag.targeting) if part == "logic" else [],
        unit=pages.unit_of(flag),
        unit_words=flag_words.unit_words(pages.unit_of(flag)),
        sticky_words=flag_words.STICKY.format(unit="unit"),
        others=[one for one in others if one != flag.key],
        links=pages.links(visit, flag.key),
        here=to(visit, "flag-edit", flag.key, part),
    )


@dataclass(frozen=True, slots=True)
class Field:
    number: int
    name: str
    text: str
    now: str = ""


def variants_form(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    rows = [
        Field(at, name, flag_forms.variant_text(value, flag.type))
        for at, (name, value) in enumerate(flag.variants.items())
    ]
    if data:
        numbers = [number for number in range(flag_forms.MOST_ROWS) if f"variant-{number}" in data]
        rows = [Field(at, data[f"variant-{n}"], data.get(f"value-{n}", "")) for at, n in enumerate(numbers)]
    if not data or data.get("do") == "more":
        rows.append(Field(len(rows), "", ""))
    return {"rows": rows, "default": data.get("default", flag.default_variant), "is_long": flag.type == "object"}


def weights_form(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    return {
        "rows": [
            Field(
                at,
                name,
                data.get(f"share-{at}", f"{flag.weights.get(name, 0) / 100:g}"),
                f"{flag.weights.get(name, 0) / 100:g}\u00a0%",
            )
            for at, name in enumerate(flag.variants)
        ]
    }


ABOUT = ("owner", "description", "expires_on", "task_type", "runbook", "fallback_variant", "bucketing_unit")
CHECKS = ("is_permanent", "is_critical")


def about_form(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    def text(name: str) -> str:
        found = getattr(flag, name, None)
        return found.isoformat() if isinstance(found, date) else str(found or "")

    return {name: data.get(name, "") if data else text(name) for name in ABOUT} | {
        name: name in data if data else bool(getattr(flag, name, False)) for name in CHECKS
    }


def prerequisites_form(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    rows = [Field(at, one["flag"], one["variant"]) for at, one in enumerate(flag.prerequisites)]
    if data:
        numbers = [number for number in range(flag_forms.MOST_ROWS) if f"flag-{number}" in data]
        rows = [Field(at, data[f"flag-{n}"], data.get(f"variant-{n}", "")) for at, n in enumerate(numbers)]
    if not data or data.get("do") == "more":
        rows.append(Field(len(rows), "", ""))
    return {"rows": rows}


def logic_form(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    logic = data.get("targeting")
    if logic is None:
        logic = flag_forms.variant_text(flag.targeting, "object") if flag.targeting else ""
    return {"targeting": logic, "is_own": flag.rules is None}


def read_variants(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    return {
        "variants": flag_forms.read_variants(data, flag.type),
        "default_variant": data.get("default", flag.default_variant),
    }


def read_weights(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    return {"weights": flag_forms.read_weights(data, list(flag.variants))}


def read_about(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    names = ["owner", "description", "expires_on"]
    fields: dict[str, Any] = {"is_permanent": "is_permanent" in data}
    if isinstance(flag, RouteView):
        names += ["task_type", "runbook", "fallback_variant", "bucketing_unit"]
        fields["is_critical"] = "is_critical" in data
    fields |= {name: data.get(name, "").strip() for name in names}
    fields["expires_on"] = fields["expires_on"] or None
    if fields.get("bucketing_unit") == "":
        fields["bucketing_unit"] = "request"
    for name, most in (("owner", 128), ("description", 1000), ("task_type", 64), ("bucketing_unit", 128)):
        if len(fields.get(name) or "") > most:
            why = f"{flag_words.field_name(name).capitalize()} has at most {most} characters."
            raise Invalid(why, **{name: why})
    return fields


def read_prerequisites(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    rows = [
        {"flag": data[f"flag-{number}"].strip(), "variant": data.get(f"variant-{number}", "").strip()}
        for number in range(flag_forms.MOST_ROWS)
        if data.get(f"flag-{number}", "").strip()
    ]
    return {"prerequisites": rows}


def read_logic(flag: FlagView, data: Mapping[str, str]) -> dict[str, Any]:
    text = data.get("targeting", "").strip()
    if not text:
        return {"rules": []}
    return {"targeting": flag_conditions.read_object(text, "targeting", "JSONLogic is an object in JSON")}


FORMS = {
    "variants": variants_form, "weights": weights_form, "about": about_form, "prerequisites": prerequisites_form,
    "logic": logic_form,
}  # fmt: skip
READ = {
    "variants": read_variants, "weights": read_weights, "about": read_about, "prerequisites": read_prerequisites,
    "logic": read_logic,
}  # fmt: skip
