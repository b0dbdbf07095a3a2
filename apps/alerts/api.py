"""/api/v1/alerts and /api/v1/channels."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import ApiView
from apps.alerts import services
from apps.alerts.models import Alert, Channel
from apps.core.refusals import NotFound

IN_ENVIRONMENT = OpenApiParameter("environment", str)


class AlertOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    condition = serializers.CharField()
    state = serializers.ChoiceField(choices=Alert.State.choices)
    severity = serializers.CharField()
    route = serializers.CharField()
    owner = serializers.CharField()
    sentence = serializers.CharField()
    link = serializers.CharField()
    runbook = serializers.CharField()
    opened_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField()
    silenced_until = serializers.DateTimeField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)


class WhyIn(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class SilenceIn(WhyIn):
    until = serializers.DateTimeField()


def alert_dict(alert: Alert) -> dict[str, Any]:
    return dict(AlertOut(alert).data)


class AlertsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("state", str)],
        responses=AlertOut(many=True),
        summary="Alerts, newest first",
    )
    def get(self, request: Request) -> Response:
        alerts = Alert.objects.of_environment(self.asked_environment().key).newest_first()
        if state := request.query_params.get("state"):
            alerts = alerts.filter(state=state)
        return self.paged(alerts, alert_dict)


class AlertView(ApiView):
    def load(self, id: str, role: Role = Role.VIEWER) -> Alert:
        alert = Alert.objects.filter(pk=id).first()
        if alert is None:
            raise NotFound(what="alert", key=id)
        self.environment(alert.environment, role=role)
        return alert

    @extend_schema(responses=AlertOut, summary="One alert")
    def get(self, request: Request, id: str) -> Response:
        return Response(alert_dict(self.load(id)))


class AcknowledgeView(AlertView):
    http_method_names = ("post", "options")

    @extend_schema(request=WhyIn, responses=AlertOut, summary="Acknowledge an alert")
    def post(self, request: Request, id: str) -> Response:
        alert = self.load(id, Role.OPERATOR)
        return Response(alert_dict(services.acknowledge(alert=alert, by=self.actor, now=self.now, **self.read(WhyIn))))


class SilenceView(AlertView):
    http_method_names = ("post", "options")

    @extend_schema(request=SilenceIn, responses=AlertOut, summary="Silence an alert until a moment")
    def post(self, request: Request, id: str) -> Response:
        alert = self.load(id, Role.OPERATOR)
        return Response(alert_dict(services.silence(alert=alert, by=self.actor, now=self.now, **self.read(SilenceIn))))


class ResolveView(AlertView):
    http_method_names = ("post", "options")

    @extend_schema(request=WhyIn, responses=AlertOut, summary="Resolve an alert")
    def post(self, request: Request, id: str) -> Response:
        alert = self.load(id, Role.OPERATOR)
        return Response(alert_dict(services.resolve(alert=alert, by=self.actor, now=self.now, **self.read(WhyIn))))


class ChannelOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    kind = serializers.ChoiceField(choices=Channel.Kind.choices)
    name = serializers.CharField()
    is_active = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class NewChannelOut(ChannelOut):
    config = serializers.DictField(help_text="With the webhook's secret: shown this once.")


class ChannelIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    kind = serializers.ChoiceField(choices=Channel.Kind.choices)
    name = serializers.CharField(max_length=128)
    config = serializers.DictField()
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class TestOut(serializers.Serializer[Any]):
    taken = serializers.BooleanField()
    answer = serializers.CharField()


class ChannelsView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=ChannelOut(many=True), summary="Channels")
    def get(self, request: Request) -> Response:
        channels = Channel.objects.filter(environment=self.asked_environment().key).order_by("-created_at", "-id")
        return self.paged(channels, lambda channel: dict(ChannelOut(channel).data))

    @extend_schema(request=ChannelIn, responses={201: NewChannelOut}, summary="Create a channel")
    def post(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        data = self.read(ChannelIn) | {"environment": environment.key}
        channel = services.create_channel(**data, by=self.actor, now=self.now)
        return Response(dict(NewChannelOut(channel).data), status=status.HTTP_201_CREATED)


class ChannelTestView(ApiView):
    @extend_schema(request=None, responses=TestOut, summary="Really send a test")
    def post(self, request: Request, id: str) -> Response:
        channel = Channel.objects.filter(pk=id).first()
        if channel is None:
            raise NotFound(what="channel", key=id)
        self.environment(channel.environment, role=Role.OPERATOR)
        outcome = services.test_channel(channel=channel, by=self.actor, now=self.now)
        return Response({"taken": outcome.taken, "answer": outcome.answer})
