"""Who is told when: groups, repeats, escalation, and what comes back."""

import pytest

from apps.alerts import reading, services
from apps.alerts.models import Alert
from apps.core.refusals import Refused
from apps.journal.models import Entry
from tests.alerts.make_alerts import (
    ALICE,
    HOUR,
    LOOK,
    MINUTE,
    ROUTE,
    SECOND,
    SENTENCE,
    channel,
    end,
    play,
    say,
    the_alert,
    webhook,
)

pytestmark = pytest.mark.django_db


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


def test_what_becomes_critical_while_it_waits_for_its_group_leaves_at_once(receiver, now):
    webhook(receiver, now)
    say(now, key="stale:a", severity="error")
    services.dispatch(now)
    say(now + 10 * SECOND, key="budget:b:at:0.8", severity="warning")
    services.dispatch(now + 10 * SECOND)
    early = len(receiver.got)
    say(now + 20 * SECOND, key="budget:b:at:0.8", severity="critical")

    services.dispatch(now + 20 * SECOND)
    services.dispatch(now + 10 * MINUTE)

    assert early == 1
    assert [told["data"]["severity"] for told in receiver.told()] == ["error", "critical"]


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


def test_what_gets_worse_under_a_silence_is_nobodys_when_that_ends(receiver, now):
    webhook(receiver, now)
    say(now, severity="warning")
    services.dispatch(now)
    services.acknowledge(alert=the_alert(), by=ALICE, now=now + MINUTE)
    services.dispatch(now + MINUTE)
    services.silence(alert=the_alert(), until=now + HOUR, by=ALICE, now=now + MINUTE)
    say(now + 2 * MINUTE, severity="critical")
    play(now + 2 * MINUTE, now + HOUR - MINUTE, step=MINUTE)
    quiet = receiver.types()

    services.dispatch(now + HOUR)

    assert quiet == ["alert.firing", "alert.acknowledged"]
    assert receiver.types() == [*quiet, "alert.firing"]
    assert (the_alert().state, the_alert().acknowledged_by) == ("firing", "")


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


def test_an_alert_keeps_the_sentence_that_opened_it_and_its_end_is_told_in_its_own_words(receiver, now):
    webhook(receiver, now)
    say(now)
    services.dispatch(now)

    end(now + MINUTE, sentence="Traffic is back at 25 %.")

    assert [told["data"]["sentence"] for told in receiver.told()] == [SENTENCE, "Traffic is back at 25 %."]
    assert (the_alert().state, the_alert().sentence) == ("resolved", SENTENCE)


def test_time_alone_resolves_nothing(now):
    say(now)
    services.dispatch(now)

    play(now, now + 48 * HOUR, step=HOUR)

    assert the_alert().state == "firing"


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


def test_after_a_silence_the_steps_begin_again(receiver, other, now):
    first, second = webhook(receiver, now, "first"), webhook(other, now, "second")
    steps = [{"after_minutes": 0, "channels": [first.id]}, {"after_minutes": 15, "channels": [second.id]}]
    services.set_escalation(environment="production", steps=steps, by=ALICE, now=now)
    say(now)
    play(now, now + 20 * MINUTE, step=MINUTE)
    services.silence(alert=the_alert(), until=now + 80 * MINUTE, by=ALICE, now=now + 20 * MINUTE)
    play(now + 20 * MINUTE, now + 94 * MINUTE, step=MINUTE)
    early = (len(receiver.got), len(other.got))

    play(now + 95 * MINUTE, now + 100 * MINUTE, step=MINUTE)

    assert early == (2, 1)
    assert (len(receiver.got), len(other.got)) == (2, 2)
    assert the_alert().escalated == 2


def test_a_step_that_comes_late_is_told_of_what_has_fired_for_so_long(receiver, other, now):
    first, second = webhook(receiver, now, "first"), webhook(other, now, "second")
    steps = [{"after_minutes": 0, "channels": [first.id]}]
    services.set_escalation(environment="production", steps=steps, by=ALICE, now=now)
    say(now)
    services.dispatch(now)
    steps.append({"after_minutes": 15, "channels": [second.id]})

    services.set_escalation(environment="production", steps=steps, by=ALICE, now=now + HOUR)
    play(now + HOUR, now + 2 * HOUR, step=10 * MINUTE)

    assert (len(receiver.got), len(other.got)) == (1, 1)
    assert other.told()[0]["data"]["again"] is True


def test_what_fired_before_there_was_a_channel_is_told_to_the_first(receiver, other, now):
    say(now)
    say(now, route="search", severity="warning")
    say(now, route="chat")
    services.dispatch(now)
    services.acknowledge(alert=the_alert("rollout:chat"), by=ALICE, now=now)
    grave = channel("webhook", now + HOUR, "grave", least_severity="critical", url=receiver.url)
    off = webhook(other, now + HOUR, "off")
    services.update_channel(channel=off, is_active=False, by=ALICE, now=now + HOUR)
    services.dispatch(now + HOUR)
    first = (receiver.routes(), other.routes())

    services.update_channel(channel=grave, least_severity="info", by=ALICE, now=now + HOUR + MINUTE)
    services.update_channel(channel=off, is_active=True, by=ALICE, now=now + HOUR + MINUTE)
    services.dispatch(now + HOUR + MINUTE)

    assert first == ([ROUTE], [])
    assert receiver.routes() == [ROUTE, "search"]
    assert sorted(other.routes()) == [ROUTE, "search"]


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
