"""Silences and maintenance as rows."""

from dataclasses import dataclass

from django.urls import reverse

from apps.access.domain.roles import Role
from apps.alerts.models import Silence
from apps.console import figures
from apps.console.acts import Act
from apps.console.presenters import presses
from apps.console.visits import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceRow:
    covers: str
    repeats: str
    state: str
    until: str
    by: str
    because: str
    open: int
    end: Act | None


def silence(visit: Visit, one: Silence, covered: int) -> SilenceRow:
    now = visit.now
    is_over, is_ahead = one.ends_at <= now, one.starts_at > now
    state = (
        f"begins {figures.moment(one.starts_at, now)}"
        if is_ahead
        else f"ended {figures.moment(one.ends_at, now)}"
        if is_over
        else f"since {figures.moment(one.starts_at, now)}"
    )
    can, why_not = presses.who(visit, Role.OPERATOR)
    end = Act(
        key=f"end-{one.id}",
        label="Call off" if is_ahead or one.repeats else "End now",
        href=reverse("silence-end", args=[one.id]),
        css="is-quiet is-row",
        can=can,
        why_not=why_not,
    )
    return SilenceRow(
        covers=one.matcher.words,
        repeats=f"{one.get_repeats_display()}, {one.time_zone}" if one.repeats else "",
        state=state,
        until=figures.moment(one.ends_at, now),
        by=one.by,
        because=one.because,
        open=covered,
        end=None if is_over else end,
    )
