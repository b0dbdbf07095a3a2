"""Temporality: whatever a sender's clock and restarts do, what is new is booked once."""

import bisect
import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.telemetry.domain import points, ranges
from apps.telemetry.domain.histogram import Histogram, index_of
from apps.telemetry.domain.otlp import Point, Resource
from apps.telemetry.domain.points import Stream

settings.register_profile("points", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("points")
NOW = 1_795_488_000 * 10**9
SECOND = 10**9


def point(count=0, total=0.0, cells=None, *, at=NOW, begin=NOW - 100 * SECOND, temporality=2, kind="explicit", scale=0,
          zero=0, unit="s", metric="gen_ai.client.operation.duration", attributes=None, fault=""):  # fmt: skip
    cells = {0: count - zero} if cells is None and count > zero else cells or {}
    return Point(metric, unit, kind, temporality, begin, at, count, total, cells, scale, zero, (), attributes or {}, "",
                 Resource(), "scope", fault)  # fmt: skip


def booked(told, known_since):
    stream, deltas, kinds = Stream(), [], []
    for one in told:
        delta, after, kind = points.read(one, stream, known_since)
        stream = after or stream
        deltas += [delta] if delta else []
        kinds.append(kind)
    return sum(delta.count for delta in deltas), round(sum(delta.total for delta in deltas)), kinds


RUNS = st.lists(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5_000)), min_size=1, max_size=8), min_size=1, max_size=4
)


def exported(runs, at=NOW):
    """What a process exports that is started again and again: cumulative sums of each life."""
    told = []
    for run in runs:
        begin = at + 1
        count = total = 0
        for calls, tokens in run:
            at += 60 * SECOND
            count, total = count + calls, total + tokens
            told.append(point(count, float(total), at=at, begin=begin))
    return told


@given(RUNS)
def test_a_cumulative_stream_that_is_known_from_its_begin_is_booked_whole(runs):
    count, total, _ = booked(exported(runs), known_since=NOW - SECOND)

    assert count == sum(calls for run in runs for calls, _ in run)
    assert total == sum(tokens for run in runs for _, tokens in run)


@given(RUNS)
def test_of_an_unknown_sender_only_the_first_point_is_missing(runs):
    told = exported(runs)
    count, total, kinds = booked(told, known_since=told[-1].at)

    assert kinds[0] == "gap"
    assert count == sum(calls for run in runs for calls, _ in run) - told[0].count
    assert total == sum(tokens for run in runs for _, tokens in run) - told[0].total


@given(RUNS, st.randoms())
def test_repeated_and_late_points_book_nothing_more(runs, random):
    told = exported(runs[:1])
    again = sorted(told * 2, key=lambda one: one.at)
    whole = booked(told, known_since=0)

    assert booked(again, known_since=0)[:2] == whole[:2]
    shuffled = random.sample(told, len(told))
    # Out of order: late ones are dropped, and the newest holds what they held.
    assert booked(shuffled, known_since=0)[:2] == whole[:2]


@given(st.lists(RUNS, min_size=2, max_size=4), st.randoms(), st.booleans())
def test_workers_that_share_a_stream_are_each_counted_once(workers, random, in_order):
    """Points of each interleaved with those of the others, through all their restarts, in time or not."""
    told = [one for number, runs in enumerate(workers) for one in exported(runs, at=NOW + number * 7 * SECOND)]
    random.shuffle(told)
    told = sorted(told, key=lambda one: one.at) if in_order else told

    count, total, _ = booked(told, known_since=NOW)

    assert count == sum(calls for runs in workers for run in runs for calls, _ in run)
    assert total == sum(tokens for runs in workers for run in runs for _, tokens in run)


def minute(n, count, begin):
    return point(count, float(count), at=NOW + n * 60 * SECOND, begin=begin)


def test_of_workers_that_were_there_before_we_knew_them_only_the_first_points_are_missing():
    told = [minute(0, 10, NOW - 2), minute(0.5, 20, NOW - 1), minute(1, 13, NOW - 2), minute(1.5, 24, NOW - 1)]

    assert booked(told, known_since=NOW) == (3 + 4, 7, ["gap", "gap", "delta", "delta"])


def test_it_is_seen_that_several_write_one_stream():
    one, other, restarted = minute(1, 10, NOW), minute(2, 20, NOW + 1), minute(4, 3, NOW + 150 * SECOND)
    alone = Stream().after(points.state_of(one))

    assert alone.is_shared_with(other)
    assert alone.after(points.state_of(other)).is_shared_with(minute(3, 12, NOW))
    assert not alone.is_shared_with(minute(2, 12, NOW))
    assert not alone.is_shared_with(restarted)


def test_a_worker_that_was_forgotten_is_not_counted_again():
    lives = points.MOST_LIVES
    told = [minute(1 + n / 1000, 5, NOW + n) for n in range(lives + 1)]  # the first one makes way
    again = [minute(2, 8, NOW), minute(3, 9, NOW)]

    count, _, kinds = booked(told + again, known_since=NOW)

    assert kinds == ["first"] * (lives + 1) + ["gap", "delta"]
    assert count == 5 * (lives + 1) + 1


def test_the_same_totals_once_more_at_shutdown_add_nothing():
    told = [point(5, 10.0, at=NOW), point(5, 10.0, at=NOW + 1)]

    assert booked(told, known_since=0)[:2] == (5, 10)


@pytest.mark.parametrize(
    "after",
    [point(3, 10.0, at=NOW + SECOND), point(9, 2.0, at=NOW + SECOND), point(9, 12.0, at=NOW + SECOND, begin=NOW + 1),
     point(9, 12.0, {0: 4, 1: 5}, at=NOW + SECOND)],
)  # fmt: skip
def test_who_counts_less_or_begins_later_has_begun_anew(after):
    delta, _, kind = points.read(after, Stream([points.state_of(point(5, 10.0))]), 0)

    assert kind == "reset"
    assert (delta.count, delta.total) == (after.count, after.total)


def test_a_delta_point_is_new_itself():
    assert booked([point(2, 3.0, temporality=1), point(4, 5.0, temporality=1)], known_since=NOW * 2)[:2] == (6, 8)


def exponential(values, scale):
    cells = {}
    for value in values:
        index = math.ceil(math.log2(value) * 2**scale) - 1
        cells[index] = cells.get(index, 0) + 1
    return cells


@given(st.lists(st.floats(0.0011, 900), min_size=1, max_size=50), st.integers(4, 20))
def test_finer_exponential_cells_become_ours(values, scale):
    told = point(len(values), sum(values), exponential(values, scale), kind="exponential", scale=scale)
    delta, _, _ = points.read(told, Stream(), 0)

    assert delta.is_fine
    assert delta.histogram.count == len(values)
    ours = Histogram.of(values)
    # logarithms of values on an edge may round to the other side: nothing else may differ
    moved = sum(
        abs(delta.histogram.cells.get(i, 0) - ours.cells.get(i, 0)) for i in {*ours.cells, *delta.histogram.cells}
    )
    on_edge = sum(index_of(value * (1 + 1e-12)) != index_of(value * (1 - 1e-12)) for value in values)
    assert moved <= 2 * on_edge


@given(st.lists(st.floats(0.01, 60), min_size=2, max_size=40), st.integers(4, 20), st.integers(4, 20))
def test_a_stream_that_grows_coarser_on_its_way_still_subtracts(values, first, second):
    first, second = max(first, second), min(first, second)
    half = len(values) // 2
    before = point(half, sum(values[:half]), exponential(values[:half], first), kind="exponential", scale=first)
    after = point(len(values), sum(values), exponential(values, second), kind="exponential", scale=second, at=NOW + 1)
    delta, _, kind = points.read(after, Stream([points.state_of(before)]), 0)

    if kind == "delta":  # an edge may round differently at two scales: then it looks like a reset
        assert delta.count == delta.histogram.count == len(values) - half


@pytest.mark.parametrize(
    ("told", "is_fine"),
    [(point(1, 0.4, {10: 1}, kind="exponential", scale=3), False), (point(1, 0.4), False),
     (point(1, 400.0, {10: 1}, kind="exponential", scale=6, unit="ms"), False),
     (point(1, 0.4, {10: 1}, kind="exponential", scale=20), True)],
)  # fmt: skip
def test_only_fine_cells_in_seconds_have_percentiles(told, is_fine):
    assert points.read(told, Stream(), 0)[0].is_fine is is_fine


@given(
    st.lists(st.floats(0.0011, 900), min_size=1, max_size=40), st.sampled_from([0.5, 0.95, 0.99]),
    st.lists(st.floats(0.01, 60), min_size=1, max_size=8, unique=True), st.integers(-3, 3), st.integers(0, 2),
)  # fmt: skip
def test_a_quantile_of_coarse_buckets_lies_between_the_bounds_that_are_told(values, q, bounds, scale, unknown):
    bounds = tuple(sorted(bounds))
    half = len(values) // 2
    buckets = {}
    for value in values[:half]:
        number = bisect.bisect_left(bounds, value)
        buckets[number] = buckets.get(number, 0) + 1
    explicit = replace(point(half, sum(values[:half]), buckets or {}), bounds=bounds)
    rest = values[half:]
    coarse = point(len(rest), sum(rest), exponential(rest, scale), kind="exponential", scale=scale)
    found = {}
    for told in (explicit, coarse):
        assert points.fault_of(told, NOW) == ""
        ranges.add(found, points.ranges_of(told, points.read(told, Stream(), 0)[0]).items())

    low, high = ranges.quantile(q, Histogram.of([0.5] * 3), found, unknown)

    everything = sorted([*values, *[0.5] * 3])
    for lost in ([0.0] * unknown, [1e9] * unknown):  # wherever those are of which nothing is known
        ordered = sorted([*everything, *lost])
        exact = ordered[max(math.ceil(q * len(ordered)), 1) - 1]
        assert low * (1 - 1e-9) <= exact <= high * (1 + 1e-9)


def test_the_newest_instrumentations_buckets_say_between_2_56_and_5_12_seconds():
    bounds = tuple(0.01 * 2**k for k in range(14))
    told = replace(point(100, 150.0, {7: 90, 9: 10}), bounds=bounds)

    found = points.ranges_of(told, points.read(told, Stream(), 0)[0])

    assert ranges.quantile(0.95, Histogram(), found) == (2.56, 5.12)


def test_the_last_bucket_ends_at_the_largest_value_that_is_told():
    told = replace(point(3, 60.0, {1: 3}, unit="ms"), bounds=(10.0,), most=25.0)

    assert points.ranges_of(told, points.read(told, Stream(), 0)[0]) == {(0.01, 0.025): 3}


def test_values_below_a_threshold_of_zero_are_somewhere_below_it():
    told = replace(point(5, 1.0, {10: 3}, kind="exponential", scale=4, zero=2), zero_threshold=0.25)
    delta = points.read(told, Stream(), 0)[0]

    assert not delta.is_fine
    assert points.ranges_of(told, delta)[0.0, 0.25] == 2


def test_a_threshold_of_zero_that_grows_swallows_cells_and_is_no_new_beginning():
    before = point(5, 1.0, {-60: 2, 10: 3}, kind="exponential", scale=4)
    after = point(7, 1.6, {10: 4}, kind="exponential", scale=4, zero=3, at=NOW + SECOND)

    delta, _, kind = points.read(replace(after, zero_threshold=0.1), Stream([points.state_of(before)]), 0)

    assert (kind, delta.count, round(delta.total, 6)) == ("delta", 2, 0.6)
    assert (delta.is_fine, delta.cells) == (False, {})  # where the new ones fall nobody knows


def test_a_tiny_export_at_scale_20_has_its_offset_in_the_millions_and_few_cells():
    index = math.ceil(math.log2(0.4) * 2**20) - 1
    told = point(2, 0.8, {index: 1, index + 1: 1}, kind="exponential", scale=20, temporality=1)

    assert points.read(told, Stream(), 0)[0].histogram == Histogram.of([0.4, 0.4])


def test_other_buckets_than_before_are_a_new_beginning():
    before = Stream([points.state_of(replace(point(5, 10.0, {0: 5}), bounds=(1.0,)))])
    delta, _, kind = points.read(replace(point(9, 12.0, {0: 9}, at=NOW + 1), bounds=(2.0,)), before, 0)

    assert (kind, delta.count) == ("reset", 9)


def test_milliseconds_in_explicit_buckets_become_seconds():
    assert points.read(point(2, 900.0, unit="ms"), Stream(), 0)[0].total == 0.9


@pytest.mark.parametrize(
    ("told", "fault"),
    [(point(1, 1.0, temporality=0), "no_temporality"), (point(1, math.nan), "no_number"),
     (point(1, math.inf), "no_number"), (point(1, -1.0), "no_number"),
     (point(2, 1.0, {0: 1}), "count_is_not_its_buckets"),
     (point(2, 1.0, {}, kind="exponential"), "count_is_not_its_buckets"), (point(1, 1.0, {1: 1}), "no_bounds"),
     (replace(point(1, 1.0), bounds=(2.0, 1.0)), "no_bounds"),
     (replace(point(1, 1.0), bounds=(math.nan,)), "no_bounds"),
     (point(1, 1.0, {5: 1}, kind="exponential", scale=-12), "no_scale"),
     (point(1, 1.0, fault="negative"), "negative"), (point(1, 1.0, at=NOW - 49 * 3600 * SECOND), "too_old"),
     (point(2**60, 1.0), "no_number"),
     (point(1, 2.0**50), ""), (point(1, 2.0**50, metric="gen_ai.client.token.usage"), "no_number"),
     (point(10**10 + 1, 1.0), "no_number"), (point(1, 1.0), "")],
)  # fmt: skip
def test_points_that_cannot_be_are_refused(told, fault):
    assert points.fault_of(told, NOW) == fault


@pytest.mark.parametrize(
    ("metric", "attributes", "meaning"),
    [
        ("gen_ai.client.token.usage", {"gen_ai.token.type": "input"}, "input"),
        ("gen_ai.client.token.usage", {"gen_ai.token.type": "completion"}, "output"),
        ("gen_ai.client.token.usage", {"gen_ai.token.type": "total"}, None),
        ("gen_ai_client_token_usage", {"gen_ai_token_type": "output"}, "output"),
        ("gen_ai_client_token_usage_token_total", {"gen_ai_token_type": "Prompt"}, "input"),
        ("gen_ai_client_operation_duration_seconds", {}, "duration"),
        ("gen_ai.client.operation.duration", {"gen_ai.operation.name": "invoke_agent"}, None),
        ("gen_ai.client.inference.duration", {"gen_ai.operation.name": "chat"}, "duration"),
        ("gen_ai_client_inference_duration_seconds", {"gen_ai_operation_name": "invoke_agent"}, None),
        ("gen_ai.client.inference.usage.input_tokens", {}, "input"),
        ("gen_ai.client.inference.usage.output_tokens", {"gen_ai.token.modality": "audio"}, "output"),
        ("gen_ai.client.inference.usage.reasoning.output_tokens", {}, None),
        ("gen_ai_client_inference_usage_cache_read_input_tokens_total", {}, "cached"),
        ("gen_ai.client.inference.usage.cache_write.input_tokens", {}, "written"),
        ("gen_ai.client.inference.operation.input_tokens", {}, None),
        ("gen_ai_client_inference_operation_output_tokens_token", {}, None),
        ("gen_ai.usage.cost", {}, None),
        ("gen_ai.client.operation.time_to_first_chunk", {}, None),
        ("gen_ai.client.inference.time_to_first_chunk_seconds", {}, None),
        ("http.server.duration", {}, None),
    ],
)
def test_metrics_are_known_by_all_their_names(metric, attributes, meaning):
    assert points.meaning_of(point(1, 1.0, metric=metric, attributes=attributes)) == meaning
