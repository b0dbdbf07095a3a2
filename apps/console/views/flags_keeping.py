"""A flag comes and goes: made, copied, renamed, archived, brought back, deleted. Each in two presses, or one form.

The first press is a page that says what the act does to those who ask for the flag; the second is a POST. In a
protected environment what changes the served flags asks another person instead.
"""

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from apps.access import queries as access
from apps.access.domain.roles import Role
from apps.access.loaders import environment_for
from apps.console import flag_queries
from apps.console.flag_queries import Served
from apps.console.presenters import flag_forms, flag_keeping, flag_words
from apps.console.presenters.flag_keeping import Keeping
from apps.console.views import flags as pages
from apps.console.views.flags_draft import because_of, revision_of, sentences_of, to
from apps.console.visits import Visit, visited
from apps.core.refusals import Invalid, NotFound, Refused, Stale
from apps.flags import change_requests, copying, keeping, services

ROUTE = "route"
KINDS = {**flag_words.TYPES, ROUTE: "model route: object with a model"}
BEGIN = {"variant-0": "on", "value-0": "true", "variant-1": "off", "value-1": "false", "default": "off"}


@visited
def new(visit: Visit) -> HttpResponse:
    """One form without a script: whatever the kind, names and values are written as text and read as that kind."""
    visit.must(Role.OPERATOR)
    if visit.request.method != "POST":
        return new_page(visit, {"type": "boolean"} | BEGIN | visit.request.GET.dict())
    data = visit.request.POST.dict()
    if data.get("do") == "more":
        return new_page(visit, data)
    try:
        key, version = create(visit, data)
    except Refused as refused:
        return new_page(visit, data, error=sentences_of(refused))
    return HttpResponseRedirect(to(visit, "flag", key, done=version))


def new_page(visit: Visit, data: dict[str, str], *, error: str = "") -> HttpResponse:
    numbers = [number for number in range(flag_forms.MOST_ROWS) if data.get(f"variant-{number}")]
    rows = [(at, data[f"variant-{n}"], data.get(f"value-{n}", "")) for at, n in enumerate(numbers)]
    if data.get("do") == "more" or not rows:
        rows.append((len(rows), "", ""))
    return visit.page(
        "console/flags/new.html",
        current="flags",
        status=400 if error else 200,
        form=data,
        rows=rows,
        kinds=KINDS.items(),
        error=error,
        here=to(visit, "flag-new"),
        back=to(visit, "flags"),
    )


def create(visit: Visit, data: dict[str, str]) -> tuple[str, int]:
    text = {name: value.replace("\0", "").strip() for name, value in data.items()}
    kind = text.get("type", "")
    if kind not in KINDS:
        raise Invalid("Choose what kind of value it gives.", type="Choose what kind of value it gives.")
    is_route = kind == ROUTE
    whole: dict[str, Any] = {
        "environment": visit.environment.key,
        "key": text.get("key", ""),
        "variants": flag_forms.read_variants(text, "object" if is_route else kind),
        "default_variant": text.get("default", ""),
        "owner": text.get("owner", "")[:128],
        "description": text.get("description", "")[:1000],
        "because": text.get("because", "")[:500],
        "by": visit.actor,
        "now": visit.now,
    }
    if is_route:
        published = services.create_route(**whole, fallback_variant=text.get("fallback", ""))
    else:
        published = services.create_flag(**whole, type=kind)
    return whole["key"], published.version


@visited
def press(visit: Visit, *, key: str, act: str) -> HttpResponse:
    visit.must(Role.OPERATOR)
    found = flag_queries.one(visit.environment.key, key)
    words = flag_keeping.of(found, act)
    if words is None:
        raise NotFound(what="act", key=act)
    if visit.request.method != "POST":
        return press_page(visit, found, words)
    try:
        return HttpResponseRedirect(do(visit, found, words))
    except Stale as stale:
        return press_page(visit, found, words, error=f"{stale.facts['by']} changed {key} since you looked. Look again.")
    except Refused as refused:
        return press_page(visit, found, words, error=sentences_of(refused))


def press_page(visit: Visit, found: Served, words: Keeping, *, error: str = "") -> HttpResponse:
    flag, is_copy = found.flag, words.act == "copy"
    data = visit.request.POST
    return visit.page(
        "console/flags/keep.html",
        current="flags",
        status=400 if error else 200,
        flag=flag,
        words=words,
        asked_by=flag_keeping.asked_by(flag_queries.given(flag.environment, flag.key, visit.now - pages.DAY)),
        draws_anew=is_copy and copying.draws_anew(flag),
        places=[one.key for one in access.environments_of(visit.request.user)] if is_copy else [],
        place=data.get("to_environment", flag.environment),
        name=data.get("to", flag.key if words.act == "rename" else f"{flag.key}-copy"[:128]),
        because=data.get("because", ""),
        error=error,
        asks_another=words.is_waiting and visit.environment.is_protected,
        here=to(visit, "flag-keep", flag.key, words.act),
        links=pages.links(visit, flag.key),
    )


def do(visit: Visit, found: Served, words: Keeping) -> str:
    """Carries it out, or asks another person to; where to go next."""
    key, act, expected = found.flag.key, words.act, revision_of(visit)
    name = visit.request.POST.get("to", "").strip()
    said: dict[str, Any] = {
        "environment": visit.environment.key, "by": visit.actor, "because": because_of(visit), "now": visit.now
    }  # fmt: skip
    if words.is_waiting and visit.environment.is_protected:
        fields = {"to": name} if act == "rename" else {}
        row = change_requests.propose(
            **said, subject=key, action=act, fields=fields, base_revision=expected, submit=True
        )
        return to(visit, "change", row.id)
    match act:
        case "copy":
            return copied(visit, said, key, name)
        case "rename":
            published = keeping.rename_flag(**said, key=key, to=name, expected=expected)
            return to(visit, "flag", name, done=published.version)
        case "delete":
            keeping.delete_flag(**said, key=key, expected=expected)
            return to(visit, "flags", show="archived")
    move = keeping.archive_flag if act == "archive" else keeping.unarchive_flag
    return to(visit, "flag", key, done=move(**said, key=key, expected=expected).version)


def copied(visit: Visit, said: dict[str, Any], key: str, name: str) -> str:
    place = visit.request.POST.get("to_environment") or visit.environment.key
    environment_for(visit.request.user, place, role=Role.OPERATOR)
    published = copying.copy_flag(**said, key=key, to=name, to_environment=place)
    return to(visit, "flag", name, environment=place, done=published.version)
