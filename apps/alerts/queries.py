from django.db.models import Count, Q

from apps.alerts.models import Alert, Delivery


def open_alerts(environment: str) -> list[Alert]:
    """Firing first, then the newest."""
    order = {Alert.State.FIRING: 0, Alert.State.ACKNOWLEDGED: 1, Alert.State.SILENCED: 2}
    alerts = Alert.objects.open().of_environment(environment).newest_first()
    return sorted(alerts, key=lambda alert: order[Alert.State(alert.state)])


def recent_alerts(environment: str, most: int = 100) -> list[Alert]:
    return list(Alert.objects.of_environment(environment).newest_first().prefetch_related("deliveries__channel")[:most])


def counts(environment: str) -> dict[str, int]:
    """{"firing": n, "acknowledged": n, "silenced": n}."""
    rows = Alert.objects.open().of_environment(environment).values_list("state").annotate(Count("id")).order_by("state")
    return dict.fromkeys(("firing", "acknowledged", "silenced"), 0) | dict(rows)


def alert_of_route(environment: str, route: str) -> Alert | None:
    return Alert.objects.open().of_environment(environment).filter(route=route).newest_first().first()


def failing_deliveries(environment: str) -> list[Delivery]:
    """What was tried and not taken: pinned on top of the page."""
    stuck = Delivery.objects.filter(channel__environment=environment, done_at=None).filter(
        Q(attempts__gt=0) | Q(is_dead=True)
    )
    return list(stuck.select_related("alert", "channel").order_by("-created_at", "-id")[:50])


def waiting_deliveries() -> int:
    return Delivery.objects.filter(done_at=None, is_dead=False).count()
