"""/api/v1/endpoints/: who answers at which host, and hosts of which nobody has said it."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.telemetry import endpoints, queries
from apps.telemetry.api_sources import ReasonIn
from apps.telemetry.queries import EndpointView

DAY = timedelta(days=1)


class EndpointIn(serializers.Serializer[Any]):
    host = serializers.CharField(max_length=500)
    provider = serializers.CharField(max_length=128)
    because = serializers.CharField(max_length=500)


class EndpointOut(serializers.Serializer[Any]):
    host = serializers.CharField()
    id = serializers.CharField(help_text="Empty where nobody has said who answers there.")
    provider = serializers.CharField(help_text="Empty there too: its calls have no price but your own.")
    by = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)
    calls = serializers.IntegerField(help_text="Of the last day, counted under the host itself.")
    unpriced = serializers.IntegerField(help_text="Of these.")


class EndpointsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT], responses=EndpointOut(many=True), summary="Hosts, and which provider answers there"
    )
    def get(self, request: Request) -> Response:
        return self.paged(queries.endpoints(self.asked_environment().key, self.now - DAY, self.now), endpoint_dict)

    @extend_schema(request=EndpointIn, responses={201: EndpointOut}, summary="Say which provider answers at a host")
    def post(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        made = endpoints.settle_endpoint(
            environment=environment.key, by=self.actor, now=self.now, **self.read(EndpointIn)
        )
        return Response(endpoint_dict(EndpointView.of(made)), status=201)


class OneEndpointView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], request=ReasonIn, responses={204: None}, summary="Take it back")
    def delete(self, request: Request, id: str) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        because = self.read(ReasonIn)["because"]
        endpoints.forget_endpoint(environment=environment.key, id=id, by=self.actor, because=because, now=self.now)
        return Response(status=204)


def endpoint_dict(view: EndpointView) -> dict[str, Any]:
    return {
        "host": view.host,
        "id": view.id,
        "provider": view.provider,
        "by": view.by,
        "at": view.at,
        "calls": view.calls,
        "unpriced": view.unpriced,
    }
