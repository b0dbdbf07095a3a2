"""Append-only partial sums: one row per key and commit group. Readers add them up; `tasks` makes few rows of many.

`environment` and `route` are text: what was measured outlives what it was measured on.
"""

from datetime import datetime
from typing import Self

from django.db import models


def name_field(length: int = 128) -> "models.CharField[str, str]":
    return models.CharField(max_length=length, blank=True, default="")


def environment_field() -> "models.CharField[str, str]":
    return models.CharField(max_length=64)


def route_field() -> "models.CharField[str, str]":
    return models.CharField(max_length=512)


class Writer(models.Model):
    """One start of a writer thread. Its groups are numbered from 1, and commit in that order."""

    id = models.CharField(primary_key=True, max_length=36)
    seq = models.PositiveBigIntegerField()  # of its newest group
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["at"], name="writer_by_moment")]

    def __str__(self) -> str:
        return f"{self.id} {self.seq}"


class Cursor(models.Model):
    """How far a reader has read what a writer wrote for a shard."""

    reader = models.CharField(max_length=64)
    shard = models.PositiveSmallIntegerField()
    writer = models.CharField(max_length=36)
    seq = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["reader", "shard", "writer"], name="one_cursor_per_reader_and_writer")
        ]

    def __str__(self) -> str:
        return f"{self.reader} has read {self.writer} to {self.seq}"


class Batch(models.Model):
    """The key of a batch that was counted: the same batch again counts nothing."""

    key = models.CharField(primary_key=True, max_length=280)  # environment, newline, batch_id
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["at"], name="batch_by_moment")]

    def __str__(self) -> str:
        return self.key


class CallId(models.Model):
    """A call that was counted, under the minute of its `at` and a 64-bit hash of environment, route and id.

    The minute stands in front so that inserts stay in one place and a whole minute can be dropped at once.
    """

    pk = models.CompositePrimaryKey("minute", "hash")
    minute = models.IntegerField()
    hash = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.minute} {self.hash}"


class CallMinute(models.Model):
    """When the last call of that minute arrived: its ids are dropped DEDUPE_HOURS later."""

    minute = models.IntegerField(primary_key=True)
    last_arrival_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["last_arrival_at"], name="minute_by_last_arrival")]

    def __str__(self) -> str:
        return str(self.minute)


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


class LedgerLine(models.Model):
    """What calls cost, by all that money is asked by. Integer nano-USD: sums are exact in any order.

    A line is never edited: money that turns out to be of another route is moved by two more lines, one negative.
    """

    id = models.BigAutoField(primary_key=True)
    minute = models.DateTimeField()
    environment = environment_field()
    route = route_field()
    variant = name_field()
    provider = name_field()
    model = name_field(200)
    owner = name_field()
    arm = models.CharField(max_length=8)
    trial = name_field(64)
    tag = name_field()
    rule = models.CharField(max_length=32)  # of pricing
    rate = models.CharField(max_length=48, blank=True, default="")  # of the price: its service tier and band
    calls = models.BigIntegerField()
    confirmed_nano = models.BigIntegerField()
    estimated_nano = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cached_input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()  # of estimated calls: as many as were assumed
    cache_write_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["environment", "minute"], name="ledger_by_minute"),
            models.Index(fields=["environment", "route", "minute"], name="ledger_by_route"),
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.minute:%H:%M}"


class LedgerTotal(models.Model):
    """Lines of the ledger drawn up by the hour or the day, as far as they were read (`rolling`). Sums of sums."""

    id = models.BigAutoField(primary_key=True)
    starts_at = models.DateTimeField()
    key = models.BigIntegerField()  # hash of the names that follow
    environment = environment_field()
    route = route_field()
    variant = name_field()
    provider = name_field()
    model = name_field(200)
    owner = name_field()
    arm = models.CharField(max_length=8)
    trial = name_field(64)
    tag = name_field()
    rule = models.CharField(max_length=32)
    rate = models.CharField(max_length=48, blank=True, default="")
    calls = models.BigIntegerField()
    confirmed_nano = models.BigIntegerField()
    estimated_nano = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cached_input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)

    class Meta:
        abstract = True
        constraints = [models.UniqueConstraint(fields=["starts_at", "key"], name="one_%(class)s_per_key")]
        indexes = [
            models.Index(fields=["environment", "starts_at"], name="%(class)s_by_time"),
            models.Index(fields=["environment", "route", "starts_at"], name="%(class)s_by_route"),
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.starts_at:%Y-%m-%d %H:%M}"


class LedgerHour(LedgerTotal):
    pass


class LedgerDay(LedgerTotal):
    """Days of UTC: those of other zones are made of these, and of hours at both ends."""


class Freshness(models.Model):
    """When something of a route was last committed."""

    environment = environment_field()
    route = route_field()
    first_at = models.DateTimeField()
    newest_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "route"], name="one_freshness_per_route")]

    def __str__(self) -> str:
        return f"{self.route} {self.newest_at}"


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


class Compacted(models.Model):
    """Up to which row a table's rows were drawn together."""

    name = models.CharField(primary_key=True, max_length=32)
    last_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.name} to {self.last_id}"

    def move_to(self, last_id: int) -> None:
        self.last_id = last_id
        self.save(update_fields=["last_id"])


class Trace(models.Model):
    """What is known of a trace, for as long as more of it may come: its money may still find its route."""

    id = models.BigAutoField(primary_key=True)
    environment = environment_field()
    trace_id = models.CharField(max_length=220)
    at = models.DateTimeField()  # when something of it last came
    body = models.BinaryField()  # domain.traces.Trace

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "trace_id"], name="one_row_per_trace")]
        indexes = [models.Index(fields=["at"], name="trace_by_moment")]

    def __str__(self) -> str:
        return self.trace_id


class MetricStream(models.Model):
    """The newest point of a cumulative stream: the next one is told from it by subtraction."""

    key = models.CharField(primary_key=True, max_length=64)
    at = models.DateTimeField()
    body = models.BinaryField()  # domain.points.State

    class Meta:
        indexes = [models.Index(fields=["at"], name="stream_by_moment")]

    def __str__(self) -> str:
        return self.key


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


class MetricBooking(models.Model):
    """Money that was booked from metrics, while spans of the same calls may still come."""

    environment = environment_field()
    service = name_field()
    route = route_field()  # as the metric named it, mostly empty
    at = models.DateTimeField()
    body = models.BinaryField()

    class Meta:
        indexes = [models.Index(fields=["environment", "service", "at"], name="metric_booking_by_service")]

    def __str__(self) -> str:
        return f"{self.service} {self.at}"


class UntoldUsage(models.Model):
    """Calls of a minute that only metrics tell of, and of how many the tokens were told: the others are estimated."""

    key = models.CharField(primary_key=True, max_length=32)  # hash of whose calls they are, and of the minute
    at = models.DateTimeField()
    calls = models.BigIntegerField()
    told = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["at"], name="untold_usage_by_moment")]

    def __str__(self) -> str:
        return f"{self.calls} calls, {self.told} told"


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


class BillLine(models.Model):
    """What a provider says a day of a model cost. It changes no line of ours: both are shown, and their difference."""

    environment = environment_field()
    provider = name_field()
    model = name_field(200)
    day = models.DateField()  # UTC
    amount_nano = models.BigIntegerField()
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    by = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "provider", "model", "day"], name="one_bill_line_per_model_and_day"
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.day}"


class RawCalls(models.Model):
    """Calls of one route that one commit group brought, for people who look closely; they go after RAW_HOURS."""

    id = models.BigAutoField(primary_key=True)
    environment = environment_field()
    route = route_field()
    arrived_at = models.DateTimeField()
    first_at = models.DateTimeField()  # when the first and the last of them began
    last_at = models.DateTimeField()
    size = models.PositiveIntegerField()  # bytes of `body`
    body = models.BinaryField()  # domain.raw

    class Meta:
        indexes = [
            models.Index(fields=["environment", "route", "last_at"], name="raw_calls_by_route"),
            models.Index(fields=["arrived_at", "size"], name="raw_calls_by_arrival"),
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.first_at:%H:%M:%S}"


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
