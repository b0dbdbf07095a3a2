"""All flags of an environment, and the page of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse

from apps.access.domain.roles import Role
from apps.console import figures, flag_queries
from apps.console.flag_queries import Served
from apps.console.presenters import flag_forms, flag_keeping, flag_switches, flag_words
from apps.console.views import flags_draft
from apps.console.views.flags_draft import Draft, to
from apps.console.visits import Visit, visited
from apps.core.refusals import Refused
from apps.flags import moves, pins, queries, versions
from apps.flags.clean_up import StaleFlag
from apps.flags.models import Flag
from apps.flags.queries import FlagView, RouteView

DAY = timedelta(days=1)
PAGE = 100


@dataclass(frozen=True, slots=True)
class FlagRow:
    flag: FlagView
    is_route: bool
    href: str
    kind: str
    serves: str
    stale: StaleFlag | None
    tone: str

    @property
    def is_expired(self) -> bool:
        return any(reason.code == "expired" for reason in self.stale.reasons) if self.stale else False

    @property
    def why(self) -> str:
        return " ".join(reason.sentence for reason in self.stale.reasons) if self.stale else ""


@visited
def every(visit: Visit) -> HttpResponse:
    environment, asked = visit.environment.key, visit.request.GET
    tab = next((one for one in ("stale", "archived") if asked.get("show") == one), "")
    wanted, owner = asked.get("q", "").strip(), asked.get("owner", "").strip()
    stale = flag_queries.stale(environment, visit.now)
    found = flag_queries.listed(
        environment, archived=tab == "archived", asked=wanted, owner=owner, keys=stale if tab == "stale" else None
    )
    shown = Paginator(found, PAGE).get_page(asked.get("page"))
    rows = [row_of(visit, flag_queries.view_of(row), stale.get(row.key)) for row in shown]
    kept = {"environment": environment, "show": tab, "q": wanted, "owner": owner}
    return visit.page(
        "console/flags/list.html",
        current="flags",
        rows=rows,
        shown=shown,
        kept=urlencode({name: value for name, value in kept.items() if value}),
        tab=tab,
        asked={"q": wanted, "owner": owner},
        stale_count=len(stale),
        is_filtered=bool(wanted or owner),
        summary=summary(found, tab, len(stale)),
        new=to(visit, "flag-new") if visit.may(Role.OPERATOR) else "",
        fall_back=to(visit, "fall-back-all") if visit.may(Role.OPERATOR) else "",
    )


def row_of(visit: Visit, one: Served, stale: StaleFlag | None) -> FlagRow:
    flag = one.flag
    return FlagRow(
        flag=flag,
        is_route=one.is_route,
        href=to(visit, "flag", flag.key),
        kind="route" if one.is_route else flag_words.TYPES.get(flag.type, flag.type),
        serves=flag_words.serves(flag),
        stale=stale,
        tone="danger" if isinstance(flag, RouteView) and flag.on_fallback else "warn" if flag.is_off else "",
    )


def summary(found: "QuerySet[Flag]", tab: str, stale: int) -> str:
    if tab == "stale":
        return "Nobody was seen asking for these, or everybody gets the same. Ask the owner before one goes."
    if tab == "archived":
        return "No longer served. Each can be brought back as it was."
    routes, count = found.exclude(route=None).count(), found.count()
    told = f"{figures.counted(routes, 'route')} and {figures.counted(count - routes, 'plain flag')}."
    return f"{told} {stale} may be ready to go." if stale else told


@dataclass(frozen=True, slots=True)
class RuleRow:
    number: int
    name: str
    when: str
    answer: str
    is_first: bool
    is_last: bool


@dataclass(frozen=True, slots=True)
class VariantRow:
    name: str
    value: str
    share: int
    is_default: bool
    is_fallback: bool
    used_by: str

    @property
    def percent(self) -> str:
        return figures.share(self.share)


@visited
def page(visit: Visit, *, key: str) -> HttpResponse:
    found = flag_queries.one(visit.environment.key, key)
    draft = flags_draft.draft_of(visit, found)
    return visit.page("console/flags/page.html", current="flags", **context(visit, found, draft))


def context(visit: Visit, found: Served, draft: Draft) -> dict[str, Any]:
    environment, now = visit.environment.key, visit.now
    live, flag = found.flag, draft.on(found)
    may_edit = visit.may(Role.OPERATOR) and live.archived_at is None
    stale = flag_queries.stale(environment, now, only=live.key).get(live.key)
    given = flag_queries.given(environment, live.key, now - DAY)
    return {
        "flag": flag,
        "live": live,
        "is_route": found.is_route,
        "serves": flag_words.serving_html(live),
        "kind": "route" if found.is_route else flag_words.TYPES.get(live.type, live.type),
        "rules": rule_rows(flag),
        "logic": flag_forms.variant_text(flag.targeting, "object") if flag.rules is None else "",
        "audiences": audiences_in(flag.rules),
        "variants": variant_rows(flag),
        "unit": unit_of(flag),
        "unit_words": flag_words.unit_words(unit_of(flag)),
        "stale": stale,
        "pins": pins.sentence(live, pins.mismatches(live, queries.clients(environment, now - DAY, doors=True))),
        "given": given,
        "given_total": sum(one.count for one in given),
        "versions": versions.versions(environment, live.key)[:6],
        "waiting": flag_queries.waiting_on(environment, live.key),
        "switches": flag_switches.of(visit, found),
        "keeping": [(one, to(visit, "flag-keep", live.key, one.act)) for one in flag_keeping.links(visit, found)],
        "draft": draft,
        "is_outdated": bool(draft.count) and draft.revision != live.revision,
        "may_edit": may_edit,
        "who_may": "" if may_edit else visit.who_may(Role.OPERATOR),
        "is_protected": visit.environment.is_protected,
        "links": links(visit, live.key),
        "stages": flag_queries.stages(environment, live.key) if found.is_route else ("", []),
    }


def links(visit: Visit, key: str) -> dict[str, str]:
    named = {
        part: to(visit, "flag-edit", key, part) for part in ("variants", "weights", "about", "prerequisites", "logic")
    }
    return named | {
        "page": to(visit, "flag", key),
        "new_rule": to(visit, "flag-rule", key, 0),
        "review": to(visit, "flag-review", key),
        "discard": to(visit, "flag-draft", key, "discard"),
        "rebase": to(visit, "flag-draft", key, "on-top"),
        "versions": to(visit, "flag-versions", key),
        "tester": to(visit, "tester", flag=key),
        "route": to(visit, "route", key),
    }


def rule_rows(flag: FlagView) -> list[RuleRow]:
    rules = flag.rules or []
    return [
        RuleRow(
            number=number,
            name=str(rule.get("name", f"Rule {number}")),
            when=flag_words.when_of(rule),
            answer=flag_words.answer_of(rule),
            is_first=number == 1,
            is_last=number == len(rules),
        )
        for number, rule in enumerate(rules, 1)
    ]


def audiences_in(part: Any) -> list[str]:
    """The audiences that the rules name, each once."""
    found: dict[str, None] = {}
    stack = [part]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(node.get("audience"), str):
                found[node["audience"]] = None
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return sorted(found)


def variant_rows(flag: FlagView) -> list[VariantRow]:
    fallback = flag.fallback_variant if isinstance(flag, RouteView) else ""
    return [
        VariantRow(
            name=name,
            value=flag_words.short(value, 240),
            share=flag.weights.get(name, 0),
            is_default=name == flag.default_variant,
            is_fallback=name == fallback,
            used_by=", ".join(row.name for row in rule_rows(flag) if name in row.answer),
        )
        for name, value in flag.variants.items()
    ]


def unit_of(flag: FlagView) -> str:
    return flag.bucketing_unit if isinstance(flag, RouteView) else "targetingKey"


def preview(
    visit: Visit, key: str, weights: Mapping[str, int] | None, fields: Mapping[str, Any] | None = None
) -> tuple[moves.Preview | None, str]:
    """Who would move, or why that cannot be said."""
    try:
        return moves.preview(visit.environment.key, key, weights, fields=fields, now=visit.now), ""
    except Refused as refused:
        return None, flags_draft.sentences_of(refused)
