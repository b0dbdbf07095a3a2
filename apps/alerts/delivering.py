"""Brings what is due to the channels, several channels side by side, each at its own rate and in order.

A channel is leased to one worker at a time: a receiver that hangs holds up nobody but itself, and two states of one
alert never overtake each other. Whoever waits for one that hangs goes on with what becomes due for the others. Only
sending runs in threads; rows are read and written by the caller.
"""

import hashlib
import random
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from apps.alerts import channels, sending
from apps.alerts.domain import life, messages, rate, retry
from apps.alerts.domain.messages import Message
from apps.alerts.models import Alert, Channel, Delivery
from apps.core import metrics
from apps.core.claims import claim_next
from apps.core.ids import new_id

LEASE = timedelta(seconds=40)  # longer than any turn: the last message may start just before its end
NO_MORE_AFTER = 20.0  # seconds: the next dispatch goes on
LOOK_AGAIN = 1.0  # second, while some that hang are waited for
# One waits for those that hang when its time is over, the next goes on. More would take all threads of a worker.
AT_ONCE = threading.BoundedSemaphore(2)
SIDE_BY_SIDE = 32  # channels; they only wait
MOST_ROWS = 2000  # of one channel at a time
EVENTS = {"firing": 0, "acknowledged": 1, "resolved": 2}


@dataclass(slots=True, eq=False)
class Turn:
    """One worker's turn at one channel."""

    channel: Channel
    at: datetime
    tokens: float
    waiting: list[list[Delivery]]
    quiet_until: datetime | None = None
    is_over: bool = False
    carried: list[Delivery] = field(default_factory=list)


def deliver_due(now: datetime) -> int:
    """Says how many messages were tried. None where two others of this process deliver."""
    if not AT_ONCE.acquire(blocking=False):
        return 0
    try:
        return Round(now).deliver()
    finally:
        AT_ONCE.release()


class Round:
    """What one dispatch brings out, on all channels that are free."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.began = time.monotonic()
        self.turns: list[Turn] = []
        self.running: dict[Future[sending.Outcome], Turn] = {}
        self.tried = 0

    def deliver(self) -> int:
        self.turns = take_turns(self.now)
        if not self.turns:
            return 0
        try:
            with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="deliver") as threads:
                self.go_on(list(self.turns), threads)
                while self.running:
                    done = wait(self.running, LOOK_AGAIN, FIRST_COMPLETED).done
                    self.go_on([self.settled(one) for one in done] or self.later_turns(), threads)
        finally:
            for turn in self.turns:
                give_back(turn)
        return self.tried

    def go_on(self, turns: Sequence[Turn], threads: ThreadPoolExecutor) -> None:
        """Each channel's next message, if it has one; else it is free for the next dispatch."""
        for turn in turns:
            if message := next_message(turn):
                self.running[threads.submit(sending.send, turn.channel, message, now=turn.at)] = turn
                self.tried += 1
            else:
                self.turns.remove(turn)
                give_back(turn)

    def settled(self, done: "Future[sending.Outcome]") -> Turn:
        turn = self.running.pop(done)
        settle(turn, done.result())
        turn.is_over = turn.is_over or self.is_over
        return turn

    def later_turns(self) -> list[Turn]:
        if self.is_over:
            return []
        turns = take_turns(self.now + timedelta(seconds=time.monotonic() - self.began))
        self.turns += turns
        return turns

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self.began > NO_MORE_AFTER


def take_turns(now: datetime) -> list[Turn]:
    due = Delivery.objects.due(now).values("channel")
    free = Channel.objects.filter(pk__in=due, is_active=True)
    free = free.filter(Q(quiet_until=None) | Q(quiet_until__lte=now))
    turns = []
    claim = new_id()
    while channel := claim_next(free, claim=claim, now=now, lease=LEASE):
        left = rate.tokens(channel.tokens, channel.tokens_at, now)
        turns.append(Turn(channel=channel, at=now, tokens=left, waiting=bundles(channel, now)))
    return turns


def give_back(turn: Turn) -> None:
    turn.channel.give_back(tokens=turn.tokens, at=turn.at, quiet_until=turn.quiet_until)


def bundles(channel: Channel, now: datetime) -> list[list[Delivery]]:
    """What is due, in messages: those of one group in one, with what waits to join it. The worst first.

    What was sent before goes again as it was, under its id: nothing joins it.
    """
    rows = Delivery.objects.waiting().filter(channel=channel).select_related("alert").order_by("created_at", "id")
    found: dict[tuple[str, str, str], list[Delivery]] = {}
    for row in rows[:MOST_ROWS]:
        group = row.alert.group if row.alert else row.id
        if channel.kind == Channel.Kind.PAGERDUTY:
            group = key_there(row) or group  # what it knows already is told under the key that it knows
        found.setdefault((row.event, group, row.sent_as), []).append(row)
    together = [rows for rows in found.values() if any(row.next_try_at <= now for row in rows)]
    return sorted(together, key=lambda rows: (EVENTS.get(rows[0].event, 0), -worst(rows), rows[0].created_at))


def worst(rows: Iterable[Delivery]) -> int:
    return max(life.rank(row.notice["severity"]) for row in rows)


def key_there(row: Delivery) -> str:
    """The key under which this channel was last told that the alert fires."""
    if row.dedup_key:
        return row.dedup_key
    told = Delivery.objects.filter(alert=row.alert_id, channel=row.channel_id, event="firing").exclude(dedup_key="")
    return told.order_by("-created_at", "-id").values_list("dedup_key", flat=True).first() or ""


def next_message(turn: Turn) -> Message | None:
    """If the channel's rate allows one."""
    while not turn.is_over and turn.waiting and turn.tokens >= 1:
        turn.carried = still_wanted(next_rows(turn))
        if not turn.carried or is_part_of_more(turn):
            continue
        turn.tokens -= 1
        return message_of(turn.channel, turn.carried)
    return None


def next_rows(turn: Turn) -> list[Delivery]:
    """One group; or, where more groups wait than the rate allows, all of the same kind in one digest."""
    if len(turn.waiting) <= int(turn.tokens) or int(turn.tokens) > 1:
        return turn.waiting.pop(0)
    event = turn.waiting[0][0].event
    if turn.channel.kind == Channel.Kind.PAGERDUTY and (event != "firing" or turn.waiting[0][0].dedup_key):
        return turn.waiting.pop(0)  # an incident ends under its own key: these wait for their turn
    fits = [rows for rows in turn.waiting if rows[0].event == event and not rows[0].dedup_key]
    fits = fits or [turn.waiting[0]]
    turn.waiting = [rows for rows in turn.waiting if rows not in fits]
    return [row for rows in fits for row in rows]


def still_wanted(rows: Sequence[Delivery]) -> list[Delivery]:
    """A newer state may have replaced some since they were read."""
    wanted = set(Delivery.objects.waiting().filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
    return [row for row in rows if row.pk in wanted]


def is_part_of_more(turn: Turn) -> bool:
    """PagerDuty keeps one incident for a digest: it ends when the last of its alerts does, and until then nothing
    is sent."""
    rows = turn.carried
    if turn.channel.kind != Channel.Kind.PAGERDUTY or rows[0].event == "firing":
        return False
    key = key_there(rows[0])
    others = Alert.objects.filter(deliveries__channel=turn.channel, deliveries__dedup_key=key) if key else None
    if others is None:
        return False
    others = others.exclude(pk__in=[row.alert_id for row in rows])
    going_on = others.firing() if rows[0].event == "acknowledged" else others.open()
    if not going_on.exists():
        return False
    for row in rows:
        row.finish(answer="its incident goes on for others", at=turn.at)
    return True


def message_of(channel: Channel, rows: Sequence[Delivery]) -> Message:
    notices = tuple(messages.from_json(row.notice) for row in rows)
    ids = sorted(str(row.pk) for row in rows)
    id = rows[0].sent_as or (ids[0] if len(ids) == 1 else id_of_many(ids))
    key = next((found for row in rows if (found := key_there(row))), "")
    if not key:
        key = notices[0].alert if len(rows) == 1 else id
    Delivery.objects.filter(pk__in=ids).update(sent_as=id, dedup_key=key)
    return Message(id=id, key=key, notices=notices, home=settings.PUBLIC_URL, reached=tuple(rows[0].reached))


def id_of_many(ids: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(ids).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def settle(turn: Turn, outcome: sending.Outcome) -> None:
    channel, now = turn.channel, turn.at
    metrics.deliveries.labels(channel.kind, "taken" if outcome.taken else "failed").inc(len(turn.carried))
    if outcome.taken:
        for row in turn.carried:
            row.finish(answer=outcome.answer, at=now)
        channels.note_taken(channel, answer=outcome.answer, now=now)
        return
    turn.is_over = True  # the rest waits: who has just refused one is not asked for the next at once
    draw = random.random()  # one draw for all that went together: they stay together
    for row in turn.carried:
        pause = None if outcome.final else retry.wait_after(row.attempts + 1, asked=outcome.asked, draw=draw)
        again_at = now + pause if pause is not None else None
        row.fail(answer=outcome.answer, next_try_at=again_at, reached=outcome.reached)
    if outcome.is_gone:
        channels.switch_off(channel, answer=outcome.answer, now=now)
        Delivery.objects.waiting().filter(channel=channel).update(is_dead=True, answer=outcome.answer)
        return
    channels.note_failed(channel, answer=outcome.answer, broken_after=retry.BROKEN_AFTER, now=now)
    quiet = max(outcome.quiet, retry.PROBE_EVERY if channel.broken_at else timedelta(0))
    turn.quiet_until = now + quiet if quiet else None
