"""/api/v1/sources/, /unassigned/, /mappings/, /suspected-shadows/: from where calls come, and what finds no route."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.core.money import nano_to_text
from apps.telemetry import queries, services, shadows
from apps.telemetry.api import NOT_VISIBLE
from apps.telemetry.models import Mapping, SuspectedShadow

DAY = timedelta(days=1)

SourceOut = inline_serializer(
    "TelemetrySource",
    {
        "service": serializers.CharField(),
        "calls": serializers.DictField(child=serializers.IntegerField()),
        "covered": serializers.IntegerField(),
        "money_from": serializers.ChoiceField(choices=list(queries.BEST_FIRST), allow_null=True),
        "without_a_span": serializers.FloatField(allow_null=True),
        "comparison": serializers.CharField(allow_null=True),
        "resolution_seconds": serializers.IntegerField(allow_null=True),
        "sampled": serializers.IntegerField(),
        "attempts": serializers.ChoiceField(choices=["visible", NOT_VISIBLE]),
        "scopes": serializers.DictField(child=serializers.IntegerField()),
        "alias_table_versions": serializers.ListField(child=serializers.IntegerField()),
        "attributed": serializers.DictField(child=serializers.IntegerField()),
        "rejected": serializers.DictField(child=serializers.IntegerField()),
        "rejections": inline_serializer(
            "Rejection",
            {
                "key": serializers.CharField(),
                "source": serializers.CharField(),
                "reason": serializers.CharField(),
                "n": serializers.IntegerField(),
            },
            many=True,
        ),
        "notes": serializers.DictField(child=serializers.IntegerField()),
        "is_also_native": serializers.BooleanField(help_text="Calls that both doors tell of count twice: close one."),
        "is_also_of_gateway": serializers.BooleanField(
            help_text="A gateway reports here: calls that it tells too count once if both carry one id."
        ),
        "told_usd": serializers.CharField(),
    },
    many=True,
)
UnassignedOut = inline_serializer(
    "Unassigned",
    {
        "name": serializers.CharField(),
        "service": serializers.CharField(),
        "model": serializers.CharField(),
        "calls": serializers.IntegerField(),
        "cost_usd": serializers.CharField(),
        "unpriced": serializers.IntegerField(),
        "first_at": serializers.DateTimeField(),
        "last_at": serializers.DateTimeField(),
    },
    many=True,
)
MAPPING: dict[str, serializers.Field[Any, Any, Any, Any]] = {
    "id": serializers.CharField(),
    "service": serializers.CharField(),
    "model": serializers.CharField(),
    "route": serializers.CharField(),
    "by": serializers.CharField(),
    "at": serializers.DateTimeField(),
}
MappingOut = inline_serializer("Mapping", MAPPING)
MappingsOut = inline_serializer("Mapping", MAPPING, many=True)
SUSPECTED: dict[str, serializers.Field[Any, Any, Any, Any]] = {
    "call_id": serializers.CharField(),
    "trace_id": serializers.CharField(),
    "group": serializers.CharField(),
    "model": serializers.CharField(),
    "route": serializers.CharField(),
    "cost_usd": serializers.CharField(),
    "at": serializers.DateTimeField(),
    "answer": serializers.ChoiceField(choices=[shadows.SHADOW, shadows.LIVE], allow_null=True),
    "by": serializers.CharField(),
    "answered_at": serializers.DateTimeField(allow_null=True),
}
SuspectedOut = inline_serializer("SuspectedShadow", SUSPECTED)
AllSuspectedOut = inline_serializer("SuspectedShadow", SUSPECTED, many=True)


class SourcesView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("hours", int, description="How far back; 24 by default.")],
        responses=SourceOut,
        summary="What each service sent: calls by source, what was refused and why",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        asked = HoursIn(data=request.query_params)
        asked.is_valid(raise_exception=True)
        since = self.now - timedelta(hours=asked.validated_data["hours"])
        return self.paged(queries.sources(environment.key, since, self.now), source_dict)


class HoursIn(serializers.Serializer[Any]):
    hours = serializers.IntegerField(min_value=1, max_value=90 * 24, default=24)


def source_dict(view: queries.SourceView) -> dict[str, Any]:
    return {
        "service": view.service,
        "calls": {kind: n for kind, n in view.calls.items() if n > 0},
        "covered": view.covered,
        "money_from": view.money_from,
        "without_a_span": view.without_a_span,
        "comparison": view.comparison,
        "resolution_seconds": view.resolution_seconds,
        "sampled": view.sampled,
        "attempts": "visible" if view.are_attempts_visible else NOT_VISIBLE,
        "scopes": view.scopes,
        "alias_table_versions": sorted(view.names),
        "attributed": {name: n for name, n in view.attributed.items() if n > 0},
        "rejected": view.rejected,
        "rejections": [asdict(one) for one in view.rejections],
        "notes": view.notes,
        "is_also_native": view.is_also_native,
        "is_also_of_gateway": view.is_also_of_gateway,
        "told_usd": nano_to_text(view.told_nano),
    }


class UnassignedView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        responses=UnassignedOut,
        summary="Calls that name a route which nobody made, or none at all, with their money of the last 30 days",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        rows = queries.unassigned(environment.key)
        spent = queries.spend(
            environment.key, self.now - 30 * DAY, self.now + DAY, by=["route"],
            where={"route": [row.name for row in rows]},
        ) if rows else []  # fmt: skip
        money = {row.keys["route"]: row for row in spent}
        return self.paged(rows, lambda row: unassigned_dict(row, money.get(row.name)))


def unassigned_dict(view: queries.UnassignedView, spent: queries.SpendRow | None) -> dict[str, Any]:
    return {
        "name": view.name,
        "service": view.service,
        "model": view.model,
        "calls": view.calls,
        "cost_usd": nano_to_text(spent.spent_nano if spent else 0),
        "unpriced": spent.unpriced if spent else 0,
        "first_at": view.first_at,
        "last_at": view.last_at,
    }


class MappingIn(serializers.Serializer[Any]):
    service = serializers.CharField(max_length=128)
    model = serializers.CharField(max_length=200, default="", allow_blank=True)
    route = serializers.CharField(max_length=512)
    because = serializers.CharField(max_length=500)


class ReasonIn(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class MappingsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT], responses=MappingsOut, summary="Which services' calls are of which route"
    )
    def get(self, request: Request) -> Response:
        return self.paged(queries.mappings(self.asked_environment().key), mapping_dict)

    @extend_schema(request=MappingIn, responses={201: MappingOut}, summary="Map calls that name no route to one")
    def post(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        asked = self.read(MappingIn)
        mapping = services.map_calls(environment=environment.key, by=self.actor, now=self.now, **asked)
        return Response(mapping_dict(mapping), status=201)


class OneMappingView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], request=ReasonIn, responses={204: None}, summary="Take a mapping back")
    def delete(self, request: Request, id: str) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        because = self.read(ReasonIn)["because"]
        services.unmap_calls(environment=environment.key, id=id, by=self.actor, because=because, now=self.now)
        return Response(status=204)


def mapping_dict(mapping: Mapping) -> dict[str, Any]:
    at: datetime = mapping.at
    return {
        "id": mapping.id,
        "service": mapping.service,
        "model": mapping.model,
        "route": mapping.route,
        "by": mapping.by,
        "at": at,
    }


class SuspectedIn(serializers.Serializer[Any]):
    answered = serializers.BooleanField(default=False)


class SuspectedShadowsView(ApiView):
    @extend_schema(
        parameters=[
            IN_ENVIRONMENT,
            OpenApiParameter("answered", bool, description="Those of which somebody has said what they are."),
        ],
        responses=AllSuspectedOut,
        summary="Calls that a gateway seems to have mirrored unmarked",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        asked = SuspectedIn(data=request.query_params)
        asked.is_valid(raise_exception=True)
        return self.paged(queries.suspected_shadows(environment.key, **asked.validated_data), suspected_dict)


class AnswerShadowView(ApiView):
    said: ClassVar[str]

    def said_by(self, call_id: str) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        because = self.read(ReasonIn)["because"]
        found = shadows.settle(
            environment=environment.key, call_id=call_id, said=self.said, by=self.actor, because=because, now=self.now
        )
        return Response(suspected_dict(found))


class ConfirmShadowView(AnswerShadowView):
    said = shadows.SHADOW

    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=ReasonIn,
        responses=SuspectedOut,
        summary="It was a shadow call: its money moves to the shadow's own cap",
    )
    def post(self, request: Request, call_id: str) -> Response:
        return self.said_by(call_id)


class DismissShadowView(AnswerShadowView):
    said = shadows.LIVE

    @extend_schema(
        parameters=[IN_ENVIRONMENT], request=ReasonIn, responses=SuspectedOut, summary="It was no shadow call"
    )
    def post(self, request: Request, call_id: str) -> Response:
        return self.said_by(call_id)


def suspected_dict(one: SuspectedShadow) -> dict[str, Any]:
    return {
        "call_id": one.call_id,
        "trace_id": one.trace_id,
        "group": one.model_group,
        "model": one.model,
        "route": one.route,
        "cost_usd": nano_to_text(one.cost_nano),
        "at": one.at,
        "answer": one.answer or None,
        "by": one.by,
        "answered_at": one.answered_at,
    }
