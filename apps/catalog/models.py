from decimal import Decimal
from typing import Self

from django.db import models
from django.db.models import Q

from apps.catalog.domain.pricing import Price as PlainPrice
from apps.catalog.domain.pricing import Rates


class Tier(models.TextChoices):
    COMPACT = "compact"
    GENERAL = "general"
    LARGE = "large"
    PREVIEW = "preview"  # never serves a critical route's live traffic


class ModelQuerySet(models.QuerySet["Model"]):
    def with_prices(self) -> Self:
        return self.prefetch_related(models.Prefetch("prices", Price.objects.order_by("valid_from", "id")))


class Model(models.Model):
    """A contender: what it is good at, what it is known to fail at, and what it costs."""

    key = models.CharField(max_length=200, unique=True)  # provider/model_id
    provider = models.CharField(max_length=64)
    model_id = models.CharField(max_length=128)
    name = models.CharField(max_length=128)
    tier = models.CharField(max_length=16, choices=Tier.choices)
    strength = models.TextField(blank=True)
    weakness = models.TextField(blank=True)

    objects = ModelQuerySet.as_manager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(tier__in=Tier.values), name="a_model_has_a_known_tier")]

    def __str__(self) -> str:
        return self.key

    def describe(self, *, name: str, tier: str, strength: str, weakness: str) -> None:
        self.name, self.tier, self.strength, self.weakness = name, tier, strength, weakness
        self.save(update_fields=["name", "tier", "strength", "weakness"])


def usd_per_million() -> "models.DecimalField[Decimal, Decimal]":
    return models.DecimalField(max_digits=18, decimal_places=9)


def usd_per_million_or_none() -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(max_digits=18, decimal_places=9, null=True)


class Price(models.Model):
    """USD per million tokens from a moment on. `above`: for calls with more input tokens the second row of rates."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="prices")
    valid_from = models.DateTimeField()
    input = usd_per_million()
    cached_input = usd_per_million_or_none()
    output = usd_per_million()
    above = models.PositiveIntegerField(null=True)
    input_above = usd_per_million_or_none()
    cached_input_above = usd_per_million_or_none()
    output_above = usd_per_million_or_none()
    source = models.CharField(max_length=128)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "valid_from"], name="one_price_per_model_and_moment"),
            models.CheckConstraint(condition=Q(input__gte=0) & Q(output__gte=0), name="a_price_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.model_id} from {self.valid_from:%Y-%m-%d}"

    def plain(self) -> PlainPrice:
        above = None
        if self.input_above is not None and self.output_above is not None:
            above = Rates(input=self.input_above, output=self.output_above, cached_input=self.cached_input_above)
        return PlainPrice(
            provider=self.model.provider,
            model=self.model.model_id,
            valid_from=self.valid_from,
            rates=Rates(input=self.input, output=self.output, cached_input=self.cached_input),
            above=self.above,
            rates_above=above,
            source=self.source,
        )
