"""One model under the names of its sender, of a plan, of what people have settled, and of the price book."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from apps.catalog.domain.names import normalised, spellings
from apps.catalog.domain.pricing import PriceBook

UNKNOWN = "unknown"

Rules = Mapping[tuple[str, str], str]  # (service, model as `plain_name` has it) -> route; an empty model means any


def plain_name(model: str) -> str:
    """Without the provider in front, in one spelling."""
    return normalised("", model)[1]


def ruled(rules: Rules, service: str, *models: str) -> str | None:
    """The route of a service's calls to a model, as people have settled it; the first of its names that is there."""
    named = (*(plain_name(model) for model in models if model), "")
    return next((route for name in named if (route := rules.get((service, name)))), None)


def name_of_unassigned(service: str, model: str) -> str:
    return f"{service or UNKNOWN}: {plain_name(model) or UNKNOWN}"[:512]


def is_same(book: PriceBook, planned: str, provider: str, called: str, at: datetime) -> bool:
    """Is the model that was called the one of the plan? One of the two may be told without its date."""
    if planned == f"{provider}/{called}":
        return True
    plan, call = known_as(book, "", planned, at), known_as(book, provider, called, at)
    return plan in spellings("", call) or call in spellings("", plan)


def known_as(book: PriceBook, provider: str, model: str, at: datetime) -> str:
    """As the price book spells it, if it has it."""
    price = book.find(provider or None, model, at)
    return price.model if price else normalised(provider, model)[1]
