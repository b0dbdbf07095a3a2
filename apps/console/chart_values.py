"""A drawn chart's values as they are: data for uPlot, which draws the chart anew, and the rows of its table."""

import math
from datetime import UTC, datetime
from typing import Any

from apps.console.charts import WIDE, Chart, Frame


def for_uplot(chart: Chart) -> dict[str, Any]:
    """The same chart for uPlot: one shared column of times, one column of values for each line and band."""
    times = sorted(
        {t for one in chart.series for t, _ in one.points} | {t for one in chart.series for t, _, _ in one.band}
    )
    columns: list[dict[str, Any]] = []
    for one in chart.series:
        values = dict(one.points)
        lows, highs = {t: low for t, low, _ in one.band}, {t: high for t, _, high in one.band}
        columns.append(
            {
                "name": one.name,
                "arm": one.arm,
                "values": [values.get(t) for t in times],
                "low": [lows.get(t) for t in times] if lows else None,
                "high": [highs.get(t) for t in times] if highs else None,
                "told": one.told,
                "area": one.area,
                "steps": one.steps,
                "kind": one.kind,
                "openLast": one.open_last,
            }
        )
    frame = Frame(chart, WIDE, 0, 0)
    return {
        "times": times,
        "series": columns,
        "since": chart.since,
        "until": chart.until,
        "unit": chart.unit,
        "height": chart.height,
        "ticks": frame.ticks,
        "low": frame.low,
        "high": frame.high,
        "log": chart.log,
        "limits": [{"value": one.value, "words": one.words, "kind": one.kind} for one in chart.limits],
        "marks": [{"at": one.at, "words": one.words, "kind": one.kind} for one in chart.marks],
        "shade": chart.shade,
        "gaps": list(chart.gaps),
        "withTime": chart.with_time,
        "endRoom": chart.end_room,
        "says": chart.says,
    }


def rows(chart: Chart, most: int = 60) -> list[list[str]]:
    """The chart as a table: at most `most` moments, evenly picked, the newest always."""
    moments = sorted({t for one in chart.series for t, _ in one.points}, reverse=True)
    step = max(1, math.ceil(len(moments) / most))
    values = [dict(one.points) for one in chart.series]
    return [
        [f"{datetime.fromtimestamp(t, UTC):%d %b %H:%M:%S}"]
        + ["" if (v := column.get(t)) is None else chart.exact(v) for column in values]
        for t in moments[::step]
    ]
