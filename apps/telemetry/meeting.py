"""Traces that tell of one call are one trace.

A gateway's rows and spans, and the spans of whoever calls it, come under traces of their own. What they share is the id
of the call, or of its answer: under it a row says in which trace that call is told, and whoever comes later with the
same id is taken there. So ranks meet, and what only one of them says of the call (its route, say) is said of it.

Ids are written down only in environments that have a gateway: spans elsewhere would pay for it and meet nobody.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from apps.telemetry import rows, trace_rows
from apps.telemetry.domain.intake import Intake
from apps.telemetry.domain.litellm import SERVICE
from apps.telemetry.domain.span_calls import GATEWAY, SpanCall
from apps.telemetry.domain.traces import Trace
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import Source
from apps.telemetry.models import Trace as TraceRow
from apps.telemetry.trace_rows import Key, States, home_of

LOOK = timedelta(seconds=5)
MOST_BEFORE = 2_000  # newest traces that may tell of calls of a gateway which was not known yet
MOST_OF_ONE = 50  # calls of one answer in a trace: a cache repeats it

Taken = tuple[str, Intake, Sequence[bool]]
Names = dict[Key, list[str]]  # under which others may know the calls of a trace


def names_of(call: SpanCall) -> list[str]:
    names = [f"call:{call.id[len(GATEWAY) :]}"] if call.is_of_gateway else []
    if call.response_id:
        names.append(f"answer:{call.response_id}")
    return names


def names(taken: Sequence[Taken], writer: WriterMemory, now: datetime) -> Names:
    """Of what came where there is a gateway; and when a writer learns of one, of what had come shortly before."""
    found = gateways(taken, writer, now)
    told = names_in(taken, writer.gateways | found)
    for environment in sorted(found - writer.gateways):
        for key, more in names_before(environment, now).items():
            told.setdefault(key, []).extend(more)
    transaction.on_commit(lambda: writer.gateways.update(found))  # else what was written down is not there
    return told


def names_in(taken: Sequence[Taken], gateways: set[str]) -> Names:
    """Of the new calls where there is a gateway: elsewhere nobody else tells of them."""
    found: Names = {}
    for environment, intake, new in taken:
        for trace_id, part in intake.parts.items() if environment in gateways else ():
            for number in part.calls:
                if new[number] and (names := names_of(intake.calls[number])):
                    found.setdefault((environment, trace_id), []).extend(names)
    return found


def places(names: Names) -> set[Key]:
    return {(environment, name) for (environment, _), told in names.items() for name in told}


def unite(states: States, names: Names) -> None:
    """`states` has all traces that came, without their new calls, and whatever is known of their `places`."""
    coming: Counter[tuple[Key, str]] = Counter()
    for key, told in sorted(names.items()):
        for name in told:
            home, place = home_of(states, key), (key[0], name)
            there = home_of(states, place)
            if there != home:
                has_room = there in states and calls_of(states[there], name) + coming[there, name] < MOST_OF_ONE
                if has_room and states[there].take_in(states[home]):
                    states[home].home = there[1]
                else:
                    states[place] = Trace(home=home[1])
            coming[home_of(states, key), name] += 1


def calls_of(state: Trace, name: str) -> int:
    return sum(name in names_of(call) for call in state.calls.values())


def gateways(taken: Sequence[Taken], writer: WriterMemory, now: datetime) -> set[str]:
    """The environments of which it is seen, or looked up, that they have one."""
    found = {environment for environment, intake, _ in taken if any(call.is_of_gateway for call in intake.calls)}
    if writer.looked_for_gateways_at is None or now - writer.looked_for_gateways_at >= LOOK:
        told = Source.objects.filter(Q(kind="webhook") | Q(service=SERVICE))
        found |= set(told.values_list("environment", flat=True).distinct())
        writer.looked_for_gateways_at = now
    return found


def names_before(environment: str, now: datetime) -> Names:
    """Of the traces that are there, each name that one alone tells is written down. Left over: those of several."""
    newest = TraceRow.objects.filter(environment=environment).order_by("-at", "-id")
    told: dict[str, list[str]] = {}
    for trace_id, body in newest.values_list("trace_id", "body")[:MOST_BEFORE]:
        for name in {name for call in trace_rows.decode(bytes(body)).calls.values() for name in names_of(call)}:
            told.setdefault(name, []).append(trace_id)
    alone = [(name, traces[0]) for name, traces in sorted(told.items()) if len(traces) == 1]
    rows.insert(
        TraceRow,
        [(environment, name, now, trace_rows.encode(Trace(home=trace_id))) for name, trace_id in alone],
        "ON CONFLICT (environment, trace_id) DO NOTHING",
    )
    found: Names = {}
    for name, traces in told.items():
        for trace_id in traces if len(traces) > 1 else ():
            found.setdefault((environment, trace_id), []).append(name)
    return found
