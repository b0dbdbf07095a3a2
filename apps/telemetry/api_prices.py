"""What has no price, what a price list would change, and how many calls a request takes."""

from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.catalog import queries as catalog
from apps.catalog.models import PriceList
from apps.core.money import nano_to_text
from apps.telemetry import queries, repricing
from apps.telemetry.api import NOT_VISIBLE, PERIOD, FromTo, MeasuredView, PeriodIn, rounded
from apps.telemetry.api_repricing import PriceChangeOut, change_dict

MONTH = timedelta(days=30)

UnpricedOut = inline_serializer(
    "Unpriced",
    {
        "provider": serializers.CharField(),
        "model": serializers.CharField(),
        "calls": serializers.IntegerField(),
        "input_tokens": serializers.IntegerField(),
        "output_tokens": serializers.IntegerField(),
    },
    many=True,
)
AmplificationOut = inline_serializer(
    "Amplification",
    {
        "route": serializers.CharField(),
        "requests": serializers.IntegerField(),
        "calls": serializers.IntegerField(),
        "attempts_per_request": serializers.FloatField(allow_null=True),
        "calls_per_request": serializers.FloatField(allow_null=True),
        "note": serializers.CharField(allow_null=True),
    },
    many=True,
)


class PriceListEffectOut(FromTo):
    difference_usd = serializers.CharField()
    changes = PriceChangeOut(many=True)


class UnpricedView(MeasuredView):
    looks_back = MONTH

    @extend_schema(
        parameters=[
            IN_ENVIRONMENT,
            OpenApiParameter("from", datetime, description="30 days before `to` by default."),
            OpenApiParameter("to", datetime, description="Now by default; itself outside."),
        ],
        responses=UnpricedOut,
        summary="Models whose calls have no price: counted, never free",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        asked = self.asked(PeriodIn)
        return self.paged(queries.unpriced(environment.key, asked["from"], asked["to"]), unpriced_dict)


class AmplificationView(MeasuredView):
    @extend_schema(
        parameters=[*PERIOD, OpenApiParameter("route", str)],
        responses=AmplificationOut,
        summary="Attempts and provider calls for each request, by route",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        asked = self.asked(PeriodIn)
        route = request.query_params.get("route") or None
        rows = queries.amplification(environment.key, asked["from"], asked["to"], route)
        return self.paged(rows, amplification_dict)


class EffectView(ApiView):
    @extend_schema(
        responses=PriceListEffectOut, summary="What a price list would have changed in the last 30 days, in USD"
    )
    def get(self, request: Request, id: str) -> Response:
        found = catalog.price_list(id)
        waits = found.state == PriceList.State.PROPOSED
        changes = repricing.effect(catalog.listed(found), self.now) if waits else []
        since, until = repricing.month_before(self.now)
        return Response(
            {
                "from": since,
                "to": until,
                "difference_usd": nano_to_text(sum(change.difference_nano for change in changes)),
                "changes": [change_dict(change) for change in changes],
            }
        )


def unpriced_dict(row: queries.Unpriced) -> dict[str, Any]:
    return {
        "provider": row.provider,
        "model": row.model,
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }


def amplification_dict(row: queries.Attempts) -> dict[str, Any]:
    return {
        "route": row.route,
        "requests": row.all_requests,
        "calls": row.calls,
        "attempts_per_request": rounded(row.per_request),
        "calls_per_request": rounded(row.calls_per_request),
        "note": NOT_VISIBLE if row.per_request is None else None,
    }
