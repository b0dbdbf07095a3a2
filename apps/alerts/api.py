"""/api/v1/alerts, channels, deliveries, silences, maintenance-windows, escalation. Nothing acts on GET."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.alerts import queries, services
from apps.alerts.domain.matching import Matcher
from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.alerts.shapes import (
    AlertOut,
    AssignIn,
    ChannelIn,
    ChannelOut,
    ChannelPatchIn,
    ChannelWithConfigOut,
    DeliveryOut,
    EscalationIn,
    EscalationOut,
    MaintenanceIn,
    MatchedOut,
    MatcherIn,
    RotateIn,
    SilenceAlertIn,
    SilenceIn,
    SilenceOut,
    TestOut,
    WhyIn,
)
from apps.core.refusals import NotFound

MATCHER = ("route", "owner", "severity", "condition")


def alert_dict(alert: Alert) -> dict[str, Any]:
    return dict(AlertOut(alert).data)


def channel_dict(channel: Channel) -> dict[str, Any]:
    return dict(ChannelOut(channel).data)


class AlertsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("state", str), OpenApiParameter("route", str)],
        responses=AlertOut(many=True),
        summary="Alerts, newest first",
    )
    def get(self, request: Request) -> Response:
        alerts = Alert.objects.of_environment(self.asked_environment().key).newest_first()
        if state := request.query_params.get("state"):
            alerts = alerts.filter(state=state)
        if route := request.query_params.get("route"):
            alerts = alerts.filter(route=route)
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


class SilenceAlertView(AlertView):
    http_method_names = ("post", "options")

    @extend_schema(request=SilenceAlertIn, responses=AlertOut, summary="Silence an alert until a moment")
    def post(self, request: Request, id: str) -> Response:
        alert = self.load(id, Role.OPERATOR)
        data = self.read(SilenceAlertIn)
        return Response(alert_dict(services.silence(alert=alert, by=self.actor, now=self.now, **data)))


class ResolveView(AlertView):
    http_method_names = ("post", "options")

    @extend_schema(request=WhyIn, responses=AlertOut, summary="Resolve an alert")
    def post(self, request: Request, id: str) -> Response:
        alert = self.load(id, Role.OPERATOR)
        return Response(alert_dict(services.resolve(alert=alert, by=self.actor, now=self.now, **self.read(WhyIn))))


class AssignView(AlertView):
    http_method_names = ("post", "options")

    @extend_schema(request=AssignIn, responses=AlertOut, summary="Say who looks after an alert")
    def post(self, request: Request, id: str) -> Response:
        alert = self.load(id, Role.OPERATOR)
        return Response(alert_dict(services.assign(alert=alert, by=self.actor, now=self.now, **self.read(AssignIn))))


class ChannelsView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=ChannelOut(many=True), summary="Channels")
    def get(self, request: Request) -> Response:
        channels = Channel.objects.filter(environment=self.asked_environment().key).order_by("-created_at", "-id")
        return self.paged(channels, channel_dict)

    @extend_schema(request=ChannelIn, responses={201: ChannelWithConfigOut}, summary="Create a channel")
    def post(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        data = self.read(ChannelIn) | {"environment": environment.key}
        channel = services.create_channel(**data, by=self.actor, now=self.now)
        return Response(dict(ChannelWithConfigOut(channel).data), status=status.HTTP_201_CREATED)


class ChannelView(ApiView):
    def load(self, id: str, role: Role = Role.VIEWER) -> Channel:
        channel = services.load_channel(id)
        self.environment(channel.environment, role=role)
        return channel

    @extend_schema(responses=ChannelOut, summary="One channel")
    def get(self, request: Request, id: str) -> Response:
        return Response(channel_dict(self.load(id)))

    @extend_schema(request=ChannelPatchIn, responses=ChannelOut, summary="Change a channel; what is left out stays")
    def patch(self, request: Request, id: str) -> Response:
        channel = self.load(id, Role.OPERATOR)
        data = self.read(ChannelPatchIn)
        return Response(channel_dict(services.update_channel(channel=channel, by=self.actor, now=self.now, **data)))

    @extend_schema(request=WhyIn, responses={204: None}, summary="Delete a channel that no step of escalation names")
    def delete(self, request: Request, id: str) -> Response:
        channel = self.load(id, Role.OPERATOR)
        services.delete_channel(channel=channel, by=self.actor, now=self.now, **self.read(WhyIn))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ChannelTestView(ChannelView):
    http_method_names = ("post", "options")

    @extend_schema(request=None, responses=TestOut, summary="Really send a test")
    def post(self, request: Request, id: str) -> Response:
        channel = self.load(id, Role.OPERATOR)
        outcome = services.test_channel(channel=channel, by=self.actor, now=self.now)
        return Response({"taken": outcome.taken, "answer": outcome.answer})


class RotateSecretView(ChannelView):
    http_method_names = ("post", "options")

    @extend_schema(
        request=RotateIn, responses=ChannelWithConfigOut, summary="A new secret; the old one overlaps for a while"
    )
    def post(self, request: Request, id: str) -> Response:
        channel = self.load(id, Role.OPERATOR)
        data = self.read(RotateIn)
        overlap = timedelta(hours=data.pop("overlap_hours"))
        channel = services.rotate_secret(channel=channel, overlap=overlap, by=self.actor, now=self.now, **data)
        channel.config = {key: channel.config[key] for key in ("url", "secret", "old_secret_until")}
        return Response(dict(ChannelWithConfigOut(channel).data))


class DeliveriesView(ApiView):
    @extend_schema(
        parameters=[
            IN_ENVIRONMENT,
            OpenApiParameter("channel", str),
            OpenApiParameter("alert", str),
            OpenApiParameter("state", str, enum=["waiting", "failing", "dead", "taken", "replaced"]),
        ],
        responses=DeliveryOut(many=True),
        summary="Deliveries, newest first: every notice to every channel, with the receiver's answer",
    )
    def get(self, request: Request) -> Response:
        asked = {name: request.query_params.get(name) for name in ("channel", "alert", "state")}
        rows = queries.deliveries(self.asked_environment().key, **asked)
        return self.paged(rows, lambda row: dict(DeliveryOut(row).data))


class DeliveryView(ApiView):
    def load(self, id: str, role: Role = Role.VIEWER) -> Delivery:
        delivery = Delivery.objects.select_related("channel").filter(pk=id).first()
        if delivery is None:
            raise NotFound(what="delivery", key=id)
        self.environment(delivery.channel.environment, role=role)
        return delivery

    @extend_schema(responses=DeliveryOut, summary="One delivery")
    def get(self, request: Request, id: str) -> Response:
        return Response(dict(DeliveryOut(self.load(id)).data))


class SendAgainView(DeliveryView):
    http_method_names = ("post", "options")

    @extend_schema(request=None, responses=DeliveryOut, summary="Give a dead letter a new life")
    def post(self, request: Request, id: str) -> Response:
        delivery = self.load(id, Role.OPERATOR)
        return Response(dict(DeliveryOut(services.send_again(delivery=delivery, by=self.actor, now=self.now)).data))


class SilencesView(ApiView):
    is_maintenance = False
    shape: type[SilenceIn] = SilenceIn

    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("over", bool, description="With those that have ended.")],
        responses=SilenceOut(many=True),
        summary="Silences that cover now or will",
    )
    def get(self, request: Request) -> Response:
        over = request.query_params.get("over", "").lower() in ("1", "true", "yes")
        rows = queries.silences(self.asked_environment().key, self.now, is_maintenance=self.is_maintenance, over=over)
        return self.paged(rows, lambda row: dict(SilenceOut(row).data))

    @extend_schema(request=SilenceIn, responses={201: SilenceOut}, summary="Tell nobody of what fits, until a moment")
    def post(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        data = self.read(self.shape) | {"environment": environment.key, "is_maintenance": self.is_maintenance}
        row = services.create_silence(**data, by=self.actor, now=self.now)
        return Response(dict(SilenceOut(row).data), status=status.HTTP_201_CREATED)


class SilencePreviewView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, *(OpenApiParameter(name, str) for name in MATCHER)],
        responses=MatchedOut,
        summary="What a matcher covers now, and would have covered lately",
    )
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        reading = MatcherIn(data={name: request.query_params.get(name, "") for name in MATCHER})
        reading.is_valid(raise_exception=True)
        found = queries.preview(environment.key, Matcher(**reading.validated_data), self.now)
        return Response(dict(MatchedOut(found).data))


class SilenceView(ApiView):
    is_maintenance = False

    def load(self, id: str, role: Role = Role.VIEWER) -> Silence:
        row = Silence.objects.filter(pk=id, is_maintenance=self.is_maintenance).first()
        if row is None:
            raise NotFound(what="silence", key=id)
        self.environment(row.environment, role=role)
        return row

    def end(self, id: str) -> Silence:
        row = self.load(id, Role.OPERATOR)
        return services.end_silence(silence=row, by=self.actor, now=self.now, **self.read(WhyIn))

    @extend_schema(responses=SilenceOut, summary="One of them")
    def get(self, request: Request, id: str) -> Response:
        return Response(dict(SilenceOut(self.load(id)).data))

    @extend_schema(request=WhyIn, responses={204: None}, summary="End it before its time; it stays in the list")
    def delete(self, request: Request, id: str) -> Response:
        self.end(id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class EndSilenceView(SilenceView):
    http_method_names = ("post", "options")

    @extend_schema(request=WhyIn, responses=SilenceOut, summary="End it before its time")
    def post(self, request: Request, id: str) -> Response:
        return Response(dict(SilenceOut(self.end(id)).data))


class MaintenanceWindowsView(SilencesView):
    is_maintenance = True
    shape = MaintenanceIn

    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("over", bool, description="With those that have ended.")],
        responses=SilenceOut(many=True),
        summary="Maintenance windows, now and planned",
    )
    def get(self, request: Request) -> Response:
        return super().get(request)

    @extend_schema(request=MaintenanceIn, responses={201: SilenceOut}, summary="Plan a maintenance window")
    def post(self, request: Request) -> Response:
        return super().post(request)


class MaintenanceWindowView(SilenceView):
    is_maintenance = True


class EndMaintenanceView(EndSilenceView):
    is_maintenance = True


class EscalationView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=EscalationOut, summary="Who is told when nobody acknowledges")
    def get(self, request: Request) -> Response:
        environment = self.asked_environment()
        row = queries.escalation(environment.key)
        return Response({"environment": environment.key, "steps": row.steps if row else []})

    @extend_schema(request=EscalationIn, responses=EscalationOut, summary="Set the steps; none: every channel at once")
    def put(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        data = self.read(EscalationIn) | {"environment": environment.key}
        row = services.set_escalation(**data, by=self.actor, now=self.now)
        return Response({"environment": row.environment, "steps": row.steps})
