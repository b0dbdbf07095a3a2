"""Figures as people read them: unit with each number, three figures that matter, a thousands comma.

Plain spaces, so that a sentence can be searched, mailed and compared; pages put the no-break ones in.
"""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from apps.rollouts.domain.stages import percent

METRICS = {
    "latency_p50": "median latency",
    "latency_p95": "p95 latency",
    "latency_p99": "p99 latency",
    "latency_tail": "tail latency",
    "first_token_p95": "p95 time to first token",
    "error_rate": "error rate",
    "cost_per_request": "cost per request",
    "sample_ratio": "sample ratio",
    "accuracy": "accuracy",
    "attempts_per_request": "attempts per request",
}
SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def metric(name: str) -> str:
    return METRICS.get(name, name.replace("_", " "))


def share(ten_thousandths: int) -> str:
    return f"{percent(ten_thousandths)} %"


def seconds(value: float) -> str:
    if value < 0.1:
        return f"{three(value * 1000)} ms"
    return f"{three(value)} s"


def usd(value: Decimal | float) -> str:
    """$12.56; below ten cents three figures that matter: $0.00312."""
    exact = Decimal(str(value))
    if abs(exact) >= Decimal("0.1") or not exact:
        return f"${exact.quantize(Decimal('0.01'), ROUND_HALF_EVEN):,}"
    places = 2 - exact.adjusted()
    return f"${exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def nano(value: int) -> str:
    return usd(Decimal(value) / 10**9)


def rate(value: float) -> str:
    return f"{three(value * 100)} %"


def times(value: float) -> str:
    return f"{three(value)} times"


def evidence(value: float) -> str:
    """The odds against harmlessness: 565:1, 0.4:1; beyond a million nobody reads the digits."""
    if value > 1_000_000:
        return "over 1,000,000:1"
    return f"{value:,.0f}:1" if value >= 10 else f"{value:.1f}:1"


def count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def small(n: int) -> str:
    return SMALL[n] if n < len(SMALL) else f"{n:,}"


def three(value: float) -> str:
    """Three figures that matter, never in powers of ten: 4.34, 12.3, 118, 1,420, 0.052."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.995:
        return f"{value:.2f}"
    places = 2 - Decimal(repr(size)).adjusted()
    return f"{value:.{min(places, 9)}f}".rstrip("0").rstrip(".")


def span(time: timedelta) -> str:
    """The two largest units: 45 s, 6 min 10 s, 6 h 10 min, 14 d."""
    left = max(int(time.total_seconds()), 0)
    parts: list[tuple[int, str]] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        n, left = divmod(left, size)
        if n or parts:
            parts.append((n, unit))
    shown = [f"{n} {unit}" for n, unit in parts[:2] if n]
    return " ".join(shown) or "0 s"


def clock(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"


def listed(names: list[str], most: int = 4) -> str:
    """a, b and c; a, b and 7 more."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
