"""A request is judged, a call is billed."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.catalog import shipped
from apps.telemetry.domain.fold import Fold
from apps.telemetry.domain.pricing import TokenHistory
from apps.telemetry.domain.routes import UNASSIGNED, RouteFacts, Split
from tests.telemetry.make_telemetry import NOW, ROUTE, VARIANTS, call, outcome, plain_calls, sent

EARLIER = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 24, 2, 59, 52, tzinfo=UTC)


@dataclass
class Known:
    routes: dict[str, RouteFacts] = field(default_factory=dict)
    histories: dict[str, TokenHistory] = field(default_factory=dict)

    def route(self, environment, route):
        return self.routes.get(route, UNASSIGNED)

    def history(self, environment, route):
        return self.histories.setdefault(route, TokenHistory())


def facts(*splits):
    return RouteFacts.of("payments", VARIANTS, splits)


def fold(*calls, new=None, known=None, batches=None, now=NOW):
    folded = Fold(
        known or Known({ROUTE: facts(Split(1, "t-1", "split", EARLIER))}),
        shipped.price_book(),
        window_seconds=10,
        arrived_at=now.timestamp(),
    )
    plain = [plain_calls(*batch) for batch in batches or [calls]]
    folded.add_calls("production", [(one, new or [True] * len(one)) for one in plain])
    return folded


def only(sums):
    (pair,) = sums.items()
    return pair


def attempts(*calls, **same):
    """Of one request: each begins when the one before has ended."""
    return [
        call(request_id="r-1", variant="flash-lite", final=n == len(calls) - 1, **one, **same)
        for n, one in enumerate(calls)
    ]


def test_a_request_is_all_its_attempts():
    calls = attempts(
        {"at": "2026-11-24T02:59:40Z", "latency_ms": 2000, "error": "timeout", "output_tokens": None},
        {"at": "2026-11-24T02:59:43Z", "latency_ms": 1500, "error": None},
    )

    folded = fold(*calls)

    _, request = only(folded.requests)
    _, window = only(folded.windows)
    assert (request.requests, request.errors, request.attempts, request.unfinal) == (1, 0, 2, 0)
    assert request.latency.quantile(1) == pytest.approx(4.5, rel=0.022)
    assert (window.calls, window.errors) == (2, 1)
    assert request.cost_nano == window.confirmed_nano + window.estimated_nano
    assert request.estimated_nano == window.estimated_nano > 0


def test_the_last_attempt_says_whether_it_failed():
    folded = fold(*attempts({"error": None}, {"error": "timeout"}))

    _, request = only(folded.requests)
    assert (request.requests, request.errors, request.latency.count) == (1, 1, 0)


def test_a_fallback_counts_against_the_variant_that_was_assigned():
    calls = [
        call(request_id="r-1", variant="flash-lite", assigned="flash-lite", assigned_by="split", error="timeout"),
        call(request_id="r-1", variant="gpt-4.1", assigned="flash-lite", assigned_by="split", final=True),
    ]

    folded = fold(*calls)

    key, _ = only(folded.requests)
    assert key.assigned == "flash-lite"
    assert Counter(window.variant for window in folded.windows) == {"flash-lite": 1, "gpt-4.1": 1}


def test_without_assignment_the_first_attempts_variant_was_assigned():
    folded = fold(call(request_id="r", variant="flash-lite"), call(request_id="r", variant="gpt-4.1", final=True))

    assert only(folded.requests)[0].assigned == "flash-lite"


def test_without_a_final_call_each_is_a_request_and_marked_so():
    folded = fold(call(request_id="r-1"), call(request_id="r-1"))

    _, request = only(folded.requests)
    assert (request.requests, request.unfinal) == (2, 2)


def test_without_a_request_id_the_call_is_the_request():
    folded = fold(call(), call())

    _, request = only(folded.requests)
    assert (request.requests, request.unfinal) == (2, 0)


def test_the_same_request_id_on_two_routes_or_arms_is_two_requests():
    folded = fold(
        call(request_id="r", final=True),
        call(request_id="r", final=True, arm="shadow"),
        call(request_id="r", final=True, route="other"),
    )

    assert sum(request.requests for request in folded.requests.values()) == 3
    assert len(folded.requests) == 3


def test_a_shadow_request_is_judged_under_its_own_variant():
    folded = fold(call(arm="shadow", variant="flash-lite", assigned="gpt-4.1", assigned_by="split"))

    key, _ = only(folded.requests)
    assert (key.arm, key.assigned) == ("shadow", "flash-lite")


def test_a_request_is_counted_once_when_its_final_call_is_new():
    calls = attempts({"error": "timeout"}, {"error": None})

    first_was_counted = fold(*calls, new=[False, True])
    last_was_counted = fold(*calls, new=[True, False])

    assert only(first_was_counted.requests)[1].attempts == 2
    assert only(first_was_counted.windows)[1].calls == 1
    assert last_was_counted.requests == {}
    assert only(last_was_counted.windows)[1].calls == 1


def test_nothing_new_leaves_nothing():
    folded = fold(call(), call(), new=[False, False])

    assert not (folded.windows or folded.requests or folded.ledger or folded.touched)


def test_a_call_belongs_to_the_window_in_which_it_ended():
    folded = fold(call(at="2026-11-24T02:59:39Z", latency_ms=8000))

    key, window = only(folded.windows)
    assert key.starts_at == datetime(2026, 11, 24, 2, 59, 40, tzinfo=UTC).timestamp()
    assert window.late == 0
    assert only(folded.ledger)[0].minute * 60 == datetime(2026, 11, 24, 2, 59, tzinfo=UTC).timestamp()


def test_a_call_that_comes_long_after_its_window_is_late():
    assert only(fold(call(at="2026-11-24T02:50:00Z")).windows)[1].late == 1


def test_a_failed_request_is_no_latency():
    folded = fold(call(error="timeout"), call())

    _, request = only(folded.requests)
    assert (request.requests, request.errors, request.latency.count) == (2, 1, 1)


def test_an_unpriced_request_is_counted_apart():
    folded = fold(call(model="nobody-1"), call())

    _, request = only(folded.requests)
    assert (request.unpriced, request.cost.count) == (1, 1)
    assert request.cost_nano == 1000 * 100 + 100 * 400
    assert sum(line.unpriced for line in folded.ledger.values()) == 1


def test_a_call_without_a_model_has_that_of_its_variant():
    folded = fold(call(provider=None, model=None, variant="gpt-4.1"))

    key, line = only(folded.ledger)
    assert (key.provider, key.model, key.owner) == ("openai", "gpt-4.1", "payments")
    assert line.confirmed_nano == 2_800_000


@pytest.mark.parametrize(
    ("told", "spelled"),
    [
        ({"provider": None, "model": "GPT-4.1"}, ("openai", "gpt-4.1")),
        ({"provider": "azure", "model": None}, ("azure", "gpt-4.1")),
        ({"provider": None, "model": "claude-sonnet-4-5"}, ("anthropic", "claude-sonnet-4-5")),
        ({"provider": None, "model": "ours-1"}, ("", "ours-1")),
    ],
)
def test_a_call_that_names_no_provider_has_that_of_its_variant_else_of_the_models_maker(told, spelled):
    key, _ = only(fold(call(variant="gpt-4.1", **told)).ledger)

    assert (key.provider, key.model) == spelled


def test_an_unknown_size_is_taken_from_the_calls_of_its_own_batch():
    folded = fold(call(error="timeout", input_tokens=None, output_tokens=None), call(), call(), call())

    lines = {key.rule: line for key, line in folded.ledger.items()}
    assert lines["usual_call"].estimated_nano == 1000 * 100 + 100 * 400


def test_a_route_that_nobody_made_is_kept_and_named():
    folded = fold(call(route="mystery"), call(route="mystery"), call())

    assert folded.unassigned == {("production", "mystery"): 2}
    assert sum(window.calls for window in folded.windows.values()) == 3


SPLITS = Known({ROUTE: facts(Split(3, "", "split", EARLIER), Split(7, "t-7", "split", LATER))})


@pytest.mark.parametrize(
    ("snapshot", "at", "split", "trial"),
    [
        (2, "2026-11-24T02:59:55Z", 0, ""),
        (3, "2026-11-24T02:59:55Z", 3, ""),
        (6, "2026-11-24T02:59:55Z", 3, ""),
        (7, "2026-11-24T02:59:40Z", 7, "t-7"),
        (99, "2026-11-24T02:59:40Z", 7, "t-7"),
        (None, "2026-11-24T00:59:59Z", 0, ""),
        (None, "2026-11-24T02:59:51Z", 3, ""),
        (None, "2026-11-24T02:59:53Z", 7, "t-7"),
    ],
)
def test_the_split_is_that_of_the_snapshot_or_else_of_the_moment(snapshot, at, split, trial):
    folded = fold(call(snapshot=snapshot, at=at), known=SPLITS)

    key, _ = only(folded.requests)
    assert (key.split, key.trial) == (split, trial)
    assert only(folded.ledger)[0].trial == trial


@pytest.mark.parametrize(
    ("kind", "said", "assigned_by"),
    [
        ("split", None, "split"),
        ("rules", None, "unknown"),
        ("fallback", None, "fallback"),
        ("off", None, "default"),
        ("rules", "rule", "rule"),
        ("split", "default", "default"),
    ],
)
def test_who_does_not_say_how_it_was_assigned_was_assigned_by_split_while_there_are_no_rules(kind, said, assigned_by):
    known = Known({ROUTE: facts(Split(1, "t", kind, EARLIER))})

    folded = fold(call(assigned="flash-lite", assigned_by=said), known=known)

    assert only(folded.requests)[0].assigned_by == assigned_by


def test_outcomes_are_summed_by_split_with_ones_and_zeros():
    folded = fold()
    told = sent(outcomes=[outcome(value=1), outcome(value=0), outcome(value=0), outcome(name="grade", value=0.5)])

    folded.add_outcomes("production", told.batch.outcomes, [True, True, True, False])

    key, sums = only(folded.outcomes)
    assert (key.name, key.trial, key.assigned, key.assigned_by) == ("handoff", "t-1", "flash-lite", "split")
    assert (sums.count, sums.ones, sums.zeros, sums.total) == (3, 1, 2, 1.0)


some_call = st.fixed_dictionaries(
    {
        "latency_ms": st.floats(min_value=0, max_value=100_000),
        "error": st.sampled_from([None, None, "timeout", "rate_limited"]),
        "variant": st.sampled_from(["gpt-4.1", "flash-lite"]),
        "cost_usd": st.none() | st.decimals(min_value=0, max_value=1, places=9),
        "request_id": st.none() | st.sampled_from(["r-1", "r-2"]),
        "final": st.booleans(),
        "input_tokens": st.integers(min_value=0, max_value=10_000),
        "output_tokens": st.integers(min_value=0, max_value=10_000),
    }
)
some_batches = st.lists(st.lists(some_call, min_size=1, max_size=6), min_size=1, max_size=5)


def summed(folds):
    """All that several folds left, added up by key."""
    totals = {}
    for folded in folds:
        for sums in (folded.windows, folded.requests, folded.ledger):
            for key, found in sums.items():
                mine = totals.setdefault((type(found).__name__, *key), Counter())
                for name in found.__slots__:
                    value = getattr(found, name)
                    if name in ("latency", "cost"):
                        mine.update({(name, cell): n for cell, n in value.cells.items()} | {(name, "zero"): value.zero})
                    elif name not in ("first_at", "last_at"):
                        mine[name] += value
    return {key: {name: n for name, n in counts.items() if n} for key, counts in totals.items()}


@settings(max_examples=60, deadline=None)
@given(some_batches, st.randoms(use_true_random=False))
def test_batches_in_any_order_and_any_grouping_give_the_same_sums(batches, chance):
    batches = [[call(id=f"{b}-{n}", **one) for n, one in enumerate(batch)] for b, batch in enumerate(batches)]
    shuffled = list(batches)
    chance.shuffle(shuffled)

    at_once = fold(batches=batches)
    otherwise = fold(batches=shuffled)
    apart = [fold(batches=[batch]) for batch in shuffled]

    assert summed([at_once]) == summed([otherwise]) == summed(apart)


@settings(max_examples=60, deadline=None)
@given(some_batches)
def test_no_call_and_no_nano_usd_is_lost(batches):
    batches = [[call(id=f"{b}-{n}", **one) for n, one in enumerate(batch)] for b, batch in enumerate(batches)]
    calls = [one for batch in batches for one in batch]

    folded = fold(batches=batches)

    given = sum(int(Decimal(one["cost_usd"]).scaleb(9)) for one in calls if one["cost_usd"] is not None)
    sender = sum(line.confirmed_nano for key, line in folded.ledger.items() if key.rule == "sender")
    ledger = sum(line.confirmed_nano + line.estimated_nano for line in folded.ledger.values())
    windows = sum(window.confirmed_nano + window.estimated_nano for window in folded.windows.values())
    assert sum(window.calls for window in folded.windows.values()) == len(calls)
    assert sum(line.calls for line in folded.ledger.values()) == len(calls)
    assert sender == given
    assert ledger == windows
    assert sum(request.cost_nano for request in folded.requests.values()) == ledger
