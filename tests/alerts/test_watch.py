"""Who watches the watcher."""

import contextlib
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from apps.access.models import Environment
from apps.alerts import queries, services, watching
from apps.alerts.domain import outages
from apps.alerts.models import Alert, Channel, Delivery
from apps.journal.models import Entry
from apps.rollouts.models import Shard
from apps.telemetry import serving
from apps.telemetry.models import Freshness, GroupSums
from controlplane import celeryconfig, watch
from tests.alerts.make_alerts import LOOK, MINUTE, ROUTE, SECOND, say, webhook
from tests.processes import running_server, start_worker, stop
from tests.rollouts.make_rollouts import make_route, see_traffic

pytestmark = pytest.mark.django_db


def tick(at):
    Shard.objects.update_or_create(number=0, defaults={"last_tick_at": at})


def conditions():
    return sorted(Alert.objects.open().values_list("condition", flat=True))


def test_three_silent_ticks_are_an_alert_that_web_itself_delivers(receiver, environment, now, settings):
    settings.TICK_SECONDS = 5
    webhook(receiver, now)
    tick(now)
    watch.look(now + 15 * SECOND)
    patient = conditions()

    watch.look(now + 16 * SECOND)
    watch.look(now + 21 * SECOND)

    assert patient == []
    (told,) = receiver.told()
    assert told["data"]["condition"] == "watch:beat"
    assert "Nothing has looked at the rollouts since 03:00:00 UTC" in told["data"]["sentence"]
    assert "by hand work" in told["data"]["runbook"]
    assert [one.condition for one in queries.unprotected("production")] == ["watch:beat"]
    assert Entry.objects.filter(kind="watch.beat_failed").count() == 1


def test_it_is_over_when_the_ticks_come_again(receiver, environment, now):
    webhook(receiver, now)
    tick(now)
    watch.look(now + 20 * SECOND)
    tick(now + MINUTE)

    watch.look(now + MINUTE)
    services.dispatch(now + MINUTE)
    services.dispatch(now + MINUTE + LOOK)

    assert conditions() == []
    assert receiver.types() == ["alert.firing", "alert.resolved"]


def test_while_the_worker_is_dead_web_brings_its_alerts_out_too(receiver, environment, now):
    webhook(receiver, now)
    tick(now)
    say(now)

    watch.look(now + 20 * SECOND)

    assert {body["data"]["condition"] for body in receiver.told()} == {f"rollout:{ROUTE}", "watch:beat"}


def test_while_the_worker_delivers_web_leaves_it_to_the_worker(receiver, environment, now):
    webhook(receiver, now)
    tick(now)
    say(now)

    watch.look(now + 5 * SECOND)

    assert receiver.got == []


def test_an_entry_that_nobody_reads_is_read_by_web(receiver, environment, now):
    """The ticks go on, but the dispatch does not."""
    webhook(receiver, now)
    say(now)
    tick(now + 15 * SECOND)

    watch.look(now + 16 * SECOND)

    assert len(receiver.got) == 1


def test_a_queue_that_is_older_than_five_minutes_is_told(environment, now, settings):
    assert watch.old_queue("production", now) == ""
    settings.ALERT_PRIVATE_ADDRESSES = True
    hook = services.create_channel(
        environment="production",
        kind="webhook",
        name="h",
        config={"url": "http://127.0.0.1:1/"},
        by=watching.WATCHMAN,
        now=now,
    )
    say(now)
    services.read_journal(now)
    assert Delivery.objects.due(now).count() == 1

    assert watch.old_queue("production", now + 5 * MINUTE) == ""
    assert "have not left since 03:00:00 UTC" in watch.old_queue("production", now + 6 * MINUTE)
    assert watch.old_queue("staging", now + 6 * MINUTE) == ""

    services.update_channel(channel=hook, is_active=False, by=watching.WATCHMAN, now=now)
    assert watch.old_queue("production", now + 6 * MINUTE) == ""


def test_a_broken_channel_is_no_old_queue_at_any_second(receiver, environment, now):
    """Between its probes it keeps still; at the probe it does not, and what waits for it has been due for long."""
    receiver.answers = [(500, {})]
    hook = webhook(receiver, now)
    Channel.objects.filter(pk=hook.pk).update(failures_in_row=9)
    say(now)
    say(now, route="search")
    services.dispatch(now)
    at = now + 6 * MINUTE
    for _ in range(3):
        services.deliver_due(at)
        at += 58 * SECOND

    found = {watch.old_queue("production", at + second * SECOND) for second in range(10)}

    assert Channel.objects.get().state == "broken"
    assert Delivery.objects.waiting().count() == 2
    assert found == {""}


def test_no_telemetry_under_a_live_rollout_is_told(environment, now, settings, monkeypatch):
    settings.TELEMETRY_STALE_SECONDS = 120
    tick(now + 3 * MINUTE)
    Freshness.objects.create(environment="production", route=ROUTE, first_at=now, newest_at=now)
    quiet = [sign.key for sign in watch.signs(now + 3 * MINUTE) if sign.wrong]
    monkeypatch.setattr(watch, "live_environments", lambda: {"production": now})

    wrong = [sign for sign in watch.signs(now + 3 * MINUTE) if sign.wrong]

    assert quiet == []
    assert [(sign.key, sign.severity) for sign in wrong] == [("telemetry", "error")]
    assert "No telemetry has come from production since 03:00:00 UTC" in wrong[0].wrong


def test_a_live_rollout_that_never_had_telemetry_is_told(environment, now, monkeypatch):
    monkeypatch.setattr(watch, "live_environments", lambda: {"production": now})

    early, late = (watch.sign_of_telemetry("production", now, now + n * MINUTE) for n in (2, 3))

    assert early is None
    assert late.wrong == "No telemetry has ever come from production, and a rollout is live there."


@pytest.mark.parametrize(("minutes", "after", "is_told"), [(31, 3, True), (31, 2, False), (20, 3, False)])
def test_telemetry_that_came_steadily_and_stops_is_told_without_a_rollout_too(
    environment, now, minutes, after, is_told
):
    make_route(now)
    for n in range(minutes):
        see_traffic(now - n * MINUTE, n=1, variant="gpt-4.1", route=ROUTE)
    Freshness.objects.update(newest_at=now)

    sign = watch.sign_of_telemetry("production", None, now + after * MINUTE)

    assert bool(sign and sign.wrong) is is_told
    assert not is_told or "until then it came steadily" in sign.wrong


@pytest.mark.parametrize(
    ("came", "is_live"),
    [
        (None, False),
        (timedelta(minutes=-30), False),  # the rollout under which it was missed has ended
        (timedelta(days=-2), False),
        (timedelta(minutes=-30), True),  # another has just begun
    ],
)
def test_only_telemetry_that_comes_ends_the_alert_that_it_is_missing(environment, now, monkeypatch, came, is_live):
    say(now, key="watch:telemetry", route="")
    services.dispatch(now)
    if came:
        Freshness.objects.create(environment="production", route=ROUTE, first_at=now + came, newest_at=now + came)
    monkeypatch.setattr(watch, "live_environments", lambda: {"production": now} if is_live else {})

    def look(at):
        tick(at)
        watch.look(at)
        for seconds in (1, 7):
            services.dispatch(at + seconds * SECOND)
        return conditions()

    missing = look(now + SECOND)
    Freshness.objects.update_or_create(
        environment="production", route=ROUTE, defaults={"first_at": now, "newest_at": now + 20 * SECOND}
    )

    assert (missing, look(now + 20 * SECOND)) == (["watch:telemetry"], [])


def test_telemetry_that_no_window_closes_over_is_told_and_the_outside_call_withheld(
    receiver, environment, now, settings
):
    settings.DEAD_MAN_URL = receiver.url
    tick(now + MINUTE)
    GroupSums.objects.create(writer="w", seq=1, at=now, body=b"")

    wrong = watch.unwritten_telemetry(now + 29 * SECOND), watch.unwritten_telemetry(now + MINUTE)
    watch.look(now + MINUTE)

    assert wrong == ("", "Telemetry is not written into its windows since 03:00:00 UTC.")
    assert receiver.paths == ["/hook/fail"]


def test_commits_that_go_on_failing_are_told(environment, now, monkeypatch):
    monkeypatch.setattr(serving, "failing", None)
    commits = serving.new_commits()
    found = []
    for second, count in ((0, None), (40, None), (50, lambda **_: [])):
        monkeypatch.setattr(serving.timezone, "now", lambda at=now + second * SECOND: at)
        monkeypatch.setattr("apps.telemetry.services.count", count or (lambda **_: 1 / 0))
        with contextlib.suppress(ZeroDivisionError):
            commits.store([])
        found.append(watch.unwritten_telemetry(now + (second + 5) * SECOND))

    assert found == ["", "Telemetry is not written into its windows since 03:00:00 UTC.", ""]


def test_a_worker_that_never_started_is_told_and_nobody_outside_hears_that_all_is_well(
    receiver, environment, now, settings
):
    settings.DEAD_MAN_URL = receiver.url

    watch.look(now)
    watch.look(now + MINUTE)

    assert conditions() == ["watch:beat"]
    assert "Nothing has ever looked at the rollouts" in Alert.objects.get().sentence
    assert receiver.paths == ["/hook/fail"]


def calls(at, route, n, errors):
    see_traffic(at, n=n, variant="gpt-4.1", errors=errors, route=route)


def test_a_provider_that_fails_on_several_routes_is_one_alert_that_mutes_theirs(receiver, environment, now):
    webhook(receiver, now)
    for route in ("one", "two", "three"):
        make_route(now, key=route)
        calls(now, route, 10, 9 if route != "three" else 0)
    say(now, key="incident:one", route="one")
    tick(now + 4 * MINUTE)

    watch.look(now + SECOND)
    services.dispatch(now + SECOND)
    (told,) = receiver.told()
    watch.look(now + 2 * MINUTE)  # nobody calls it any more: that is no answer
    quiet = conditions()
    for route in ("one", "two", "three"):
        calls(now + 3 * MINUTE, route, 10, 1)
    watch.look(now + 3 * MINUTE)
    services.dispatch(now + 3 * MINUTE)
    services.dispatch(now + 3 * MINUTE + LOOK)
    services.dispatch(now + 4 * MINUTE)

    assert told["data"]["condition"] == "provider:openai"
    assert told["data"]["sentence"] == ("Provider openai fails on 2 of 3 routes: 60 % of 30 calls in the last minute.")
    assert quiet == ["incident:one", "provider:openai"]
    assert conditions() == ["incident:one"]
    assert [body["data"]["condition"] for body in receiver.told()[1:]] == ["provider:openai", "incident:one"]


def test_a_provider_that_is_down_does_not_keep_us_from_telling_that_we_are_well(receiver, environment, now, settings):
    settings.DEAD_MAN_URL = receiver.url
    for route in ("one", "two"):
        make_route(now, key=route)
        calls(now, route, 20, 20)
    tick(now)

    watch.look(now + SECOND)

    assert receiver.paths == ["/hook"]


@pytest.mark.parametrize(
    ("rows", "down"),
    [
        ([("a", 20, 10), ("b", 20, 10)], [True]),
        ([("a", 20, 20)], [False]),  # one route's incident
        ([("a", 20, 20), ("b", 20, 9)], [False]),
        ([("a", 9, 9), ("b", 9, 9)], []),  # too few calls to say
        ([("a", 20, 20), ("b", 4, 4)], [False]),
        ([("a", 10, 10), ("b", 10, 10), ("c", 100, 0), ("d", 100, 0), ("e", 100, 0)], [False]),
        ([("a", 10, 10), ("a", 10, 0), ("b", 10, 10)], [True]),  # two variants of one route
    ],
)
def test_when_it_is_the_provider(rows, down):
    found = outages.standings(outages.Calls("openai", *row) for row in rows)

    assert [one.is_down for one in found] == down


def test_tasks_that_pile_up_are_told(environment, now, monkeypatch):
    tick(now)

    def signs(waiting):
        monkeypatch.setattr(watch.bell, "ringer", lambda: SimpleNamespace(llen=lambda _: waiting))
        return [sign.wrong for sign in watch.signs(now) if sign.key == "queue"]

    assert signs(199) == [""]
    assert signs(200) == ["The worker does not keep up: 200 tasks wait for it."]


def test_a_hidden_environment_wakes_nobody(environment, now):
    Environment.objects.create(key="drill-1", name="Drill", is_hidden=True, created_at=now)

    assert {sign.environment for sign in watch.signs(now)} == {"production"}


# --- with real processes -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_plug_of_the_worker_is_pulled_and_those_on_call_hear_of_it(receiver, static_files, tmp_path, empty_queue):
    """Nothing but web is alive."""
    now = timezone.now()
    Environment.objects.create(key="production", name="Production", created_at=now)
    webhook(receiver, now)
    tick(now - timedelta(minutes=1))
    settings = {"WATCH_SECONDS": "0.5", "ALERT_PRIVATE_ADDRESSES": "1", "DEAD_MAN_URL": receiver.url}
    with running_server(tmp_path / "web", static_files, **settings):
        receiver.wait_for(2)

    told = [body for _, body in receiver.got]
    assert any(b"watch:beat" in body for body in told)
    assert "/hook/fail" in receiver.paths


@pytest.mark.django_db(transaction=True)
def test_an_alert_leaves_within_five_seconds_of_the_decision(receiver, tmp_path, empty_queue):
    """They are looked for each second; `bin/bench telemetry` measures how long one takes."""
    from tests.processes import BIN, start

    now = timezone.now()
    Environment.objects.create(key="production", name="Production", created_at=now)
    webhook(receiver, now)
    worker = start_worker(tmp_path / "worker.log", ALERT_PRIVATE_ADDRESSES="1")
    command = (str(BIN / "celery"), "-A", "controlplane", "beat", "-l", "warning", "--pidfile=")
    beat = start(*command, log=tmp_path / "beat.log")
    try:
        deadline = time.monotonic() + 60
        while Shard.objects.count() == 0 and time.monotonic() < deadline:
            time.sleep(0.1)  # both are up
        say(timezone.now())
        receiver.wait_for(1)
    finally:
        stop(beat)
        stop(worker, 20)

    assert receiver.types() == ["alert.firing"]
    assert celeryconfig.beat_schedule["dispatch-alerts"]["schedule"] <= 1
