"""Channels, what they are told, alerts, and who keeps still about them."""

from apps.alerts.models.alert import KEPT_FOR, SEEN_FOR, Alert, SeenEntry
from apps.alerts.models.channel import Channel
from apps.alerts.models.delivery import Delivery, DeliveryQuerySet
from apps.alerts.models.escalation import EscalationPolicy
from apps.alerts.models.silence import Silence
from apps.alerts.models.watch import Watch

__all__ = [
    "KEPT_FOR",
    "SEEN_FOR",
    "Alert",
    "Channel",
    "Delivery",
    "DeliveryQuerySet",
    "EscalationPolicy",
    "SeenEntry",
    "Silence",
    "Watch",
]
