"""What the development page shows: every state of every part, from fixed values."""

from typing import Any

from django.utils.safestring import mark_safe

from apps.console import drawings
from apps.console.acts import Act
from apps.console.charts import Chart, Limit, Mark, Series
from apps.console.frame import Band

UNPROTECTED = Band(
    "danger",
    "unprotected",
    "Unprotected",
    "Nothing has been evaluated for 75 s. Services keep their last snapshot, 43. You can still roll back by hand.",
    "Open Activity",
    "#",
    True,
)
RECONNECTING = Band(
    "warn", "holding", "Reconnecting", "You see 03:12:40, 25 s ago. Trying again in 4 s.", "Try now", "#", True
)
ROLL_BACK = Act(
    key="parts-roll-back",
    label="Roll back to GPT-4.1",
    href="#",
    presses=2,
    icon="undo-2",
    css="is-danger",
    question="Send 100 % to GPT-4.1?",
    effect="Moves 25 % back in about 0.8 s and costs $12.56 more an hour.",
    keep="Keep 25 %",
    yes="Yes, send 100 % to GPT-4.1",
    back="#",
)


def context() -> dict[str, Any]:
    return {
        "unprotected": UNPROTECTED,
        "reconnecting": RECONNECTING,
        "roll_back": ROLL_BACK,
        "route_states": [
            "Unprotected", "On fallback", "Rolled back", "Holding", "Needs approval", "Paused", "Ramping", "Steady",
        ],
        "shares": [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 1.0],
        "intervals": [mark_safe(one) for one in intervals()],
        "bars": [mark_safe(drawings.bar(used, 0.77, width=160)) for used in (0.4, 0.8, 1.04)],
        "chart_with_gap": with_gap(),
        "empty_chart": empty(),
    }  # fmt: skip


def intervals() -> list[str]:
    says = "Difference with its interval"
    return [
        drawings.interval(0.42, 0.44, 0.47, same=1.0, limit=1.19, tone="ok", says=says),
        drawings.interval(0.54, 1.05, 2.03, same=1.0, limit=1.25, tone="warn", says=says),
        drawings.interval(1.6, 1.98, 2.4, same=1.0, limit=1.19, tone="danger", says=says),
    ]


def with_gap() -> Chart:
    begin, step = 1_780_000_200.0, 300.0
    old = [(begin + n * step, None if 30 <= n < 34 else 2.1 + 0.15 * ((n * 7919) % 11 - 5) / 5) for n in range(96)]
    new = [(begin + n * step, None if 30 <= n < 34 else 0.95 + 0.1 * ((n * 104729) % 13 - 6) / 6) for n in range(96)]
    band = [(t, value - 0.25, value + 0.35) for t, value in new if value is not None]
    return Chart(
        "parts-gap",
        "p95 latency, 5 min windows",
        "p95 latency of both variants; no data for twenty minutes.",
        [
            Series("GPT-4.1", "baseline", old, told="2.12 s"),
            Series("Flash-Lite", "candidate", new, band, open_last=True, told="0.94 s"),
        ],
        since=begin,
        until=begin + 95 * step,
        height=118,
        limits=[Limit(1.5, "limit 1.50 s for Flash-Lite")],
        marks=[Mark(begin + 66 * step, "25 %", "stage")],
        gaps=[(begin + 30 * step, begin + 33 * step)],
    )


def empty() -> Chart:
    begin = 1_780_000_200.0
    return Chart(
        "parts-empty",
        "Cost per 1k calls",
        "Nothing to draw yet.",
        [Series("GPT-5", "candidate", [])],
        since=begin,
        until=begin + 3600,
        unit="usd",
        height=118,
        waits="8 of 20 calls",
    )
