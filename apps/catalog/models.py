from collections.abc import Iterable, Sequence
from datetime import datetime, time
from decimal import Decimal
from itertools import groupby
from typing import Self

from django.db import models
from django.db.models import Q

from apps.catalog.domain.pricing import Band, Rates
from apps.catalog.domain.pricing import Price as PlainPrice
from apps.core.ids import new_id


class Tier(models.TextChoices):
    COMPACT = "compact"
    GENERAL = "general"
    LARGE = "large"
    PREVIEW = "preview"  # never serves a critical route's live traffic


class Model(models.Model):
    """A contender: what it is good at and what it is known to fail at."""

    key = models.CharField(max_length=200, unique=True)  # provider/model_id
    provider = models.CharField(max_length=64)
    model_id = models.CharField(max_length=128)
    name = models.CharField(max_length=128)
    tier = models.CharField(max_length=16, choices=Tier.choices)
    strength = models.TextField(blank=True)
    weakness = models.TextField(blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(tier__in=Tier.values), name="a_model_has_a_known_tier")]

    def __str__(self) -> str:
        return self.key


class PriceListQuerySet(models.QuerySet["PriceList"]):
    def waiting(self) -> Self:
        return self.filter(state=PriceList.State.PROPOSED)

    def in_force(self) -> "PriceList | None":
        return self.filter(state=PriceList.State.IN_FORCE).first()


class PriceList(models.Model):
    """One import of the price library, whole. It waits until another person approves it."""

    class State(models.TextChoices):
        PROPOSED = "proposed"
        IN_FORCE = "in_force"
        REPLACED = "replaced"  # was in force, until the next one was approved
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"

    id = models.CharField(primary_key=True, max_length=36, default=new_id)
    source = models.CharField(max_length=128)  # genai-prices 0.2.3
    digest = models.CharField(max_length=64)  # of what it says: the same list is not proposed twice
    state = models.CharField(max_length=16, choices=State.choices)
    because = models.CharField(max_length=500)
    proposed_by = models.CharField(max_length=200)
    proposed_at = models.DateTimeField()
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True)
    word = models.CharField(max_length=500, blank=True)  # of who decided

    objects = PriceListQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["state"], condition=Q(state="in_force"), name="one_price_list_in_force"),
            models.UniqueConstraint(fields=["state"], condition=Q(state="proposed"), name="one_price_list_waits"),
        ]

    def __str__(self) -> str:
        return f"{self.source}, {self.state}"

    def decide(self, state: State, *, by: str, at: datetime, word: str) -> None:
        self.state, self.decided_by, self.decided_at, self.word = state, by, at, word
        self.save(update_fields=["state", "decided_by", "decided_at", "word"])

    def make_way(self) -> None:
        self.state = self.State.REPLACED
        self.save(update_fields=["state"])


def usd_per_million() -> "models.DecimalField[Decimal, Decimal]":
    return models.DecimalField(max_digits=18, decimal_places=9)


def usd_per_million_or_none() -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(max_digits=18, decimal_places=9, null=True)


PRICED = ["provider", "model", "service_tier", "hours", "valid_from", "above_tokens"]


class PriceQuerySet(models.QuerySet["Price"]):
    def own(self) -> Self:
        return self.filter(price_list=None)

    def in_order(self) -> Self:
        """So that the bands of one price stand side by side, the lowest first."""
        return self.order_by(*PRICED, "id")


class Price(models.Model):
    """What a model costs from a moment on: one row for each band of prompt size. Our own price has no list."""

    price_list = models.ForeignKey(PriceList, on_delete=models.CASCADE, related_name="prices", null=True)
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    service_tier = models.CharField(max_length=32, blank=True)  # empty: the standard one
    above_tokens = models.PositiveIntegerField(default=0)  # of input: the whole call has this rate
    hours = models.CharField(max_length=11, blank=True)  # of each day, UTC: 00:30-16:30; empty: the whole day
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True)
    input = usd_per_million()
    output = usd_per_million()
    cached_input = usd_per_million_or_none()
    cache_write = usd_per_million_or_none()
    cache_write_1h = usd_per_million_or_none()
    per_request = models.DecimalField(max_digits=18, decimal_places=9, default=0)  # USD
    source = models.CharField(max_length=128)

    objects = PriceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["price_list", *PRICED], name="one_price_of_a_list_per_band_and_moment"),
            models.UniqueConstraint(
                fields=PRICED, condition=Q(price_list=None), name="one_own_price_per_band_and_moment"
            ),
            models.CheckConstraint(
                condition=Q(input__gte=0) & Q(output__gte=0) & Q(per_request__gte=0), name="a_price_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} from {self.valid_from:%Y-%m-%d}"

    @property
    def rates(self) -> Rates:
        return Rates(
            self.input, self.output, self.cached_input, self.cache_write, self.cache_write_1h, self.per_request
        )


def rows_of(price: PlainPrice, price_list: PriceList | None = None) -> Sequence[Price]:
    return [
        Price(
            price_list=price_list,
            provider=price.provider,
            model=price.model,
            service_tier=price.service_tier,
            hours="-".join(f"{moment:%H:%M}" for moment in price.hours or ()),
            valid_from=price.valid_from,
            valid_to=price.valid_to,
            above_tokens=band.above,
            input=band.rates.input,
            output=band.rates.output,
            cached_input=band.rates.cached_input,
            cache_write=band.rates.cache_write,
            cache_write_1h=band.rates.cache_write_1h,
            per_request=band.rates.per_request,
            source=price.source,
        )
        for band in (Band(0, price.rates), *price.bands)
    ]


def prices_of(rows: Iterable[Price]) -> Sequence[PlainPrice]:
    """Of rows in their order, so that the bands of one price stand together."""
    found = []
    for _, group in groupby(rows, key=lambda row: [getattr(row, name) for name in PRICED[:-1]]):
        first, *bands = group
        hours = [time.fromisoformat(moment) for moment in first.hours.split("-")] if first.hours else None
        found.append(
            PlainPrice(
                provider=first.provider,
                model=first.model,
                valid_from=first.valid_from,
                rates=first.rates,
                bands=tuple(Band(row.above_tokens, row.rates) for row in bands),
                valid_to=first.valid_to,
                service_tier=first.service_tier,
                hours=(hours[0], hours[1]) if hours else None,
                source=first.source,
            )
        )
    return found
