"""How much of a route's calls its figures cover, in words: where a cell is empty, why; beneath charts, the rest."""

from apps.console import figures
from apps.telemetry.queries import TOO_COARSE, Coverage

SOURCES = {"native": "native calls", "webhook": "a gateway", "span": "spans", "log": "logs", "metric": "metrics"}
CALLS_ALONE = "This source tells of calls and not of requests: send spans for latency, errors and cost of requests."


def why_empty(one: Coverage | None) -> str:
    """In the cell of a percentile that nobody can give although calls come."""
    if one is None or one.tells_requests:
        return ""
    return "too coarse" if one.is_too_coarse else "no requests told"


def words(one: Coverage) -> str:
    """`From spans: 412 calls, 410 by a variant, 99 % in percentiles, 2 % late, none finer than 10 s.`"""
    if one.covered is None:
        return ""
    sources = " and ".join(SOURCES.get(name, name) for name in one.sources) or "several sources"
    told = [
        figures.counted(one.calls, "call"),
        f"{figures.count(one.assigned)} by a variant",
        f"{figures.percent(one.covered)} in percentiles",
        f"{figures.percent(one.late / one.calls)} late" if one.late else "none late",
    ]
    if one.sampled:
        told.append("sampled: money incomplete")
    if one.resolution_seconds:
        told.append(f"in steps of {one.resolution_seconds}{figures.NBSP}s or more")
    sentences = [f"From {sources}: {', '.join(told)}."]
    if one.is_too_coarse:
        sentences.append(TOO_COARSE)
    if not one.tells_requests:
        sentences.append(CALLS_ALONE)
    return " ".join(sentences)
