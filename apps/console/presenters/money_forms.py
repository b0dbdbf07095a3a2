"""The draft of a budget: what was typed, what it means at present, what is wrong with it, what it would change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.budgets.domain import money, periods
from apps.budgets.domain.thresholds import ACTS, AT, BURN, FORECAST, KINDS
from apps.budgets.models import Budget
from apps.budgets.queries import BudgetStatus
from apps.console import figures
from apps.console.presenters.money_rows import DO
from apps.core.ids import new_id
from apps.core.money import nano_to_usd, usd_to_nano

SPARE = 2  # empty lines for thresholds that are new
KIND_WORDS = {AT: "spent, % of the limit", FORECAST: "forecast, % of the limit", BURN: "burns, times the pace"}
SCOPES = ("route", "owner", "variant", "model", "provider", "tag", "rollout", "arm")
PERIODS = {name: name.replace("_", " ") for name in periods.LENGTHS}
AT_LIMIT = {False: "only the acts below", True: "calls are refused too (hard cap)"}
LONGEST = {"name": 128, "owner": 128, "scope_value": 512, "because": 500}
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Line:
    """One threshold as it is typed: percent for shares of the limit, times for rates."""

    kind: str = AT
    level: str = ""
    do: str = "alert"
    share: str = ""


@dataclass(slots=True)
class Draft:
    limit: str = ""
    lines: list[Line] = field(default_factory=list)
    because: str = ""
    name: str = ""
    scope: str = "route"
    scope_value: str = ""
    period: str = "month"
    timezone: str = "UTC"
    owner: str = ""
    is_hard: bool = False
    on_unreachable: str = ""  # empty: what a cap of its kind does
    at_cap: str = ""
    revision: int | None = None
    once: str = field(default_factory=new_id)  # one press sets one budget, however often it arrives
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def shown_lines(self) -> list[Line]:
        return [*self.lines, *[Line()] * SPARE]


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: as it was, as it would be."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class AtOnce:
    """What a draft would find: what is spent of it already, and what would happen within a tick."""

    words: str
    tone: str = ""


def of_facts(facts: Mapping[str, Any], revision: int) -> Draft:
    return Draft(
        limit=f"{nano_to_usd(facts['limit_nano']):f}",
        lines=[line_of(one) for one in facts["thresholds"]],
        name=facts["name"],
        owner=facts["owner"],
        is_hard=facts["is_hard"],
        on_unreachable=facts["on_unreachable"],
        at_cap=facts["at_cap"],
        revision=revision,
    )


def line_of(plain: Mapping[str, Any]) -> Line:
    kind = next(name for name in KINDS if name in plain)
    level = plain[kind] if kind == BURN else round(plain[kind] * 100, 4)
    share = plain.get("share")
    return Line(kind, f"{level:g}", plain["do"], "" if share is None else str(share))


def read(posted: Mapping[str, Any], lists: Callable[[str], Sequence[str]], before: Draft) -> Draft:
    """`lists`: gives all values of a name, as a QueryDict does. What was not sent is as it was before."""
    columns = (lists("kind"), lists("level"), lists("do"), lists("share"))
    revision = posted.get("revision", "")

    def text(name: str) -> str:
        return str(posted.get(name, getattr(before, name))).strip()

    draft = Draft(
        limit=text("limit"),
        lines=[Line(*one) for one in zip(*columns, strict=False) if one[1].strip()],
        because=text("because"),
        name=text("name"),
        scope=text("scope"),
        scope_value=text("scope_value"),
        period=text("period"),
        timezone=text("timezone") or "UTC",
        owner=text("owner"),
        is_hard=posted["is_hard"] == "1" if "is_hard" in posted else before.is_hard,
        on_unreachable=text("on_unreachable"),
        at_cap=text("at_cap"),
        revision=int(revision) if revision.isascii() and revision.isdigit() and len(revision) < 10 else None,
        once=str(posted.get("idempotency_key", before.once)),
    )
    for name, most in LONGEST.items():
        if len(getattr(draft, name)) > most:
            draft.faults[name] = f"At most {most} characters."
    return draft


def typed(draft: Draft) -> dict[str, Any]:
    """The fields that may be changed, as the service takes them. What cannot be read is told in `draft.faults`."""
    caps = {name: value for name in ("on_unreachable", "at_cap") if (value := getattr(draft, name))}
    return {
        "limit_nano": limit_nano(draft),
        "thresholds": thresholds(draft),
        "name": draft.name,
        "owner": draft.owner,
        "is_hard": draft.is_hard,
    } | caps


def limit_nano(draft: Draft) -> int:
    """0 where it is no amount; then the fault says so."""
    try:
        amount = Decimal(draft.limit.replace(",", "").removeprefix("$"))
        nano = usd_to_nano(amount) if amount.is_finite() and amount < 10**9 else 0
    except (InvalidOperation, ValueError):
        nano = 0
    if nano <= 0:
        draft.faults["limit"] = "Give an amount above $0."
    return max(nano, 0)


def thresholds(draft: Draft) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for place, line in enumerate(draft.lines, start=1):
        try:
            found.append(plain_of(line))
        except (InvalidOperation, ValueError):
            need = "its share in whole percent" if line.do == "cap_share" else "a number above 0"
            draft.faults["thresholds"] = f"Line {place} needs {need}."
    return found


def plain_of(line: Line) -> dict[str, Any]:
    """Raises ValueError or InvalidOperation where a number, or a choice, is none."""
    if line.kind not in KIND_WORDS or line.do not in ACTS:
        raise ValueError(line)
    level = Decimal(line.level.replace("%", "").strip())
    if not level.is_finite() or level <= 0:
        raise ValueError(line.level)
    told: dict[str, Any] = {line.kind: float(level if line.kind == BURN else level / 100), "do": line.do}
    return told | {"share": int(line.share)} if line.do == "cap_share" else told


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Field by field, those that `after` names."""
    out = []
    for name, words_of in FIELDS.items():
        if name in after and before[name] != after[name]:
            out.append(Difference(WORDS[name], words_of(before[name]), words_of(after[name])))
    was, will_be = ([words(one) for one in side.get("thresholds", before["thresholds"])] for side in (before, after))
    out += [Difference("threshold", one, "none") for one in was if one not in will_be]
    out += [Difference("threshold", "none", one) for one in will_be if one not in was]
    return out


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields of `after` that differ; the order of thresholds is none."""
    return {name: value for name, value in after.items() if differences(before, {name: value})}


WORDS = {
    "limit_nano": "limit",
    "name": "name",
    "owner": "owner",
    "is_hard": "at the limit",
    "on_unreachable": "when nobody can be asked",
    "at_cap": "an answer under way",
    "thresholds": "thresholds",
}
FIELDS: dict[str, Callable[[Any], str]] = {
    "limit_nano": figures.exact,
    "name": lambda name: name or NOTHING,
    "owner": lambda owner: owner or NOTHING,
    "is_hard": lambda is_hard: AT_LIMIT[is_hard],
    "on_unreachable": lambda key: str(dict(Budget.OnUnreachable.choices).get(key, key)),
    "at_cap": lambda key: str(dict(Budget.AtCap.choices).get(key, key)),
}


def words(plain: Mapping[str, Any]) -> str:
    line = line_of(plain)
    act = DO.get(line.do, line.do).lower() + (f" at {line.share}{figures.NBSP}%" if line.share else "")
    if line.kind == BURN:
        return f"{act} when it burns {line.level} times the pace"
    return f"{act} at {line.level}{figures.NBSP}% {'of the forecast' if line.kind == FORECAST else 'spent'}"


def at_once(status: BudgetStatus) -> AtOnce:
    """Of a budget as it would be."""
    verdict = status.verdict
    told = f"{figures.nano(verdict.spent_nano)} is spent of it already, {figures.percent(verdict.fraction)}."
    crossed = [one for one in verdict.crossed if one.kind in KIND_WORDS]
    if not crossed:
        return AtOnce(f"{told} Nothing happens at once.")
    acts = "; ".join(words(one.plain()) for one in crossed)
    return AtOnce(f"{told} At once: {acts}.", "warn" if {one.do for one in crossed} == {"alert"} else "danger")


def choices() -> dict[str, Any]:
    return {
        "kinds": KIND_WORDS,
        "acts": {act: DO[act] for act in ACTS},
        "scopes": [name for name in SCOPES if name in money.SCOPES],
        "periods": PERIODS,
        "unreachable": dict(Budget.OnUnreachable.choices),
        "caps": dict(Budget.AtCap.choices),
        "at_limit": AT_LIMIT,
    }
