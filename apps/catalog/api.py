"""/api/v1/models/: the catalogue."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.endpoint import ApiView
from apps.catalog import queries, services
from apps.catalog.domain.names import STANDARD
from apps.catalog.domain.pricing import Price, Rates
from apps.catalog.models import Tier


@extend_schema_field(str)
class UsdPerMillion(serializers.DecimalField):
    """Six decimals as text, as all money; more only where a price needs them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=18, decimal_places=9, min_value=Decimal(0), **kwargs)

    def to_representation(self, value: Any) -> str:
        return usd_text(value)


def usd_text(value: Decimal) -> str:
    return f"{value:.6f}" if value == round(value, 6) else f"{value:f}".rstrip("0")


RATES = ("input", "cached_input", "cache_write", "cache_write_1h", "output")
RatesOut = {f"{name}_usd_per_million": UsdPerMillion() for name in RATES} | {"per_request_usd": serializers.CharField()}
BandOut = inline_serializer("PriceBand", {"above_input_tokens": serializers.IntegerField(), **RatesOut}, many=True)
PriceOut = inline_serializer(
    "Price",
    {
        "from": serializers.DateTimeField(),
        "to": serializers.DateTimeField(allow_null=True),
        **RatesOut,
        "bands": BandOut,
        "source": serializers.CharField(),
    },
    many=True,
)
OtherPriceOut = inline_serializer(
    "OtherPrice",
    {
        "service_tier": serializers.CharField(),
        "hours": serializers.CharField(allow_blank=True),
        "from": serializers.DateTimeField(),
        "to": serializers.DateTimeField(allow_null=True),
        **RatesOut,
        "bands": BandOut,
        "source": serializers.CharField(),
    },
    many=True,
)


class ModelOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    provider = serializers.CharField()
    model_id = serializers.CharField()
    tier = serializers.ChoiceField(choices=Tier.choices)
    strength = serializers.CharField()
    weakness = serializers.CharField()
    prices = PriceOut
    other_prices = OtherPriceOut


class RatesIn(serializers.Serializer[Any]):
    input_usd_per_million = UsdPerMillion()
    cached_input_usd_per_million = UsdPerMillion(required=False, allow_null=True)
    cache_write_usd_per_million = UsdPerMillion(required=False, allow_null=True)
    cache_write_1h_usd_per_million = UsdPerMillion(required=False, allow_null=True)
    output_usd_per_million = UsdPerMillion()
    per_request_usd = UsdPerMillion(default=Decimal(0))


class BandIn(RatesIn):
    above_input_tokens = serializers.IntegerField(min_value=1, max_value=2_000_000_000)


class PriceIn(RatesIn):
    service_tier = serializers.CharField(max_length=32, default="", allow_blank=True)
    bands = BandIn(many=True, default=list)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(), **super().get_fields()}

    def validate_bands(self, bands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len({band["above_input_tokens"] for band in bands}) < len(bands):
            raise serializers.ValidationError("Each edge once.")
        return bands


class ModelIn(serializers.Serializer[Any]):
    key = serializers.RegexField(r"^[^/\s]+/\S+$", max_length=200)
    name = serializers.CharField(max_length=128)
    tier = serializers.ChoiceField(choices=Tier.choices)
    strength = serializers.CharField(default="", allow_blank=True)
    weakness = serializers.CharField(default="", allow_blank=True)
    prices = PriceIn(many=True, default=list)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


def price_dict(price: Price, begins: datetime) -> dict[str, Any]:
    return {
        "from": begins,
        "to": price.valid_to,
        **rates_dict(price.rates),
        "bands": [{"above_input_tokens": band.above, **rates_dict(band.rates)} for band in price.bands],
        "source": price.source,
    }


def rates_dict(rates: Rates) -> dict[str, str]:
    cached = rates.input if rates.cached_input is None else rates.cached_input
    written = rates.input if rates.cache_write is None else rates.cache_write
    return {
        "input_usd_per_million": usd_text(rates.input),
        "cached_input_usd_per_million": usd_text(cached),
        "cache_write_usd_per_million": usd_text(written),
        "cache_write_1h_usd_per_million": usd_text(written if rates.cache_write_1h is None else rates.cache_write_1h),
        "output_usd_per_million": usd_text(rates.output),
        "per_request_usd": usd_text(rates.per_request),
    }


def model_dict(view: queries.ModelView) -> dict[str, Any]:
    model = view.model
    told = sorted(((view.begins(price), price) for price in view.prices), key=lambda pair: pair[0])
    plain = [(begins, price) for begins, price in told if price.service_tier == STANDARD and price.hours is None]
    others = [(begins, price) for begins, price in told if price.service_tier != STANDARD or price.hours is not None]
    return {
        "key": model.key,
        "name": model.name,
        "provider": model.provider,
        "model_id": model.model_id,
        "tier": model.tier,
        "strength": model.strength,
        "weakness": model.weakness,
        "prices": [price_dict(price, begins) for begins, price in plain],
        "other_prices": [
            {"service_tier": price.service_tier, "hours": hours_text(price), **price_dict(price, begins)}
            for begins, price in others
        ],
    }


def hours_text(price: Price) -> str:
    return "-".join(f"{moment:%H:%M}" for moment in price.hours or ())


def rates_of(data: dict[str, Any]) -> dict[str, Any]:
    told = {name: data[f"{name}_usd_per_million"] for name in RATES if f"{name}_usd_per_million" in data}
    return told | {"per_request": data["per_request_usd"]}


def new_price(data: dict[str, Any]) -> services.NewPrice:
    return services.NewPrice(
        valid_from=data["from"],
        **rates_of(data),
        service_tier=data["service_tier"],
        above={band["above_input_tokens"]: Rates(**rates_of(band)) for band in data["bands"]},
    )


class CatalogView(ApiView):
    def shown(self, key: str) -> dict[str, Any]:
        return model_dict(queries.model(key))


class ModelsView(CatalogView):
    @extend_schema(responses=ModelOut(many=True), summary="Models, with their prices")
    def get(self, request: Request) -> Response:
        return self.paged(queries.models(), model_dict)

    @extend_schema(request=ModelIn, responses={201: ModelOut}, summary="Add a model")
    def post(self, request: Request) -> Response:
        self.must_be_admin()
        data = self.read(ModelIn)
        data["prices"] = [new_price(price) for price in data["prices"]]
        services.add_model(**data, by=self.actor, now=self.now)
        return Response(self.shown(data["key"]), status=status.HTTP_201_CREATED)


class ModelView(CatalogView):
    @extend_schema(responses=ModelOut, summary="One model")
    def get(self, request: Request, key: str) -> Response:
        return Response(self.shown(key))


class PricesView(CatalogView):
    @extend_schema(request=PriceIn, responses={201: ModelOut}, summary="Add a price, valid from a moment on")
    def post(self, request: Request, key: str) -> Response:
        self.must_be_admin()
        data = self.read(PriceIn)
        services.add_price(key=key, price=new_price(data), by=self.actor, because=data["because"], now=self.now)
        return Response(self.shown(key), status=status.HTTP_201_CREATED)
