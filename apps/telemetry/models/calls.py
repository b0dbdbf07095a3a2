"""Single calls, kept for a while, and pairs of a live answer and its shadow."""

from django.db import models

from apps.telemetry.models.fields import environment_field, name_field, route_field


class RawCalls(models.Model):
    """Calls of the routes of one shard that one commit group brought, for people who look closely; they go after
    RAW_HOURS. Not a row for each route: of a group of a hundred routes they were a quarter of all its work."""

    id = models.BigAutoField(primary_key=True)
    environment = environment_field()
    shard = models.PositiveSmallIntegerField()
    arrived_at = models.DateTimeField()
    first_at = models.DateTimeField()  # when the first and the last of them began
    last_at = models.DateTimeField()
    routes = models.TextField()  # domain.raw.named
    size = models.PositiveIntegerField()  # bytes of `body`
    body = models.BinaryField()  # domain.raw

    class Meta:
        indexes = [
            models.Index(fields=["environment", "shard", "last_at"], name="raw_calls_by_shard"),
            models.Index(fields=["arrived_at", "size"], name="raw_calls_by_arrival"),
        ]

    def __str__(self) -> str:
        return f"shard {self.shard} {self.first_at:%H:%M:%S}"


class Pair(models.Model):
    """A request that two variants answered: the live leg and the shadow's, and how the shadow's answer was graded."""

    id = models.BigAutoField(primary_key=True)
    environment = environment_field()
    pair_id = models.CharField(max_length=200)
    route = route_field()
    at = models.DateTimeField()  # when something of it last came
    grade = models.FloatField(null=True)
    live_variant = name_field()
    live_began_at = models.DateTimeField(null=True)
    live_ended_at = models.DateTimeField(null=True)
    live_error = name_field()
    live_output_tokens = models.BigIntegerField(null=True)
    live_nano = models.BigIntegerField(default=0)
    live_calls = models.PositiveIntegerField(default=0)
    shadow_variant = name_field()
    shadow_began_at = models.DateTimeField(null=True)
    shadow_ended_at = models.DateTimeField(null=True)
    shadow_error = name_field()
    shadow_output_tokens = models.BigIntegerField(null=True)
    shadow_nano = models.BigIntegerField(default=0)
    shadow_calls = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "pair_id"], name="one_row_per_pair")]
        indexes = [
            models.Index(fields=["environment", "route", "at"], name="pair_by_route"),
            models.Index(fields=["at"], name="pair_by_moment"),
        ]

    def __str__(self) -> str:
        return self.pair_id
