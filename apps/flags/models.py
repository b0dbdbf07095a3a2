"""Flags, routes, and the numbered snapshots that services read. One row per flag and environment."""

import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Q

from apps.access.models import Environment
from apps.flags.domain import definition
from apps.flags.domain import segments as layout

if TYPE_CHECKING:
    Text = models.JSONField[Any, Any]  # any value that JSON has
else:
    Text = models.TextField


class ExactJson(Text):
    """JSON kept as text: jsonb would reorder variants and turn 1e2 into 100."""

    def from_db_value(self, value: str | None, *_: object) -> Any:
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), allow_nan=False)

    def value_to_string(self, obj: models.Model) -> str:
        return json.dumps(self.value_from_object(obj))


class FlagQuerySet(models.QuerySet["Flag"]):
    def of(self, environment: str) -> Self:
        return self.filter(environment_id=environment)

    def named(self, key: str) -> Self:
        return self.none() if "\0" in key else self.filter(key=key)  # PostgreSQL cannot even be asked

    def with_route(self) -> Self:
        return self.select_related("route")


class Flag(models.Model):
    class Type(models.TextChoices):
        BOOLEAN = "boolean"
        STRING = "string"
        INTEGER = "integer"
        FLOAT = "float"
        OBJECT = "object"

    class Bucketing(models.TextChoices):
        V1 = "v1"
        V2 = "v2"
        V3 = "v3"

    class Switch(models.TextChoices):
        NONE = "", "rules and split decide"
        FALLBACK = definition.FALLBACK, "everybody gets the fallback variant"
        OFF = definition.OFF, "disabled"

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="flags"
    )
    key = models.CharField(max_length=512)
    type = models.CharField(max_length=8, choices=Type.choices)
    description = models.CharField(max_length=1000, blank=True)
    enabled = models.BooleanField(default=True)
    variants = ExactJson()
    default_variant = models.CharField(max_length=128, blank=True)  # empty: the code's own default
    targeting = ExactJson(default=dict)
    segments = ExactJson(default=list)  # ordered [[variant, ten-thousandths], …]; empty: no split
    metadata = ExactJson(default=dict)
    bucketing = models.CharField(max_length=2, choices=Bucketing.choices, default=Bucketing.V3)  # pinned for life
    salt = models.CharField(max_length=512)  # immutable: a renamed copy keeps its subjects
    held_by = models.CharField(max_length=200, blank=True)
    trial = models.CharField(max_length=64, blank=True)
    switch = models.CharField(max_length=8, choices=Switch.choices, default=Switch.NONE, blank=True)
    shadow = ExactJson(null=True)  # {"variant", "percent"}
    since_version = models.PositiveIntegerField(default=0)  # the snapshot in which this flag last changed
    revision = models.PositiveIntegerField(default=0)
    changed_by = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField()
    created_at = models.DateTimeField()
    fragment = models.TextField(editable=False)  # the encoded definition, so that a publish encodes only what changed

    objects = FlagQuerySet.as_manager()

    class Meta:
        ordering = ["environment_id", "key"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "key"], name="one_flag_per_environment_and_key"),
            models.CheckConstraint(condition=~Q(key=""), name="flag_has_a_key"),
            models.CheckConstraint(condition=Q(bucketing__in=["v1", "v2", "v3"]), name="flag_is_bucketed_by_a_version"),
            models.CheckConstraint(condition=Q(switch__in=["", "fallback", "off"]), name="flag_switch_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.key} in {self.environment_id}"

    @property
    def split(self) -> layout.Segments:
        return layout.of(self.segments)

    @property
    def weights(self) -> dict[str, int]:
        """Variant to ten-thousandths; every variant is named."""
        given = layout.weights_of(self.split or (layout.whole(self.default_variant) if self.default_variant else ()))
        return {name: given.get(name, 0) for name in self.variants}

    @property
    def route_or_none(self) -> "Route | None":
        return getattr(self, "route", None)

    @property
    def parts(self) -> definition.FlagParts:
        route = self.route_or_none
        return definition.FlagParts(
            key=self.key,
            variants=self.variants,
            default_variant=self.default_variant,
            enabled=self.enabled,
            targeting=self.targeting or {},
            segments=self.split,
            metadata=self.metadata or {},
            bucketing=self.bucketing,
            salt=self.salt,
            switch=self.switch,
            route=route.parts(self.shadow) if route else None,
        )

    def encode(self) -> None:
        self.fragment = definition.encode(definition.definition(self.parts))

    def change(self, *, by: str, at: datetime, version: int, **fields: Any) -> None:
        """Sets these fields as of that snapshot. The one way in which a flag's row changes."""
        for name, value in fields.items():
            setattr(self, name, value)
        self.since_version = version
        self.revision += 1
        self.changed_by, self.changed_at = by, at
        self.encode()
        self.save(update_fields=[*fields, "since_version", "revision", "changed_by", "changed_at", "fragment"])

    def add(self) -> Self:
        self.encode()
        self.save(force_insert=True)
        return self


class Route(models.Model):
    """One model-backed task: the object flag of its model configurations, and who answers for it."""

    flag = models.OneToOneField(Flag, on_delete=models.CASCADE, related_name="route")
    task_type = models.CharField(max_length=64, blank=True)
    owner = models.CharField(max_length=128, blank=True)
    is_critical = models.BooleanField(default=False)
    fallback_variant = models.CharField(max_length=128, blank=True)
    bucketing_unit = models.CharField(max_length=128, default="request")  # or the attribute that keeps its arm
    breaker = ExactJson(null=True)  # thresholds for the client's circuit breaker; null: its own
    runbook = models.TextField(blank=True)

    def __str__(self) -> str:
        return str(self.flag)

    def parts(self, shadow: Mapping[str, Any] | None) -> definition.RouteParts:
        return definition.RouteParts(
            owner=self.owner,
            fallback_variant=self.fallback_variant,
            unit="targetingKey" if self.bucketing_unit == "request" else self.bucketing_unit,
            shadow=shadow,
            breaker=self.breaker,
        )

    def add(self) -> Self:
        self.save(force_insert=True)
        return self

    def change(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.save(update_fields=list(fields))


class SnapshotQuerySet(models.QuerySet["Snapshot"]):
    def of(self, environment: str) -> Self:
        return self.filter(environment_id=environment)


class Snapshot(models.Model):
    """The whole flag set of an environment at one version, in flagd's format. Written once, never changed."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="snapshots"
    )
    version = models.PositiveIntegerField()
    body = models.BinaryField()  # zlib
    digest = models.CharField(max_length=16)
    changed_keys: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list)
    urgent = models.BooleanField(default=False)  # readers fetch at once instead of spreading out
    published_at = models.DateTimeField()

    objects = SnapshotQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "version"], name="one_snapshot_per_version")]
        indexes = [models.Index(fields=["environment", "published_at"], name="snapshot_by_moment")]

    def __str__(self) -> str:
        return f"{self.environment_id} {self.version}"

    @property
    def document(self) -> bytes:
        return zlib.decompress(bytes(self.body))


class Split(models.Model):
    """A route's assignment since a version: calls are judged by it, so a call begun under the old share never meets
    the new one."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="splits"
    )
    flag = models.CharField(max_length=512)
    since_version = models.PositiveIntegerField()
    trial = models.CharField(max_length=64, blank=True)
    kind = models.CharField(max_length=8)  # split, rules, fallback, off: how requests are assigned that do not say
    default_variant = models.CharField(max_length=128, blank=True)
    segments = ExactJson(default=list)
    published_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "flag", "since_version"], name="one_split_per_flag_and_version"
            )
        ]

    def __str__(self) -> str:
        return f"{self.flag} since {self.environment_id} {self.since_version}"


class ClientSeen(models.Model):
    """A service that told us which snapshot it has."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="clients"
    )
    name = models.CharField(max_length=128)
    sdk = models.CharField(max_length=128, blank=True)
    snapshot = models.PositiveIntegerField(null=True)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "name", "sdk"], name="one_row_per_client_and_sdk")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.sdk})"


class Exposure(models.Model):
    """How many evaluations gave this variant in this minute, with a sample of the subjects."""

    environment = models.ForeignKey(
        Environment, to_field="key", db_column="environment", on_delete=models.CASCADE, related_name="exposures"
    )
    flag = models.CharField(max_length=512)
    variant = models.CharField(max_length=128, blank=True)
    snapshot = models.PositiveIntegerField()
    assigned_by = models.CharField(max_length=8, blank=True)
    minute = models.DateTimeField()
    count = models.PositiveBigIntegerField()
    subjects: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "flag", "variant", "snapshot", "assigned_by", "minute"],
                name="one_count_per_flag_variant_snapshot_and_minute",
            )
        ]
        indexes = [models.Index(fields=["minute"], name="exposure_by_minute")]

    def __str__(self) -> str:
        return f"{self.count} x {self.flag} {self.variant}"
