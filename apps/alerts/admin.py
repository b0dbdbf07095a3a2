from django.contrib import admin

from apps.alerts.models import Alert, Channel, Delivery, Silence
from apps.core.admin import RowAdmin


@admin.register(Alert)
class AlertAdmin(RowAdmin):
    list_display = ("opened_at", "environment", "condition", "state", "severity", "muted_by", "assigned_to")
    list_filter = ("environment", "state", "severity")
    search_fields = ("condition", "sentence")
    raw_id_fields = ("silence_row",)


@admin.register(Channel)
class ChannelAdmin(RowAdmin):
    """Made in the console or by the API, which check the address; it is a secret here too."""

    list_display = ("name", "environment", "kind", "is_active", "broken_at", "last_answer")
    list_filter = ("environment", "kind")
    exclude = ("config",)

    def has_add_permission(self, request: object) -> bool:
        return False


@admin.register(Delivery)
class DeliveryAdmin(RowAdmin):
    list_display = ("created_at", "channel", "event", "attempts", "answer", "next_try_at", "done_at", "is_dead")
    list_filter = ("is_dead", "channel__environment")
    raw_id_fields = ("alert", "channel")


@admin.register(Silence)
class SilenceAdmin(RowAdmin):
    list_display = ("environment", "is_maintenance", "route", "starts_at", "ends_at", "repeats", "by")
    list_filter = ("environment", "is_maintenance")
