"""/api/v1/flags/{key}/versions: what a flag was, compared, and reverted to."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.core.refusals import Invalid
from apps.flags import queries, versions
from apps.flags.api.shapes import AnyObject, Because, FlagOut, with_etag

FROM_TO = [
    IN_ENVIRONMENT,
    OpenApiParameter("from", int, required=True, description="A revision."),
    OpenApiParameter("to", int, required=True, description="Another."),
]


class VersionOut(serializers.Serializer[Any]):
    revision = serializers.IntegerField()
    version = serializers.IntegerField(help_text="The snapshot that carried it first.")
    key = serializers.CharField(help_text="As it was called then.")
    kind = serializers.CharField()
    by = serializers.CharField()
    because = serializers.CharField()
    at = serializers.DateTimeField()


class WholeVersionOut(VersionOut):
    definition = AnyObject(source="fields", help_text="The whole definition, by field.")


class ComparisonOut(serializers.Serializer[Any]):
    before = VersionOut()
    after = VersionOut()
    changes = AnyObject(help_text='By field: {"was": …, "is": …}.')


class RevertIn(Because):
    revision = serializers.IntegerField(min_value=1)
    only = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="These fields; all that differ by default."
    )


class VersionsView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=VersionOut(many=True), summary="Every version of a flag")
    def get(self, request: Request, key: str) -> Response:
        rows = versions.rows(self.asked_environment().key, key)
        return self.paged(rows, lambda row: dict(VersionOut(row).data))


class OneVersionView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=WholeVersionOut, summary="One version, whole")
    def get(self, request: Request, key: str, revision: int) -> Response:
        found = versions.version(self.asked_environment().key, key, revision)
        return Response(dict(WholeVersionOut(found).data))


class CompareView(ApiView):
    @extend_schema(parameters=FROM_TO, responses=ComparisonOut, summary="Two versions compared, field by field")
    def get(self, request: Request, key: str) -> Response:
        where = self.asked_environment().key
        before, after = (self.revision(name) for name in ("from", "to"))
        return Response(dict(ComparisonOut(versions.compare(where, key, before, after)).data))

    def revision(self, name: str) -> int:
        given = self.request.query_params.get(name, "")
        if not given.isdecimal() or len(given) > 9:
            raise Invalid(f"{name} is the number of a revision.", **{name: "The number of a revision."})
        return int(given)


class RevertView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=RevertIn,
        responses=FlagOut,
        summary="Revert to a version, as a new one; weights and switches stay as they are",
    )
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected, data = self.expected_revision(where), self.read(RevertIn)
        published = versions.revert(
            environment=where.key, key=key, by=self.actor, now=self.now, expected=expected, **data
        )
        return with_etag(queries.flag(where.key, key), published.version)
