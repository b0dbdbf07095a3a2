"""What fires, who has it, and what did not get through."""

from datetime import timedelta

from django.http import HttpResponse

from apps.alerts import queries as alerts
from apps.alerts.models import Alert
from apps.console import figures
from apps.console.presenters import presses
from apps.console.visits import Visit, visited

ORDER = {Alert.State.FIRING: 0, Alert.State.ACKNOWLEDGED: 1, Alert.State.SILENCED: 2, Alert.State.RESOLVED: 3}


@visited
def page(visit: Visit) -> HttpResponse:
    key = visit.environment.key
    found = sorted(alerts.recent_alerts(key), key=lambda one: ORDER[Alert.State(one.state)])
    counts = alerts.counts(key)
    last = next((one for one in found), None)
    return visit.page(
        "console/alerts.html",
        current="alerts",
        rows=[row_of(visit, one) for one in found],
        failing=alerts.failing_deliveries(key),
        summary=summary(counts, last, visit),
    )


def summary(counts: dict[str, int], last: Alert | None, visit: Visit) -> str:
    told = [f"{n} {state}" for state, n in counts.items() if n]
    if told:
        return f"{', '.join(told)}."
    return (
        f"Nothing is firing. The last alert was {figures.ago(last.opened_at, visit.now)}."
        if last
        else "Nothing is firing, and nothing ever has."
    )


def row_of(visit: Visit, one: Alert) -> dict[str, object]:
    deliveries = list(one.deliveries.all())
    told = [one for one in deliveries if one.event == "firing" and one.state != "replaced"]
    sent = {one.channel.name for one in told}
    took = {one.channel.name for one in told if one.done_at is not None}
    acts = []
    if one.state == Alert.State.FIRING:
        acts.append(presses.acknowledge(visit, one.id))
    if one.state in (Alert.State.FIRING, Alert.State.ACKNOWLEDGED):
        acts.append(presses.silence(visit, one.id, 1, visit.now + timedelta(hours=1)))
    return {
        "alert": one,
        "word": Alert.State(one.state).label,
        "second": second(one, visit),
        "delivered": f"{len(took)} of {len(sent)}" if sent else "",
        "channels": ", ".join(sorted(took)),
        "failed": sorted({one.channel.name for one in told if one.done_at is None and one.attempts} - took),
        "acts": acts,
    }


def second(one: Alert, visit: Visit) -> str:
    if one.state == Alert.State.SILENCED and one.silenced_until is not None:
        return f"until {figures.moment(one.silenced_until, visit.now)}"
    if one.state == Alert.State.ACKNOWLEDGED:
        return f"by {one.acknowledged_by}"
    if one.state == Alert.State.RESOLVED and one.resolved_at is not None:
        return figures.moment(one.resolved_at, visit.now)
    return "nobody yet"
