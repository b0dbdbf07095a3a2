"""What the flag pages' forms say, as the services take it: rules with conditions, variants, shares. No queries here."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.core.refusals import Invalid
from apps.flags.domain.conditions import OPERATORS

MOST_ROWS = 60
PIECE = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,\n]*)\s*(?:,|\n|$)')
IN, OUTSIDE = "in_audience", "outside_audience"
GROUPS = (
    ("Text", ("is", "is_not", "is_one_of", "is_none_of", "contains", "not_contains", "starts_with", "ends_with",
              "matches")),
    ("Number", ("greater", "at_least", "less", "at_most")),
    ("Version", ("version_is", "version_above", "version_at_least", "version_below", "version_at_most",
                 "version_same_major", "version_same_minor")),
    ("There or not", ("is_set", "is_not_set")),
)  # fmt: skip
DIVIDES = "…divide"  # no variant: it begins with no letter that a form could mean otherwise


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    words: str


@dataclass(frozen=True, slots=True)
class Choices:
    title: str
    options: list[Choice]


@dataclass(frozen=True, slots=True)
class ConditionRow:
    number: int
    attribute: str = ""
    operator: str = "is"
    values: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleForm:
    name: str = ""
    kind: str = "all"
    rows: tuple[ConditionRow, ...] = ()
    raw: str = ""  # groups within groups are written as JSON
    is_raw: bool = False
    answer: str = ""
    shares: Mapping[str, str]

    @property
    def next_number(self) -> int:
        return len(self.rows)


def operators(with_audiences: bool) -> list[Choices]:
    found = [Choices(title, [Choice(name, OPERATORS[name].words) for name in names]) for title, names in GROUPS]
    if with_audiences:
        found.append(Choices("Audience", [Choice(IN, "is in audience"), Choice(OUTSIDE, "is outside audience")]))
    return found


def rule_form(rule: Mapping[str, Any] | None, variants: Sequence[str]) -> RuleForm:
    """The form of a rule as it is stored; without one the form of a new rule."""
    shares = {name: "" for name in variants}
    if rule is None:
        return RuleForm(rows=(ConditionRow(0),), answer=next(iter(variants), ""), shares=shares)
    split = rule.get("split") or {}
    kind, rows = rows_of(rule.get("when"))
    return RuleForm(
        name=str(rule.get("name", "")),
        kind=kind,
        rows=rows or (),
        is_raw=rows is None,
        raw=json.dumps(rule.get("when") or {}, ensure_ascii=False, indent=2) if rows is None else "",
        answer=DIVIDES if split else str(rule.get("variant", "")),
        shares=shares | {name: f"{share:g}" for name, share in split.items()},
    )


def rows_of(group: Any) -> tuple[str, tuple[ConditionRow, ...] | None]:
    """One group of plain conditions as rows; None where groups stand within."""
    kind = next(iter(group), "all") if isinstance(group, Mapping) else "all"
    parts = group.get(kind, []) if isinstance(group, Mapping) else []
    if not isinstance(parts, list) or any(
        not isinstance(one, Mapping) or set(one) & {"all", "any", "none"} for one in parts
    ):
        return kind, None
    return kind, tuple(row_of(number, one) for number, one in enumerate(parts))


def row_of(number: int, part: Mapping[str, Any]) -> ConditionRow:
    if "audience" in part:
        return ConditionRow(number, "", OUTSIDE if part.get("negated") else IN, str(part["audience"]))
    return ConditionRow(number, part["attribute"], part["operator"], written(part.get("values") or ()))


def written(values: Sequence[Any]) -> str:
    """`5` is a number, `"5"` is text; text that holds a comma stands in quotes."""
    return ", ".join(one_written(value) for value in values)


def one_written(value: Any) -> str:
    if isinstance(value, str):
        plain = PIECE.fullmatch(value) is not None and "," not in value and "\n" not in value and '"' not in value
        ambiguous = not isinstance(guessed(value), str) or value != value.strip() or not value
        return value if plain and not ambiguous else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def guessed(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, bool | int | float | str) else text


def read_values(text: str, kind: str) -> list[Any]:
    """What was written between commas, or on lines of its own."""
    found: list[Any] = []
    at = 0
    while at < len(text):
        piece = PIECE.match(text, at)
        if piece is None or piece.end() == at:
            break
        at = piece.end()
        if piece.group(1).strip():
            found.append(one_read(piece.group(1).strip(), kind))
    return found


def one_read(text: str, kind: str) -> Any:
    is_quoted = text.startswith('"')
    value = guessed(text)
    if kind in ("text", "version", "pattern") and not is_quoted:
        return text
    return value


def posted_rows(data: Mapping[str, Any]) -> tuple[ConditionRow, ...]:
    found: list[ConditionRow] = []
    for number in range(MOST_ROWS):
        if f"operator-{number}" not in data:
            continue
        texts = (str(data.get(f"{name}-{number}", "")) for name in ("attribute", "operator", "values"))
        found.append(ConditionRow(len(found), *texts))
    return tuple(found)


def posted_rule(data: Mapping[str, Any], variants: Sequence[str]) -> RuleForm:
    return RuleForm(
        name=str(data.get("name", "")).strip(),
        kind=str(data.get("kind", "all")),
        rows=posted_rows(data),
        is_raw="when" in data,
        raw=str(data.get("when", "")),
        answer=str(data.get("answer", "")),
        shares={name: str(data.get(f"share-{number}", "")) for number, name in enumerate(variants)},
    )


def read_group(form: RuleForm) -> dict[str, Any]:
    """`when` as the services take it."""
    if form.is_raw:
        return read_object(form.raw, "rules", "Conditions are an object in JSON")
    parts = [part_of(row) for row in form.rows if row.attribute.strip() or row.values.strip()]
    kind = form.kind if form.kind in ("all", "any", "none") else "all"
    return {kind: parts} if parts else {"all": []}


def part_of(row: ConditionRow) -> dict[str, Any]:
    if row.operator in (IN, OUTSIDE):
        return {"audience": row.values.strip(), **({"negated": True} if row.operator == OUTSIDE else {})}
    operator = OPERATORS.get(row.operator)
    values = read_values(row.values, operator.kind) if operator else []
    attribute = row.attribute.strip()
    if not attribute:
        raise Invalid("A condition names the attribute that it asks for.", rules="A condition names its attribute.")
    return {"attribute": attribute, "operator": row.operator, "values": values}


def read_rule(form: RuleForm, number: int) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": form.name or f"Rule {number}", "when": read_group(form)}
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


def read_object(text: str, field: str, what: str) -> dict[str, Any]:
    at, found = "", None
    try:
        found = json.loads(text.strip() or "{}")
    except json.JSONDecodeError as fault:
        at = f" (line {fault.lineno})"
    except (ValueError, RecursionError):
        pass
    if not isinstance(found, dict):
        why = f"{what}; this is none{at}."
        raise Invalid(why, **{field: why})
    return found


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
