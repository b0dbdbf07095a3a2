"""Money: lines by the minute, their totals by hour and day, and what providers billed."""

from django.db import models

from apps.telemetry.models.fields import environment_field, name_field, route_field


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
