"""/api/v1/bills/: what providers say it cost, beside what we say."""

import json
from datetime import date, timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.core.money import nano_to_text
from apps.core.refusals import Invalid
from apps.telemetry import bills
from apps.telemetry.api import YEARS

MOST_DAYS = 366

DifferenceOut = inline_serializer(
    "BillDifference",
    {
        "day": serializers.DateField(),
        "provider": serializers.CharField(),
        "model": serializers.CharField(),
        "billed_usd": serializers.CharField(),
        "ours_usd": serializers.CharField(),
        "confirmed_usd": serializers.CharField(),
        "estimated_usd": serializers.CharField(),
        "difference_usd": serializers.CharField(),
        "share": serializers.FloatField(allow_null=True),
        "unpriced": serializers.IntegerField(),
        "is_final": serializers.BooleanField(),
        "is_large": serializers.BooleanField(),
        "causes": serializers.ListField(child=serializers.CharField()),
    },
    many=True,
)
TakenOut = inline_serializer("BillTaken", {"lines": serializers.IntegerField(), "amount_usd": serializers.CharField()})


class BillIn(serializers.Serializer[Any]):
    """`csv` is the text of a file, `lines` its lines as objects: day, model, amount_usd, and provider if it differs."""

    csv = serializers.CharField(max_length=10_000_000, trim_whitespace=False, required=False)
    lines = serializers.ListField(child=serializers.DictField(), max_length=100_000, required=False)
    provider = serializers.CharField(max_length=128, default="", allow_blank=True)
    because = serializers.CharField(max_length=500)


class BillsView(ApiView):
    @extend_schema(
        parameters=[
            IN_ENVIRONMENT,
            OpenApiParameter("from", date, description="The first day, UTC; 31 days back by default."),
            OpenApiParameter("to", date, description="The day after the last; tomorrow by default."),
        ],
        responses=DifferenceOut,
        summary="Bill, ours and their difference, by day and model",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        until = day_of(request, "to") or self.now.date() + timedelta(days=1)
        since = day_of(request, "from") or until - timedelta(days=31)
        if not timedelta(0) < until - since <= timedelta(days=MOST_DAYS):
            raise Invalid("Ask for a year at most.", **{"from": "This is not before `to`, or too long before it."})
        return self.paged(bills.compare(environment.key, since, until, self.now)[::-1], difference_dict)

    @extend_schema(request=BillIn, responses={201: TakenOut}, summary="Import a provider's bill from CSV or JSON")
    def post(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        asked = self.read(BillIn)
        if ("csv" in asked) == ("lines" in asked):
            raise Invalid("Send the bill once, as `csv` or as `lines`.", csv="Either this, or `lines`.")
        lines = bills.take_bill(
            environment=environment.key,
            text=asked["csv"] if "csv" in asked else json.dumps(asked["lines"], default=str),
            provider=asked["provider"],
            by=self.actor,
            because=asked["because"],
            now=self.now,
        )
        told = {"lines": len(lines), "amount_usd": nano_to_text(sum(line.amount_nano for line in lines))}
        return Response(told, status=201)


def day_of(request: Request, name: str) -> date | None:
    told = request.query_params.get(name)
    try:
        day = date.fromisoformat(told[:10]) if told else None
    except ValueError:
        day = date.min
    if day is not None and day.year not in YEARS:
        raise Invalid("A day is written as in 2026-11-24.", **{name: "This is no day."})
    return day


def difference_dict(one: bills.Difference) -> dict[str, Any]:
    return {
        "day": one.day,
        "provider": one.provider,
        "model": one.model,
        "billed_usd": nano_to_text(one.billed_nano),
        "ours_usd": nano_to_text(one.ours_nano),
        "confirmed_usd": nano_to_text(one.confirmed_nano),
        "estimated_usd": nano_to_text(one.estimated_nano),
        "difference_usd": nano_to_text(one.difference_nano),
        "share": one.share,
        "unpriced": one.unpriced,
        "is_final": one.is_final,
        "is_large": one.is_large,
        "causes": one.causes,
    }
