"""What is remembered of a trace or a metric stream while more of it may come."""

from django.db import models

from apps.telemetry.models.fields import environment_field, name_field, route_field


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
    """The newest points of a cumulative stream: the next one is told from one of them by subtraction."""

    key = models.CharField(primary_key=True, max_length=64)
    at = models.DateTimeField()
    body = models.BinaryField()  # domain.points.Stream

    class Meta:
        indexes = [models.Index(fields=["at"], name="stream_by_moment")]

    def __str__(self) -> str:
        return self.key


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
