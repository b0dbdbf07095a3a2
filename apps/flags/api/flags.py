"""/api/v1/flags, what can be done to one, and what is known of its use."""

from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.access.models import Environment
from apps.core.refusals import Invalid
from apps.flags import clean_up, copying, keeping, moves, queries, requests_seen, services
from apps.flags.api.change_requests import read_fields
from apps.flags.api.shapes import (
    Because,
    ClientOut,
    CopyIn,
    ExposuresOut,
    FlagIn,
    FlagOut,
    FlagPatch,
    PreviewChangeIn,
    PreviewIn,
    PreviewOut,
    RenameIn,
    StaleOut,
    WeightsIn,
    flag_dict,
    in_parts,
    with_etag,
)
from apps.flags.models import ChangeRequest, Flag
from apps.flags.seen import clean, moment


def said(value: str | None) -> bool:
    return value in ("1", "true", "True", "yes")


def days_of(value: str | None) -> int:
    if value is None:
        return clean_up.DAYS
    if not value.isdecimal() or not 1 <= int(value[:4]) <= 365:
        raise Invalid("days is a whole number from 1 to 365.", days="A whole number from 1 to 365.")
    return int(value)


class FlagsView(ApiView):
    @extend_schema(
        parameters=[
            IN_ENVIRONMENT,
            OpenApiParameter("archived", bool, description="The archived ones instead."),
            OpenApiParameter("owner", str),
            OpenApiParameter(
                "stale", bool, description="Only those to clean up, each with `reasons`; `days` is how long."
            ),
            OpenApiParameter("days", int, description="With stale: how many days are long. 14 by default."),
        ],
        responses=FlagOut(many=True),
        summary="Flags",
    )
    def get(self, request: Request) -> Response:
        where, asked = self.asked_environment().key, request.query_params
        rows = Flag.objects.with_route().of(where).order_by("-created_at", "-id")
        rows = rows.archived() if said(asked.get("archived")) else rows.served()
        if "owner" in asked:
            rows = rows.filter(owner=clean(asked["owner"], 128))
        if not said(asked.get("stale")):
            return self.paged(rows, lambda row: flag_dict(queries.flag_view(row)))
        stale = {one.key: one for one in clean_up.clean_up(where, self.now, days=days_of(asked.get("days")))}
        rows = rows.filter(key__in=list(stale))
        return self.paged(rows, lambda row: flag_dict(queries.flag_view(row)) | dict(StaleOut(stale[row.key]).data))

    @extend_schema(request=FlagIn, responses={201: FlagOut}, summary="Create a flag")
    def post(self, request: Request) -> Response:
        where = self.asked_environment(role=Role.OPERATOR).key
        data = self.read(FlagIn) | {"environment": where}
        published = services.create_flag(**data, by=self.actor, now=self.now)
        return with_etag(queries.flag(where, data["key"]), published.version, status.HTTP_201_CREATED)


class OneFlagView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=FlagOut, summary="One flag")
    def get(self, request: Request, key: str) -> Response:
        return with_etag(queries.flag(self.asked_environment().key, key))

    @extend_schema(parameters=[IN_ENVIRONMENT], request=FlagPatch, responses=FlagOut, summary="Change a flag")
    def patch(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected = self.expected_revision(where)
        published = services.update_flag(
            environment=where.key, key=key, by=self.actor, now=self.now, expected=expected, **self.read(FlagPatch)
        )
        return with_etag(queries.flag(where.key, key), published.version)

    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("because", str)],
        responses={204: None},
        summary="Delete an archived flag",
    )
    def delete(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected, because = self.expected_revision(where), request.query_params.get("because", "")
        keeping.delete_flag(
            environment=where.key, key=key, by=self.actor, because=because, now=self.now, expected=expected
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class ArchiveView(ApiView):
    act = staticmethod(keeping.archive_flag)

    @extend_schema(parameters=[IN_ENVIRONMENT], request=Because, responses=FlagOut, summary="Archive: no longer served")
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected, because = self.expected_revision(where), self.read(Because)["because"]
        published = self.act(
            environment=where.key, key=key, by=self.actor, because=because, now=self.now, expected=expected
        )
        return with_etag(queries.flag(where.key, key), published.version)


class UnarchiveView(ArchiveView):
    act = staticmethod(keeping.unarchive_flag)

    @extend_schema(parameters=[IN_ENVIRONMENT], request=Because, responses=FlagOut, summary="Bring it back")
    def post(self, request: Request, key: str) -> Response:
        return super().post(request, key)


class RenameView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT], request=RenameIn, responses=FlagOut, summary="Rename; the salt stays, nobody moves"
    )
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected, data = self.expected_revision(where), self.read(RenameIn)
        published = keeping.rename_flag(
            environment=where.key, key=key, by=self.actor, now=self.now, expected=expected, **data
        )
        return with_etag(queries.flag(where.key, data["to"]), published.version)


class CopyView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=CopyIn,
        responses={201: FlagOut},
        summary="Copy a flag or a route, here or into another environment; the salt travels along",
    )
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment().key
        data = self.read(CopyIn)
        target = self.environment(data.pop("to_environment", where), role=Role.OPERATOR).key
        published = copying.copy_flag(
            environment=where, key=key, to_environment=target, by=self.actor, now=self.now, **data
        )
        return with_etag(queries.flag(target, data["to"]), published.version, status.HTTP_201_CREATED)


class WeightsView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], request=WeightsIn, responses=FlagOut, summary="Change a flag's split")
    def put(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected = self.expected_revision(where)
        data = self.read(WeightsIn)
        published = services.change_weights(
            environment=where.key,
            key=key,
            weights=in_parts(data["weights"]),
            by=self.actor,
            because=data["because"],
            now=self.now,
            expected=expected,
        )
        return with_etag(queries.flag(where.key, key), published.version)


class PreviewView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=PreviewIn,
        responses=PreviewOut,
        summary="Who would move, and from where to where, if these weights were saved",
    )
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment().key
        found = moves.preview(where, key, in_parts(self.read(PreviewIn)["weights"]), now=self.now)
        return Response(dict(PreviewOut(found).data))


class PreviewChangeView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=PreviewChangeIn,
        responses=PreviewOut,
        summary="Who would move, and from where to where, if this change were saved",
    )
    def post(self, request: Request, key: str) -> Response:
        where, data = self.asked_environment().key, self.read(PreviewChangeIn)
        is_route = requests_seen.is_route(where, key)
        fields = read_fields(data["changes"], ChangeRequest.Action.CHANGE, is_route=is_route)
        weights = fields.pop("weights", None)
        found = moves.preview(where, key, weights, fields=fields, contexts=data.get("contexts", ()), now=self.now)
        return Response(dict(PreviewOut(found).data))


class ExposuresView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("since", datetime, description="A day back by default.")],
        responses=ExposuresOut,
        summary="How often which variant was given, to whose clients",
    )
    def get(self, request: Request, key: str) -> Response:
        where = self.asked_environment().key
        queries.flag(where, key)
        since = moment(request.query_params.get("since")) or self.now - timedelta(days=1)
        rows = queries.exposures(where, key, since)
        total = sum(row.count for row in rows)
        return Response(dict(ExposuresOut({"flag": key, "since": since, "count": total, "rows": rows}).data))


class ClientsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT], responses=ClientOut(many=True), summary="Clients seen, and how far behind they are"
    )
    def get(self, request: Request) -> Response:
        rows = queries.clients(self.asked_environment().key, doors=True)
        newest_first = sorted(rows, key=lambda row: row.seen_at, reverse=True)
        return self.paged(newest_first, lambda row: dict(ClientOut(row).data))


class SwitchView(ApiView):
    """Safety comes first: no If-Match, no free hold, whatever protects the environment."""

    def switch(self, key: str, to: Any) -> Response:
        where: Environment = self.asked_environment(role=Role.OPERATOR)
        because = self.read(Because)["because"]
        published = to(environment=where.key, key=key, by=self.actor, because=because, now=self.now)
        return with_etag(queries.flag(where.key, key), published.version)


class SwitchOffView(SwitchView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT], request=Because, responses=FlagOut, summary="Kill switch: disable a flag"
    )
    def post(self, request: Request, key: str) -> Response:
        return self.switch(key, services.switch_off)


class SwitchBackView(SwitchView):
    @extend_schema(parameters=[IN_ENVIRONMENT], request=Because, responses=FlagOut, summary="Take a switch back")
    def post(self, request: Request, key: str) -> Response:
        return self.switch(key, services.restore)
