"""Which models there are, and what they cost."""

from django.db.models import Count, Max

from apps.catalog import shipped
from apps.catalog.domain.pricing import PriceBook
from apps.catalog.models import Model, ModelQuerySet, Price


def models() -> ModelQuerySet:
    return Model.objects.with_prices().order_by("key")


def model(key: str) -> Model | None:
    return models().filter(key=key).first()


def price_version() -> str:
    """Changes with every price that is added: cheap to ask before a price book is loaded again."""
    state = Price.objects.aggregate(n=Count("id"), newest=Max("id"))
    return f"{shipped.source()}+{state['n']}.{state['newest'] or 0}"


def price_book() -> PriceBook:
    """Our own prices, and beneath them those of the price library for every other model."""
    version = price_version()
    own = [price.plain() for price in Price.objects.select_related("model").order_by("valid_from", "id")]
    return PriceBook(own, version=version, beneath=shipped.price_book())
