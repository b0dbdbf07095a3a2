"""The draft of a budget: what was typed, what it means at present, what is wrong with it, what it would change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.budgets.domain import money, periods
from apps.budgets.domain.thresholds import ACTS, AT, BURN, FORECAST, KINDS
from apps.budgets.models import Budget
from apps.console import figures
from apps.console.presenters.money_rows import DO
from apps.core.money import nano_to_text, usd_to_nano

SPARE = 2  # empty lines for thresholds that are new
KIND_WORDS = {AT: "spent, % of the limit", FORECAST: "forecast, % of the limit", BURN: "burns, times the pace"}
SCOPES = ("route", "owner", "variant", "model", "provider", "tag", "rollout", "arm")
CAPS = (
    ("on_unreachable", "when nobody can be asked", dict(Budget.OnUnreachable.choices)),
    ("at_cap", "an answer under way", dict(Budget.AtCap.choices)),
)
PERIODS = {name: name.replace("_", " ") for name in periods.LENGTHS}


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
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def shown_lines(self) -> list[Line]:
        return [*self.lines, *[Line()] * SPARE]


def of_budget(row: Budget) -> Draft:
    limit = nano_to_text(row.limit_nano).rstrip("0").rstrip(".")
    return Draft(
        limit=limit,
        lines=[line_of(one) for one in row.thresholds],
        on_unreachable=row.on_unreachable,
        at_cap=row.at_cap,
        revision=row.revision,
    )


def line_of(plain: Mapping[str, Any]) -> Line:
    kind = next(name for name in KINDS if name in plain)
    level = plain[kind] if kind == BURN else round(plain[kind] * 100, 4)
    share = plain.get("share")
    return Line(kind, f"{level:g}", plain["do"], "" if share is None else str(share))


def read(posted: Mapping[str, Any], lists: Any) -> Draft:
    """`lists`: gives all values of a name, as a QueryDict does."""
    columns = (lists("kind"), lists("level"), lists("do"), lists("share"))
    lines = [Line(*one) for one in zip(*columns, strict=False) if one[1].strip()]
    revision = posted.get("revision", "")
    return Draft(
        limit=posted.get("limit", "").strip(),
        lines=lines,
        because=posted.get("because", "").strip(),
        name=posted.get("name", "").strip(),
        scope=posted.get("scope", "route"),
        scope_value=posted.get("scope_value", "").strip(),
        period=posted.get("period", "month"),
        timezone=posted.get("timezone", "UTC").strip() or "UTC",
        owner=posted.get("owner", "").strip(),
        is_hard=posted.get("is_hard") == "1",
        on_unreachable=posted.get("on_unreachable", ""),
        at_cap=posted.get("at_cap", ""),
        revision=int(revision) if revision.isdigit() else None,
    )


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
            level = Decimal(line.level.replace("%", "").strip())
            told: dict[str, Any] = {
                line.kind: float(level if line.kind == BURN else level / 100),
                "do": line.do,
            }
            if line.do == "cap_share":
                told["share"] = int(line.share)
        except (InvalidOperation, ValueError):
            need = "its share in whole percent" if line.do == "cap_share" else "a number"
            draft.faults["thresholds"] = f"Line {place} needs {need}."
            continue
        found.append(told)
    return found


def differences(row: Budget, draft: Draft) -> list[tuple[str, str, str]]:
    """Field by field: name, as it is, as it would be."""
    out = []
    nano, wanted = limit_nano(draft), thresholds(draft)
    if nano != row.limit_nano:
        out.append(("limit", figures.nano(row.limit_nano), figures.nano(nano)))
    before, after = [words(one) for one in row.thresholds], [words(one) for one in wanted]
    out += [("threshold", one, "none") for one in before if one not in after]
    out += [("threshold", "none", one) for one in after if one not in before]
    for name, word, choices in CAPS:
        is_now, would_be = getattr(row, name), getattr(draft, name)
        if would_be and would_be != is_now:
            out.append((word, str(choices[is_now]), str(choices.get(would_be, would_be))))
    return out


def caps(draft: Draft) -> dict[str, str]:
    """What was chosen for callers who cannot ask, and for answers under way at the cap."""
    return {name: value for name, _, _ in CAPS if (value := getattr(draft, name))}


def words(plain: Mapping[str, Any]) -> str:
    line = line_of(plain)
    act = DO.get(line.do, line.do).lower() + (f" at {line.share}{figures.NBSP}%" if line.share else "")
    if line.kind == BURN:
        return f"{act} when it burns {line.level} times the pace"
    return f"{act} at {line.level}{figures.NBSP}% {'of the forecast' if line.kind == FORECAST else 'spent'}"


def choices() -> dict[str, Any]:
    return {
        "kinds": KIND_WORDS,
        "acts": {act: DO[act] for act in ACTS},
        "scopes": [name for name in SCOPES if name in money.SCOPES],
        "periods": PERIODS,
        "unreachable": dict(Budget.OnUnreachable.choices),
        "caps": dict(Budget.AtCap.choices),
    }
