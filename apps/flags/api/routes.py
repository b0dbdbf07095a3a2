"""/api/v1/routes."""

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.flags import queries, services
from apps.flags.api.shapes import (
    RouteIn,
    RouteOut,
    RoutePatch,
    flag_dict,
    with_etag,
)
from apps.flags.models import Flag


class RoutesView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=RouteOut(many=True), summary="Routes")
    def get(self, request: Request) -> Response:
        where = self.asked_environment().key
        rows = Flag.objects.with_route().of(where).served().exclude(route=None).order_by("-created_at", "-id")
        return self.paged(rows, lambda row: flag_dict(queries.route_view(row)))

    @extend_schema(request=RouteIn, responses={201: RouteOut}, summary="Create a route")
    def post(self, request: Request) -> Response:
        where = self.asked_environment(role=Role.OPERATOR).key
        data = self.read(RouteIn) | {"environment": where}
        published = services.create_route(**data, by=self.actor, now=self.now)
        return with_etag(queries.route(where, data["key"]), published.version, status.HTTP_201_CREATED)


class OneRouteView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=RouteOut, summary="One route")
    def get(self, request: Request, key: str) -> Response:
        return with_etag(queries.route(self.asked_environment().key, key))

    @extend_schema(parameters=[IN_ENVIRONMENT], request=RoutePatch, responses=RouteOut, summary="Change a route")
    def patch(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected = self.expected_revision(where)
        published = services.update_route(
            environment=where.key, key=key, by=self.actor, now=self.now, expected=expected, **self.read(RoutePatch)
        )
        return with_etag(queries.route(where.key, key), published.version)
