"""The tester: what one context gets and why, as of any snapshot; and how many of many contexts two snapshots move."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.utils.safestring import SafeString, mark_safe

from apps.console import flag_queries, sentences
from apps.console.presenters import flag_ruler, flag_words
from apps.console.presenters.flag_conditions import guessed
from apps.console.visits import Visit, visited
from apps.core.refusals import Invalid, NotFound, Refused
from apps.flags import tracing
from apps.flags.tracing import Comparison, Trace

MOST_LINES = 10_000
MOST_TRACED = 30  # flags shown whole at once; choose one to see another


@dataclass(frozen=True, slots=True)
class Shown:
    trace: Trace
    value: str
    variant: str
    rulers: tuple[SafeString, SafeString] | None
    parts: list[tuple[int, str]]
    joins: list[str]
    candidate: str


@visited
def page(visit: Visit) -> HttpResponse:
    """Asked by GET, so that a question can be kept as a link; long ones come by POST and change nothing either."""
    data = visit.request.POST if visit.request.method == "POST" else visit.request.GET
    environment = visit.environment.key
    recent = flag_queries.snapshots(environment)
    asked = {
        name: data.get(name, "").replace("\0", "").strip()
        for name in ("flag", "context", "at", "ids", "from", "to", "do")
    }
    shown: list[Shown] = []
    compared: Comparison | None = None
    error, is_asked = "", "context" in data
    keys: list[str] = []
    if not is_asked:
        asked["context"] = prefilled(visit, asked["flag"])
    try:
        version = number(asked["at"], "at")
        keys = tracing.keys(environment, version)
        if asked["flag"] and asked["flag"] not in keys:
            raise NotFound(what="flag in this snapshot:", key=asked["flag"])
        if asked["do"] == "compare":
            compared = compare(visit, asked, recent)
        elif is_asked or asked["flag"]:
            shown = traced(visit, asked, keys, version)
    except Refused as refused:
        error = refused.detail
    return visit.page(
        "console/flags/tester.html",
        current="tester",
        status=400 if error else 200,
        asked=asked,
        keys=keys,
        recent=recent,
        newest=recent[0].version if recent else 0,
        shown=shown,
        compared=compared,
        moved=compared.moved[:100] if compared else (),
        error=error,
        attributes=flag_queries.attributes(environment),
        left_out=max(len(keys) - MOST_TRACED, 0) if shown and not asked["flag"] else 0,
    )


def prefilled(visit: Visit, key: str) -> str:
    """A subject that was seen lately, and the attributes that the flag's rules ask for."""
    names = flag_queries.attributes(visit.environment.key, key) if key else []
    subject = flag_queries.last_subject(visit.environment.key) or "request-1"
    return "\n".join([f"targetingKey={subject}", *(f"{name}=" for name in names if name != "targetingKey")])


def traced(visit: Visit, asked: dict[str, str], keys: Sequence[str], version: int | None) -> list[Shown]:
    context = read_context(asked["context"])
    wanted = [asked["flag"]] if asked["flag"] else list(keys[:MOST_TRACED])
    found = [tracing.trace(visit.environment.key, key, context, now=visit.now, version=version) for key in wanted]
    return [shown_of(visit, one) for one in found if one is not None]


def shown_of(visit: Visit, trace: Trace) -> Shown:
    answer = trace.answer
    candidate, cuts = flag_queries.stages(visit.environment.key, trace.flag) if trace.ruler else ("", [])
    rulers = None
    if trace.ruler is not None:
        wide, phone = (flag_ruler.drawn(trace.ruler, cuts, width) for width in (flag_ruler.WIDE, flag_ruler.PHONE))
        rulers = mark_safe(sentences.glued(wide)), mark_safe(sentences.glued(phone))
    return Shown(
        trace=trace,
        value=flag_words.short(answer.value, 600) if answer.variant is not None else "",
        variant=answer.variant or "the default in the code",
        rulers=rulers,
        parts=flag_ruler.parts(trace.ruler) if trace.ruler else [],
        joins=flag_ruler.joins(trace.ruler) if trace.ruler else [],
        candidate=candidate,
    )


def read_context(text: str) -> dict[str, Any]:
    """A JSON object, or a line of name=value for each attribute; an empty value leaves the attribute out."""
    text = text.strip()
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as fault:
            raise Invalid(f"The context is no JSON: {fault}") from fault
        if not isinstance(found, dict):
            raise Invalid("A context is an object.")
        return found
    context: dict[str, Any] = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if not line.strip():
            continue
        if not sign or not name.strip():
            raise Invalid(f"Write each attribute as name=value, or the whole as JSON: {line.strip()[:60]}")
        if value.strip():
            context[name.strip()] = value.strip() if name.strip() == "targetingKey" else guessed(value.strip())
    return context


def read_many(text: str, base: dict[str, Any]) -> list[dict[str, Any]]:
    """A context for each line: an id, or a JSON object, upon the one above."""
    lines = [line.strip().rstrip(",") for line in text.splitlines() if line.strip().rstrip(",")]
    if not lines:
        raise Invalid("Paste ids to compare, one on a line.")
    if len(lines) > MOST_LINES:
        raise Invalid(f"{len(lines):,} lines are too many at once: {MOST_LINES:,} at most.")
    return [base | (read_context(line) if line.startswith("{") else {"targetingKey": line}) for line in lines]


def compare(visit: Visit, asked: dict[str, str], recent: Sequence[flag_queries.Recent]) -> Comparison:
    newest = recent[0].version if recent else 0
    after = number(asked["to"], "to")
    before = number(asked["from"], "from")
    after = newest if after is None else after
    before = max(after - 1, 0) if before is None else before
    contexts = read_many(asked["ids"], read_context(asked["context"]))
    asked["from"], asked["to"] = str(before), str(after)
    return tracing.compare(
        visit.environment.key, contexts, before=before, after=after, now=visit.now, key=asked["flag"]
    )


def number(text: str, name: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise Invalid(f"A snapshot is a number; {name} is none.")
    return int(text)
