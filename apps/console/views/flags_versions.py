"""Every version of a flag: whole, compared with another, and reverted to in two presses."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from apps.access.domain.roles import Role
from apps.console import flag_queries
from apps.console.presenters import flag_words
from apps.console.views import flags as pages
from apps.console.views.flags_draft import because_of, revision_of, sentences_of, to
from apps.console.visits import Visit, visited
from apps.core.refusals import Invalid, Refused, Stale
from apps.flags import change_requests, versions
from apps.flags.domain import differences
from apps.flags.versions import VersionView

MOST = 200


@visited
def every(visit: Visit, *, key: str) -> HttpResponse:
    found = flag_queries.one(visit.environment.key, key)
    rows = versions.versions(visit.environment.key, key)[:MOST]
    after = number(visit, "to", rows[0].revision if rows else found.flag.revision)
    before = number(visit, "from", max(after - 1, 1))
    compared = versions.compare(visit.environment.key, key, before, after)
    return visit.page(
        "console/flags/versions.html",
        current="flags",
        flag=found.flag,
        rows=[(row, to(visit, "flag-revert", key, row.revision)) for row in rows],
        compared=compared,
        changes=flag_words.rows(compared.changes),
        whole=whole(compared.after.fields),
        may_revert=visit.may(Role.OPERATOR) and found.flag.archived_at is None,
        who_may=visit.who_may(Role.OPERATOR),
        links=pages.links(visit, key),
    )


def whole(fields: Mapping[str, Any]) -> list[flag_words.Row]:
    """All that a version says; what is empty is left out, and so is JSONLogic that the rules say better."""
    return flag_words.rows({name: one for name, one in differences.between({}, fields).items() if one["is"]})


def number(visit: Visit, name: str, otherwise: int) -> int:
    given = visit.request.GET.get(name, "")
    return int(given) if given.isdecimal() and 0 < len(given) < 10 else otherwise


@visited
def revert(visit: Visit, *, key: str, revision: int) -> HttpResponse:
    """The first press shows what would be set; the second sets it, as a new version."""
    visit.must(Role.OPERATOR)
    found = flag_queries.one(visit.environment.key, key)
    here = versions.version(visit.environment.key, key, found.flag.revision)
    target = versions.version(visit.environment.key, key, revision)
    fields = differences.to_revert(here.fields, target.fields)
    if visit.request.method != "POST":
        return revert_page(visit, key, here, target, fields)
    chosen = [name for name in fields if name in visit.request.POST.getlist("only")]
    try:
        because = because_of(visit)
        if not chosen:
            raise Invalid("Choose at least one field.")
        return do(visit, key, revision, chosen, {name: fields[name] for name in chosen}, because, revision_of(visit))
    except Stale as stale:
        error = f"{stale.facts['by']} changed {key} since you looked. This is how it differs now."
    except Refused as refused:
        error = sentences_of(refused)
    return revert_page(visit, key, here, target, fields, error=error)


def do(
    visit: Visit,
    key: str,
    revision: int,
    chosen: list[str],
    fields: dict[str, object],
    because: str,
    expected: int | None,
) -> HttpResponse:
    environment = visit.environment.key
    if visit.environment.is_protected:
        if "default_variant" in chosen:  # refused where it would carry traffic back against a rollout
            versions.fields_to_revert(environment, key, revision)
        row = change_requests.propose(
            environment=environment,
            subject=key,
            fields=fields,
            by=visit.actor,
            because=because,
            now=visit.now,
            base_revision=expected,
            submit=True,
        )
        return HttpResponseRedirect(to(visit, "change", row.id))
    only = [*chosen, *(("rules",) if "targeting" in chosen else ())]
    published = versions.revert(
        environment=environment,
        key=key,
        revision=revision,
        by=visit.actor,
        because=because,
        now=visit.now,
        expected=expected,
        only=only,
    )
    return HttpResponseRedirect(to(visit, "flag", key, done=published.version))


def revert_page(
    visit: Visit,
    key: str,
    here: VersionView,
    target: VersionView,
    fields: dict[str, object],
    *,
    error: str = "",
) -> HttpResponse:
    changes = {name: {"was": here.fields.get(name), "is": value} for name, value in fields.items()}
    return visit.page(
        "console/flags/revert.html",
        current="flags",
        status=409 if error else 200,
        key=key,
        here=here,
        target=target,
        rows=[(name, flag_words.row(name, one["was"], one["is"])) for name, one in changes.items()],
        is_protected=visit.environment.is_protected,
        error=error,
        because=visit.request.POST.get("because", ""),
        address=to(visit, "flag-revert", key, target.revision),
        links=pages.links(visit, key),
    )
