"""/api/v1/budgets/holds/: room under hard caps, for whoever is about to call a model: our client does it by itself.

Keys that report calls (`telemetry:write`) may hold money for them; persons and other keys need the role operator.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.budgets import caps, holding
from apps.budgets.models import Hold
from apps.catalog.domain.pricing import Rates
from apps.core.api import NanoField
from apps.core.money import nano_to_text, nano_to_usd
from apps.core.refusals import Invalid, Refused

SCOPE = "What is known of the call: route, variant, model, provider, owner, tag, rollout, arm."
LASTS = timedelta(minutes=5)


class Unverifiable(Refused):
    """The database cannot be asked. Each budget's `on_unreachable`, told with every hold, says what to do then."""

    code = "budget_unverifiable"
    sentence = "Whether there is room cannot be verified now."
    status = 503


class HoldIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    hold = serializers.CharField(max_length=200, help_text="Your own name for it. The same again is the same hold.")
    scope = serializers.DictField(child=serializers.CharField(max_length=512, allow_blank=True), help_text=SCOPE)
    usd = NanoField(min_value=0, help_text="The most that it may cost: input tokens at their dearest rate, max_tokens.")
    slice = serializers.BooleanField(
        default=False,
        help_text="Take room for more calls of that amount at once: 1 % of what is left, 20 calls or more.",
    )
    expires_at = serializers.DateTimeField(required=False, help_text="Default: in 5 minutes. At most in 24 hours.")


class SettleIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    usd = NanoField(min_value=0, allow_null=True, help_text="What it cost. null: made, and the price is not known.")
    unverified = serializers.BooleanField(default=False, help_text="Made while nobody could be asked for room.")
    scope = serializers.DictField(
        child=serializers.CharField(max_length=512, allow_blank=True), required=False, help_text=SCOPE
    )


class ExtendIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    usd = NanoField(min_value=0, required=False)
    expires_at = serializers.DateTimeField(required=False)


class CapOut(serializers.Serializer[Any]):
    budget = serializers.CharField()
    name = serializers.CharField()
    limit_usd = serializers.CharField()
    spent_usd = serializers.CharField()
    reserved_usd = serializers.CharField()
    left_usd = serializers.CharField()
    period_to = serializers.CharField(allow_null=True)
    on_unreachable = serializers.CharField()
    at_cap = serializers.CharField()


class TermsCapOut(serializers.Serializer[Any]):
    budget = serializers.CharField()
    name = serializers.CharField()
    limit_usd = serializers.CharField()
    on_unreachable = serializers.CharField()
    at_cap = serializers.CharField()


class RatesOut(serializers.Serializer[Any]):
    above = serializers.IntegerField(help_text="For whole calls of more input tokens than this.")
    input_usd_per_million = serializers.CharField()
    cached_input_usd_per_million = serializers.CharField()
    cache_write_usd_per_million = serializers.CharField()
    cache_write_1h_usd_per_million = serializers.CharField()
    output_usd_per_million = serializers.CharField()
    request_usd = serializers.CharField()


class TermsOut(serializers.Serializer[Any]):
    caps = TermsCapOut(many=True, help_text="The hard caps that count such a call. None: nothing need be held.")
    rates = RatesOut(many=True, help_text="The lowest edge first. None: nobody knows the model's price.")
    max_cost_usd = serializers.CharField(allow_null=True, help_text="The most that a request may cost.")


class HoldOut(serializers.Serializer[Any]):
    hold = serializers.CharField()
    state = serializers.ChoiceField(choices=Hold.State.choices)
    usd = serializers.CharField()
    settled_usd = serializers.CharField(allow_null=True)
    made_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    caps = CapOut(many=True, required=False)


def hold_dict(row: Hold, held: holding.Held | None = None) -> dict[str, Any]:
    counted = {} if held is None else {"caps": [caps.cap_dict(cap) for cap in held.caps]}
    return {
        "hold": row.key,
        "state": row.state,
        "usd": nano_to_text(row.nano),
        "settled_usd": None if row.settled_nano is None else nano_to_text(row.settled_nano),
        "made_at": row.made_at,
        "expires_at": row.expires_at,
        **counted,
    }


def rates_dict(above: int, rates: Rates) -> dict[str, Any]:
    written = rates.input if rates.cache_write is None else rates.cache_write
    amounts = {
        "input_usd_per_million": rates.input,
        "cached_input_usd_per_million": rates.input if rates.cached_input is None else rates.cached_input,
        "cache_write_usd_per_million": written,
        "cache_write_1h_usd_per_million": written if rates.cache_write_1h is None else rates.cache_write_1h,
        "output_usd_per_million": rates.output,
        "request_usd": rates.per_request,
    }
    return {"above": above} | {name: f"{usd.normalize():f}" for name, usd in amounts.items()}


def terms_dict(told: holding.Terms) -> dict[str, Any]:
    price, most = told.price, told.max_cost_nano
    bands = [(0, price.rates), *((band.above, band.rates) for band in price.bands)] if price else []
    return {
        "caps": [
            {
                "budget": row.id,
                "name": row.name or row.words,
                "limit_usd": nano_to_text(row.limit_nano),
                "on_unreachable": row.on_unreachable,
                "at_cap": row.at_cap,
            }
            for row in told.caps
        ],
        "rates": [rates_dict(above, rates) for above, rates in bands],
        "max_cost_usd": None if most is None else f"{nano_to_usd(most):f}",
    }


class HoldView(ApiView):
    def own_environment(self) -> str:
        """Whoever may report what calls of an environment cost may hold money for them."""
        if self.key is not None and "telemetry:write" in self.key.scopes:
            told = self.request.query_params if self.request.method == "GET" else self.request.data
            asked = told.get("environment") if hasattr(told, "get") else None
            if asked in (None, self.key.environment.key):
                return self.key.environment.key
        return self.asked_environment(role=Role.OPERATOR).key

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(Unverifiable() if isinstance(exc, DatabaseError) else exc)


class HoldsView(HoldView):
    @extend_schema(request=HoldIn, responses={201: HoldOut}, summary="Reserve money under all hard caps, or none")
    def post(self, request: Request) -> Response:
        environment, data = self.own_environment(), self.read(HoldIn)
        held = holding.reserve(
            environment=environment,
            hold=data["hold"],
            scope=data["scope"],
            nano=data["usd"],
            is_slice=data["slice"],
            expires_at=data.get("expires_at") or self.now + LASTS,
            owner=str(self.actor),
            now=self.now,
        )
        code = status.HTTP_200_OK if held.is_repeat else status.HTTP_201_CREATED
        return Response(hold_dict(held.hold, held), status=code)


class TermsView(HoldView):
    @extend_schema(
        parameters=[
            IN_ENVIRONMENT,
            *(OpenApiParameter(name, str) for name in holding.FACTS),
            OpenApiParameter("service_tier", str, description="At whose rates: flex, priority … Default: standard."),
        ],
        responses=TermsOut,
        summary="What a call may cost, and which hard caps count it",
    )
    def get(self, request: Request) -> Response:
        scope = {name: request.query_params[name] for name in holding.FACTS if name in request.query_params}
        told = holding.terms(
            environment=self.own_environment(),
            scope=scope,
            service_tier=request.query_params.get("service_tier", ""),
            now=self.now,
        )
        return Response(terms_dict(told))


class SettleView(HoldView):
    @extend_schema(request=SettleIn, responses=HoldOut, summary="Settle a hold, once")
    def post(self, request: Request, hold: str) -> Response:
        environment, data = self.own_environment(), self.read(SettleIn)
        if not data["unverified"]:
            row = holding.settle(environment=environment, hold=hold, nano=data["usd"], now=self.now)
            return Response(hold_dict(row))
        if data["usd"] is None:
            raise Invalid("Say what it cost.", usd="An unverified call is told with what it cost, or the most it may.")
        row = holding.settle_unverified(
            environment=environment,
            hold=hold,
            scope=data.get("scope", {}),
            nano=data["usd"],
            owner=str(self.actor),
            now=self.now,
        )
        return Response(hold_dict(row))


class ExtendView(HoldView):
    @extend_schema(request=ExtendIn, responses=HoldOut, summary="Hold longer, or more")
    def post(self, request: Request, hold: str) -> Response:
        environment, data = self.own_environment(), self.read(ExtendIn)
        held = holding.extend(
            environment=environment,
            hold=hold,
            nano=data.get("usd"),
            expires_at=data.get("expires_at"),
            now=self.now,
        )
        return Response(hold_dict(held.hold, held))
