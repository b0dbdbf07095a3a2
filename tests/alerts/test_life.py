"""Who is told when: groups, repeats, escalation, silences, and what comes back."""

import pytest

from apps.alerts import queries, reading, services
from apps.alerts.domain import life
from apps.alerts.domain.life import Source
from apps.alerts.domain.matching import Matcher
from apps.alerts.models import Alert, Delivery
from apps.core.actors import WORKER
from apps.core.refusals import Refused
from apps.journal import services as journal
from apps.journal.models import Entry
from apps.journal.services import Condition
from tests.alerts.make_alerts import ALICE, HOUR, LOOK, MINUTE, ROUTE, SECOND, end, say, the_alert, webhook

pytestmark = pytest.mark.django_db


def play(now, until, step=SECOND * 30):
    """The dispatch that beat asks for, over and over."""
    at = now
    while at <= until:
        services.dispatch(at)
        at += step


# --- groups --------------------------------------------------------------------------------------------------------


def test_the_first_of_a_route_leaves_at_once_and_later_ones_join_the_next_message(receiver, now):
    webhook(receiver, now)
    say(now, key="stale:a", severity="error")
    services.dispatch(now)
    say(now + MINUTE, key="budget:b:0.8", severity="warning")
    say(now + 2 * MINUTE, key="money:c", severity="warning")
    play(now + MINUTE, now + 5 * MINUTE - SECOND)
    before = len(receiver.got)

    services.dispatch(now + 5 * MINUTE)

    assert before == 1
    assert receiver.types() == ["alert.firing", "alerts.firing"]
    joined = receiver.told()[1]["data"]
    assert {one["condition"] for one in joined["alerts"]} == {"budget:b:0.8", "money:c"}
    assert joined["sentence"] == f"{ROUTE}: 2 alerts are firing in production."


def test_what_is_critical_does_not_wait_and_takes_the_waiting_along(receiver, now):
    webhook(receiver, now)
    say(now, key="stale:a", severity="error")
    services.dispatch(now)
    say(now + 10 * SECOND, key="money:b", severity="warning")
    services.dispatch(now + 10 * SECOND)
    say(now + 20 * SECOND, severity="critical")

    services.dispatch(now + 20 * SECOND)
    services.dispatch(now + 10 * MINUTE)

    assert [body["type"] for body in receiver.told()] == ["alert.firing", "alerts.firing"]
    assert receiver.told()[1]["data"]["count"] == 2


def test_another_route_is_another_group(receiver, now):
    webhook(receiver, now)
    say(now, severity="warning")
    say(now + SECOND, route="search", severity="warning")

    services.dispatch(now + SECOND)

    assert len(receiver.got) == 2


# --- the same again ------------------------------------------------------------------------------------------------


def test_an_alert_that_nobody_takes_is_said_again_after_four_hours(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    services.dispatch(now + 4 * HOUR - SECOND)
    early = len(receiver.got)

    services.dispatch(now + 4 * HOUR)

    assert early == 1
    assert receiver.told()[1]["data"]["again"] is True
    play(now + 4 * HOUR, now + 7 * HOUR, step=20 * MINUTE)
    assert len(receiver.got) == 2


def test_who_has_acknowledged_hears_no_more_until_it_gets_worse(receiver, now):
    webhook(receiver, now)
    say(now, severity="warning")
    services.dispatch(now)
    services.acknowledge(alert=the_alert(), by=ALICE, now=now + MINUTE)
    play(now + MINUTE, now + 9 * HOUR, step=HOUR)
    quiet = receiver.types()

    say(now + 9 * HOUR, severity="critical", link="/d/2")
    services.dispatch(now + 9 * HOUR)

    assert quiet == ["alert.firing", "alert.acknowledged"]
    assert receiver.told()[1]["data"]["by"] == "alice"
    assert receiver.types()[2:] == ["alert.firing"]
    assert the_alert().state == "firing"


def test_another_decision_about_an_open_alert_is_news(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    say(now + 10 * SECOND, link="/d/2", sentence="Fell back invoice-extraction to GPT-4.1.")
    services.dispatch(now + 10 * SECOND)
    early = len(receiver.got)

    services.dispatch(now + MINUTE)

    assert early == 1
    assert receiver.told()[1]["data"]["sentence"] == "Fell back invoice-extraction to GPT-4.1."
    assert Alert.objects.count() == 1


def test_a_re_fire_within_ten_minutes_opens_the_same_alert(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    end(now + MINUTE)
    say(now + 10 * MINUTE, link="/d/2")
    services.dispatch(now + 10 * MINUTE)
    same = Alert.objects.count()
    end(now + 11 * MINUTE)
    say(now + 22 * MINUTE)
    services.dispatch(now + 22 * MINUTE)

    assert same == 1
    assert Alert.objects.count() == 2
    assert receiver.types() == ["alert.firing", "alert.resolved"] * 2 + ["alert.firing"]


def test_what_comes_and_goes_is_told_once_a_minute_at_most(receiver, now):
    webhook(receiver, now)
    at = now
    for _ in range(24):
        say(at)
        services.dispatch(at)
        end(at + 5 * SECOND)
        at += 10 * SECOND

    assert len(receiver.got) <= 2 * 5
    assert Alert.objects.count() == 1


def test_one_look_that_finds_nothing_resolves_nothing(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    say(now + MINUTE, "closes")
    services.dispatch(now + MINUTE + 4 * SECOND)
    say(now + MINUTE + 5 * SECOND)
    play(now + MINUTE + 5 * SECOND, now + 2 * MINUTE, step=5 * SECOND)
    still = the_alert().state
    end(now + 3 * MINUTE)

    assert still == "firing"
    assert receiver.types() == ["alert.firing", "alert.resolved"]


def test_what_another_process_has_resolved_meanwhile_is_left_as_it_is(receiver, now, monkeypatch):
    webhook(receiver, now)
    for route in ("a", "b"):
        say(now, route=route)
    services.dispatch(now)
    for route in ("a", "b"):
        say(now + MINUTE, "closes", route=route)
    services.dispatch(now + MINUTE)
    close, at = reading.close, now + MINUTE + LOOK

    def close_and_let_the_other_run(*args):
        close(*args)
        monkeypatch.setattr(reading, "close", close)
        reading.resolve_cleared(at)

    monkeypatch.setattr(reading, "close", close_and_let_the_other_run)
    reading.resolve_cleared(at)
    services.dispatch(at)

    assert receiver.types() == ["alert.firing"] * 2 + ["alert.resolved"] * 2


def test_what_a_person_closes_is_closed_at_once(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    say(now + SECOND, "closes", by=ALICE)

    services.dispatch(now + SECOND)

    assert receiver.types() == ["alert.firing", "alert.resolved"]


def test_time_alone_resolves_nothing(now):
    say(now)
    services.dispatch(now)

    play(now, now + 48 * HOUR, step=HOUR)

    assert the_alert().state == "firing"


# --- one cause is told once ----------------------------------------------------------------------------------------

DOWN = Source("provider:openai", "", ("a", "c"))


@pytest.mark.parametrize(
    ("condition", "route", "source", "muted"),
    [
        ("stale:a", "a", Source("watch:telemetry", ""), True),
        ("stale:a", "a", Source("watch:deliveries", ""), False),
        ("budget:x:1.0", "a", Source("budget:y:1.0", ""), True),
        ("budget:x:1.0", "a", Source("budget:y:0.8", ""), False),
        ("budget:x:1.0", "", Source("budget:y:1.0", ""), False),
        ("budget:x:1.0", "a", Source("budget:y:1.0", "b"), False),
        ("budget:x:1.0", "a", Source("budget:x:1.0", ""), False),
        ("rollout:a", "a", Source("watch:beat", ""), False),
        ("watch:telemetry", "", Source("watch:beat", ""), True),
        ("watch:queue", "", Source("watch:beat", ""), True),
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


def test_the_environments_budget_mutes_its_routes_until_it_is_over(receiver, now):
    webhook(receiver, now)
    say(now, key="budget:all:1.0", route="", severity="error", sentence="The budget is spent.")
    services.dispatch(now)
    say(now + SECOND, key="budget:one:1.0", severity="error")
    services.dispatch(now + SECOND)
    quiet = len(receiver.got)
    muted = the_alert("budget:one:1.0").muted_by
    end(now + HOUR, key="budget:all:1.0", route="")
    services.dispatch(now + HOUR + SECOND)

    assert (quiet, muted) == (1, "budget:all:1.0")
    assert receiver.types() == ["alert.firing", "alert.resolved", "alert.firing"]


# --- escalation ----------------------------------------------------------------------------------------------------


def test_the_next_step_is_told_when_nobody_acknowledges(receiver, other, now):
    first, second = webhook(receiver, now, "first"), webhook(other, now, "second")
    steps = [
        {"after_minutes": 15, "channels": [second.id]},
        {"after_minutes": 0, "channels": [first.id]},
    ]
    services.set_escalation(environment="production", steps=steps, by=ALICE, now=now)
    say(now)
    services.dispatch(now)
    play(now, now + 14 * MINUTE, step=MINUTE)
    early = (len(receiver.got), len(other.got))
    play(now + 15 * MINUTE, now + 20 * MINUTE, step=MINUTE)

    assert early == (1, 0)
    assert (len(receiver.got), len(other.got)) == (1, 1)

    end(now + 21 * MINUTE)

    assert receiver.types()[-1] == other.types()[-1] == "alert.resolved"


def test_an_acknowledgement_stops_the_escalation(receiver, other, now):
    first, second = webhook(receiver, now, "first"), webhook(other, now, "second")
    steps = [{"after_minutes": 0, "channels": [first.id]}, {"after_minutes": 5, "channels": [second.id]}]
    services.set_escalation(environment="production", steps=steps, by=ALICE, now=now)
    say(now)
    services.dispatch(now)
    services.acknowledge(alert=the_alert(), by=ALICE, now=now + MINUTE)

    play(now + MINUTE, now + HOUR, step=MINUTE)

    assert other.got == []


def test_a_policy_names_channels_that_are_there(now):
    steps = [{"after_minutes": 0, "channels": ["nowhere"]}]

    with pytest.raises(Refused, match="not there"):
        services.set_escalation(environment="production", steps=steps, by=ALICE, now=now)


# --- silences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matcher", "fits"),
    [
        ({}, True),
        ({"route": ROUTE}, True),
        ({"route": "search"}, False),
        ({"owner": "payments"}, True),
        ({"severity": "critical"}, True),
        ({"severity": "warning"}, False),
        ({"condition": "rollout:"}, True),
        ({"condition": "budget:"}, False),
        ({"route": ROUTE, "owner": "search"}, False),
    ],
)
def test_a_silence_covers_what_fits_every_field(receiver, now, matcher, fits):
    webhook(receiver, now)
    services.create_silence(environment="production", ends_at=now + HOUR, by=ALICE, now=now, **matcher)
    say(now)

    services.dispatch(now)

    assert (len(receiver.got) == 0) is fits
    assert (the_alert().state == "silenced") is fits


def test_what_fires_through_a_silence_is_told_when_it_ends(receiver, now):
    webhook(receiver, now)
    services.create_silence(environment="production", route=ROUTE, ends_at=now + HOUR, by=ALICE, now=now)
    say(now + MINUTE)
    play(now + MINUTE, now + HOUR - SECOND, step=5 * MINUTE)
    quiet = len(receiver.got)

    services.dispatch(now + HOUR)

    assert quiet == 0
    assert receiver.types() == ["alert.firing"]
    assert the_alert().state == "firing"


def test_what_ends_within_a_silence_is_never_told(receiver, now):
    webhook(receiver, now)
    services.create_silence(environment="production", ends_at=now + HOUR, by=ALICE, now=now)
    say(now)
    services.dispatch(now)
    say(now + MINUTE, effect="closes")

    play(now + MINUTE, now + 2 * HOUR, step=10 * MINUTE)

    assert receiver.got == []


def test_a_silence_stops_the_repeats_of_what_fires_already(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)
    services.create_silence(environment="production", ends_at=now + 24 * HOUR, by=ALICE, now=now + MINUTE)
    alert = the_alert()

    play(now + MINUTE, now + 10 * HOUR, step=HOUR)

    assert (alert.state, alert.silenced_by, alert.silenced_until) == ("silenced", "alice", now + 24 * HOUR)
    assert len(receiver.got) == 1


def test_a_silence_that_is_ended_early_wakes_what_it_covered(receiver, now):
    webhook(receiver, now)
    silence = services.create_silence(environment="production", ends_at=now + HOUR, by=ALICE, now=now)
    say(now)
    services.dispatch(now)

    services.end_silence(silence=silence, by=ALICE, now=now + MINUTE)
    services.dispatch(now + MINUTE)

    assert receiver.types() == ["alert.firing"]
    with pytest.raises(Refused, match="ended already"):
        services.end_silence(silence=silence, by=ALICE, now=now + 2 * MINUTE)


def test_of_two_silences_the_longer_one_holds(receiver, now):
    webhook(receiver, now)
    services.create_silence(environment="production", ends_at=now + 2 * HOUR, by=ALICE, now=now)
    short = services.create_silence(environment="production", route=ROUTE, ends_at=now + HOUR, by=ALICE, now=now)
    say(now)
    services.dispatch(now)

    services.end_silence(silence=short, by=ALICE, now=now + MINUTE)
    play(now + MINUTE, now + 2 * HOUR - SECOND, step=10 * MINUTE)
    quiet = len(receiver.got)
    services.dispatch(now + 2 * HOUR)

    assert (quiet, len(receiver.got)) == (0, 1)


def test_a_maintenance_window_begins_and_ends_by_itself(receiver, now):
    webhook(receiver, now)
    services.create_silence(
        environment="production",
        is_maintenance=True,
        starts_at=now + HOUR,
        ends_at=now + 2 * HOUR,
        because="The provider moves.",
        by=ALICE,
        now=now,
    )
    say(now)
    services.dispatch(now)
    before = the_alert().state
    services.dispatch(now + HOUR)
    within = the_alert()
    services.dispatch(now + 2 * HOUR)

    assert (before, within.state, within.silenced_by) == ("firing", "silenced", "alice (maintenance)")
    assert the_alert().state == "firing"
    assert Entry.objects.filter(kind="maintenance.created").exists()


def test_an_end_is_mandatory_and_lies_ahead(now):
    for ends_at in (now, now - HOUR):
        with pytest.raises(Refused, match="ends in the future"):
            services.create_silence(environment="production", ends_at=ends_at, by=ALICE, now=now)


def test_a_preview_says_what_a_matcher_would_have_covered(now):
    for n, route in enumerate(("a", "b", "c")):
        say(now + n * SECOND, route=route, severity="critical" if route == "a" else "warning")
    end(now + 10 * SECOND, route="b")

    found = queries.preview("production", Matcher(severity="warning"), now + MINUTE)

    assert [one.route for one in found.open] == ["c"]
    assert (found.lately, found.of, found.words) == (2, 3, "severity warning")
    assert not Delivery.objects.exists()


def test_what_has_been_over_for_ninety_days_is_forgotten(receiver, now):
    webhook(receiver, now)
    say(now)
    say(now, route="search")
    services.dispatch(now)
    end(now + HOUR)

    early = services.forget_old(now + 89 * 24 * HOUR)
    services.forget_old(now + 91 * 24 * HOUR)

    assert early == 0
    assert [one.route for one in Alert.objects.all()] == ["search"]
    assert Entry.objects.filter(kind="rollout.rolled_back").count() == 3
