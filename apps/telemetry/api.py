"""/api/v1/windows/ and /api/v1/spend/: what was measured, and what it cost."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, available_timezones

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.core.money import nano_to_text
from apps.core.refusals import Invalid
from apps.telemetry import queries

STEPS = [*queries.STEPS, "all"]
SPEND_STEPS = [step for step in STEPS if queries.STEPS.get(step, 60) >= 60]  # money is kept by the minute
YEARS = range(1900, 9000)  # what lies beyond cannot be cut into the days of every zone
BY = (*queries.money.BY, queries.money.TOKENS_SOURCE)
MOST_STEPS = 20_000
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
NOT_VISIBLE = "not visible from this source"  # attempts, where one span is made of all tries

PERIOD = [
    IN_ENVIRONMENT,
    OpenApiParameter(
        "from",
        datetime,
        description="An hour before `to` by default. Sums take the minute or window in which it lies whole.",
    ),
    OpenApiParameter("to", datetime, description="Now by default; itself outside."),
]


class MomentField(serializers.DateTimeField):
    def to_internal_value(self, value: Any) -> datetime:
        at = super().to_internal_value(value)
        if at.year not in YEARS:
            raise serializers.ValidationError(f"Of the years {YEARS.start} to {YEARS.stop - 1}.")
        return at


class FromTo(serializers.Serializer[Any]):
    are_required: ClassVar[bool] = True

    def get_fields(self) -> dict[str, Any]:  # `from` is a word of Python
        moments = {name: MomentField(required=self.are_required) for name in ("from", "to")}
        return {**moments, **super().get_fields()}


class PeriodIn(FromTo):
    are_required = False
    step = serializers.ChoiceField(choices=STEPS, default="all")


class WindowsIn(PeriodIn):
    route = serializers.CharField()


class SpendIn(PeriodIn):
    step = serializers.ChoiceField(choices=SPEND_STEPS, default="all")
    by = serializers.CharField(default="", allow_blank=True)
    timezone = serializers.CharField(default="UTC")

    def validate_timezone(self, name: str) -> str:
        if name not in available_timezones() | {"UTC"}:
            raise serializers.ValidationError("Use a name such as Europe/Berlin.")
        return name


class CoverageOut(serializers.Serializer[Any]):
    sources = serializers.ListField(
        child=serializers.CharField(), help_text="native, webhook, span, log, metric; empty: it cannot be told."
    )
    calls = serializers.IntegerField()
    assigned = serializers.IntegerField(help_text="Of the calls: to a variant.")
    covered = serializers.FloatField(allow_null=True, help_text="The share of calls that stand in percentiles.")
    requests = serializers.IntegerField(help_text="0 where the source tells of calls alone.")
    late = serializers.IntegerField()
    sampled = serializers.IntegerField(help_text="Calls of traces of which the sender keeps a part.")
    resolution_seconds = serializers.IntegerField(allow_null=True, help_text="No figure is finer in time.")


WindowOut = inline_serializer(
    "Window",
    {
        "from": serializers.DateTimeField(),
        "to": serializers.DateTimeField(),
        "variant": serializers.CharField(),
        "arm": serializers.CharField(),
        "calls": serializers.IntegerField(),
        "errors": serializers.IntegerField(),
        "input_tokens": serializers.IntegerField(),
        "cached_input_tokens": serializers.IntegerField(),
        "output_tokens": serializers.IntegerField(),
        "confirmed_usd": serializers.CharField(),
        "estimated_usd": serializers.CharField(),
        "cost_usd": serializers.CharField(),
        "unpriced": serializers.IntegerField(),
        "latency_ms": serializers.DictField(child=serializers.FloatField(), allow_null=True),
        "latency_range_ms": serializers.DictField(
            child=serializers.ListField(child=serializers.FloatField(allow_null=True)), allow_null=True
        ),
        "latency_note": serializers.CharField(allow_null=True),
        "latency_error": serializers.FloatField(
            allow_null=True,
            help_text="By which part percentiles may be off where a sender's cells are wide.",
        ),
        "requests": serializers.IntegerField(),
        "attempts_per_request": serializers.FloatField(allow_null=True),
        "late": serializers.IntegerField(),
        "coarse": serializers.IntegerField(help_text="Calls that stand in no percentile."),
        "coverage": CoverageOut(help_text="Of the route, over the whole time that was asked for."),
        "outcomes": serializers.DictField(child=serializers.DictField(child=serializers.FloatField())),
    },
    many=True,
)

SpendOut = inline_serializer(
    "Spend",
    {
        **{name: serializers.CharField(required=False) for name in BY},
        "from": serializers.DateTimeField(),
        "to": serializers.DateTimeField(),
        "confirmed_usd": serializers.CharField(),
        "estimated_usd": serializers.CharField(),
        "reported_usd": serializers.CharField(allow_null=True),
        "cost_usd": serializers.CharField(),
        "calls": serializers.IntegerField(),
        "unpriced": serializers.IntegerField(),
        "as_of": serializers.DateTimeField(allow_null=True),
        "timezone": serializers.CharField(),
    },
    many=True,
)


class MeasuredView(ApiView):
    looks_back: ClassVar[timedelta] = timedelta(hours=1)

    def asked(self, kind: type[PeriodIn]) -> dict[str, Any]:
        reading = kind(data=self.request.query_params)
        reading.is_valid(raise_exception=True)
        asked: dict[str, Any] = reading.validated_data
        until = asked.setdefault("to", self.now)
        since = asked.setdefault("from", until - self.looks_back)
        seconds = queries.STEPS.get(asked["step"], 0)
        if since >= until:
            raise Invalid("The time ends before it begins.", **{"from": "This is not before `to`."})
        if seconds and (until - since) / timedelta(seconds=seconds) > MOST_STEPS:
            raise Invalid("Too many steps.", step=f"{MOST_STEPS:,} at most: ask for longer ones.")
        return asked


class WindowsView(MeasuredView):
    @extend_schema(
        parameters=[*PERIOD, OpenApiParameter("route", str, required=True), OpenApiParameter("step", str, enum=STEPS)],
        responses=WindowOut,
        summary="Calls, requests and outcomes of a route by time and variant",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        asked = self.asked(WindowsIn)
        rows = queries.windows(environment.key, asked["route"], asked["from"], asked["to"], asked["step"])
        covered = coverage_dict(queries.coverage(environment.key, asked["route"], asked["from"], asked["to"]))
        return self.paged(newest_first(rows), lambda row: {**window_dict(row), "coverage": covered})


class SpendView(MeasuredView):
    @extend_schema(
        parameters=[
            *PERIOD,
            OpenApiParameter("by", str, description=f"Some of {', '.join(BY)}, with commas between."),
            OpenApiParameter("step", str, enum=SPEND_STEPS),
            OpenApiParameter("timezone", str, description="Whose days `1d` are; UTC by default."),
        ],
        responses=SpendOut,
        summary="Money by what you ask for",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        asked = self.asked(SpendIn)
        by = [name.strip() for name in asked["by"].split(",") if name.strip()]
        if unknown := [name for name in by if name not in BY]:
            raise Invalid("Money is not kept by that.", by=f"{', '.join(unknown)}: not one of {', '.join(BY)}.")
        if queries.money.TOKENS_SOURCE in request.query_params:
            raise Invalid("Money is not narrowed by that.", tokens_source="Narrow by `rule`, which tells it.")
        where = {name: value for name in queries.money.BY if (value := request.query_params.get(name))}
        name = asked["timezone"]
        rows = queries.spend(
            environment.key, asked["from"], asked["to"], by=by, where=where, step=asked["step"],
            zone=UTC if name == "UTC" else ZoneInfo(name),
        )  # fmt: skip
        as_of = queries.as_of(environment.key)
        return self.paged(newest_first(rows), lambda row: {**spend_dict(row, as_of), "timezone": name})


def newest_first(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: row.since, reverse=True)  # stable: within a step by name


def window_dict(row: queries.WindowRow) -> dict[str, Any]:
    return {
        "from": row.since,
        "to": row.until,
        "variant": row.variant,
        "arm": row.arm,
        "calls": row.calls,
        "errors": row.errors,
        "input_tokens": row.input_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "output_tokens": row.output_tokens,
        "confirmed_usd": nano_to_text(row.confirmed_nano),
        "estimated_usd": nano_to_text(row.estimated_nano),
        "cost_usd": nano_to_text(row.cost_nano),
        "unpriced": row.unpriced,
        "latency_ms": quantiles(row),
        "latency_range_ms": ranges_of(row) if row.is_too_coarse else None,
        "latency_note": row.latency_note,
        "latency_error": rounded(row.latency_error),
        "requests": row.requests,
        "attempts_per_request": rounded(row.seen.attempts_per_request),
        "late": row.late,
        "coarse": row.coarse,
        "outcomes": {name: {"count": count, "sum": total} for name, (count, total) in sorted(row.outcomes.items())},
    }


def coverage_dict(one: queries.Coverage) -> dict[str, Any]:
    return {
        "sources": list(one.sources),
        "calls": one.calls,
        "assigned": one.assigned,
        "covered": rounded(one.covered),
        "requests": one.requests,
        "late": one.late,
        "sampled": one.sampled,
        "resolution_seconds": one.resolution_seconds,
    }


def rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)


def quantiles(row: queries.WindowRow) -> dict[str, float] | None:
    asked = {name: row.quantile(q) for name, q in QUANTILES.items()}
    told = {name: round(seconds * 1000, 3) for name, seconds in asked.items() if seconds is not None}
    return told or None


def ranges_of(row: queries.WindowRow) -> dict[str, list[float | None]]:
    """[above, up to]; without an end: null."""
    asked = {name: row.range_of(q) for name, q in QUANTILES.items()}
    return {
        name: [round(edge * 1000, 3) if math.isfinite(edge) else None for edge in bounds]
        for name, bounds in asked.items()
        if bounds is not None
    }


def spend_dict(row: queries.SpendRow, as_of: datetime | None) -> dict[str, Any]:
    return {
        **row.keys,
        "from": row.since,
        "to": row.until,
        "confirmed_usd": nano_to_text(row.confirmed_nano),
        "estimated_usd": nano_to_text(row.estimated_nano),
        "reported_usd": None if row.reported_nano is None else nano_to_text(row.reported_nano),
        "cost_usd": nano_to_text(row.spent_nano),
        "calls": row.calls,
        "unpriced": row.unpriced,
        "as_of": as_of,
    }
