"""Every version of an audience: compared with another, and reverted to in two presses."""

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from apps.access.domain.roles import Role
from apps.console.presenters import flag_words
from apps.console.views.flags_draft import because_of, revision_of, sentences_of, to
from apps.console.views.flags_versions import MOST, number, whole
from apps.console.visits import Visit, visited
from apps.core.refusals import Refused, Stale
from apps.flags import audience_versions, change_requests, moves, queries
from apps.flags.domain import differences
from apps.flags.models import AudienceVersion, ChangeRequest
from apps.flags.queries import AudienceView


@visited
def every(visit: Visit, *, key: str) -> HttpResponse:
    environment = visit.environment.key
    audience = queries.audience(environment, key)
    after = number(visit, "to", audience.revision)
    compared = audience_versions.compare(environment, key, number(visit, "from", max(after - 1, 1)), after)
    rows = audience_versions.rows(environment, key)[:MOST]
    return visit.page(
        "console/flags/audience_versions.html",
        current="audiences",
        audience=audience,
        rows=[(row, to(visit, "audience-revert", key, row.revision)) for row in rows],
        compared=compared,
        changes=flag_words.rows(compared.changes),
        whole=whole(compared.after.fields),
        may_revert=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
        back=to(visit, "audience", key),
    )


@visited
def revert(visit: Visit, *, key: str, revision: int) -> HttpResponse:
    """The first press shows what would be set and who would move; the second sets it."""
    visit.must(Role.OPERATOR)
    audience = queries.audience(visit.environment.key, key)
    target = audience_versions.version(visit.environment.key, key, revision)
    if visit.request.method != "POST":
        return revert_page(visit, audience, target)
    try:
        return HttpResponseRedirect(do(visit, key, target, because_of(visit), revision_of(visit)))
    except Stale as stale:
        error = f"{stale.facts['by']} changed {key} since you looked. This is how it differs now."
    except Refused as refused:
        error = sentences_of(refused)
    return revert_page(visit, audience, target, error=error)


def do(visit: Visit, key: str, target: AudienceVersion, because: str, expected: int | None) -> str:
    said: dict[str, Any] = {
        "environment": visit.environment.key, "by": visit.actor, "because": because, "now": visit.now
    }  # fmt: skip
    if visit.environment.is_protected:
        row = change_requests.propose(
            **said,
            subject=key,
            action=ChangeRequest.Action.CHANGE_AUDIENCE,
            fields=target.fields,
            base_revision=expected,
            submit=True,
        )
        return to(visit, "change", row.id)
    audience_versions.revert_audience(**said, key=key, revision=target.revision, expected=expected)
    return to(visit, "audience", key, done="1")


def revert_page(visit: Visit, audience: AudienceView, target: AudienceVersion, *, error: str = "") -> HttpResponse:
    now = {"description": audience.description, "conditions": audience.conditions}
    return visit.page(
        "console/flags/audience_revert.html",
        current="audiences",
        status=409 if error else 200,
        audience=audience,
        target=target,
        rows=flag_words.rows(differences.between(now, target.fields)),
        previews=moves.preview_audience(audience.environment, audience.key, target.fields["conditions"], now=visit.now),
        because=visit.request.POST.get("because", ""),
        error=error,
        is_protected=visit.environment.is_protected,
        here=to(visit, "audience-revert", audience.key, target.revision),
        versions=to(visit, "audience-versions", audience.key),
        back=to(visit, "audience", audience.key),
    )
