"""Who sends what, what of it found no route, and what a person has to settle."""

from datetime import datetime
from typing import Self

from django.db import models

from apps.telemetry.models.fields import environment_field, name_field, route_field


class Instance(models.Model):
    """A process that sends, and when we first heard of it: what it counted before that is not known to be new."""

    environment = environment_field()
    service = name_field()
    instance = name_field(200)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "service", "instance"], name="one_row_per_sender")
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.instance}"


class Source(models.Model):
    """From where calls of a service and route are known, and of which moments: the best source has the money."""

    environment = environment_field()
    service = name_field()
    route = route_field()
    kind = models.CharField(max_length=8)  # webhook, span, log
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "service", "route", "kind"], name="one_row_per_source")
        ]

    def __str__(self) -> str:
        return f"{self.service} by {self.kind}"


class Heard(models.Model):
    """What came from whom, by the hour: calls by source, what was rejected and why, what was odd."""

    environment = environment_field()
    service = name_field()
    source = models.CharField(max_length=8)
    what = models.CharField(max_length=64)
    key = name_field()  # of what was rejected: the name of the API key that it came with
    hour = models.DateTimeField()
    n = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "service", "source", "what", "key", "hour"], name="one_row_per_hour_and_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.source} {self.what}"


class UnassignedQuerySet(models.QuerySet["Unassigned"]):
    def of(self, environment: str) -> Self:
        return self.filter(environment=environment)


class Unassigned(models.Model):
    """Calls that name a route which nobody made, or none at all: kept, and named."""

    environment = environment_field()
    name = route_field()
    service = name_field()  # of calls that name no route
    model = name_field(200)
    calls = models.BigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = UnassignedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="one_row_per_unassigned_route")]

    def __str__(self) -> str:
        return f"{self.calls} calls of {self.name}"


class Mapping(models.Model):
    """Calls of a service to a model that name no route are of this one: so people have settled."""

    id = models.CharField(primary_key=True, max_length=36)
    environment = environment_field()
    service = name_field()
    model = name_field(200)
    route = route_field()
    by = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "service", "model"], name="one_mapping_per_model")
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.model} is {self.route}"

    def move_to(self, route: str, *, by: str, at: datetime) -> None:
        self.route, self.by, self.at = route, by, at
        self.save(update_fields=["route", "by", "at"])


class Endpoint(models.Model):
    """Who answers at a host: so people have settled, for gateways and servers that all say `openai`."""

    id = models.CharField(primary_key=True, max_length=36)
    environment = environment_field()
    host = models.CharField(max_length=64)
    provider = name_field()
    by = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "host"], name="one_provider_per_host")]

    def __str__(self) -> str:
        return f"{self.provider} at {self.host}"

    def move_to(self, provider: str, *, by: str, at: datetime) -> None:
        self.provider, self.by, self.at = provider, by, at
        self.save(update_fields=["provider", "by", "at"])


class SuspectedShadow(models.Model):
    """A call that a gateway seems to have mirrored: it carries no mark, until somebody says what it is."""

    environment = environment_field()
    call_id = models.CharField(max_length=200)
    trace_id = models.CharField(max_length=220)
    model_group = name_field()
    model = name_field(200)
    route = route_field()
    cost_nano = models.BigIntegerField()
    at = models.DateTimeField()
    body = models.BinaryField(default=b"")  # the call and how it was booked, for when its trace is gone
    answer = models.CharField(max_length=8, blank=True, default="")  # shadow, live; empty: nobody has said yet
    by = models.CharField(max_length=200, blank=True, default="")
    answered_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "call_id"], name="one_suspicion_per_call")]

    def __str__(self) -> str:
        return self.call_id

    def settle(self, answer: str, *, by: str, at: datetime) -> None:
        self.answer, self.by, self.answered_at = answer, by, at
        self.save(update_fields=["answer", "by", "answered_at"])
