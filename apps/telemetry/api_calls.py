"""/api/v1/calls/ and /api/v1/pairs/: single calls, so long as they are kept, and what a shadow made of the same."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.money import nano_to_text
from apps.telemetry import queries
from apps.telemetry.api import PERIOD, MeasuredView, WindowsIn
from apps.telemetry.domain.raw import OWN, SHARED, RawCall
from apps.telemetry.models import Pair

MOST = 5_000  # of one question: narrow the time for more
FACTS = [name for name in (*OWN, *SHARED) if name not in ("at", "arm", "route")]


class CallsIn(WindowsIn):
    variant = serializers.CharField(default="", allow_blank=True)
    arm = serializers.ChoiceField(choices=["live", "shadow"], default="", allow_blank=True)
    error = serializers.CharField(default="", allow_blank=True)
    request_id = serializers.CharField(default="", allow_blank=True)


CallOut = inline_serializer(
    "SingleCall",
    {
        "at": serializers.DateTimeField(),
        "arm": serializers.CharField(),
        **{name: serializers.CharField(allow_null=True) for name in FACTS},
        **{name: serializers.FloatField(allow_null=True) for name in ("latency_ms", "first_token_ms")},
        **{name: serializers.IntegerField(allow_null=True)
           for name in ("attempt", "snapshot", "input_tokens", "cached_input_tokens", "output_tokens")},
        "final": serializers.BooleanField(allow_null=True),
        "confirmed_usd": serializers.CharField(),
        "estimated_usd": serializers.CharField(),
        "price_rule": serializers.CharField(),
    },
    many=True,
)  # fmt: skip


class PairLeg(serializers.Serializer[Any]):
    variant = serializers.CharField()
    at = serializers.DateTimeField()
    latency_ms = serializers.FloatField()
    error = serializers.CharField(allow_null=True)
    output_tokens = serializers.IntegerField(allow_null=True)
    cost_usd = serializers.CharField()
    calls = serializers.IntegerField()


PairOut = inline_serializer(
    "Pair",
    {
        "pair_id": serializers.CharField(),
        "at": serializers.DateTimeField(),
        "grade": serializers.FloatField(allow_null=True),
        "live": PairLeg(allow_null=True),
        "shadow": PairLeg(allow_null=True),
    },
    many=True,
)


class CallsView(MeasuredView):
    @extend_schema(
        parameters=[
            *PERIOD,
            OpenApiParameter("route", str, required=True),
            OpenApiParameter("variant", str),
            OpenApiParameter("arm", str, enum=["live", "shadow"]),
            OpenApiParameter("error", str, description="A class of errors, `any`, or `none`."),
            OpenApiParameter("request_id", str),
        ],
        responses=CallOut,
        summary="Single calls of a route, newest first, so long as they are kept (RAW_HOURS, RAW_MAX_MB)",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        asked = self.asked(CallsIn)
        wanted = queries.Wanted(asked["variant"], asked["arm"], asked["error"], asked["request_id"])
        calls = queries.raw_calls(environment.key, asked["route"], asked["from"], asked["to"], wanted, limit=MOST)
        return self.paged(calls, call_dict)


class PairsView(MeasuredView):
    @extend_schema(
        parameters=[*PERIOD, OpenApiParameter("route", str, required=True)],
        responses=PairOut,
        summary="Requests that a live variant and its shadow answered, with the shadow's grade; newest first",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        asked = self.asked(WindowsIn)
        return self.paged(queries.pairs(environment.key, asked["route"], asked["from"], asked["to"]), pair_dict)


def call_dict(call: RawCall) -> dict[str, Any]:
    return {
        "at": call.at,
        "arm": call.facts["arm"] or "live",
        **{name: call.facts[name] for name in FACTS},
        "confirmed_usd": nano_to_text(call.confirmed_nano),
        "estimated_usd": nano_to_text(call.estimated_nano),
        "price_rule": call.rule,
    }


def pair_dict(pair: Pair) -> dict[str, Any]:
    legs = {arm: leg_dict(pair, arm) for arm in ("live", "shadow")}
    return {"pair_id": pair.pair_id, "at": pair.at, "grade": pair.grade, **legs}


def leg_dict(pair: Pair, arm: str) -> dict[str, Any] | None:
    """None: it has not come, or was never made."""

    def told(name: str) -> Any:
        return getattr(pair, f"{arm}_{name}")

    if not told("calls"):
        return None
    return {
        "variant": told("variant"),
        "at": told("began_at"),
        "latency_ms": (told("ended_at") - told("began_at")).total_seconds() * 1000,
        "error": told("error") or None,
        "output_tokens": told("output_tokens"),
        "cost_usd": nano_to_text(told("nano")),
        "calls": told("calls"),
    }
