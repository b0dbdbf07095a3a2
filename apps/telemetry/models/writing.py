"""Who writes and who has read; what was counted already; how fresh it is."""

from django.db import models

from apps.telemetry.models.fields import environment_field, route_field


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


class Compacted(models.Model):
    """Up to which row a table's rows were drawn together."""

    name = models.CharField(primary_key=True, max_length=32)
    last_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.name} to {self.last_id}"

    def move_to(self, last_id: int) -> None:
        self.last_id = last_id
        self.save(update_fields=["last_id"])
