"""/api/v1/models/: the catalogue."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.endpoint import ApiView
from apps.catalog import queries, services
from apps.catalog.domain.pricing import Rates
from apps.catalog.models import Model, Price, Tier
from apps.core.refusals import NotFound


@extend_schema_field(str)
class UsdPerMillion(serializers.DecimalField):
    """Six decimals as text, as all money; more only where a price needs them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=18, decimal_places=9, min_value=Decimal(0), **kwargs)

    def to_representation(self, value: Any) -> str:
        return usd_text(value)


def usd_text(value: Decimal) -> str:
    return f"{value:.6f}" if value == round(value, 6) else f"{value:f}".rstrip("0")


PriceOut = inline_serializer(
    "Price",
    {
        "from": serializers.DateTimeField(),
        "input_usd_per_million": UsdPerMillion(),
        "cached_input_usd_per_million": UsdPerMillion(),
        "output_usd_per_million": UsdPerMillion(),
        "above": inline_serializer(
            "PriceAbove",
            {
                "input_tokens": serializers.IntegerField(),
                "input_usd_per_million": UsdPerMillion(),
                "cached_input_usd_per_million": UsdPerMillion(),
                "output_usd_per_million": UsdPerMillion(),
            },
            allow_null=True,
        ),
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


class PriceIn(serializers.Serializer[Any]):
    input_usd_per_million = UsdPerMillion()
    cached_input_usd_per_million = UsdPerMillion(required=False, allow_null=True)
    output_usd_per_million = UsdPerMillion()
    because = serializers.CharField(max_length=500, default="", allow_blank=True)

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(), **super().get_fields()}


class ModelIn(serializers.Serializer[Any]):
    key = serializers.RegexField(r"^[^/\s]+/\S+$", max_length=200)
    name = serializers.CharField(max_length=128)
    tier = serializers.ChoiceField(choices=Tier.choices)
    strength = serializers.CharField(default="", allow_blank=True)
    weakness = serializers.CharField(default="", allow_blank=True)
    prices = PriceIn(many=True, default=list)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


def price_dict(price: Price) -> dict[str, Any]:
    plain = price.plain()
    above = plain.rates_above
    return {
        "from": plain.valid_from,
        **rates_dict(plain.rates),
        "above": {"input_tokens": plain.above, **rates_dict(above)} if above else None,
        "source": plain.source,
    }


def rates_dict(rates: Rates) -> dict[str, str]:
    cached = rates.input if rates.cached_input is None else rates.cached_input
    return {
        "input_usd_per_million": usd_text(rates.input),
        "cached_input_usd_per_million": usd_text(cached),
        "output_usd_per_million": usd_text(rates.output),
    }


def model_dict(model: Model) -> dict[str, Any]:
    return {
        "key": model.key,
        "name": model.name,
        "provider": model.provider,
        "model_id": model.model_id,
        "tier": model.tier,
        "strength": model.strength,
        "weakness": model.weakness,
        "prices": [price_dict(price) for price in model.prices.all()],
    }


def new_price(data: dict[str, Any]) -> services.NewPrice:
    return services.NewPrice(
        valid_from=data["from"],
        input=data["input_usd_per_million"],
        cached_input=data.get("cached_input_usd_per_million"),
        output=data["output_usd_per_million"],
    )


class ModelsView(ApiView):
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

    def shown(self, key: str) -> dict[str, Any]:
        model = queries.model(key)
        if model is None:
            raise NotFound(what="model", key=key)
        return model_dict(model)


class ModelView(ModelsView):
    http_method_names = ["get", "head", "options"]

    @extend_schema(responses=ModelOut, summary="One model")
    def get(self, request: Request, key: str) -> Response:  # type: ignore[override]  # its address carries a key
        return Response(self.shown(key))


class PricesView(ModelsView):
    http_method_names = ["post", "options"]

    @extend_schema(request=PriceIn, responses={201: ModelOut}, summary="Add a price, valid from a moment on")
    def post(self, request: Request, key: str) -> Response:  # type: ignore[override]  # its address carries a key
        self.must_be_admin()
        data = self.read(PriceIn)
        services.add_price(key=key, price=new_price(data), by=self.actor, because=data["because"], now=self.now)
        return Response(self.shown(key), status=status.HTTP_201_CREATED)
