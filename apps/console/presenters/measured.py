"""What was measured on a route, side by side: each variant in the same time, and before and after a rollout."""

from collections.abc import Callable, Mapping

from apps.console import figures, queries
from apps.console.presenters import covered, rows
from apps.console.presenters.route import BeforeAfter, VariantFigures
from apps.console.queries import Measured, Standing
from apps.rollouts.models import Rollout
from apps.rollouts.queries import Measured as Compared

Told = Callable[[float], str]
MANY_TIMES = 10  # a percentage above is read as a factor


def by_variant(one: Standing) -> list[VariantFigures]:
    """Over the time of the charts, the most requests first."""
    sums = {variant: queries.total(steps) for variant, steps in one.measured.items()}
    found = sorted((row for row in sums.items() if row[1].requests), key=lambda row: (-row[1].requests, row[0]))
    return [of_variant(one, variant, sums_of) for variant, sums_of in found]


def of_variant(one: Standing, variant: str, sums: Measured) -> VariantFigures:
    answered = sums.latency.count
    is_enough = answered >= rows.LEAST
    p50, p95, p99 = (
        figures.seconds(value) if is_enough and (value := sums.latency.quantile(q)) is not None else ""
        for q in (0.5, 0.95, 0.99)
    )
    thin = f"{answered} of {rows.LEAST} answers" if not is_enough else ""
    tried = sums.seen.attempts_per_request
    return VariantFigures(
        name=one.name(variant) or "no variant",
        requests=figures.count(sums.requests),
        p50=p50,
        p95=p95,
        p99=p99,
        latency_note=covered.why_empty(one.untold) or thin,
        errors=figures.percent(sums.error_rate) if sums.error_rate is not None else "",
        per_1k=figures.nano(sums.nano_per_1k) if sums.nano_per_1k is not None else "",
        unpriced=figures.count(sums.requests - sums.priced) if sums.requests > sums.priced else "",
        attempts=f"{tried:.2f}" if tried is not None else "",
    )


def before_after(
    compared: tuple[Mapping[str, Compared], Mapping[str, Compared]], rollout: Rollout
) -> list[BeforeAfter]:
    before, after = compared[0].get(rollout.baseline), compared[1].get(rollout.candidate)
    if before is None or after is None:
        return []
    lines = [
        line("Median latency", before.p50_ms, after.p50_ms, milliseconds),
        line("p95 latency", before.p95_ms, after.p95_ms, milliseconds),
        line("Cost per 1k requests", before.cost_per_1k_nano, after.cost_per_1k_nano, figures.nano),
        line("Errors", error_rate(before), error_rate(after), figures.percent, difference=points),
        # By the request and not by the day: before and after are spans of unlike length and traffic.
        line("Handoffs per 1k requests", handoffs_per_1k(before), handoffs_per_1k(after), lambda rate: f"{rate:,.1f}"),
        BeforeAfter(measure="Requests", before=figures.count(before.requests), after=figures.count(after.requests)),
    ]
    return [one for one in lines if one.before or one.after]


def change(old: float, new: float) -> str:
    """In percent; where it is many times as much, how many."""
    if not old:
        return ""
    if new / old >= MANY_TIMES:
        return figures.times(new / old)
    return figures.plus(figures.signed(f"{(new / old - 1) * 100:.0f}{figures.NBSP}%"))


def points(old: float, new: float) -> str:
    """Of two shares: the factor from nearly none says nothing."""
    return figures.plus(f"{figures.three((new - old) * 100)} points")


def line(
    measure: str,
    old: float | None,
    new: float | None,
    told: Told,
    *,
    difference: Callable[[float, float], str] = change,
) -> BeforeAfter:
    return BeforeAfter(
        measure=measure,
        before="" if old is None else told(old),
        after="" if new is None else told(new),
        difference="" if old is None or new is None else difference(old, new),
    )


def milliseconds(ms: float) -> str:
    return figures.seconds(ms / 1000)


def error_rate(one: Compared) -> float | None:
    return one.errors / one.requests if one.requests else None


def handoffs_per_1k(one: Compared) -> float | None:
    return None if one.handoffs is None else one.handoffs / one.requests * 1000
