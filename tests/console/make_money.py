"""A month of money and a morning of alerts, written where the product writes them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from apps.alerts import services as alerts
from apps.alerts.models import Delivery
from apps.budgets import services as budgets
from apps.budgets.models import Budget
from apps.core.actors import person
from apps.rollouts import services as rollouts
from apps.telemetry.models import LedgerLine
from tests.alerts.make_alerts import channel, say
from tests.budgets.make_rows import line, spend
from tests.rollouts.make_rollouts import make_rollout, make_route, see_traffic

TOM = person("tom")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEY = "invoice-extraction"
THRESHOLDS = [{"at": 0.8, "do": "alert"}, {"forecast": 1.0, "do": "alert"}, {"at": 1.0, "do": "fall_back"}]


def make_budget(now: datetime, usd: float, scope: dict[str, str] | None = None, **fields: Any) -> Budget:
    ordinary = {"period": "month", "thresholds": THRESHOLDS, "owner": "payments"}
    return budgets.create_budget(
        environment="production",
        scope={"route": KEY} if scope is None else scope,
        limit_nano=round(usd * 1e9),
        by=TOM,
        because="as agreed with finance",
        now=now,
        **(ordinary | fields),
    )


def spend_for_days(
    now: datetime, days: int, usd_a_day: float, *, route: str = KEY, every: int = 6, **keys: str
) -> None:
    """In steps of some hours, less at the weekend, so that forecasts have a range."""
    begin = (now - days * DAY).replace(minute=0, second=0, microsecond=0)
    step = timedelta(hours=every)
    lines = []
    for n in range(int((now - begin) / step)):
        at = begin + n * step
        weekend = 0.45 if at.weekday() >= 5 else 1.0
        usd = usd_a_day * every / 24 * weekend * (1 + 0.1 * (n % 5 - 2))
        lines.append(line(at, usd, calls=400, route=route, **keys))
    LedgerLine.objects.bulk_create(lines)


def moving(now: datetime, *, route: str = KEY) -> None:
    """A rollout of GPT-5 at 10 % with the last minutes' traffic, so that every target has its price by the hour."""
    begin = now - timedelta(minutes=12)
    make_route(begin, key=route)
    rollout = make_rollout(begin, route=route)
    rollouts.start(rollout=rollout, by=TOM, because="planned", now=begin)
    for minute in range(1, 11):
        at = begin + timedelta(minutes=minute)
        see_traffic(at, n=30, variant="gpt-4.1", latency_ms=420, route=route)
        see_traffic(at, n=4, variant="gpt-5", latency_ms=510, route=route)


def money(now: datetime) -> Budget:
    """Four budgets: one is over, one may be, two are within."""
    moving(now)
    days = now.day - 1 + 12
    spend_for_days(now, days, 560.0, estimated=0)
    spend_for_days(now, days, 22.0, variant="new", model="gpt-5")
    spend_for_days(now, days, 90.0, route="support-triage")
    spend_for_days(now, days, 30.0, route="email-tagging", provider="google", model="gemini-2.5-flash-lite")
    spend(now - HOUR, 31.0, calls=2000, estimated=2.5)
    unpriced = spend(now - 2 * HOUR, 0.0, calls=40, model="o9-preview")
    unpriced.unpriced = 40
    unpriced.save(update_fields=["unpriced"])
    budget = make_budget(now - 20 * DAY, 22_000)
    make_budget(now - 20 * DAY, 1_500, {"route": "support-triage"}, thresholds=[{"at": 1.0, "do": "hold"}])
    make_budget(now - 20 * DAY, 6_000, {"route": "email-tagging"})
    make_budget(now - 20 * DAY, 55_100, {})
    budgets.judge_money(now=now, environment="production")
    budgets.judge_money(now=now, environment="production")
    return budget


def morning(now: datetime) -> None:
    """One alert fires and its webhook fails, one is acknowledged, one silenced, one over."""
    for kind, config in (
        ("email", {"to": ["payments-oncall@example.com"]}),
        ("slack", {"url": "https://hooks.slack.com/services/T/B/X"}),
        ("webhook", {"url": "https://ops-bridge.example.com/hook"}),
    ):
        channel(kind, now - 3 * DAY, {"webhook": "ops-bridge", "slack": "#payments"}.get(kind, "E-mail"), **config)
    say(now - 27 * HOUR, route="contract-summary", severity="warning", owner="legal",
        sentence="Shadow is past its 14 days: accuracy undecided, 512 of about 750 pairs.")  # fmt: skip
    say(now - 26 * HOUR, route="support-triage", severity="warning", owner="support",
        sentence="Held support-triage at 5 % because errors are not judged yet: 41 of 200 calls.")  # fmt: skip
    alerts.read_journal(now - 26 * HOUR)
    say(now - 9 * HOUR, route="email-tagging", severity="warning", owner="growth")
    alerts.read_journal(now - 9 * HOUR)
    say(now - 8 * HOUR, "closes", route="email-tagging", severity="info", owner="growth", by=TOM)
    alerts.read_journal(now - 8 * HOUR)
    say(now - timedelta(minutes=2), link="/activity/")
    alerts.read_journal(now - timedelta(minutes=2))
    alerts.acknowledge(alert=alert_of("support-triage"), by=TOM, now=now - 25 * HOUR)
    alerts.silence(alert=alert_of("contract-summary"), by=person("ines"), until=now + 2 * DAY, now=now - 24 * HOUR)
    for one in Delivery.objects.select_related("channel").order_by("created_at", "id"):
        if one.replaced_at is not None:
            continue
        if one.channel.kind == "webhook" and one.alert is not None and one.alert.route == KEY:
            Delivery.objects.filter(pk=one.pk).update(attempts=2)
            one.attempts = 2
            one.fail(answer="503", next_try_at=now + timedelta(seconds=30))
        else:
            one.finish(
                answer="250 OK" if one.channel.kind == "email" else "200", at=one.created_at + 2 * timedelta(seconds=1)
            )
            one.channel.note_taken(answer="200", at=one.created_at + timedelta(seconds=2))


def alert_of(route: str) -> Any:
    from apps.alerts.models import Alert

    return Alert.objects.get(condition=f"rollout:{route}")
