"""Money: integers of nano-USD inside, Decimal and text at the doors. Never a float.

Nano, because a cheap call rounds to zero in micro: 9 tokens at $0.02 per million are 180 nano-USD.
"""

from decimal import ROUND_HALF_EVEN, Decimal

NANO = Decimal(10) ** 9
MOST_USD = 1_000_000_000  # that people may name at once: a database's integer holds nine of them
SIX_PLACES = Decimal("0.000001")


def usd_to_nano(usd: Decimal | str | int) -> int:
    """Rounds half-even, once. Raises decimal.InvalidOperation on what is no number."""
    return int((Decimal(usd) * NANO).to_integral_value(ROUND_HALF_EVEN))


def nano_to_usd(nano: int) -> Decimal:
    return Decimal(nano) / NANO


def nano_to_text(nano: int) -> str:
    """Six decimals, rounded half-even from the exact sum: `0.001234`."""
    return f"{nano_to_usd(nano).quantize(SIX_PLACES, ROUND_HALF_EVEN):f}"
