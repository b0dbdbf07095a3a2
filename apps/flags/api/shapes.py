"""What goes in and comes out of the management API of flags."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers, status
from rest_framework.response import Response

from apps.flags import pins, publishing
from apps.flags.domain import variants
from apps.flags.models import Flag
from apps.flags.queries import ClientView, FlagView, RouteView

MOST_CONTEXTS = 10_000


class AnyObject(serializers.JSONField):
    """A JSON object of any shape."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, Mapping):
            raise serializers.ValidationError("This must be an object.")
        return value


class Context(AnyObject):
    """One that any database and any answer can carry."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        with publishing.fit():
            variants.check_texts("context", value)
        return value


class AnyList(serializers.ListField):
    """A list of objects of any shape."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=AnyObject(), **kwargs)


RULES = (
    'Ordered, the first whose conditions hold answers: [{"name", "when": {"all"|"any"|"none": [{"attribute",'
    ' "operator", "values"} | {"audience"}]}, "variant" | "split": {variant: percent}}]. Null where `targeting` was'
    " given as JSONLogic."
)
PREREQUISITES = 'All must hold, else the default variant: [{"flag", "variant"}].'


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
    targeting = AnyObject(help_text="JSONLogic: as it was given, or as the rules are written out.")
    rules = AnyList(allow_null=True, help_text=RULES)
    conditions = serializers.ListField(child=serializers.CharField(), help_text="The rules, each in one line.")
    prerequisites = AnyList(help_text=PREREQUISITES)
    weights = Shares(help_text="Percent of each variant, in steps of 0.01.")
    segments = serializers.ListField(help_text="The split as it lies on the hash's range: variant and ten-thousandths.")
    metadata = AnyObject()
    owner = serializers.CharField()
    expires_on = serializers.DateField(allow_null=True, help_text="A reminder: an expired flag is still served.")
    is_permanent = serializers.BooleanField(help_text="One variant for ever is right for it.")
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
    archived_at = serializers.DateTimeField(allow_null=True)
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What its rules do differently in other languages."
    )


class RouteOut(FlagOut):
    task_type = serializers.CharField()
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
    targeting = AnyObject(allow_null=True, help_text="JSONLogic of an expert; else give rules.")
    rules = AnyList(allow_null=True, help_text=RULES)
    prerequisites = AnyList(allow_null=True, help_text=PREREQUISITES)
    enabled = serializers.BooleanField()
    metadata = AnyObject()
    description = serializers.CharField(max_length=1000, allow_blank=True)
    owner = serializers.CharField(max_length=128, allow_blank=True)
    expires_on = serializers.DateField(allow_null=True)
    is_permanent = serializers.BooleanField()


class RouteFields(FlagFields):
    fallback_variant = serializers.CharField(max_length=128, allow_blank=True)
    task_type = serializers.CharField(max_length=64, allow_blank=True)
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


class RenameIn(Because):
    to = serializers.CharField(max_length=128)


class CopyIn(Because):
    to = serializers.CharField(max_length=128)
    to_environment = serializers.CharField(max_length=64, required=False, help_text="The same one if not named.")


class PreviewIn(serializers.Serializer[Any]):
    weights = Shares(help_text="Percent of each variant; together 100.")


class PreviewChangeIn(serializers.Serializer[Any]):
    changes = AnyObject(help_text="As a PATCH takes them, and `weights` in percent.")
    contexts = serializers.ListField(
        child=AnyObject(),
        required=False,
        max_length=10_000,
        help_text="Whom to count, instead of subjects seen lately.",
    )


class MoveOut(serializers.Serializer[Any]):
    before = serializers.CharField()
    after = serializers.CharField()
    percent = serializers.FloatField(help_text="Of all subjects, exact in expectation.")
    subjects = serializers.IntegerField(help_text="Of the subjects seen lately.")


class PreviewOut(serializers.Serializer[Any]):
    environment = serializers.CharField()
    flag = serializers.CharField()
    weights = serializers.SerializerMethodField()
    moves = MoveOut(many=True)
    percent = serializers.FloatField(help_text="Of all subjects, who would move at all.")
    subjects = serializers.IntegerField(help_text="How many of those seen lately would move.")
    seen = serializers.IntegerField(help_text="How many subjects were seen lately; 0: nobody reported any.")
    asks = serializers.ListField(
        child=serializers.CharField(), help_text="Attributes that decide and that nobody reports: counted as missing."
    )
    sentence = serializers.CharField()

    def get_weights(self, preview: Any) -> dict[str, float]:
        return percents(preview.weights)


class ExposureOut(serializers.Serializer[Any]):
    variant = serializers.CharField()
    assigned_by = serializers.CharField()
    client = serializers.CharField(help_text="Empty: evaluated by the server.")
    snapshot = serializers.IntegerField()
    count = serializers.IntegerField()
    last_minute = serializers.DateTimeField()


class ExposuresOut(serializers.Serializer[Any]):
    flag = serializers.CharField()
    since = serializers.DateTimeField()
    count = serializers.IntegerField()
    rows = ExposureOut(many=True)


class ClientOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    sdk = serializers.CharField()
    snapshot = serializers.IntegerField(allow_null=True)
    behind = serializers.IntegerField(allow_null=True, help_text="Snapshots published since the one it has.")
    seen_at = serializers.DateTimeField()
    has_since = serializers.DateTimeField(allow_null=True, help_text="When it was first seen with that snapshot.")
    door = serializers.CharField(help_text="flagd or sync, where it reads whole definitions; empty: it reports.")
    computes = serializers.SerializerMethodField(
        help_text="The bucketing of its package: v1, v2, v3. Empty: only the package knows. Null: it follows the pin."
    )

    def get_computes(self, client: ClientView) -> str | None:
        return pins.computed_by(client)


class ReasonOut(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="never_evaluated, one_variant or expired.")
    sentence = serializers.CharField()


class StaleOut(serializers.Serializer[Any]):
    reasons = ReasonOut(many=True)
    last_evaluated_at = serializers.DateTimeField(allow_null=True)


def flag_dict(view: FlagView) -> dict[str, Any]:
    shown = RouteOut(view) if isinstance(view, RouteView) else FlagOut(view)
    return dict(shown.data) | {"weights": percents(view.weights)}


def percents(weights: Mapping[str, int]) -> dict[str, float]:
    return {variant: size / 100 for variant, size in weights.items()}


def in_parts(shares: Mapping[str, float]) -> dict[str, int]:
    """Percent as ten-thousandths."""
    return {variant: round(share * 100) for variant, share in shares.items()}


def with_etag(view: FlagView, version: int | None = None, code: int = status.HTTP_200_OK) -> Response:
    """The flag; `version` is the snapshot that carries this very change."""
    told = flag_dict(view) | ({} if version is None else {"version": version})
    return Response(told, status=code, headers={"ETag": f'"{view.revision}"'})
