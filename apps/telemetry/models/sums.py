"""Append-only partial sums: one row per key and commit group, or per key and some groups that came in a crowd.

Readers add them up; `tasks` makes few rows of many."""

from django.db import models

from apps.telemetry.models.fields import environment_field, name_field, route_field


class Window(models.Model):
    """Calls that ended in a window: for people. Judging looks at RequestSum.

    Counts may be negative: what a coarse source told is taken back once a better one tells of the same calls.
    """

    id = models.BigAutoField(primary_key=True)
    environment = environment_field()
    route = route_field()
    variant = name_field()
    arm = models.CharField(max_length=8)
    starts_at = models.DateTimeField()
    calls = models.BigIntegerField()
    errors = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cached_input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    confirmed_nano = models.BigIntegerField()
    estimated_nano = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    late = models.BigIntegerField()
    coarse = models.BigIntegerField(default=0)  # calls whose latency is not in the histogram
    latency = models.BinaryField()

    class Meta:
        indexes = [models.Index(fields=["environment", "route", "starts_at"], name="window_by_route")]

    def __str__(self) -> str:
        return f"{self.calls} calls of {self.route}"


class LatencyRange(models.Model):
    """Calls of a window whose latency is only known to lie between two bounds: a sender's explicit buckets."""

    environment = environment_field()
    route = route_field()
    starts_at = models.DateTimeField()
    variant = name_field()
    arm = models.CharField(max_length=8)
    above = models.FloatField()  # seconds
    up_to = models.FloatField()  # infinite where the sender's last bucket has no end
    n = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "route", "starts_at", "variant", "arm", "above", "up_to"],
                name="one_row_per_range",
            )
        ]
        indexes = [models.Index(fields=["starts_at"], name="range_by_moment")]

    def __str__(self) -> str:
        return f"{self.n} calls of {self.route} in {self.above} to {self.up_to} s"


class Written(models.Model):
    """What judges read: by shard, writer and number of the commit group."""

    id = models.BigAutoField(primary_key=True)
    shard = models.PositiveSmallIntegerField()
    writer = models.CharField(max_length=36)
    seq = models.PositiveBigIntegerField()
    environment = environment_field()
    route = route_field()
    trial = name_field(64)  # empty: never judged, but for frozen marks
    split = models.PositiveBigIntegerField()
    assigned = name_field()
    arm = models.CharField(max_length=8)
    assigned_by = models.CharField(max_length=8)
    starts_at = models.DateTimeField()

    class Meta:
        abstract = True
        indexes = [
            models.Index(fields=["shard", "writer", "seq"], name="%(class)s_unread"),
            models.Index(fields=["environment", "route", "starts_at"], name="%(class)s_by_route"),
        ]


class RequestSum(Written):
    """Requests that ended in a window. `latency` is that of answered ones, `cost` that of those with a price."""

    requests = models.PositiveBigIntegerField()
    errors = models.PositiveBigIntegerField()
    unfinal = models.PositiveBigIntegerField()
    attempts = models.PositiveBigIntegerField()
    cost_nano = models.BigIntegerField()  # confirmed and estimated
    estimated_nano = models.BigIntegerField()
    unpriced = models.PositiveBigIntegerField()
    unnamed = models.PositiveBigIntegerField(default=0)  # without an id: of other attempts nobody would know
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    latency = models.BinaryField()
    cost = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.requests} requests of {self.route}"


class OutcomeSum(Written):
    variant = name_field()
    name = models.CharField(max_length=64)
    count = models.PositiveBigIntegerField()
    ones = models.PositiveBigIntegerField()
    zeros = models.PositiveBigIntegerField()
    total = models.FloatField()

    def __str__(self) -> str:
        return f"{self.count} {self.name} of {self.route}"


class GroupSums(models.Model):
    """Windows, requests and outcomes of one commit group that are not in rows of their own yet: see `gathering`."""

    id = models.BigAutoField(primary_key=True)
    writer = models.CharField(max_length=36)
    seq = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    body = models.BinaryField()  # domain.sums.Sums

    class Meta:
        constraints = [models.UniqueConstraint(fields=["writer", "seq"], name="one_row_per_group")]

    def __str__(self) -> str:
        return f"{self.writer} {self.seq}"


class RouteTokens(models.Model):
    """Token counts of a route's newest complete calls, so that estimates survive a restart. Route "": of all routes."""

    environment = environment_field()
    route = route_field()
    inputs = models.JSONField(default=list)
    outputs = models.JSONField(default=list)
    models = models.JSONField(default=dict)  # outputs by model

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "route"], name="one_token_history_per_route")]

    def __str__(self) -> str:
        return self.route
