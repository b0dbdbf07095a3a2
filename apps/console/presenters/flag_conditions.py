"""The form of conditions: rows, groups of rows within, or JSON for what is deeper. It works without a script.

Each press of "add" or "remove" sends the whole form and gets it back with that change. No queries here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.console.presenters import flag_words
from apps.core.refusals import Invalid
from apps.flags.domain.conditions import OPERATORS

MOST_ROWS = 60
MOST_GROUPS = 20
KINDS = ("all", "any", "none")
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


@dataclass(frozen=True, slots=True)
class GroupForm:
    """Conditions that stand together: number 0 is the whole, others lie within it."""

    number: int
    kind: str = "all"
    rows: tuple[ConditionRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionsForm:
    groups: tuple[GroupForm, ...] = (GroupForm(0),)
    raw: str = ""
    is_raw: bool = False

    @property
    def words(self) -> str:
        """What stands in the form, in one sentence; empty while it cannot be read."""
        try:
            return flag_words.when_of({"when": read(self)})
        except Invalid:
            return ""


def operators(with_audiences: bool) -> list[Choices]:
    found = [Choices(title, [Choice(name, OPERATORS[name].words) for name in names]) for title, names in GROUPS]
    if with_audiences:
        found.append(Choices("Audience", [Choice(IN, "is in audience"), Choice(OUTSIDE, "is outside audience")]))
    return found


def form_of(group: Any) -> ConditionsForm:
    """The form of a group as it is stored; None is a new one, with an empty row to begin with."""
    if group is None:
        return ConditionsForm(groups=(GroupForm(0, "all", (ConditionRow(0),)),))
    groups = groups_of(group)
    if groups is None:
        return ConditionsForm(is_raw=True, raw=json.dumps(group or {}, ensure_ascii=False, indent=2))
    return ConditionsForm(groups=numbered(groups))


def groups_of(group: Any) -> list[GroupForm] | None:
    """The whole and the groups right within it; None where more lies within those."""
    if not isinstance(group, Mapping) or not group:
        return [GroupForm(0)]
    kind = next(iter(group))
    if kind not in KINDS:
        return [GroupForm(0, "all", (row_of(group),))]
    rows: list[ConditionRow] = []
    found: list[GroupForm] = []
    for part in group[kind]:
        inner = next((one for one in KINDS if one in part), "")
        if not inner:
            rows.append(row_of(part))
        elif any(set(one) & set(KINDS) for one in part[inner]):
            return None
        else:
            found.append(GroupForm(0, inner, tuple(row_of(one) for one in part[inner])))
    return [GroupForm(0, kind, tuple(rows)), *found]


def numbered(groups: Sequence[GroupForm]) -> tuple[GroupForm, ...]:
    """Groups by their order, rows through all of them."""
    found, number = [], 0
    for at, group in enumerate(groups):
        rows = tuple(replace(row, number=number + place) for place, row in enumerate(group.rows))
        number += len(rows)
        found.append(replace(group, number=at, rows=rows))
    return tuple(found)


def row_of(part: Mapping[str, Any]) -> ConditionRow:
    if "audience" in part:
        return ConditionRow(0, "", OUTSIDE if part.get("negated") else IN, str(part["audience"]))
    return ConditionRow(0, part["attribute"], part["operator"], written(part.get("values") or ()))


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


def posted(data: Mapping[str, Any]) -> ConditionsForm:
    if "when" in data:
        return ConditionsForm(is_raw=True, raw=str(data["when"]))
    numbers = [number for number in range(MOST_GROUPS + 1) if f"kind-{number}" in data] or [0]
    groups = []
    for number in numbers:
        rows = [
            ConditionRow(0, *(str(data.get(f"{name}-{at}", "")) for name in ("attribute", "operator", "values")))
            for at in range(MOST_ROWS)
            if f"operator-{at}" in data and str(data.get(f"group-{at}", "0")) == str(number)
        ]
        groups.append(GroupForm(number, str(data.get(f"kind-{number}", "all")), tuple(rows)))
    return ConditionsForm(groups=numbered(groups))


def edited(form: ConditionsForm, asked: str) -> ConditionsForm | None:
    """The form after one press within it; None if the press means something else. Raises Invalid for what cannot be
    read as JSON, or as rows."""
    verb, _, number = asked.partition("-")
    match verb, number:
        case "add", "":
            return added(form, 0)
        case "add", _ if number.isdecimal():
            return added(form, int(number))
        case "group", "":
            new = GroupForm(0, "any", (ConditionRow(0),))
            return replace(form, groups=numbered((*form.groups, new)[: MOST_GROUPS + 1]))
        case "remove", _ if number.isdecimal():
            return without(form, int(number))
        case "json", "":
            return ConditionsForm(is_raw=True, raw=json.dumps(read(form), ensure_ascii=False, indent=2))
        case "rows", "":
            return as_rows(form)
    return None


def added(form: ConditionsForm, number: int) -> ConditionsForm:
    groups = [
        replace(group, rows=(*group.rows, ConditionRow(0))) if group.number == number else group
        for group in form.groups
    ]
    return replace(form, groups=numbered(groups))


def without(form: ConditionsForm, number: int) -> ConditionsForm:
    """A group that has lost its last condition goes with it."""
    groups = [replace(group, rows=tuple(row for row in group.rows if row.number != number)) for group in form.groups]
    return replace(form, groups=numbered([group for group in groups if group.rows or group.number == 0]))


def as_rows(form: ConditionsForm) -> ConditionsForm:
    given = read(form)
    try:
        found = form_of(given)
    except (AttributeError, KeyError, TypeError) as fault:
        raise Invalid("These are no conditions yet.", rules="These are no conditions yet.") from fault
    if found.is_raw:
        why = "Groups within groups within groups have no form: they stay JSON."
        raise Invalid(why, rules=why)
    return found


def read(form: ConditionsForm) -> dict[str, Any]:
    """`when` as the services take it."""
    if form.is_raw:
        return read_object(form.raw, "rules", "Conditions are an object in JSON")
    whole, *within = form.groups
    parts = read_rows(whole)
    for group in within:
        if inner := read_rows(group):
            parts.append({group.kind if group.kind in KINDS else "all": inner})
    kind = whole.kind if whole.kind in KINDS else "all"
    return {kind: parts} if parts else {"all": []}


def read_rows(group: GroupForm) -> list[dict[str, Any]]:
    return [part_of(row) for row in group.rows if row.attribute.strip() or row.values.strip()]


def part_of(row: ConditionRow) -> dict[str, Any]:
    if row.operator in (IN, OUTSIDE):
        return {"audience": row.values.strip(), **({"negated": True} if row.operator == OUTSIDE else {})}
    operator = OPERATORS.get(row.operator)
    values = read_values(row.values, operator.kind) if operator else []
    attribute = row.attribute.strip()
    if not attribute:
        raise Invalid("A condition names the attribute that it asks for.", rules="A condition names its attribute.")
    return {"attribute": attribute, "operator": row.operator, "values": values}


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
