"""What changes the catalogue: models and their prices. A price is never edited: a newer one takes its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from apps.catalog.domain import differences
from apps.catalog.domain.contenders import CONTENDERS, Contender
from apps.catalog.domain.names import STANDARD, normalised, service_tier_of
from apps.catalog.domain.pricing import Band, Rates
from apps.catalog.domain.pricing import Price as PlainPrice
from apps.catalog.models import Model, Price, Tier, rows_of
from apps.core.actors import Actor
from apps.core.refusals import AlreadyThere, Invalid, NotFound
from apps.journal import services as journal

NO_ENVIRONMENT = ""
OWN = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrice:
    """USD per million tokens; `per_request` in USD. `above`: rates of calls with more input tokens, by that number."""

    valid_from: datetime
    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    per_request: Decimal = Decimal(0)
    service_tier: str = STANDARD
    above: Mapping[int, Rates] = field(default_factory=dict)

    def of(self, provider: str, model: str) -> PlainPrice:
        rates = Rates(
            self.input, self.output, self.cached_input, self.cache_write, self.cache_write_1h, self.per_request
        )
        return PlainPrice(
            provider=provider,
            model=model,
            valid_from=self.valid_from,
            rates=rates,
            bands=tuple(Band(edge, self.above[edge]) for edge in sorted(self.above)),
            service_tier=service_tier_of(self.service_tier),
            source=OWN,
        )


@transaction.atomic
def ensure_contenders(*, now: datetime) -> list[Model]:
    """The five contenders; their prices are the price list's. What is there already stays as it is."""
    return [ensure_contender(contender) for contender in CONTENDERS]


def ensure_contender(contender: Contender) -> Model:
    model, _ = Model.objects.get_or_create(
        key=contender.key,
        defaults={
            "provider": contender.provider,
            "model_id": contender.model_id,
            "name": contender.name,
            "tier": contender.tier,
            "strength": contender.strength,
            "weakness": contender.weakness,
        },
    )
    return model


@transaction.atomic
def add_model(
    *,
    key: str,
    name: str,
    tier: str,
    by: Actor,
    because: str,
    now: datetime,
    strength: str = "",
    weakness: str = "",
    prices: Sequence[NewPrice] = (),
) -> Model:
    provider, slash, model_id = key.partition("/")
    if not (provider and slash and model_id):
        raise Invalid("A model is named provider/model.", key="As in openai/gpt-4.1.")
    if tier not in Tier.values:
        raise Invalid(f"A tier is one of {', '.join(Tier.values)}.", tier=f"{tier} is not known.")
    if Model.objects.filter(key=key).exists():
        raise AlreadyThere(what="model", key=key)
    model = Model.objects.create(
        key=key, provider=provider, model_id=model_id, name=name, tier=tier, strength=strength, weakness=weakness
    )
    for price in prices:
        insert_price(model, price)
    record("model.added", model, by, because, now, after={"tier": tier, "prices": len(prices)})
    return model


@transaction.atomic
def add_price(*, key: str, price: NewPrice, by: Actor, because: str, now: datetime) -> PlainPrice:
    """A price from a moment on. Calls that were priced before keep their price."""
    model = Model.objects.filter(key=key).first()
    if model is None:
        raise NotFound(what="model", key=key)
    plain = insert_price(model, price)
    after = {"from": price.valid_from.isoformat(), "price": differences.line(plain)}
    record("model.priced", model, by, because, now, after=after)
    return plain


def insert_price(model: Model, price: NewPrice) -> PlainPrice:
    """Under the spelling by which calls are looked up."""
    plain = price.of(*normalised(model.provider, model.model_id))
    same = Price.objects.own().filter(provider=plain.provider, model=plain.model, service_tier=plain.service_tier)
    if same.filter(valid_from=plain.valid_from).exists():
        raise AlreadyThere(what="price from", key=price.valid_from.isoformat())
    Price.objects.bulk_create(rows_of(plain))
    return plain


def record(kind: str, model: Model, by: Actor, because: str, now: datetime, *, after: dict[str, Any]) -> None:
    journal.record(
        kind, environment=NO_ENVIRONMENT, by=by, because=because, about={"model": model.key}, now=now, after=after
    )
