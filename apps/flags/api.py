"""/api/v1/flags, /api/v1/routes and /api/v1/evaluate."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import ApiView
from apps.access.models import Environment
from apps.core.refusals import NotFound
from apps.flags import evaluation, queries, services
from apps.flags.models import Flag
from apps.flags.queries import FlagView, RouteView

IN_ENVIRONMENT = OpenApiParameter("environment", str, description="Key of the environment; a key's own by default.")


class AnyObject(serializers.JSONField):
    """A JSON object of any shape."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, Mapping):
            raise serializers.ValidationError("This must be an object.")
        return value


class Shares(serializers.DictField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=serializers.FloatField(min_value=0, max_value=100), **kwargs)


class FlagOut(serializers.Serializer[Any]):
    environment = serializers.CharField()
    key = serializers.CharField()
    type = serializers.ChoiceField(choices=Flag.Type.choices)
    description = serializers.CharField()
    enabled = serializers.BooleanField()
    variants = AnyObject()
    default_variant = serializers.CharField()
    targeting = AnyObject()
    weights = Shares(help_text="Percent of each variant, in steps of 0.01.")
    segments = serializers.ListField(help_text="The split as it lies on the hash's range: variant and ten-thousandths.")
    metadata = AnyObject()
    bucketing = serializers.CharField()
    salt = serializers.CharField()
    switch = serializers.CharField(help_text='"", "fallback" or "off".')
    held_by = serializers.CharField()
    trial = serializers.CharField()
    shadow = AnyObject(allow_null=True)
    version = serializers.IntegerField(source="since_version", help_text="The snapshot that carries its last change.")
    revision = serializers.IntegerField(help_text="For If-Match.")
    changed_by = serializers.CharField()
    changed_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What its rules do differently in other languages."
    )


class RouteOut(FlagOut):
    task_type = serializers.CharField()
    owner = serializers.CharField()
    is_critical = serializers.BooleanField()
    fallback_variant = serializers.CharField()
    bucketing_unit = serializers.CharField()
    breaker = AnyObject(allow_null=True)
    runbook = serializers.CharField()


class Because(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, help_text="Why: the journal and the alerts will quote it.")


class Sparse(serializers.Serializer[Any]):
    """Only the `needed` fields must be there: what is not named stays as it is, or gets the service's default."""

    needed: frozenset[str] = frozenset()

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for name, one in fields.items():
            one.required = name in self.needed
        return fields


class FlagFields(Sparse):
    variants = AnyObject()
    default_variant = serializers.CharField(max_length=128, allow_blank=True)
    targeting = AnyObject(allow_null=True)
    enabled = serializers.BooleanField()
    metadata = AnyObject()
    description = serializers.CharField(max_length=1000, allow_blank=True)


class RouteFields(FlagFields):
    fallback_variant = serializers.CharField(max_length=128, allow_blank=True)
    task_type = serializers.CharField(max_length=64, allow_blank=True)
    owner = serializers.CharField(max_length=128, allow_blank=True)
    is_critical = serializers.BooleanField()
    bucketing_unit = serializers.CharField(max_length=128, help_text='"request", or the attribute that keeps its arm.')
    breaker = AnyObject(allow_null=True)
    runbook = serializers.CharField(allow_blank=True)


class Pinned(Sparse):
    environment = serializers.CharField(required=False)
    key = serializers.CharField(max_length=512)
    bucketing = serializers.ChoiceField(choices=Flag.Bucketing.choices, help_text="Pinned for the flag's life.")
    salt = serializers.CharField(max_length=512, help_text="The key, unless this flag continues another's split.")
    because = serializers.CharField(max_length=500, allow_blank=True)


class FlagIn(Pinned, FlagFields):
    type = serializers.ChoiceField(choices=Flag.Type.choices, help_text="By the variants' values if not named.")
    needed = frozenset({"key", "variants"})


class RouteIn(Pinned, RouteFields):
    enabled = None  # type: ignore[assignment]  # a route is switched, not disabled
    needed = frozenset({"key", "variants", "default_variant"})


class FlagPatch(FlagFields, Because):
    needed = frozenset({"because"})


class RoutePatch(RouteFields, Because):
    needed = frozenset({"because"})


class WeightsIn(Because):
    weights = Shares(help_text="Percent of each variant; together 100.")


class ContextIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    flag = serializers.CharField(max_length=512, help_text="Key of a flag or a route.")
    context = AnyObject(default=dict)  # type: ignore[assignment]  # the metaclass takes it away


class EvaluationOut(serializers.Serializer[Any]):
    environment = serializers.CharField()
    flag = serializers.CharField()
    value = serializers.JSONField(allow_null=True)
    variant = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    assigned_by = serializers.CharField(allow_null=True)
    error_code = serializers.CharField(allow_null=True)
    error_details = serializers.CharField(allow_null=True)
    metadata = AnyObject()
    version = serializers.IntegerField()
    why = serializers.CharField(help_text="The same in one sentence.")


def flag_dict(view: FlagView) -> dict[str, Any]:
    shown = RouteOut(view) if isinstance(view, RouteView) else FlagOut(view)
    return dict(shown.data) | {"weights": percents(view.weights)}


def percents(weights: Mapping[str, int]) -> dict[str, float]:
    return {variant: size / 100 for variant, size in weights.items()}


def with_etag(view: FlagView, version: int | None = None, code: int = status.HTTP_200_OK) -> Response:
    """The flag; `version` is the snapshot that carries this very change."""
    told = flag_dict(view) | ({} if version is None else {"version": version})
    return Response(told, status=code, headers={"ETag": f'"{view.revision}"'})


class FlagsView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=FlagOut(many=True), summary="Flags")
    def get(self, request: Request) -> Response:
        rows = Flag.objects.with_route().of(self.asked_environment().key).order_by("-created_at", "-id")
        return self.paged(rows, lambda row: flag_dict(queries.flag_view(row)))

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


class WeightsView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], request=WeightsIn, responses=FlagOut, summary="Change a flag's split")
    def put(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected = self.expected_revision(where)
        data = self.read(WeightsIn)
        weights = {variant: round(share * 100) for variant, share in data["weights"].items()}
        published = services.change_weights(
            environment=where.key,
            key=key,
            weights=weights,
            by=self.actor,
            because=data["because"],
            now=self.now,
            expected=expected,
        )
        return with_etag(queries.flag(where.key, key), published.version)


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


class RoutesView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=RouteOut(many=True), summary="Routes")
    def get(self, request: Request) -> Response:
        where = self.asked_environment().key
        rows = Flag.objects.with_route().of(where).exclude(route=None).order_by("-created_at", "-id")
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


class EvaluateView(ApiView):
    @extend_schema(request=ContextIn, responses=EvaluationOut, summary="Which variant does this context get, and why")
    def post(self, request: Request) -> Response:
        where = self.asked_environment().key
        data = self.read(ContextIn)
        found = evaluation.evaluate(where, data["flag"], data["context"], now=self.now)
        if found is None:
            raise NotFound(what="flag", key=data["flag"])
        return Response(dict(EvaluationOut(found).data))
