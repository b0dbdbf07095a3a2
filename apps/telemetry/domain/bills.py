"""A provider's bill as CSV or JSON: one line per day and model. In: the text. Out: plain lines, or every fault with
its line.

Columns by name, in any order: day (or date), model, amount_usd (or amount, cost, usd); provider where the file is of
several; input_tokens and output_tokens if the provider tells them. JSON is a list of objects with the same names.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.core.money import MOST_USD, usd_to_nano

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
MOST_NANO = usd_to_nano(MOST_USD)  # of all lines
MOST_TOKENS = 10**15
YEARS = range(2000, 3000)
THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d*)?")  # else a comma may be a decimal point, or the next cell
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


Told = Mapping[Any, Any]


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
        if None in row:  # so csv calls what has no column
            faults.append(f"line {number}: more cells than columns")
            continue
        told = {field: text_of(row.get(name)) if name else "" for field, name in found.items()}
        if not any(told.values()):
            continue
        try:
            lines.append(line_of(told, provider))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    if faults:
        raise Unusable(faults)
    if not lines:
        raise Unusable(["no line tells of a day"])
    if sum(abs(line.amount_nano) for line in lines) > MOST_NANO:
        raise Unusable(["all lines together are no amount of money"])
    return lines


def read_csv(text: str) -> tuple[Sequence[str], Iterable[tuple[int, Told]]]:
    rows = csv.DictReader(text.splitlines())
    try:
        return rows.fieldnames or (), [(rows.line_num, row) for row in rows]
    except csv.Error as error:
        raise Unusable([f"line {rows.line_num + 1}: {error}"]) from None


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
    if not told["model"] or not (told["provider"] or provider):
        raise ValueError("which model of which provider?")
    return Line(
        told["provider"] or provider,
        told["model"],
        day_of(told["day"]),
        nano_of(told["amount"]),
        tokens_of(told["input_tokens"]),
        tokens_of(told["output_tokens"]),
    )


def day_of(told: str) -> date:
    try:
        day = date.fromisoformat(told[:10])
    except ValueError:
        raise ValueError(f"a day is written as in 2026-11-24, not {told[:40]!r}") from None
    if day.year not in YEARS:
        raise ValueError(f"no bill is of the year {day.year}")
    return day


def nano_of(told: str) -> int:
    plain = told.replace("$", "").strip()
    if THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    try:
        amount = Decimal(plain)
    except InvalidOperation:
        raise ValueError(f"the amount is no amount of money: {told[:40]!r}") from None
    if not amount.is_finite() or abs(amount) > MOST_USD:
        raise ValueError("the amount is no amount of money")
    return usd_to_nano(amount)


def tokens_of(told: str) -> int | None:
    if not told:
        return None
    if not (told.isdecimal() and len(told) <= len(str(MOST_TOKENS)) and int(told) <= MOST_TOKENS):
        raise ValueError(f"tokens are a whole number, not {told[:40]!r}")
    return int(told)
