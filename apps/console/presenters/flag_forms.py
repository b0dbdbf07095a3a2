"""What the flag pages' forms say, as the services take it: rules, variants, shares. No queries here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.console.presenters import flag_conditions
from apps.console.presenters.flag_conditions import ConditionsForm
from apps.core.refusals import Invalid

MOST_ROWS = 60
DIVIDES = "…divide"  # no variant: it begins with no letter that a form could mean otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleForm:
    name: str = ""
    when: ConditionsForm
    answer: str = ""
    shares: Mapping[str, str]


def rule_form(rule: Mapping[str, Any] | None, variants: Sequence[str]) -> RuleForm:
    """The form of a rule as it is stored; without one the form of a new rule."""
    shares = {name: "" for name in variants}
    if rule is None:
        return RuleForm(when=flag_conditions.form_of(None), answer=next(iter(variants), ""), shares=shares)
    split = rule.get("split") or {}
    return RuleForm(
        name=str(rule.get("name", "")),
        when=flag_conditions.form_of(rule.get("when") or {}),
        answer=DIVIDES if split else str(rule.get("variant", "")),
        shares=shares | {name: f"{share:g}" for name, share in split.items()},
    )


def posted_rule(data: Mapping[str, Any], variants: Sequence[str]) -> RuleForm:
    return RuleForm(
        name=str(data.get("name", "")).strip(),
        when=flag_conditions.posted(data),
        answer=str(data.get("answer", "")),
        shares={name: str(data.get(f"share-{number}", "")) for number, name in enumerate(variants)},
    )


def read_rule(form: RuleForm, number: int) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": form.name or f"Rule {number}", "when": flag_conditions.read(form.when)}
    if form.answer == DIVIDES:
        shares = {name: read_percent(text, name) for name, text in form.shares.items() if text.strip()}
        return rule | {"split": {name: float(share) for name, share in shares.items() if share}}
    return rule | {"variant": form.answer}


def read_percent(text: str, variant: str) -> Decimal:
    try:
        share = Decimal(text.strip().rstrip("%").strip() or "0")
    except InvalidOperation:
        share = Decimal(-1)
    if not share.is_finite() or not 0 <= share <= 100 or share != share.quantize(Decimal("0.01")):
        why = f"The share of {variant} is a number from 0 to 100, in steps of 0.01."
        raise Invalid(why, weights=why)
    return share


def read_weights(data: Mapping[str, Any], variants: Sequence[str]) -> dict[str, int]:
    """In ten-thousandths, without those that get nothing."""
    found = {
        name: int(read_percent(str(data.get(f"share-{number}", "")), name) * 100)
        for number, name in enumerate(variants)
    }
    total = sum(found.values())
    if total != 10_000:
        why = f"The shares add up to {total / 100:g} %; they must make 100 %."
        raise Invalid(why, weights=why)
    return {name: size for name, size in found.items() if size}


def read_variants(data: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number in range(MOST_ROWS):
        name = str(data.get(f"variant-{number}", "")).strip()
        if not name:
            continue
        if name in found:
            raise Invalid(f"{name} stands twice.", variants=f"{name} stands twice.")
        found[name] = read_value(str(data.get(f"value-{number}", "")), name, kind)
    return found


def read_value(text: str, name: str, kind: str) -> Any:
    if kind == "string":
        return text
    try:
        return json.loads(text.strip())
    except (ValueError, RecursionError) as fault:
        wanted = {"boolean": "true or false", "object": "an object in JSON"}.get(kind, "a number")
        why = f"The value of {name} is {wanted}."
        raise Invalid(why, variants=why) from fault


def variant_text(value: Any, kind: str) -> str:
    if kind == "string":
        return str(value)
    return json.dumps(value, ensure_ascii=False, indent=2 if kind == "object" else None)
