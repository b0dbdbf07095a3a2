"""The protection's own signs of life, each with what it means when it is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from apps.alerts.models import Alert, Channel
from apps.console import figures
from apps.console.observed import Arrival, DeadMan, Lag, ShardView
from apps.console.queries import Pulse

LONG_QUEUE = 200
OLD_MESSAGES = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Fact:
    name: str
    value: str
    second: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Sign:
    name: str
    state: str  # within, warning, exceeded
    word: str
    words: str


@dataclass(frozen=True, slots=True)
class LagRow:
    route: str
    state: str
    looked: str
    lag: str
    data: str
    verdict: str
    word: str


@dataclass(frozen=True, slots=True)
class FreshRow:
    name: str
    age: str
    state: str
    word: str


@dataclass(frozen=True, slots=True)
class Tick:
    number: int
    age: str
    late: bool


def sentence(pulse: Pulse, wrong: Sequence[Alert], now: datetime) -> str:
    if pulse.evaluated_at is None:
        told = "No tick has run yet: nothing is rolled back by itself."
        return told if pulse.has_live else f"{told} No rollout is live."
    age = figures.ago(pulse.evaluated_at, now)
    if not pulse.is_protected:
        return f"Nothing has been evaluated since {age}: no rollout is rolled back by itself. By hand it still can be."
    if wrong:
        missing = "a sign of life is missing" if len(wrong) == 1 else f"{len(wrong)} signs of life are missing"
        return f"Rollouts were evaluated {age}, but {missing}."
    live = "A breach now would be acted on at the next tick." if pulse.has_live else "No rollout is live."
    return f"Every rollout was evaluated {age}. {live}"


def facts(pulse: Pulse, messages: timedelta, now: datetime) -> list[Fact]:
    tick = settings.TICK_SECONDS
    late = pulse.evaluated_at is None or now - pulse.evaluated_at > timedelta(seconds=max(3 * tick, 10))
    data_late = pulse.data_at is None or (now - pulse.data_at).total_seconds() > settings.TELEMETRY_STALE_SECONDS
    return [
        Fact(
            "Last tick",
            figures.ago(pulse.evaluated_at, now) if pulse.evaluated_at else "never",
            f"each {tick:g}{figures.NBSP}s; of the shard that waits longest",
            "danger" if late else "",
        ),
        Fact(
            "Queue",
            figures.counted(pulse.queue, "task") if pulse.queue is not None else "not reachable",
            "waiting for a worker" if pulse.queue is not None else "the broker does not answer",
            "danger" if pulse.queue is None else "warn" if pulse.queue > LONG_QUEUE else "",
        ),
        Fact(
            "Newest data",
            figures.ago(pulse.data_at, now) if pulse.data_at else "none yet",
            f"stale after {figures.span(settings.TELEMETRY_STALE_SECONDS)}",
            "warn" if data_late and pulse.has_live else "",
        ),
        Fact(
            "Messages",
            figures.span(messages.total_seconds()) if messages else "none waits",
            "the oldest that is due to those on call",
            "danger" if messages > OLD_MESSAGES else "",
        ),
    ]


def signs(pulse: Pulse, dead: DeadMan, channels: Sequence[Channel], messages: timedelta, now: datetime) -> list[Sign]:
    out = []
    if pulse.is_protected and pulse.evaluated_at is not None:
        out.append(Sign("Beat and worker", "within", "Alive", f"Last tick {figures.ago(pulse.evaluated_at, now)}."))
    elif pulse.evaluated_at is not None:
        told = f"Last tick {figures.ago(pulse.evaluated_at, now)}. Look at the worker's and the beat's log."
        out.append(Sign("Beat and worker", "exceeded", "Silent", told))
    else:
        out.append(Sign("Beat and worker", "warning", "Never", "No tick has run. Start the worker and the beat."))
    if pulse.queue is None:
        out.append(Sign("Broker", "exceeded", "Away", "Tasks are not handed out, pages hear of changes later."))
    else:
        out.append(Sign("Broker", "within", "Answers", f"{figures.counted(pulse.queue, 'task')} in the queue."))
    out.append(messages_sign(messages))
    out.append(channels_sign(channels))
    out.append(dead_man(dead, now))
    return out


def messages_sign(messages: timedelta) -> Sign:
    if messages > OLD_MESSAGES:
        return Sign(
            "Messages", "exceeded", "Stuck", f"The oldest has been due for {figures.span(messages.total_seconds())}."
        )
    return Sign("Messages", "within", "Leave", "Nothing has been due for long.")


def channels_sign(channels: Sequence[Channel]) -> Sign:
    broken = [one.name for one in channels if one.state != "working"]
    if not channels:
        return Sign("Channels", "warning", "None", "Nobody is told: alerts stand in the console only.")
    if len(broken) == len(channels):
        return Sign("Channels", "exceeded", "Failing", f"No channel takes messages: {', '.join(broken)}.")
    if broken:
        return Sign("Channels", "warning", "Some fail", f"{', '.join(broken)} of {len(channels)}.")
    return Sign("Channels", "within", "Work", f"{figures.counted(len(channels), 'channel')}.")


def dead_man(dead: DeadMan, now: datetime) -> Sign:
    name = "Dead-man ping"
    if not dead.is_set:
        words = "DEAD_MAN_URL is not set: nobody outside hears when all of this is down."
        return Sign(name, "warning", "Not configured", words)
    if dead.called_at is None:
        return Sign(name, "warning", "Not called yet", "The web process calls it once a minute.")
    told = f"Called {figures.ago(dead.called_at, now)}, answered {dead.answer or 'nothing'}."
    if now - dead.called_at > timedelta(minutes=3):
        return Sign(name, "exceeded", "Silent", told)
    return Sign(name, "within", "Called", told) if dead.is_well else Sign(name, "warning", "Told of trouble", told)


def lag_row(one: Lag, now: datetime) -> LagRow:
    """How far behind its data the evaluator is."""
    behind = None
    if one.looked_at is not None and one.data_at is not None:
        behind = max((one.data_at - one.looked_at).total_seconds(), 0.0)
    stale = one.data_at is None or (now - one.data_at).total_seconds() > settings.TELEMETRY_STALE_SECONDS
    slow = behind is not None and behind > 3 * settings.TICK_SECONDS + 10
    verdict, word = ("exceeded", "Lags") if slow else ("warning", "No data") if stale else ("within", "Watched")
    if one.looked_at is None:
        verdict, word = "inconclusive", "Not judged yet"
    return LagRow(
        one.route,
        one.state.replace("_", " "),
        figures.ago(one.looked_at, now) if one.looked_at else "",
        figures.span(behind) if behind is not None else "",
        figures.ago(one.data_at, now) if one.data_at else "",
        verdict,
        word,
    )


def fresh_row(one: Arrival, now: datetime) -> FreshRow:
    if one.newest_at is None:
        return FreshRow(one.route, "", "inconclusive", "No data")
    stale = (now - one.newest_at).total_seconds() > settings.TELEMETRY_STALE_SECONDS
    state, word = ("warning", "Stale") if stale else ("within", "Fresh")
    return FreshRow(one.route, figures.ago(one.newest_at, now), state, word)


def heard(services: Mapping[str, datetime], now: datetime) -> list[FreshRow]:
    """Services that report over OpenTelemetry or a gateway are noted by the hour."""
    out = []
    for name, at in sorted(services.items(), key=lambda pair: pair[1]):
        quiet = now - at > timedelta(hours=2)
        state, word = ("warning", "Quiet") if quiet else ("within", "Heard")
        age = f"not since {figures.whole_minute(at + timedelta(hours=1))}" if quiet else "within the hour or two"
        out.append(FreshRow(name or "not named", age, state, word))
    return out


def shards(rows: Sequence[ShardView], now: datetime) -> list[Tick]:
    allowed = timedelta(seconds=max(3 * settings.TICK_SECONDS, 10))
    return [
        Tick(
            one.number,
            figures.ago(one.last_tick_at, now) if one.last_tick_at else "never",
            one.last_tick_at is None or now - one.last_tick_at > allowed,
        )
        for one in rows
    ]
