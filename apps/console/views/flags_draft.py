"""The draft of a flag: what a person has changed and not yet saved, upon the revision that they saw.

It lies in the session, so that each small form can add to it without a script, and only that person sees it. Nothing
of it is live before the review.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

from django.db import transaction
from django.urls import reverse

from apps.console.flag_queries import Served
from apps.console.visits import Visit
from apps.core.refusals import Invalid, Refused
from apps.flags import change_requests
from apps.flags.domain import differences
from apps.flags.queries import FlagView

PLACE = "flag_drafts"
MOST = 20  # of one person: the oldest goes


@dataclass(frozen=True, slots=True)
class Draft:
    revision: int  # what it was begun on
    fields: Mapping[str, Any]  # as update_flag takes them, and weights in ten-thousandths

    @property
    def count(self) -> int:
        return len(self.fields)

    def on(self, found: Served) -> FlagView:
        """The flag as it would stand."""
        known = {name: value for name, value in self.fields.items() if hasattr(found.flag, name)}
        if "targeting" in known:
            known["rules"] = None
        elif "rules" in known:
            known["targeting"] = {}
        return replace(found.flag, **known)


def name_of(visit: Visit, key: str) -> str:
    return f"{visit.environment.key}\n{key}"


def draft_of(visit: Visit, found: Served) -> Draft:
    kept = visit.request.session.get(PLACE, {}).get(name_of(visit, found.flag.key))
    return Draft(kept["revision"], kept["fields"]) if kept else Draft(found.flag.revision, {})


def keep(visit: Visit, found: Served, **fields: Any) -> None:
    """Adds to the draft; what is as it was leaves it. Raises Invalid where a field cannot stand."""
    here = draft_of(visit, found)
    whole = dict(here.fields) | fields
    if "rules" in fields:
        whole.pop("targeting", None)
    if "targeting" in fields:
        whole.pop("rules", None)
    whole = {name: value for name, value in whole.items() if not is_as_it_was(found.flag, name, value)}
    if whole:
        check(visit, found.flag.key, whole)
    put(visit, found.flag.key, Draft(here.revision, whole))


def put(visit: Visit, key: str, draft: Draft) -> None:
    drafts = dict(visit.request.session.get(PLACE, {}))
    drafts.pop(name_of(visit, key), None)
    if draft.fields:
        drafts[name_of(visit, key)] = {"revision": draft.revision, "fields": dict(draft.fields)}
    visit.request.session[PLACE] = dict(list(drafts.items())[-MOST:])


def discard(visit: Visit, key: str) -> None:
    put(visit, key, Draft(0, {}))


def is_as_it_was(flag: FlagView, name: str, value: Any) -> bool:
    if name == "weights":
        return dict(value) == {variant: size for variant, size in flag.weights.items() if size}
    was = getattr(flag, name, None)
    if name == "targeting" and flag.rules is not None:
        return False
    return differences.same(was.isoformat() if isinstance(was, date) else was, value)


def check(visit: Visit, key: str, fields: Mapping[str, Any]) -> None:
    """As the services would check it when it is saved, without leaving anything behind."""
    with transaction.atomic():
        change_requests.propose(
            environment=visit.environment.key,
            subject=key,
            fields=fields,
            by=visit.actor,
            because="Checked while it was written.",
            now=visit.now,
        )
        transaction.set_rollback(True)


def sentences_of(refused: Refused) -> str:
    errors = refused.errors.values() if isinstance(refused, Invalid) else ()
    return " ".join(dict.fromkeys(errors)) or refused.detail


def because_of(visit: Visit) -> str:
    """The reason that the form carries. Raises Invalid without one."""
    because = visit.request.POST.get("because", "").replace("\0", "").strip()
    if not because or len(because) > 500:
        raise Invalid("Say why, in up to 500 characters: the journal will quote it.")
    return because


def revision_of(visit: Visit) -> int | None:
    """The revision that the person saw, as the form carries it."""
    seen = visit.request.POST.get("revision", "")
    return int(seen) if seen.isdecimal() and len(seen) < 10 else None


def due_of(visit: Visit) -> datetime:
    """The moment that the form carries, in UTC unless it says otherwise."""
    try:
        due_at = datetime.fromisoformat(visit.request.POST.get("due_at", ""))
    except ValueError as fault:
        raise Invalid("Choose the day and the minute, in UTC.") from fault
    return due_at if due_at.tzinfo else due_at.replace(tzinfo=UTC)


def to(visit: Visit, name: str, *args: Any, **query: Any) -> str:
    """An address within the environment that is looked at, whatever the session says later."""
    return f"{reverse(name, args=args)}?{urlencode({'environment': visit.environment.key} | query)}"
