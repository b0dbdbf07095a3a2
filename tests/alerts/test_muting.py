"""One cause is told once: what a source mutes, and when that speaks for itself."""

import pytest

from apps.alerts import queries, services
from apps.alerts.domain import life
from apps.alerts.domain.life import Source
from apps.alerts.models import Alert, Delivery
from apps.budgets import conditions
from apps.budgets.models import Budget
from apps.core.actors import WORKER
from apps.journal import services as journal
from apps.journal.services import Condition
from tests.alerts.make_alerts import HOUR, MINUTE, SECOND, end, play, say, the_alert, webhook

pytestmark = pytest.mark.django_db

DOWN = Source("provider:openai", ("a", "c"))


def whole(condition):
    return Source(condition, (life.EVERY_ROUTE,))


@pytest.mark.parametrize(
    ("condition", "route", "source", "muted"),
    [
        ("stale:a", "a", Source("watch:telemetry"), True),
        ("stale:a", "a", Source("watch:deliveries"), False),
        ("budget:x:1.0", "a", whole("budget:y:1.0"), True),
        ("budget:x:1.0", "a", whole("budget:y:0.8"), False),
        ("budget:x:at:1", "a", whole("budget:y:at:1"), True),
        ("budget:x:at:1", "a", whole("budget:y:forecast:1"), False),
        ("budget:x:at:1", "a", whole("budget:y:burn:1"), False),
        ("budget:x:1.0", "", whole("budget:y:1.0"), False),
        ("budget:x:1.0", "a", Source("budget:y:1.0"), False),
        ("budget:x:1.0", "a", whole("budget:x:1.0"), False),
        ("rollout:a", "a", Source("watch:beat"), False),
        ("watch:telemetry", "", Source("watch:beat"), True),
        ("watch:queue", "", Source("watch:beat"), True),
        ("incident:a", "a", DOWN, True),
        ("rollout:a", "a", DOWN, True),
        ("money-amplification:c", "c", DOWN, True),
        ("incident:b", "b", DOWN, False),
        ("budget:x:1.0", "a", DOWN, False),
        ("plan:a", "a", DOWN, False),
        ("provider:openai", "", DOWN, False),
    ],
)
def test_which_alert_mutes_which(condition, route, source, muted):
    assert life.is_muted(condition, route, source) is muted
    assert life.muted_by(condition, route, [source]) == (source.condition if muted else "")


def provider_is_down(at, *routes):
    journal.record(
        "watch.provider_failed",
        environment="production",
        by=WORKER,
        because="OpenAI fails.",
        about={},
        now=at,
        after={"routes": list(routes)},
        condition=Condition(key="provider:openai", severity="critical", sentence="OpenAI fails."),
    )


def test_a_provider_that_is_down_is_told_once_for_all_its_routes_and_none_is_lost(receiver, now):
    webhook(receiver, now)
    say(now, key="incident:a", route="a", severity="warning")
    services.dispatch(now)
    say(now + SECOND, key="stale:a", route="a", severity="warning")
    services.dispatch(now + SECOND)
    provider_is_down(now + 2 * SECOND, "a", "c")
    for route in ("b", "c"):
        say(now + 2 * SECOND, key=f"incident:{route}", route=route)
    services.dispatch(now + 2 * SECOND)
    play(now + 3 * SECOND, now + 10 * MINUTE)
    during = [told["data"]["condition"] for told in receiver.told()]
    muted = dict(Alert.objects.exclude(muted_by="").values_list("condition", "muted_by"))

    end(now + HOUR, "incident:c", route="c")
    end(now + 2 * HOUR, "provider:openai", route="")
    services.dispatch(now + 2 * HOUR + SECOND)

    assert sorted(during) == ["incident:a", "incident:b", "provider:openai"]
    assert muted == dict.fromkeys(("incident:a", "stale:a", "incident:c"), "provider:openai")
    after = [one["condition"] for told in receiver.told()[3:] for one in told["data"].get("alerts", [told["data"]])]
    assert (after[0], sorted(after[1:])) == ("provider:openai", ["incident:a", "stale:a"])


def test_a_provider_mutes_what_came_before_it_in_the_same_look(receiver, now):
    webhook(receiver, now)
    for n in range(50):
        say(now, key=f"incident:route-{n}", route=f"route-{n}")
    provider_is_down(now, *(f"route-{n}" for n in range(50)))

    services.dispatch(now)

    assert [told["data"]["condition"] for told in receiver.told()] == ["provider:openai"]
    assert Alert.objects.filter(muted_by="provider:openai").count() == 50
    assert queries.quiet_words(Alert.objects.get(condition="incident:route-0")) == "muted by provider:openai"


def test_what_was_muted_before_it_was_sent_is_not_said_to_be_over(receiver, now):
    webhook(receiver, now)
    say(now, key="incident:a", route="a")
    services.read_journal(now)
    provider_is_down(now + SECOND, "a")
    services.dispatch(now + SECOND)

    end(now + MINUTE, "incident:a", route="a")

    assert [told["data"]["condition"] for told in receiver.told()] == ["provider:openai"]
    assert Delivery.objects.get(alert__condition="incident:a").replaced_at


@pytest.mark.parametrize(
    ("scope", "period", "mutes"),
    [
        ({}, "day", True),
        ({}, "request", False),
        ({"owner": "search"}, "day", False),
        ({"model": "openai/gpt-4.1"}, "day", False),
        ({"provider": "openai"}, "day", False),
        ({"variant": "flash-lite"}, "day", False),
        ({"tag": "batch"}, "day", False),
        ({"route": "search"}, "day", False),
    ],
)
def test_only_the_budget_of_the_whole_environment_mutes_those_of_its_routes(receiver, now, scope, period, mutes):
    webhook(receiver, now)
    budget = Budget(environment="production", scope=scope, period=period, limit_nano=1)
    say_of_it = {"effect": "opens", "severity": "critical", "sentence": "The budget is spent.", "now": now}
    conditions.tell(budget, "budget.exceeded", "at:1", **say_of_it)
    say(now, key="budget:one:at:1", severity="critical")

    services.dispatch(now)

    assert the_alert("budget:one:at:1").muted_by == (f"budget:{budget.id}:at:1" if mutes else "")
    assert ("budget:one:at:1" in [told["data"]["condition"] for told in receiver.told()]) is not mutes


def test_who_is_muted_again_and_again_speaks_for_itself_each_time(receiver, now):
    """A provider that flaps."""
    webhook(receiver, now)
    say(now, key="incident:a", route="a")
    services.dispatch(now)
    for hours in (1, 3, 5):
        provider_is_down(now + hours * HOUR, "a")
        services.dispatch(now + hours * HOUR)
        end(now + (hours + 1) * HOUR, "provider:openai", route="")
        services.dispatch(now + (hours + 1) * HOUR + SECOND)

    told = [(body["data"]["condition"], body["type"]) for body in receiver.told()]
    assert told.count(("incident:a", "alert.firing")) == 1 + 3
    assert told[-1] == ("incident:a", "alert.firing")


def test_the_environments_budget_mutes_its_routes_until_it_is_over(receiver, now):
    webhook(receiver, now)
    say(now, key="budget:all:1.0", route="", is_whole=True, severity="error", sentence="The budget is spent.")
    services.dispatch(now)
    say(now + SECOND, key="budget:one:1.0", severity="error")
    services.dispatch(now + SECOND)
    quiet = len(receiver.got)
    muted = the_alert("budget:one:1.0").muted_by
    end(now + HOUR, key="budget:all:1.0", route="")
    services.dispatch(now + HOUR + SECOND)

    assert (quiet, muted) == (1, "budget:all:1.0")
    assert receiver.types() == ["alert.firing", "alert.resolved", "alert.firing"]
