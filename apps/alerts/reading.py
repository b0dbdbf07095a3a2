"""From the journal to alerts: one alert per open condition, whatever is told of it, however often."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from apps.alerts import telling
from apps.alerts.domain import escalation, life
from apps.alerts.domain.escalation import Step
from apps.alerts.models import SEEN_FOR, Alert, EscalationPolicy, SeenEntry, Silence, Watch
from apps.alerts.opening import Opening, mutes_of, new_alert
from apps.journal.models import Entry, EntryQuerySet

LOOK_BACK = timedelta(days=1)  # an entry older than this alerts nobody any more
LOOKS = "worker:"  # who looks again by itself; what a person closes is closed
AT_A_TIME = 500
MOST = 5000  # entries in one dispatch


def read_journal(now: datetime) -> int:
    """Turns each new entry that carries a condition into an alert or the end of one. Says how many there were."""
    read = 0
    while read < MOST and unread(now).exists():
        some = read_some(now)
        read += some
        if some < AT_A_TIME:
            break
    return read


def unread(now: datetime) -> "EntryQuerySet":
    seen = SeenEntry.objects.values("entry")
    return Entry.objects.with_condition().filter(at__gt=now - LOOK_BACK).exclude(pk__in=seen).order_by("at", "id")


@transaction.atomic
def read_some(now: datetime) -> int:
    """Each entry once: one worker at a time reads."""
    Watch.objects.get_or_create(name="reader")
    Watch.objects.select_for_update().get(name="reader")
    entries = list(unread(now)[:AT_A_TIME])
    SeenEntry.objects.bulk_create(SeenEntry(entry=entry.id, at=now) for entry in entries)
    SeenEntry.objects.filter(at__lt=now - SEEN_FOR).delete()
    new = Opening(entries, now)
    for entry in entries:
        if new.takes(entry):
            new.add(entry)
        else:
            new.write()
            tell(entry, now)
            new.look_for_sources()
    new.write()
    return len(entries)


def tell(entry: Entry, now: datetime) -> None:
    known = Alert.objects.select_for_update().open()
    alert = known.filter(environment=entry.environment, condition=entry.condition).first()
    if entry.effect == Entry.Effect.CLOSES:
        if alert and entry.by.startswith(LOOKS):
            alert.begin_to_clear(entry=entry.id, at=entry.at)
        elif alert:
            close(alert, entry, now)
    elif alert:
        again(alert, entry, now)
    else:
        open_alert(entry, now)


def close(alert: Alert, entry: Entry, now: datetime) -> None:
    """The alert keeps the sentence that it was opened for; people are told the one that ends it."""
    alert.resolve(now)
    telling.tell_those_who_know(alert, event=telling.RESOLVED, occasion=entry.id, now=now, sentence=entry.sentence)


def again(alert: Alert, entry: Entry, now: datetime) -> None:
    """News about an open alert: another decision, or a worse one, is told; the same once more is only counted."""
    is_news = entry.link != alert.link
    worse = alert.repeat(entry=entry.id, sentence=entry.sentence, severity=entry.severity, link=entry.link, at=entry.at)
    if worse and alert.silence_row and not alert.silence_row.covers(alert):
        wake(alert, now)  # it was of what is less grave
    elif worse:
        telling.fire(alert, occasion=entry.id, now=now, at_once=True)
    elif is_news:
        telling.fire(alert, occasion=entry.id, now=now)


def open_alert(entry: Entry, now: datetime) -> None:
    known = Alert.objects.just_resolved(now).filter(environment=entry.environment, condition=entry.condition)
    alert = known.order_by("-resolved_at", "-id").first()
    if alert:
        alert.mutes = mutes_of(entry)
        alert.reopen(entry=entry.id, sentence=entry.sentence, severity=entry.severity, link=entry.link, at=entry.at)
    else:
        alert = new_alert(entry)
        alert.open()
    if silence := covering(alert, now):
        alert.silence(by=words_of(silence), until=silence.ends_at, row=silence)
        return
    telling.fire(alert, occasion=entry.id, now=now)
    telling.mute_others(alert, now)


def covering(alert: Alert, now: datetime) -> Silence | None:
    """The silence that holds longest over this alert."""
    active = Silence.objects.filter(environment=alert.environment, starts_at__lte=now, ends_at__gt=now)
    return next((silence for silence in active.order_by("-ends_at", "id") if silence.covers(alert)), None)


def words_of(silence: Silence) -> str:
    return f"{silence.by} (maintenance)" if silence.is_maintenance else silence.by


def turn_the_clock(now: datetime) -> None:
    """What happens by itself: silences begin and end, nobody acknowledges, hours go by."""
    bring_back(now)
    begin_silences(now)
    end_silences(now)
    take_over(now)
    escalate(now)
    repeat(now)


def for_each(alerts: "QuerySet[Alert]", act: Callable[..., None], *more: Any) -> None:
    """One at a time, each in its own transaction and only if it is still as asked: worker and web may both be here."""
    for pk in list(alerts.order_by("id").values_list("pk", flat=True)):
        with transaction.atomic():
            if alert := alerts.select_for_update().filter(pk=pk).first():
                act(alert, *more)


def resolve_cleared(now: datetime) -> None:
    """One look that finds nothing may be luck: the next one, a tick later, resolves. A fire in between starts over."""
    a_look_ago = now - timedelta(seconds=settings.TICK_SECONDS)
    for_each(Alert.objects.open().filter(clearing_since__lte=a_look_ago), resolve, now)


def resolve(alert: Alert, now: datetime) -> None:
    close(alert, Entry.objects.get(pk=alert.clearing_entry), now)


def bring_back(now: datetime) -> None:
    """Maintenance that is over for this time stands there for the next."""
    for row in Silence.objects.exclude(repeats="").filter(ends_at__lte=now).order_by("id"):
        row.come_back(now)


def begin_silences(now: datetime) -> None:
    for silence in Silence.objects.filter(starts_at__lte=now, ends_at__gt=now).order_by("-ends_at", "id"):
        firing = Alert.objects.firing().of_environment(silence.environment)
        covered = [alert.pk for alert in firing if silence.covers(alert)]
        for_each(Alert.objects.firing().filter(pk__in=covered), hush, silence, now)


def hush(alert: Alert, silence: Silence, now: datetime) -> None:
    alert.silence(by=words_of(silence), until=silence.ends_at, row=silence)
    telling.hold_back(alert, now)


def end_silences(now: datetime) -> None:
    """Whose silence has ended fires again, and those on call hear that it still does."""
    for_each(Alert.objects.filter(state=Alert.State.SILENCED, silenced_until__lte=now), wake, now)


def wake(alert: Alert, now: datetime) -> None:
    if silence := covering(alert, now):
        alert.silence(by=words_of(silence), until=silence.ends_at, row=silence)
        return
    alert.wake(now)
    telling.fire(alert, occasion=alert.occasion("awake"), now=now)


def take_over(now: datetime) -> None:
    """The alert that muted these is over and they are not."""
    sources = Alert.objects.open().filter(environment=OuterRef("environment"), condition=OuterRef("muted_by"))
    for_each(Alert.objects.firing().exclude(muted_by="").exclude(Exists(sources)), speak_again, now)


def speak_again(alert: Alert, now: datetime) -> None:
    alert.mute("")
    telling.fire(alert, occasion=alert.occasion("own"), now=now)


def escalate(now: datetime) -> None:
    """Nobody has acknowledged: the next step's channels hear of it too."""
    for row in EscalationPolicy.objects.order_by("environment"):
        steps = escalation.read(row.steps)
        firing = Alert.objects.firing().of_environment(row.environment).filter(muted_by="")
        for number, step in enumerate(steps, start=1):
            for_each(firing.filter(escalated__lt=number, firing_since__lte=now - step.after), step_up, steps, now)


def step_up(alert: Alert, steps: Sequence[Step], now: datetime) -> None:
    reached = escalation.reached(steps, since=alert.firing_since or now, now=now)
    channels = telling.recipients(alert, steps, first=alert.escalated, last=reached)
    telling.leave(alert, channels, event=telling.FIRING, occasion=alert.occasion("step"), at=now, now=now)
    alert.note_told(leaves_at=max(alert.told_at or now, now), escalated=reached)


def repeat(now: datetime) -> None:
    """Unchanged and unacknowledged for hours: said again."""
    for_each(Alert.objects.firing().filter(muted_by="", told_at__lte=now - life.REPEAT_INTERVAL), say_again, now)


def say_again(alert: Alert, now: datetime) -> None:
    telling.fire(alert, occasion=alert.occasion("again"), now=now, at_once=True)
