"""/api/v1/price-lists/: imports of the price library, each with its difference, approved by another person."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access import queries as access
from apps.access.domain.roles import Role
from apps.access.endpoint import ApiView
from apps.catalog import price_lists, queries
from apps.catalog.models import PriceList
from apps.core.refusals import Forbidden


class PriceListOut(serializers.ModelSerializer[PriceList]):
    state = serializers.CharField(help_text=f"One of {', '.join(PriceList.State.values)}.")

    class Meta:
        model = PriceList
        fields: tuple[str, ...] = (
            "id", "source", "state", "because", "proposed_by", "proposed_at", "decided_by", "decided_at", "word"
        )  # fmt: skip


class PriceDifferenceOut(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="new, changed or gone")
    provider = serializers.CharField()
    model = serializers.CharField()
    before = serializers.ListField(child=serializers.CharField())
    after = serializers.ListField(child=serializers.CharField())


class WholeListOut(PriceListOut):
    differences = PriceDifferenceOut(many=True)

    class Meta(PriceListOut.Meta):
        fields = (*PriceListOut.Meta.fields, "differences")


class BecauseIn(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class AnyPriceListView(ApiView):
    def shown(self, row: PriceList, code: int = status.HTTP_200_OK) -> Response:
        told = PriceDifferenceOut(queries.difference(row, self.now), many=True).data
        return Response({**list_dict(row), "differences": told}, status=code)

    def must_be(self, role: Role) -> None:
        """In every environment: prices belong to all of them. No key approves."""
        if self.key is not None:
            may = self.key.reaches_all_environments and role is not Role.APPROVER
        else:
            have = access.role_everywhere(self.request.user)
            may = have is not None and have.includes(role)
        if not may:
            raise Forbidden(who=str(self.actor), role=role.value, environment="all environments")


class PriceListsView(AnyPriceListView):
    @extend_schema(responses=PriceListOut(many=True), summary="Price lists")
    def get(self, request: Request) -> Response:
        return self.paged(queries.price_lists(), list_dict)

    @extend_schema(
        request=BecauseIn, responses={201: WholeListOut}, summary="Propose what the installed price library says"
    )
    def post(self, request: Request) -> Response:
        self.must_be(Role.OPERATOR)
        because = self.read(BecauseIn)["because"]
        return self.shown(price_lists.propose(by=self.actor, because=because, now=self.now), status.HTTP_201_CREATED)


class PriceListView(AnyPriceListView):
    @extend_schema(responses=WholeListOut, summary="One price list, with what it changes")
    def get(self, request: Request, id: str) -> Response:
        return self.shown(queries.price_list(id))


ACTS: dict[str, tuple[Role, Callable[..., PriceList]]] = {
    "approve": (Role.APPROVER, price_lists.approve),
    "reject": (Role.APPROVER, price_lists.reject),
    "withdraw": (Role.OPERATOR, price_lists.withdraw),
}


class PriceListActView(AnyPriceListView):
    @extend_schema(request=BecauseIn, responses=WholeListOut, summary="Approve, reject or withdraw a price list")
    def post(self, request: Request, id: str, act: str) -> Response:
        role, do = ACTS[act]
        self.must_be(role)
        return self.shown(do(id=id, by=self.actor, because=self.read(BecauseIn)["because"], now=self.now))


def list_dict(row: PriceList) -> dict[str, Any]:
    return dict(PriceListOut(row).data)
