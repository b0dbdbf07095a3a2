"""The review of a draft, the save that knows what was seen, and the page of a conflict.

In a protected environment the save asks for approval instead. A save on an old revision shows who changed what since.
"""

from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from apps.access.domain.roles import Role
from apps.console import flag_queries
from apps.console.flag_queries import Served
from apps.console.presenters import flag_words
from apps.console.views import flags as pages
from apps.console.views import flags_draft
from apps.console.views.flags_draft import Draft, because_of, due_of, revision_of, to
from apps.console.views.flags_edit import back, opened
from apps.console.visits import Visit, visited
from apps.core.refusals import Invalid, NotFound, Refused, Stale
from apps.flags import change_requests, services, versions
from apps.flags.domain import differences, lint
from apps.flags.editing import DECIDING
from apps.flags.queries import FlagView


@visited
def review(visit: Visit, *, key: str) -> HttpResponse:
    found, draft = opened(visit, key)
    if not draft.fields:
        return back(visit, key)
    if draft.revision != found.flag.revision:
        return conflict_page(visit, found, draft)
    if visit.request.method != "POST":
        return review_page(visit, found, draft)
    try:
        because = because_of(visit)
        if revision_of(visit) not in (None, draft.revision):
            raise Invalid("This draft has changed in another window since. Look at it again.")
        return save(visit, found, draft, because)
    except Stale:
        return conflict_page(visit, flag_queries.one(visit.environment.key, key), draft)
    except Refused as refused:
        return review_page(visit, found, draft, error=flags_draft.sentences_of(refused))


def save(visit: Visit, found: Served, draft: Draft, because: str) -> HttpResponse:
    key, asked = found.flag.key, visit.request.POST.get("do")
    said: dict[str, Any] = {
        "environment": visit.environment.key, "by": visit.actor, "because": because, "now": visit.now
    }  # fmt: skip
    if visit.environment.is_protected or asked == "schedule":
        drafted = said | {"subject": key, "fields": draft.fields, "base_revision": draft.revision}
        if visit.environment.is_protected:
            row = change_requests.propose(**drafted, submit=asked != "draft")
        else:
            row = change_requests.schedule_change(**drafted, due_at=due_of(visit))
        flags_draft.discard(visit, key)
        return HttpResponseRedirect(to(visit, "change", row.id))
    if set(draft.fields) == {"weights"}:
        published = services.change_weights(**said, key=key, weights=draft.fields["weights"], expected=draft.revision)
    else:
        update = services.update_route if found.is_route else services.update_flag
        published = update(**said, key=key, expected=draft.revision, **draft.fields)
    flags_draft.discard(visit, key)
    return HttpResponseRedirect(to(visit, "flag", key, done=published.version))


def review_page(visit: Visit, found: Served, draft: Draft, *, error: str = "") -> HttpResponse:
    fields = {name: value for name, value in draft.fields.items() if name != "weights"}
    preview, no_preview = None, ""
    if {"weights", *DECIDING} & set(draft.fields):
        preview, no_preview = pages.preview(visit, found.flag.key, draft.fields.get("weights"), fields)
    after = draft.on(found)
    return visit.page(
        "console/flags/review.html",
        current="flags",
        status=400 if error else 200,
        flag=found.flag,
        draft=draft,
        rows=flag_words.rows(changes_of(found.flag, draft)),
        preview=preview,
        no_preview=no_preview,
        serves=flag_words.serving_html(after),
        warnings=lint.warnings(draft.fields.get("targeting") or {}),
        is_protected=visit.environment.is_protected,
        approvers=visit.who_may(Role.APPROVER),
        error=error,
        because=visit.request.POST.get("because", ""),
        due_at=visit.request.POST.get("due_at", ""),
        soonest=f"{visit.now.astimezone(UTC):%Y-%m-%dT%H:%M}",
        links=pages.links(visit, found.flag.key),
    )


def changes_of(flag: FlagView, draft: Draft) -> dict[str, dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {}
    for name, wanted in draft.fields.items():
        if name == "weights":
            was = {variant: size / 100 for variant, size in flag.weights.items()}
            changes[name] = {"was": was, "is": {variant: size / 100 for variant, size in wanted.items()}}
        else:
            changes[name] = {"was": getattr(flag, name, None), "is": wanted}
    return changes


@dataclass(frozen=True, slots=True)
class Clash:
    field: str
    was: list[str]
    now: list[str]
    mine: list[str]
    both: bool


def conflict_page(visit: Visit, found: Served, draft: Draft) -> HttpResponse:
    flag = found.flag
    theirs = since(flag, draft.revision)
    mine = changes_of(flag, draft)
    names = [*theirs, *(name for name in mine if name not in theirs)]
    clashes = [
        Clash(
            field=flag_words.field_name(name),
            was=flag_words.lines(name, theirs[name]["was"] if name in theirs else mine[name]["was"]),
            now=flag_words.lines(name, theirs[name]["is"] if name in theirs else mine[name]["was"]),
            mine=flag_words.lines(name, mine[name]["is"]) if name in mine else [],
            both=name in theirs and name in mine,
        )
        for name in names
    ]
    return visit.page(
        "console/flags/conflict.html",
        current="flags",
        status=409,
        flag=flag,
        clashes=clashes,
        touches=any(one.both for one in clashes),
        links=pages.links(visit, flag.key),
    )


def since(flag: FlagView, revision: int) -> differences.Difference:
    """What others changed since that revision; nothing can be told of one that is not kept."""
    try:
        return versions.compare(flag.environment, flag.key, revision, flag.revision).changes
    except NotFound:
        return {}


@visited
def on_draft(visit: Visit, *, key: str, act: str) -> HttpResponse:
    """Discard mine, or put mine upon what is there now."""
    found, draft = opened(visit, key)
    if visit.request.method == "POST" and act == "discard":
        flags_draft.discard(visit, key)
    elif visit.request.method == "POST" and act == "on-top" and draft.fields:
        fields = {
            name: value for name, value in draft.fields.items() if not flags_draft.is_as_it_was(found.flag, name, value)
        }
        flags_draft.put(visit, key, Draft(found.flag.revision, fields))
        return HttpResponseRedirect(to(visit, "flag-review", key))
    return back(visit, key)
