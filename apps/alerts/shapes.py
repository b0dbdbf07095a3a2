"""What goes in and comes out of the management API about alerts."""

from typing import Any

from rest_framework import serializers

from apps.alerts.domain.life import SEVERITIES
from apps.alerts.domain.recurrence import DAYS
from apps.alerts.models import Alert, Channel


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
    repeats = serializers.IntegerField(help_text="How often the condition was opened again while it was open.")
    opened_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    told_at = serializers.DateTimeField(allow_null=True, help_text="When the last notice left, or will.")
    muted_by = serializers.CharField(help_text="The open condition that tells people of this one too.")
    assigned_to = serializers.CharField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField()
    silenced_until = serializers.DateTimeField(allow_null=True)
    silenced_by = serializers.CharField()
    resolved_at = serializers.DateTimeField(allow_null=True)


class WhyIn(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class AssignIn(WhyIn):
    to = serializers.CharField(max_length=150, allow_blank=True, help_text="Who operates here; empty: nobody.")


class SilenceAlertIn(WhyIn):
    until = serializers.DateTimeField()


class ChannelOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    kind = serializers.ChoiceField(choices=Channel.Kind.choices)
    name = serializers.CharField()
    target = serializers.CharField(help_text="Where it goes, as far as that is no secret.")
    state = serializers.CharField(help_text="working, broken or off")
    is_active = serializers.BooleanField()
    off_because = serializers.CharField()
    least_severity = serializers.ChoiceField(choices=SEVERITIES)
    failures_in_row = serializers.IntegerField()
    broken_at = serializers.DateTimeField(allow_null=True)
    last_answer = serializers.CharField()
    last_taken_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class ChannelWithConfigOut(ChannelOut):
    config = serializers.DictField(help_text="With the webhook's secret: shown this once.")


CONFIG = (
    'webhook {"url", "secret"?}, email {"to": [addresses]}, slack {"url"}, pagerduty {"routing_key", "url"?}, '
    'teams {"url"}, apprise {"urls": [addresses]}'
)


class ChannelIn(WhyIn):
    environment = serializers.CharField(required=False)
    kind = serializers.ChoiceField(choices=Channel.Kind.choices)
    name = serializers.CharField(max_length=128)
    config = serializers.DictField(help_text=CONFIG)
    least_severity = serializers.ChoiceField(choices=SEVERITIES, default="info")


class ChannelPatchIn(WhyIn):
    name = serializers.CharField(max_length=128, required=False)
    config = serializers.DictField(required=False, help_text=CONFIG)
    least_severity = serializers.ChoiceField(choices=SEVERITIES, required=False)
    is_active = serializers.BooleanField(required=False)


class RotateIn(WhyIn):
    overlap_hours = serializers.FloatField(
        min_value=0, max_value=720, default=24, help_text="For so long every message is signed with both secrets."
    )


class TestOut(serializers.Serializer[Any]):
    taken = serializers.BooleanField()
    answer = serializers.CharField()


class MatcherIn(serializers.Serializer[Any]):
    route = serializers.CharField(max_length=128, default="", allow_blank=True)
    owner = serializers.CharField(max_length=128, default="", allow_blank=True)
    severity = serializers.CharField(max_length=16, default="", allow_blank=True)
    condition = serializers.CharField(
        max_length=255,
        default="",
        allow_blank=True,
        help_text="How the condition begins: `budget:` covers all budgets.",
    )


class SilenceIn(MatcherIn, WhyIn):
    environment = serializers.CharField(required=False)
    ends_at = serializers.DateTimeField(help_text="A silence always ends.")
    starts_at = serializers.DateTimeField(required=False, help_text="Left out: now.")


class MaintenanceIn(SilenceIn):
    repeats = serializers.ChoiceField(choices=list(DAYS), required=False, help_text="Left out: it comes once.")
    time_zone = serializers.CharField(max_length=64, required=False, help_text="By whose clocks it comes back: UTC.")


class SilenceOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    route = serializers.CharField()
    owner = serializers.CharField()
    severity = serializers.CharField()
    condition = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    because = serializers.CharField()
    by = serializers.CharField()
    created_at = serializers.DateTimeField()
    ended_by = serializers.CharField()
    repeats = serializers.CharField(help_text="Maintenance that comes back: daily, weekly. The times are the next.")
    time_zone = serializers.CharField()


class MatchedOut(serializers.Serializer[Any]):
    words = serializers.CharField()
    open = AlertOut(many=True)
    lately = serializers.IntegerField(help_text="Alerts of the last `days` that it would have covered …")
    of = serializers.IntegerField(help_text="… of so many.")
    days = serializers.IntegerField()


class DeliveryOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    alert = serializers.CharField(source="alert_id", allow_null=True)
    channel = serializers.CharField(source="channel_id")
    channel_name = serializers.CharField(source="channel.name")
    event = serializers.CharField(help_text="firing, acknowledged or resolved")
    state = serializers.CharField(help_text="waiting, failing, dead, taken or replaced")
    sentence = serializers.CharField(source="notice.sentence")
    attempts = serializers.IntegerField()
    answer = serializers.CharField()
    next_try_at = serializers.DateTimeField()
    done_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class StepShape(serializers.Serializer[Any]):
    after_minutes = serializers.FloatField(min_value=0, max_value=7 * 24 * 60)
    channels = serializers.ListField(child=serializers.CharField(), min_length=1)


class EscalationIn(WhyIn):
    environment = serializers.CharField(required=False)
    steps = StepShape(many=True)


class EscalationOut(serializers.Serializer[Any]):
    environment = serializers.CharField()
    steps = StepShape(many=True)
