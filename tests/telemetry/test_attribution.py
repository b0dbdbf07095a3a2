"""Which route a call finds, from all that its trace says, and which spans are one call: without tables."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from apps.catalog.domain.pricing import Price, PriceBook, Rates
from apps.telemetry.domain import intake, otlp_json
from apps.telemetry.domain.attribution import Settled
from apps.telemetry.domain.model_names import is_same, ruled
from apps.telemetry.domain.readings import read
from apps.telemetry.domain.routes import RouteFacts
from apps.telemetry.domain.traces import Trace
from tests.telemetry.make_otlp import CALL, evaluation, event, flag_log, logs, nanos, pairs, span, traces
from tests.telemetry.make_telemetry import NOW, ROUTE, VARIANTS

NAMELESS = {name: held for name, held in CALL.items() if name != "changeover.route"}
OURS = {"changeover.route": ROUTE, "changeover.variant": "flash-lite"}
FLAG = {"feature_flag.key": ROUTE, "feature_flag.result.variant": "flash-lite"}
OTHER_FLAG = {"feature_flag.key": "new-ui", "feature_flag.result.variant": "on"}
TAGS = {"langfuse.trace.tags": [f"route:{ROUTE}", "variant:flash-lite"]}
SECOND = 10**9


def price(provider, model):
    return Price(provider, model, datetime(2025, 1, 1, tzinfo=UTC), Rates(Decimal(2), Decimal(8)))


BOOK = PriceBook(
    [price("openai", "gpt-4.1"), price("openai", "gpt-4o"), price("openai", "gpt-4o-2024-05-13"),
     price("anthropic", "claude-sonnet-4-5"), price("google", "gemini-2.5-flash-lite")]
)  # fmt: skip


def found(*bodies, rules=None, variants=None):
    """Readings of the calls that count, of the one trace of these bodies."""
    trace = Trace()
    for body in bodies:
        reader = otlp_json.read_logs if b"resourceLogs" in body else otlp_json.read_traces
        taken = intake.of_body(reader(body), environment="production", now=nanos(0))
        (part,) = taken.parts.values()
        for below, above in part.links.items():
            trace.link(below, above)
        for one in part.evaluations:
            trace.evaluate(one)
        for number in part.calls:
            trace.add(taken.calls[number])
    variants = variants or {ROUTE: VARIANTS, "other": VARIANTS}
    routes = {name: RouteFacts(True, "payments", of_route) for name, of_route in variants.items()}
    readings = read(trace, Settled(routes, rules or {}, BOOK))
    return [reading for reading in readings.values() if not reading.is_covered]


def one(*bodies, **settled):
    (reading,) = found(*bodies, **settled)
    return reading.found.route, reading.found.variant, reading.found.by


def stack(inner, outer, **of_outer):
    below = span(NAMELESS | inner)
    above = span(NAMELESS | outer, traceId=below["traceId"], took=0.5, **of_outer)
    return below | {"parentSpanId": above["spanId"]}, above


@pytest.mark.parametrize(
    ("outer", "by"),
    [(OURS, "changeover"), (FLAG, "flag"), (TAGS, "tags"), ({"changeover.route": ROUTE} | FLAG, "changeover")],
)
def test_a_second_instrumentation_beneath_the_one_that_names_the_route_leaves_it_its_route(outer, by):
    below, above = stack({}, outer)

    assert one(traces(above), traces(below)) == (ROUTE, "flash-lite", by)


def test_of_several_that_tell_of_a_call_ours_goes_first_and_then_the_nearest():
    assert one(traces(*stack(TAGS, OURS))) == (ROUTE, "flash-lite", "changeover")
    assert one(traces(*stack(OURS, OURS | {"changeover.route": "other"}))) == (ROUTE, "flash-lite", "changeover")


def test_what_only_the_outer_span_says_of_the_call_stays():
    said = OURS | {"changeover.request_id": "r-1", "changeover.attempt": 2, "changeover.snapshot": 7,
                   "changeover.assigned": "gpt-4.1", "changeover.assigned_by": "split", "changeover.arm": "shadow",
                   "changeover.pair_id": "p-1", "changeover.final": True, "gen_ai.cost.total_cost": 0.5}  # fmt: skip
    (reading,) = found(traces(*stack({"changeover.request_id": "r-2"}, said)))

    call = reading.call
    assert (call.request_id, call.attempt, call.snapshot, call.assigned) == ("r-2", 2, 7, "gpt-4.1")
    assert (call.assigned_by, call.arm, call.pair_id, call.is_final) == ("split", "shadow", "p-1", True)
    assert call.told_cost_nano == SECOND // 2


def test_an_outer_span_of_several_attempts_gives_all_its_request_and_none_its_number():
    said = OURS | {"changeover.request_id": "r-1", "changeover.attempt": 1, "changeover.final": True}
    below, above = stack({}, said)
    again = below | {"spanId": "a" * 16}

    calls = [reading.call for reading in found(traces(below, again, above))]

    assert [(call.request_id, call.attempt, call.is_final) for call in calls] == 2 * [("r-1", None, False)]


@pytest.mark.parametrize("flag", ["attribute", "event"])
def test_a_flag_of_something_else_on_the_call_hides_no_route(flag):
    told = NAMELESS | TAGS | (OTHER_FLAG if flag == "attribute" else {})
    events = [evaluation("new-ui", "on")] if flag == "event" else []

    assert one(traces(span(told, events=events))) == (ROUTE, "flash-lite", "tags")


def test_a_variant_is_the_one_that_stands_with_its_route():
    assert one(traces(span(NAMELESS | OTHER_FLAG), changeover__route=ROUTE)) == (ROUTE, "", "resource")
    assert one(traces(span(NAMELESS | OTHER_FLAG)), rules={("payments", ""): ROUTE}) == (ROUTE, "", "mapped")
    assert one(traces(span(NAMELESS | {"changeover.variant": "flash-lite"}), changeover__route=ROUTE)) == (
        ROUTE, "flash-lite", "resource"
    )  # fmt: skip
    assert one(traces(span(CALL | OTHER_FLAG | {"request_tags": ["variant:flash-lite"]}))) == (
        ROUTE, "flash-lite", "changeover"
    )  # fmt: skip


def test_a_resource_may_name_its_route_by_a_flag():
    resource = {"feature_flag__key": ROUTE, "feature_flag__result__variant": "flash-lite"}

    assert one(traces(span(NAMELESS), **resource)) == (ROUTE, "flash-lite", "resource")
    assert one(traces(span(NAMELESS), **resource | {"feature_flag__key": "new-ui"})) == ("", "", "unassigned")


def below(root, told=NAMELESS, **fields):
    return span(told, traceId=root["traceId"], parentSpanId=root["spanId"], **fields)


@pytest.mark.parametrize(
    ("own", "by"), [({"changeover.route": ROUTE}, "changeover"), ({"feature_flag.key": ROUTE}, "flag")]
)
def test_a_call_that_names_its_route_alone_has_the_variant_that_the_routes_flag_gave(own, by):
    events = [evaluation("other", "gpt-4.1", seconds_ago=14), evaluation(seconds_ago=15)]
    root = span({}, seconds_ago=20, took=19, events=events)
    call = below(root, NAMELESS | own)

    for order in ([call, root], [root, call]):
        assert one(*map(traces, order)) == (ROUTE, "flash-lite", by)


def test_tags_of_a_trace_stand_on_any_of_its_spans_and_go_before_flags_above_the_call():
    root = span({}, seconds_ago=20, took=19, events=[evaluation("other", seconds_ago=15)])
    tagged = {"langfuse.trace.tags": f'["route:{ROUTE}"]', "langfuse.trace.metadata.variant": '"flash-lite"'}
    beside, call = below(root, tagged, seconds_ago=5), below(root)

    for order in itertools.permutations([root, beside, call]):
        assert one(*map(traces, order)) == (ROUTE, "flash-lite", "tags")
    flagged = call | {"attributes": pairs(NAMELESS | FLAG | {"feature_flag.result.variant": "gpt-4.1"})}
    assert one(traces(flagged, beside)) == (ROUTE, "gpt-4.1", "flag")


def test_a_flag_that_could_not_be_evaluated_still_names_its_route():
    failed = event("feature_flag.evaluation", feature_flag__key=ROUTE, feature_flag__result__reason="error")
    root = span({}, seconds_ago=20, events=[failed])
    call = below(root)
    assert one(traces(call), traces(root)) == (ROUTE, "", "ancestor")

    record = failed | {"eventName": failed["name"], "traceId": call["traceId"]}
    assert one(logs(record), traces(call)) == (ROUTE, "", "log")

    root["events"] = [evaluation(seconds_ago=12), failed]
    assert one(traces(call), traces(root)) == (ROUTE, "flash-lite", "ancestor")


def test_a_flag_on_the_calls_own_span_is_the_nearest_though_the_span_has_begun():
    root = span({}, seconds_ago=20, events=[evaluation("other", seconds_ago=12)])
    call = below(root, seconds_ago=10, took=2, events=[evaluation(seconds_ago=9)])

    assert one(traces(call, root)) == (ROUTE, "flash-lite", "ancestor")


@pytest.mark.parametrize("skew", [0, 3600, -3600])
def test_a_clock_that_is_an_hour_off_hides_no_flag(skew):
    """Before and after the call, by the sender's own clock."""
    later = evaluation(variant="gpt-4.1", seconds_ago=5 - skew)
    root = span({}, seconds_ago=20 - skew, took=19, events=[evaluation(seconds_ago=12 - skew), later])
    call = below(root, seconds_ago=10 - skew)

    assert one(traces(call), traces(root)) == (ROUTE, "flash-lite", "ancestor")
    assert one(logs(flag_log(ROUTE, "flash-lite", 12 - skew, traceId=call["traceId"])), traces(call))[0] == ROUTE


ONE_ID = NAMELESS | {"gen_ai.response.id": "chatcmpl-1"}


def test_spans_with_one_response_id_that_overlap_are_one_call_and_the_shorter_is_the_inner_one():
    root = span({})
    inner, outer = below(root, ONE_ID, took=0.4), below(root, ONE_ID | OURS, took=0.5)
    later = below(root, ONE_ID, seconds_ago=5, took=0.3)

    readings = found(traces(outer, later, inner, root))

    assert {reading.call.span for reading in readings} == {inner["spanId"], later["spanId"]}
    assert {reading.found.route for reading in readings if reading.covers} == {ROUTE}


@pytest.mark.parametrize("skew", [0, 3600])
@pytest.mark.parametrize("where", ["nowhere", "beside"])
def test_a_log_event_never_covers_the_span_of_its_call(where, skew):
    root = span({}, seconds_ago=20 - skew)
    call, beside = below(root, ONE_ID, seconds_ago=10 - skew), below(root, {}, seconds_ago=10 - skew)
    record = {"eventName": "gen_ai.client.inference.operation.details", "attributes": pairs(ONE_ID),
              "timeUnixNano": str(int(call["endTimeUnixNano"]) + 10**6), "traceId": call["traceId"]}  # fmt: skip
    if where == "beside":
        record["spanId"] = beside["spanId"]
    bodies = [traces(call, beside, root), logs(record)]

    for order in (bodies, bodies[::-1]):
        (reading,) = found(*order)
        assert (reading.call.source, reading.call.span) == ("span", call["spanId"])


def test_what_the_end_of_a_stream_says_it_cost_and_answered_is_the_streams():
    head = {"logfire.span_type": "span", "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1"}
    end = ONE_ID | {"logfire.span_type": "log", "duration": 0.3, "operation.cost": 0.25}
    root = span({})
    begin = below(root, head, seconds_ago=10, took=0.1)
    log = below(root, end, seconds_ago=9.6, took=0)
    again = below(root, ONE_ID, seconds_ago=9.8, took=0.1)  # of another instrumentation

    (reading,) = found(traces(begin, log, root, again, scope="logfire.openai"))
    assert (reading.call.response_id, reading.call.told_cost_nano) == ("chatcmpl-1", SECOND // 4)


@pytest.mark.parametrize(
    ("planned", "provider", "called", "is_it"),
    [
        ("openai/gpt-4.1-2025-04-14", "openai", "gpt-4.1", True),
        ("openai/gpt-4.1", "openai", "gpt-4.1-2025-04-14", True),
        ("anthropic/claude-sonnet-4-5-20250929", "anthropic", "claude-sonnet-4-5", True),
        ("openai/gpt-4o", "openai", "gpt-4o-2024-05-13", True),  # which has a price of its own
        ("openai/gpt-4o-2024-05-13", "openai", "gpt-4o-2024-08-06", True),  # has none: it is priced as gpt-4o
        ("nobody/knows-2025-01-01", "nobody", "Knows", True),
        ("openai/gpt-4.1", "openai", "gpt-4o", False),
        ("google/gemini-2.5-flash-lite", "openai", "gpt-4.1", False),
    ],
)
def test_a_model_is_that_of_the_plan_however_either_is_spelled(planned, provider, called, is_it):
    assert is_same(BOOK, planned, provider, called, NOW) is is_it


@pytest.mark.parametrize("model", ["gpt-4.1", "GPT-4.1", "openai/gpt-4.1", "models/gpt-4.1"])
def test_a_mapping_of_one_model_takes_it_in_every_spelling(model):
    assert ruled({("payments", "gpt-4.1"): ROUTE, ("payments", "gpt-4o"): "other"}, "payments", model) == ROUTE
    assert ruled({("payments", "gpt-4o"): "other"}, "payments", model) is None


def test_of_two_flags_equally_near_a_plan_with_a_date_fits_the_call_without_one():
    planned = {ROUTE: {"on": {"model": "openai/gpt-4.1-2025-04-14"}}, "other": {"on": {"model": "openai/gpt-4o"}}}
    events = [evaluation(ROUTE, "on", seconds_ago=19), evaluation("other", "on", seconds_ago=18)]
    root = span({}, seconds_ago=20, events=events)

    (reading,) = found(traces(root, below(root)), variants=planned)

    assert (reading.found.route, reading.found.is_ambiguous) == (ROUTE, True)
