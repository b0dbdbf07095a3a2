"""Verdicts as rows: both figures, the interval, the limit, each in the unit of its metric."""

from django.utils.safestring import mark_safe

from apps.budgets.domain.verdicts import Verdict
from apps.console import drawings, figures
from apps.console.presenters.route import VerdictRow
from apps.rollouts.domain import words

AGAINST = {"baseline": "against baseline", "limit": "own limit", "plan": "against plan"}
TONES = {"within": "ok", "exceeded": "danger"}


def value(number: float | None, unit: str, metric: str = "") -> str:
    if number is None:
        return ""
    match unit:
        case "s":
            return figures.seconds(number)
        case "usd":
            return figures.usd(number * 1000) if metric == "cost_per_request" else figures.usd(number)
        case "share":
            return figures.percent(number)
        case _:
            return figures.three(number)


def title(metric: str) -> str:
    if metric == "cost_per_request":
        return "Cost per 1k requests"
    text = words.metric(metric)
    return text[0].upper() + text[1:] if not text.startswith("p") or not text[1:2].isdigit() else text


def difference(verdict: Verdict) -> str:
    """Latency and cost in percent, rates as a factor."""
    if verdict.baseline is None or verdict.observed is None or not verdict.baseline:
        return ""
    factor = verdict.observed / verdict.baseline
    if verdict.unit == "share":
        return figures.times(factor)
    return figures.plus(figures.signed(f"{(factor - 1) * 100:.0f}{figures.NBSP}%"))


def range_of(verdict: Verdict) -> str:
    if verdict.low is None or verdict.high is None:
        return ""
    return f"{value(verdict.low, verdict.unit, verdict.metric)} to {value(verdict.high, verdict.unit, verdict.metric)}"


def second(verdict: Verdict) -> str:
    if verdict.state == "inconclusive":
        return verdict.explanation or f"{figures.counted(verdict.n, 'request')} so far"
    if verdict.state == "within":
        return {"safe": "proven safe", "harm": ""}.get(verdict.proof, "")
    return verdict.explanation or f"evidence {figures.odds(verdict.evidence)}"


def row(verdict: Verdict) -> VerdictRow:
    tone = TONES.get(verdict.state, "warn")
    name = title(verdict.metric)
    observed = value(verdict.observed, verdict.unit, verdict.metric)
    limit = value(verdict.limit, verdict.unit, verdict.metric)
    says = (
        f"{name} {observed or 'not measured'}, {range_of(verdict) or 'no interval yet'}, limit {limit or 'not set yet'}"
    )
    return VerdictRow(
        metric=name,
        against=AGAINST.get(verdict.against, verdict.against),
        baseline=value(verdict.baseline, verdict.unit, verdict.metric),
        candidate=f"{observed} or more" if verdict.at_least and observed else observed,
        difference=difference(verdict),
        range=range_of(verdict),
        interval=mark_safe(
            drawings.interval(
                verdict.low,
                verdict.observed,
                verdict.high,
                same=verdict.baseline,
                limit=verdict.limit,
                tone=tone,
                says=says,
            )
        ),
        limit=limit,
        state=verdict.state,
        second=second(verdict),
        evidence=figures.odds(verdict.evidence),
    )


def worst(verdicts: tuple[Verdict, ...] | list[Verdict]) -> Verdict | None:
    """The one that decided: the nearest to its bound."""
    judged = [one for one in verdicts if one.needed]
    return max(judged, key=lambda one: one.evidence / one.needed, default=None)


def limit_of(verdicts: tuple[Verdict, ...], prefix: str) -> float | None:
    """The tightest limit on a metric."""
    return min((one.limit for one in verdicts if one.metric.startswith(prefix) and one.limit is not None), default=None)
