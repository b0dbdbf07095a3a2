"""Audiences: conditions with a name. Changing one changes every flag that uses it, in one version."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from apps.access.domain.roles import Role
from apps.console import flag_queries
from apps.console.presenters import flag_conditions, flag_forms, flag_words
from apps.console.presenters.flag_forms import RuleForm
from apps.console.views.flags_draft import because_of, revision_of, sentences_of, to
from apps.console.visits import Visit, visited
from apps.core.refusals import Refused, Stale
from apps.flags import audiences, change_requests, moves, queries
from apps.flags.models import ChangeRequest
from apps.flags.moves import Preview
from apps.flags.queries import AudienceView

NEW = "-"  # no key begins with a dash


@visited
def every(visit: Visit) -> HttpResponse:
    rows = queries.audiences(visit.environment.key)
    return visit.page(
        "console/flags/audiences.html",
        current="audiences",
        rows=[(one, to(visit, "audience", one.key)) for one in rows],
        new=to(visit, "audience", NEW) if visit.may(Role.OPERATOR) else "",
        who_may=visit.who_may(Role.OPERATOR),
    )


@visited
def one(visit: Visit, *, key: str) -> HttpResponse:
    found = None if key == NEW else queries.audience(visit.environment.key, key)
    if found is None or visit.request.method == "POST":
        visit.must(Role.OPERATOR)
    if visit.request.method != "POST":
        return page(visit, found, form_of(found))
    data = visit.request.POST.dict()
    form = flag_forms.posted_rule(data, ())
    asked = data.get("do", "")
    try:
        if changed := flag_conditions.edited(form.when, asked):
            return page(visit, found, replace(form, when=changed))
        if asked == "preview" and found is not None:
            return page(visit, found, form, previews=who_moves(visit, found, form))
        if asked == "delete" and found is not None:
            return delete(visit, found)
        return save(visit, found, form)
    except Stale as stale:
        error = f"{stale.facts['by']} changed this audience since you looked: {words(stale)}. Save again to replace it."
        return page(visit, queries.audience(visit.environment.key, key), form, error=error)
    except Refused as refused:
        error = sentences_of(refused)
        return page(visit, found, form, error=error)


def words(stale: Stale) -> str:
    return "; ".join(f"{row.field} is now {', '.join(row.after) or 'empty'}" for row in flag_words.rows(stale.changes))


def form_of(found: AudienceView | None) -> RuleForm:
    if found is None:
        return RuleForm(when=flag_conditions.form_of(None), shares={})
    return flag_forms.rule_form({"name": found.key, "when": found.conditions}, ())


def save(visit: Visit, found: AudienceView | None, form: RuleForm) -> HttpResponse:
    data = visit.request.POST
    because = data.get("because", "").replace("\0", "").strip()
    conditions, description = (
        flag_conditions.read(form.when),
        data.get("description", "").replace("\0", "").strip()[:1000],
    )
    whole: dict[str, Any] = {"environment": visit.environment.key, "by": visit.actor, "now": visit.now}
    if found is None:
        made = audiences.create_audience(
            **whole, key=form.name, conditions=conditions, description=description, because=because
        )
        return HttpResponseRedirect(to(visit, "audience", made.key))
    because, expected = because_of(visit), revision_of(visit)
    fields: dict[str, Any] = {"conditions": conditions, "description": description}
    if visit.environment.is_protected:
        row = change_requests.propose(
            **whole,
            subject=found.key,
            action=ChangeRequest.Action.CHANGE_AUDIENCE,
            fields=fields,
            because=because,
            base_revision=expected,
            submit=True,
        )
        return HttpResponseRedirect(to(visit, "change", row.id))
    audiences.change_audience(**whole, key=found.key, because=because, expected=expected, **fields)
    return HttpResponseRedirect(to(visit, "audience", found.key, done="1"))


def who_moves(visit: Visit, found: AudienceView, form: RuleForm) -> list[Preview]:
    """In each flag that uses it."""
    return moves.preview_audience(visit.environment.key, found.key, flag_conditions.read(form.when), now=visit.now)


def delete(visit: Visit, found: AudienceView) -> HttpResponse:
    audiences.delete_audience(
        environment=visit.environment.key,
        key=found.key,
        by=visit.actor,
        because=visit.request.POST.get("because", "").replace("\0", "").strip() or "Deleted in the console.",
        now=visit.now,
    )
    return HttpResponseRedirect(to(visit, "audiences"))


def page(
    visit: Visit, found: AudienceView | None, form: RuleForm, *, error: str = "", previews: Sequence[Preview] = ()
) -> HttpResponse:
    data = visit.request.POST
    return visit.page(
        "console/flags/audience.html",
        current="audiences",
        status=400 if error else 200,
        audience=found,
        form=form,
        description=data.get("description", found.description if found else ""),
        because=data.get("because", ""),
        error=error,
        previews=previews,
        operators=flag_conditions.operators(with_audiences=False),
        attributes=flag_queries.attributes(visit.environment.key),
        audiences=[],
        may_edit=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
        is_protected=visit.environment.is_protected,
        users=[(key, to(visit, "flag", key)) for key in found.flags] if found else [],
        here=to(visit, "audience", found.key if found else NEW),
        versions=to(visit, "audience-versions", found.key) if found else "",
    )
