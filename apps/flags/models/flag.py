"""Flags and routes. One row per flag and environment."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Self

from django.db import models
from django.db.models import Q

from apps.access.models import Environment
from apps.flags.domain import definition
from apps.flags.domain import segments as layout
from apps.flags.models.audience import Audience
from apps.flags.models.fields import ExactJson

FIELDS = (
    "key", "type", "description", "enabled", "variants", "default_variant", "rules", "targeting", "prerequisites",
    "segments", "metadata", "bucketing", "salt", "owner", "expires_on", "is_permanent", "held_by", "trial", "switch",
    "shadow", "archived_at",
)  # fmt: skip
ROUTE_FIELDS = ("task_type", "is_critical", "fallback_variant", "bucketing_unit", "breaker", "runbook")


class FlagQuerySet(models.QuerySet["Flag"]):
    def of(self, environment: str) -> Self:
        return self.filter(environment_id=environment)

    def named(self, key: str) -> Self:
        return self.none() if "\0" in key else self.filter(key=key)  # PostgreSQL cannot even be asked

    def with_route(self) -> Self:
        return self.select_related("route")

    def served(self) -> Self:
        return self.filter(archived_at=None)

    def archived(self) -> Self:
        return self.exclude(archived_at=None)


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
    targeting = ExactJson(default=dict)  # JSONLogic; compiled from `rules` unless an expert wrote it
    rules = ExactJson(null=True)  # as domain/rules.py reads them; null: the JSONLogic is an expert's own
    prerequisites = ExactJson(default=list)  # [{"flag", "variant"}]: all must hold, else the default variant
    guards = ExactJson(default=list, editable=False)  # the prerequisites as JSONLogic, written out
    requires: "models.ManyToManyField[Flag, Any]" = models.ManyToManyField(
        "self", symmetrical=False, related_name="required_by", editable=False
    )
    uses: "models.ManyToManyField[Audience, Any]" = models.ManyToManyField(
        Audience, related_name="flags", editable=False
    )
    segments = ExactJson(default=list)  # ordered [[variant, ten-thousandths], …]; empty: no split
    metadata = ExactJson(default=dict)
    owner = models.CharField(max_length=128, blank=True)
    expires_on = models.DateField(null=True, blank=True)  # a reminder: an expired flag is still served
    is_permanent = models.BooleanField(default=False)  # an operator's switch: one variant for ever is right
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
    archived_at = models.DateTimeField(null=True, blank=True)  # no longer served
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
    def is_split(self) -> bool:
        return layout.divides(self.split, self.default_variant)

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
            enabled=self.enabled and self.archived_at is None,
            targeting=self.targeting or {},
            segments=self.split,
            metadata=self.metadata or {},
            owner=self.owner,
            guards=self.guards or [],
            bucketing=self.bucketing,
            salt=self.salt,
            switch=self.switch,
            route=route.parts(self.shadow) if route else None,
        )

    @property
    def fields(self) -> dict[str, Any]:
        """The whole definition by field, as JSON: what a version stores, and what two are compared by."""
        route = self.route_or_none
        whole = {name: getattr(self, name) for name in FIELDS}
        whole |= {name: getattr(route, name) for name in ROUTE_FIELDS} if route else {}
        return {name: value.isoformat() if isinstance(value, date) else value for name, value in whole.items()}

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

    def guard_by(self, guards: list[Any], *, version: int) -> None:
        """Another flag that this one requires has changed: what it serves changes, its own fields do not."""
        self.guards, self.since_version = guards, version
        self.encode()
        self.save(update_fields=["guards", "since_version", "fragment"])

    def add(self) -> Self:
        self.encode()
        self.save(force_insert=True)
        return self


class Route(models.Model):
    """One model-backed task: the object flag of its model configurations, and who answers for it."""

    flag = models.OneToOneField(Flag, on_delete=models.CASCADE, related_name="route")
    task_type = models.CharField(max_length=64, blank=True)
    is_critical = models.BooleanField(default=False)
    fallback_variant = models.CharField(max_length=128, blank=True)
    bucketing_unit = models.CharField(max_length=128, default="request")  # or the attribute that keeps its arm
    breaker = ExactJson(null=True)  # thresholds for the client's circuit breaker; null: its own
    runbook = models.TextField(blank=True)

    def __str__(self) -> str:
        return str(self.flag)

    def parts(self, shadow: Mapping[str, Any] | None) -> definition.RouteParts:
        return definition.RouteParts(
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
