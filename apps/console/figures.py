"""How figures are written: units with a no-break space, three figures that matter, a true minus, UTC.

Plain values in, text out. Nothing here decides anything.
"""

from datetime import UTC, datetime
from decimal import Decimal

NBSP = "\u00a0"
MINUS = "\u2212"
NANO = Decimal(10) ** 9


def signed(text: str) -> str:
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def plus(text: str) -> str:
    """With its sign, also when it is a plus."""
    return text if text.startswith((MINUS, "-")) else f"+{text}"


def three(value: float) -> str:
    """Three figures that matter: 0.412, 4.34, 43.4, 434, 4,340."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.095 or size == 0 else 3
    return signed(f"{value:,.{digits}f}")


def count(value: float) -> str:
    return signed(f"{value:,.0f}")


def counted(value: int, one: str, many: str = "") -> str:
    """`1 call`, `4,440 calls`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def seconds(value: float) -> str:
    return f"{three(value)}{NBSP}s"


def percent(fraction: float) -> str:
    """A rate: 0.5 %, 12 %."""
    value = fraction * 100
    if value == 0:
        return f"0{NBSP}%"
    if 0 < value < 0.005:
        return f"under 0.01{NBSP}%"
    digits = 0 if abs(value) >= 10 else 1 if abs(value) >= 0.1 else 2
    return signed(f"{value:,.{digits}f}{NBSP}%")


def share(ten_thousandths: float) -> str:
    """A share of traffic: 25 %, 0.5 %."""
    return signed(f"{ten_thousandths / 100:g}{NBSP}%")


def times(factor: float) -> str:
    return f"{three(factor) if factor else 0}{NBSP}times"


def odds(evidence: float) -> str:
    """Evidence for harm as odds: 552 : 1. The colon stands between no-break spaces."""
    text = f"{evidence:.1f}" if evidence < 10 else count(evidence) if evidence < 1e6 else "over 1,000,000"
    return f"{text}{NBSP}:{NBSP}1"


def short_odds(evidence: float) -> str:
    """For an axis: 500 : 1, 10k : 1, 1M : 1."""
    size, word = next((each for each in ((1e6, "M"), (1e3, "k")) if evidence >= each[0]), (1, ""))
    return f"{evidence / size:g}{word}{NBSP}:{NBSP}1"


def usd(value: Decimal | float) -> str:
    """Dollars as people read them: cents up to a thousand, whole dollars above, more figures below a cent."""
    amount = Decimal(value)
    size = abs(amount)
    if 0 < amount < Decimal("0.000005"):
        return "under $0.00001"
    digits = 0 if size >= 1000 else 2 if size >= Decimal("0.01") or size == 0 else 5 if size < Decimal("0.001") else 4
    sign = MINUS if amount < 0 else ""
    return f"{sign}${size:,.{digits}f}"


def nano(value: float) -> str:
    return usd(Decimal(value) / NANO)


def exact(nano: int) -> str:
    """Every figure of an amount, cents at least: $22,000, $12.50, $0.000125."""
    text = f"{Decimal(nano) / NANO:,f}"
    return f"${text}0" if text[-2:-1] == "." else f"${text}"


def usd_short(value: Decimal | float) -> str:
    """For narrow places: $17.5k."""
    amount = Decimal(value)
    if abs(amount) >= 1_000_000:
        return f"${amount / 1_000_000:.1f}m"
    if abs(amount) >= 1_000:
        return f"${amount / 1_000:.1f}k"
    return f"${amount:.0f}" if abs(amount) >= 100 else f"${amount:.2f}"


def nano_short(value: float) -> str:
    return usd_short(Decimal(value) / NANO)


def span(length: float) -> str:
    """How long: 6 s, 4 min, 6 h 10 min, 3 d."""
    whole = max(0, int(length))
    if whole < 60:
        return f"{whole}{NBSP}s"
    if whole < 3600:
        return f"{whole // 60}{NBSP}min"
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours < 24:
        return f"{hours}{NBSP}h {minutes}{NBSP}min" if minutes else f"{hours}{NBSP}h"
    days, hours = hours // 24, hours % 24
    return f"{days}{NBSP}d {hours}{NBSP}h" if days < 3 and hours else f"{days}{NBSP}d"


def took(length: float) -> str:
    """How long something took. What took less than a second did not take nothing: 0.42 s."""
    return seconds(length) if 0 < length < 1 else span(length)


def ago(at: datetime, now: datetime) -> str:
    return f"{span((now - at).total_seconds())} ago"


def clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}"


def minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M}"


def day(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at.day}{NBSP}{at:%b}"


def whole_minute(at: datetime) -> str:
    return f"{day(at)} {minute(at)}"


def moment(at: datetime, now: datetime) -> str:
    """The clock on the same day, the day beside it on another."""
    return clock(at) if at.astimezone(UTC).date() == now.astimezone(UTC).date() else f"{day(at)} {minute(at)}"


def long_moment(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at:%A} {at.day} {at:%B %Y}, {at:%H:%M:%S} UTC"


def short_name(name: str) -> str:
    """Model names in cells: the family word falls where the rest is enough."""
    return name.removeprefix("Gemini 2.5 ") if name.startswith("Gemini 2.5 Flash-Lite") else name


def middle_cut(name: str, most: int = 28) -> str:
    """Long names lose their middle: `contract-…-emea`. The whole name belongs in the title."""
    if len(name) <= most:
        return name
    tail = most // 3
    return f"{name[: most - tail - 1]}…{name[-tail:]}"
