"""What a new price list would change. In: the prices of two lists. Out: a line per model, both sides in words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from apps.catalog.domain.pricing import Key, Price, Rates

NEW, CHANGED, GONE = "new", "changed", "gone"
ORDER = (CHANGED, GONE, NEW)


@dataclass(frozen=True, slots=True)
class Difference:
    kind: str  # new, changed, gone
    provider: str
    model: str
    before: tuple[str, ...]  # only what is not the same on both sides
    after: tuple[str, ...]


def counted(found: Iterable[Difference]) -> dict[str, int]:
    kinds = [one.kind for one in found]
    return {kind: kinds.count(kind) for kind in ORDER}


def by_model(prices: Iterable[Price]) -> dict[Key, list[Price]]:
    found: dict[Key, list[Price]] = {}
    for price in prices:
        found.setdefault((price.provider, price.model), []).append(replace(price, source=""))
    return found


def differences(before: Iterable[Price], after: Iterable[Price], now: datetime) -> list[Difference]:
    """Prices that have ended count as gone: a list that goes on leaving them out changes nothing more."""
    old = {key: still for key, prices in by_model(before).items() if (still := valid(prices, now))}
    new = {key: still for key, prices in by_model(after).items() if (still := valid(prices, now))}
    found = []
    for key in old.keys() | new.keys():
        mine, theirs = set(old.get(key, ())), set(new.get(key, ()))
        if mine != theirs:
            kind = NEW if key not in old else GONE if key not in new else CHANGED
            found.append(Difference(kind, *key, words(mine - theirs), words(theirs - mine)))
    return sorted(found, key=lambda one: (ORDER.index(one.kind), one.provider, one.model))


def valid(prices: Iterable[Price], now: datetime) -> list[Price]:
    return [price for price in prices if price.valid_to is None or price.valid_to > now]


def gone(before: Iterable[Price], after: Iterable[Price], at: datetime) -> Iterator[Price]:
    """Prices of models that the new list does not know: kept for the past, ended from that moment on."""
    known = by_model(after)
    for price in before:
        if (price.provider, price.model) not in known:
            yield price if price.valid_to is not None else replace(price, valid_to=at)


def digest(prices: Iterable[Price]) -> str:
    """Of what a list says, in whatever order."""
    lines = sorted(line(price) + f"\n{price.provider}/{price.model}" for price in prices)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def words(prices: Iterable[Price]) -> tuple[str, ...]:
    return tuple(line(price) for price in sorted(prices, key=lambda one: (one.service_tier, one.valid_from)))


def line(price: Price) -> str:
    """`flex from 2026-01-01: 1.25 in, 10 out, 0.125 cached; above 200,000 tokens 2.5 in, 15 out`"""
    when = [price.service_tier] if price.service_tier else []
    if price.valid_from.year > 1970:
        when.append(f"from {price.valid_from:%Y-%m-%d}")
    if price.valid_to is not None:
        when.append(f"until {price.valid_to:%Y-%m-%d}")
    if price.hours is not None:
        when.append(f"{price.hours[0]:%H:%M} to {price.hours[1]:%H:%M}")
    parts = [
        rates_line(price.rates),
        *(f"above {band.above:,} tokens {rates_line(band.rates)}" for band in price.bands),
    ]
    return f"{' '.join(when)}: {'; '.join(parts)}" if when else "; ".join(parts)


def rates_line(rates: Rates) -> str:
    named = (
        ("in", rates.input), ("out", rates.output), ("cached", rates.cached_input), ("cache write", rates.cache_write),
        ("for 1 h", rates.cache_write_1h),
    )  # fmt: skip
    parts = [f"{short(rate)} {name}" for name, rate in named if rate is not None]
    return ", ".join([*parts, f"{short(rates.per_request)} a request"] if rates.per_request else parts)


def short(rate: Decimal) -> str:
    return f"{rate.normalize():f}"
