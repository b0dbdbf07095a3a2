"""/api/v1/environments, /api/v1/api-keys and /api/v1/journal (the journal itself has no doors)."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access import queries, services
from apps.access.domain.roles import KeyScope, Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.access.models import ApiKey, Environment, slug
from apps.core.refusals import NotFound
from apps.journal.models import Entry


class EnvironmentOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    is_production = serializers.BooleanField()
    is_protected = serializers.BooleanField()
    snapshot_version = serializers.IntegerField()


class EnvironmentIn(serializers.Serializer[Any]):
    key = serializers.CharField(max_length=64, validators=[slug])
    name = serializers.CharField(max_length=128)
    is_production = serializers.BooleanField(default=False)
    is_protected = serializers.BooleanField(default=False)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


def environment_dict(environment: Environment) -> dict[str, Any]:
    return dict(EnvironmentOut(environment).data)


class EnvironmentsView(ApiView):
    @extend_schema(responses=EnvironmentOut(many=True), summary="Environments")
    def get(self, request: Request) -> Response:
        if self.key is None:
            return self.paged(queries.environments_of(request.user), environment_dict)
        shown = Environment.objects.shown().order_by("key")
        mine = shown if self.key.reaches_all_environments else shown.filter(pk=self.key.environment_id)
        return self.paged(mine, environment_dict)

    @extend_schema(request=EnvironmentIn, responses={201: EnvironmentOut}, summary="Create an environment")
    def post(self, request: Request) -> Response:
        self.must_be_admin()
        environment = services.create_environment(**self.read(EnvironmentIn), by=self.actor, now=self.now)
        return Response(environment_dict(environment), status=status.HTTP_201_CREATED)


class EnvironmentView(ApiView):
    @extend_schema(responses=EnvironmentOut, summary="One environment")
    def get(self, request: Request, key: str) -> Response:
        return Response(environment_dict(self.environment(key)))


class ApiKeyOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField(source="environment.key")
    name = serializers.CharField()
    prefix = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute.")
    rate_per_second = serializers.IntegerField(
        allow_null=True, help_text="Requests that it may make per second, on each machine; null: no limit."
    )


class NewApiKeyOut(ApiKeyOut):
    key = serializers.CharField(help_text="The secret: shown this once, never stored.")


class ApiKeyIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    name = serializers.CharField(max_length=128)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=[scope.value for scope in KeyScope]))
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    rate_per_second = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=1_000_000)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class RotationIn(serializers.Serializer[Any]):
    overlap_seconds = serializers.IntegerField(
        default=86_400, min_value=0, max_value=30 * 86_400, help_text="How long the old key goes on working."
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Of the new key; as long as the old one was made for if not given."
    )
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class RateIn(serializers.Serializer[Any]):
    rate_per_second = serializers.IntegerField(allow_null=True, min_value=1, max_value=1_000_000)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class RevocationIn(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, default="", allow_blank=True)
    overlap_seconds = serializers.IntegerField(default=0, min_value=0, max_value=30 * 86_400)


def key_dict(key: ApiKey) -> dict[str, Any]:
    return dict(ApiKeyOut(key).data)


class ApiKeysView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=ApiKeyOut(many=True), summary="API keys")
    def get(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        return self.paged(environment.api_keys.select_related("environment").order_by("-created_at", "-id"), key_dict)

    @extend_schema(request=ApiKeyIn, responses={201: NewApiKeyOut}, summary="Create an API key")
    def post(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.ADMIN)
        data = self.read(ApiKeyIn) | {"environment": environment}
        key, secret = services.create_key(**data, by=self.actor, now=self.now)
        return Response(key_dict(key) | {"key": secret}, status=status.HTTP_201_CREATED)


class ApiKeyView(ApiView):
    def load(self, id: str, role: Role) -> ApiKey:
        key = ApiKey.objects.select_related("environment").filter(pk=id).first()
        if key is None:
            raise NotFound(what="API key", key=id)
        self.environment(key.environment.key, role=role)
        return key

    @extend_schema(responses=ApiKeyOut, summary="One API key")
    def get(self, request: Request, id: str) -> Response:
        return Response(key_dict(self.load(id, Role.OPERATOR)))

    @extend_schema(request=RevocationIn, responses={200: ApiKeyOut}, summary="Revoke an API key")
    def delete(self, request: Request, id: str) -> Response:
        key = self.load(id, Role.ADMIN)
        data = self.read(RevocationIn)
        overlap = timedelta(seconds=data["overlap_seconds"])
        services.revoke_key(key=key, by=self.actor, because=data["because"], now=self.now, overlap=overlap)
        return Response(key_dict(key))

    @extend_schema(request=RateIn, responses={200: ApiKeyOut}, summary="Limit an API key's rate")
    def patch(self, request: Request, id: str) -> Response:
        key = self.load(id, Role.ADMIN)
        services.set_rate(key=key, by=self.actor, now=self.now, **self.read(RateIn))
        return Response(key_dict(key))


class RotationView(ApiKeyView):
    http_method_names = ("post", "options")

    @extend_schema(
        request=RotationIn, responses={201: NewApiKeyOut}, summary="A new key; the old one works until the overlap ends"
    )
    def post(self, request: Request, id: str) -> Response:
        key = self.load(id, Role.ADMIN)
        data = self.read(RotationIn)
        overlap = timedelta(seconds=data.pop("overlap_seconds"))
        made, secret = services.rotate_key(key=key, by=self.actor, now=self.now, overlap=overlap, **data)
        return Response(key_dict(made) | {"key": secret}, status=status.HTTP_201_CREATED)


class EntryOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    at = serializers.DateTimeField()
    environment = serializers.CharField()
    kind = serializers.CharField()
    by = serializers.CharField()
    because = serializers.CharField()
    about = serializers.DictField(child=serializers.CharField())
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)
    version = serializers.IntegerField(allow_null=True)
    route = serializers.CharField()
    sentence = serializers.CharField()


class JournalView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("route", str), OpenApiParameter("kind", str)],
        responses=EntryOut(many=True),
        summary="What changed, who did it, why",
    )
    def get(self, request: Request) -> Response:
        entries = Entry.objects.of_environment(self.asked_environment().key).newest_first()
        for field in ("route", "kind"):
            if value := request.query_params.get(field):
                entries = entries.filter(**{field: value})
        return self.paged(entries, lambda entry: dict(EntryOut(entry).data))
