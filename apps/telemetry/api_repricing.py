"""/api/v1/repricing/: what today's prices would change in a period, and changing it."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import ApiView
from apps.core.money import nano_to_text
from apps.telemetry import repricing
from apps.telemetry.api import FromTo


class PriceChangeOut(serializers.Serializer[Any]):
    provider = serializers.CharField()
    model = serializers.CharField()
    calls = serializers.IntegerField()
    before_usd = serializers.CharField()
    after_usd = serializers.CharField()
    difference_usd = serializers.CharField()
    newly_priced = serializers.IntegerField()
    left_out = serializers.CharField()
    left_out_calls = serializers.IntegerField()


class RepricingOut(serializers.Serializer[Any]):
    preview = serializers.BooleanField()
    changes = PriceChangeOut(many=True)


class RepricingIn(FromTo):
    preview = serializers.BooleanField(default=True)
    because = serializers.CharField(max_length=500)


class RepricingView(ApiView):
    @extend_schema(
        request=RepricingIn, responses=RepricingOut, summary="Apply today's prices to a period, by lines of adjustment"
    )
    def post(self, request: Request) -> Response:
        """A preview needs a viewer and changes nothing; applying it needs an admin."""
        asked = self.read(RepricingIn)
        role = Role.VIEWER if asked["preview"] else Role.ADMIN
        environment = self.asked_environment(role=role)
        period = {"environment": environment.key, "since": asked["from"], "until": asked["to"]}
        if asked["preview"]:
            changes = repricing.preview(**period)
        else:
            changes = repricing.reprice(**period, by=self.actor, because=asked["because"], now=self.now)
        return Response({"preview": asked["preview"], "changes": [change_dict(change) for change in changes]})


def change_dict(change: repricing.Change) -> dict[str, Any]:
    return {
        "provider": change.provider,
        "model": change.model,
        "calls": change.calls,
        "before_usd": nano_to_text(change.before_nano),
        "after_usd": nano_to_text(change.after_nano),
        "difference_usd": nano_to_text(change.difference_nano),
        "newly_priced": change.newly_priced,
        "left_out": change.left_out,
        "left_out_calls": change.left_out_calls,
    }
