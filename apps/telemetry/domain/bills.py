"""A provider's bill as CSV or JSON: one line per day and model. In: the text. Out: plain lines, or every fault with
its line.

Columns by name, in any order: day (or date), model, amount_usd (or amount, cost, usd); provider where the file is of
several; input_tokens and output_tokens if the provider tells them. JSON is a list of objects with the same names.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

NAMES = {
    "day": ("day", "date", "usage_date"),
    "provider": ("provider",),
    "model": ("model", "model_id"),
    "amount": ("amount_usd", "amount", "cost_usd", "cost", "usd"),
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
}
MOST_LINES = 100_000
MOST_FAULTS = 20
MOST_USD = Decimal(1_000_000_000)
FINAL_AFTER = timedelta(hours=48)


class Unusable(ValueError):
    """Nothing of the file is taken. Each fault names its line."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("; ".join(faults[:MOST_FAULTS]))


@dataclass(frozen=True, slots=True)
class Line:
    provider: str
    model: str
    day: date
    amount_nano: int
    input_tokens: int | None
    output_tokens: int | None


Told = Mapping[str, Any]


def read(text: str, provider: str = "") -> list[Line]:
    text = text.lstrip("\ufeff").strip()
    names, rows = read_json(text) if text.startswith(("[", "{")) else read_csv(text)
    columns = {name.strip().lower(): name for name in names}
    found = {field: next((columns[name] for name in names if name in columns), None) for field, names in NAMES.items()}
    if missing := [field for field in ("day", "model", "amount") if found[field] is None]:
        raise Unusable([f"line 1: no column {', '.join(missing)}"])
    lines, faults = [], []
    for number, row in rows:
        if number > MOST_LINES:
            raise Unusable([f"more than {MOST_LINES:,} lines"])
        told = {field: text_of(row.get(name)) if name else "" for field, name in found.items()}
        if not any(told.values()):
            continue
        try:
            lines.append(line_of(told, provider))
        except (ValueError, InvalidOperation) as error:
            faults.append(f"line {number}: {error}")
    if faults:
        raise Unusable(faults)
    return lines


def read_csv(text: str) -> tuple[Sequence[str], Iterable[tuple[int, Told]]]:
    rows = csv.DictReader(text.splitlines())
    return rows.fieldnames or (), enumerate(rows, start=2)


def read_json(text: str) -> tuple[Sequence[str], Iterable[tuple[int, Told]]]:
    try:
        told = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise Unusable([str(error)]) from None
    if not isinstance(told, list) or not all(isinstance(row, dict) for row in told):
        raise Unusable(["line 1: JSON is a list of objects"])
    return sorted({name for row in told for name in row}), enumerate(told, start=1)


def text_of(value: object) -> str:
    return "" if value is None else str(value).strip()


def line_of(told: dict[str, str], provider: str) -> Line:
    amount = Decimal(told["amount"].replace("$", "").replace(",", ""))
    if not amount.is_finite() or abs(amount) > MOST_USD:
        raise ValueError("the amount is no amount of money")
    if not told["model"] or not (told["provider"] or provider):
        raise ValueError("which model of which provider?")
    return Line(
        told["provider"] or provider,
        told["model"],
        date.fromisoformat(told["day"][:10]),
        int(amount.scaleb(9).to_integral_value(ROUND_HALF_EVEN)),
        int(told["input_tokens"]) if told["input_tokens"] else None,
        int(told["output_tokens"]) if told["output_tokens"] else None,
    )
