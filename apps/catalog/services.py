"""What changes the catalogue: models and their prices. A price is never edited: a newer one takes its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from apps.catalog import shipped
from apps.catalog.domain.contenders import CONTENDERS, Contender
from apps.catalog.domain.pricing import Price as PlainPrice
from apps.catalog.models import Model, Price, Tier
from apps.core.actors import Actor
from apps.core.refusals import AlreadyThere, Invalid, NotFound
from apps.journal import services as journal

NO_ENVIRONMENT = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrice:
    """USD per million tokens."""

    valid_from: datetime
    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None


@transaction.atomic
def ensure_contenders(*, now: datetime) -> list[Model]:
    """The five contenders with their real prices. What is there already stays as it is."""
    return [ensure_contender(contender) for contender in CONTENDERS]


def ensure_contender(contender: Contender) -> Model:
    model, is_new = Model.objects.get_or_create(
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
    if is_new:
        history = shipped.price_book().history(None, contender.priced_as)
        Price.objects.bulk_create(row_of(model, price, contender.released_at) for price in history)
    return model


def row_of(model: Model, price: PlainPrice, released_at: datetime) -> Price:
    above = price.rates_above
    return Price(
        model=model,
        valid_from=max(price.valid_from, released_at),
        input=price.rates.input,
        cached_input=price.rates.cached_input,
        output=price.rates.output,
        above=price.above,
        input_above=above.input if above else None,
        cached_input_above=above.cached_input if above else None,
        output_above=above.output if above else None,
        source=price.source,
    )


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
def add_price(*, key: str, price: NewPrice, by: Actor, because: str, now: datetime) -> Price:
    """A price from a moment on. Calls that were priced before keep their price."""
    model = Model.objects.filter(key=key).first()
    if model is None:
        raise NotFound(what="model", key=key)
    if model.prices.filter(valid_from=price.valid_from).exists():
        raise AlreadyThere(what="price from", key=price.valid_from.isoformat())
    row = insert_price(model, price)
    after: dict[str, Any] = {
        "from": price.valid_from.isoformat(),
        "input": str(price.input),
        "output": str(price.output),
    }
    record("model.priced", model, by, because, now, after=after)
    return row


def insert_price(model: Model, price: NewPrice) -> Price:
    return Price.objects.create(
        model=model,
        valid_from=price.valid_from,
        input=price.input,
        cached_input=price.cached_input,
        output=price.output,
        source="own",
    )


def record(kind: str, model: Model, by: Actor, because: str, now: datetime, *, after: dict[str, Any]) -> None:
    journal.record(
        kind, environment=NO_ENVIRONMENT, by=by, because=because, about={"model": model.key}, now=now, after=after
    )
