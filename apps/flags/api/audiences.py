"""/api/v1/audiences: reusable conditions."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.flags import audience_versions, audiences, moves, queries
from apps.flags.api.shapes import MOST_CONTEXTS, AnyObject, Because, Context, PreviewOut, Sparse
from apps.flags.api.versions import FROM_TO, CompareView
from apps.flags.queries import AudienceView

CONDITIONS = '{"all"|"any"|"none": [{"attribute", "operator", "values"}]}'


class AudienceOut(serializers.Serializer[Any]):
    environment = serializers.CharField()
    key = serializers.CharField()
    description = serializers.CharField()
    conditions = AnyObject(help_text=CONDITIONS)
    words = serializers.CharField(help_text="The conditions in one line.")
    flags = serializers.ListField(child=serializers.CharField(), help_text="Who uses it.")
    revision = serializers.IntegerField(help_text="For If-Match.")
    changed_by = serializers.CharField()
    changed_at = serializers.DateTimeField()


class AudienceIn(Sparse):
    environment = serializers.CharField(required=False)
    key = serializers.CharField(max_length=128)
    description = serializers.CharField(max_length=1000, allow_blank=True)
    conditions = AnyObject(help_text=CONDITIONS)
    because = serializers.CharField(max_length=500, allow_blank=True)
    needed = frozenset({"key", "conditions"})


class AudiencePatch(Sparse):
    description = serializers.CharField(max_length=1000, allow_blank=True)
    conditions = AnyObject(help_text=CONDITIONS)
    because = serializers.CharField(max_length=500)
    needed = frozenset({"because"})


class PreviewAudienceIn(serializers.Serializer[Any]):
    conditions = AnyObject(help_text=CONDITIONS)
    contexts = serializers.ListField(child=Context(), required=False, max_length=MOST_CONTEXTS)


class AudienceVersionOut(serializers.Serializer[Any]):
    revision = serializers.IntegerField()
    key = serializers.CharField()
    by = serializers.CharField()
    because = serializers.CharField()
    at = serializers.DateTimeField()


class WholeAudienceVersionOut(AudienceVersionOut):
    definition = AnyObject(source="fields", help_text="Conditions and description.")


class AudiencesComparedOut(serializers.Serializer[Any]):
    before = AudienceVersionOut()
    after = AudienceVersionOut()
    changes = AnyObject(help_text='By field: {"was": …, "is": …}.')


class RevertAudienceIn(Because):
    revision = serializers.IntegerField(min_value=1)


class ChangedAudienceOut(AudienceOut):
    version = serializers.IntegerField(help_text="The snapshot that carries it.")


def audience_dict(view: AudienceView) -> dict[str, Any]:
    return dict(AudienceOut(view).data)


def with_etag(view: AudienceView, code: int = status.HTTP_200_OK, **more: Any) -> Response:
    return Response(audience_dict(view) | more, status=code, headers={"ETag": f'"{view.revision}"'})


class AudiencesView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=AudienceOut(many=True), summary="Audiences")
    def get(self, request: Request) -> Response:
        return self.paged(queries.audiences(self.asked_environment().key), audience_dict)

    @extend_schema(request=AudienceIn, responses={201: AudienceOut}, summary="Create an audience")
    def post(self, request: Request) -> Response:
        where = self.asked_environment(role=Role.OPERATOR).key
        data = self.read(AudienceIn) | {"environment": where}
        audiences.create_audience(**data, by=self.actor, now=self.now)
        return with_etag(queries.audience(where, data["key"]), status.HTTP_201_CREATED)


class OneAudienceView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=AudienceOut, summary="One audience")
    def get(self, request: Request, key: str) -> Response:
        return with_etag(queries.audience(self.asked_environment().key, key))

    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=AudiencePatch,
        responses=ChangedAudienceOut,
        summary="Change an audience, and every flag that uses it",
    )
    def patch(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected, data = self.expected_revision(where), self.read(AudiencePatch)
        published = audiences.change_audience(
            environment=where.key, key=key, by=self.actor, now=self.now, expected=expected, **data
        )
        return with_etag(queries.audience(where.key, key), version=published.version)

    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("because", str)],
        request=Because,
        responses={204: None},
        summary="Delete an audience that no flag uses",
    )
    def delete(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected = self.expected_revision(where)
        because = request.query_params.get("because", "")
        audiences.delete_audience(
            environment=where.key, key=key, by=self.actor, because=because, now=self.now, expected=expected
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class PreviewAudienceView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=PreviewAudienceIn,
        responses=PreviewOut(many=True),
        summary="Who would move in each flag that uses it, if it had these conditions",
    )
    def post(self, request: Request, key: str) -> Response:
        where, data = self.asked_environment().key, self.read(PreviewAudienceIn)
        found = moves.preview_audience(where, key, data["conditions"], contexts=data.get("contexts", ()), now=self.now)
        return Response([dict(PreviewOut(one).data) for one in found])


class AudienceVersionsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT], responses=AudienceVersionOut(many=True), summary="Every version of an audience"
    )
    def get(self, request: Request, key: str) -> Response:
        rows = audience_versions.rows(self.asked_environment().key, key)
        return self.paged(rows, lambda row: dict(AudienceVersionOut(row).data))


class OneAudienceVersionView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=WholeAudienceVersionOut, summary="One version, whole")
    def get(self, request: Request, key: str, revision: int) -> Response:
        found = audience_versions.version(self.asked_environment().key, key, revision)
        return Response(dict(WholeAudienceVersionOut(found).data))


class CompareAudienceView(CompareView):
    @extend_schema(parameters=FROM_TO, responses=AudiencesComparedOut, summary="Two versions compared, field by field")
    def get(self, request: Request, key: str) -> Response:
        where = self.asked_environment().key
        before, after = (self.revision(name) for name in ("from", "to"))
        return Response(dict(AudiencesComparedOut(audience_versions.compare(where, key, before, after)).data))


class RevertAudienceView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=RevertAudienceIn,
        responses=ChangedAudienceOut,
        summary="Revert to a version, as a new one; every flag that uses it follows",
    )
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected, data = self.expected_revision(where), self.read(RevertAudienceIn)
        published = audience_versions.revert_audience(
            environment=where.key, key=key, by=self.actor, now=self.now, expected=expected, **data
        )
        return with_etag(queries.audience(where.key, key), version=published.version)
