"""The promise under everything: while the candidate does no harm, the mean of an increment is at most 1."""

import math
import random
from fractions import Fraction
from itertools import product

import pytest

from apps.budgets.domain import eprocess
from apps.budgets.domain.eprocess import LAMBDAS, SAFE_THETAS, THETAS, Mixture


def noncentral(m: int, others: int, drawn: int, odds: Fraction) -> dict[int, Fraction]:
    """Fisher's non-central hypergeometric law, exactly."""
    low, high = max(0, drawn - others), min(m, drawn)
    weights = {x: math.comb(m, x) * math.comb(others, drawn - x) * odds**x for x in range(low, high + 1)}
    total = sum(weights.values())
    return {x: weight / total for x, weight in weights.items()}


def mean_of(law: dict[int, Fraction], increments, alternative: int) -> float:
    return math.fsum(float(p) * math.exp(steps[alternative]) for x, p in law.items() if (steps := increments(x)))


SIZES = [(1, 1), (1, 9), (3, 4), (5, 45), (20, 5), (12, 12)]


@pytest.mark.parametrize("odds", [Fraction(1), Fraction(5, 4), Fraction(2)])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_the_mean_increment_is_at_most_one_whatever_is_drawn(n, m, odds):
    for bad in range(1, n + m + 1):
        law = noncentral(n, m, bad, odds)
        for alternative in range(len(THETAS)):
            mean = mean_of(law, lambda x, bad=bad: eprocess.two_sample(n, x, m, bad - x, odds=float(odds)), alternative)
            assert mean <= 1 + 1e-9


@pytest.mark.parametrize("milder", [Fraction(1), Fraction(4, 5), Fraction(1, 2)])
def test_it_also_holds_for_a_candidate_that_is_better_than_tolerated(milder):
    for n, m in SIZES:
        for bad in range(1, n + m + 1):
            law = noncentral(n, m, bad, Fraction(5, 4) * milder)
            means = [
                mean_of(law, lambda x, n=n, m=m, bad=bad: eprocess.two_sample(n, x, m, bad - x, odds=1.25), position)
                for position in range(len(THETAS))
            ]
            assert max(means) <= 1 + 1e-9


@pytest.mark.parametrize("odds", [Fraction(1), Fraction(5, 4), Fraction(2)])
def test_proof_of_safety_is_as_honest_as_proof_of_harm(odds):
    for n, m in SIZES:
        for bad in range(1, n + m + 1):
            law = noncentral(n, m, bad, odds)  # the candidate is exactly as much worse as is tolerated
            for position in range(len(SAFE_THETAS)):
                mean = mean_of(
                    law,
                    lambda x, n=n, m=m, bad=bad: eprocess.safe_two_sample(n, x, m, bad - x, odds=float(odds)),
                    position,
                )
                assert mean <= 1 + 1e-9


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("n", [1, 7, 40])
def test_a_rate_at_its_limit_gives_increments_of_mean_one(n, rate):
    law = {k: Fraction(math.comb(n, k)) * Fraction(rate) ** k * (1 - Fraction(rate)) ** (n - k) for k in range(n + 1)}

    harm = [mean_of(law, lambda k: eprocess.one_sample(n, k, rate=rate), i) for i in range(len(THETAS))]
    safe = [mean_of(law, lambda k: eprocess.safe_one_sample(n, k, rate=rate), i) for i in range(len(SAFE_THETAS))]

    assert harm == pytest.approx([1.0] * len(THETAS))
    assert safe == pytest.approx([1.0] * len(SAFE_THETAS))


def test_the_one_sample_form_is_the_likelihood_ratio_of_two_rates():
    n, k, p0 = 50, 4, 0.05

    steps = eprocess.one_sample(n, k, rate=p0)

    for theta, step in zip(THETAS, steps, strict=True):
        p1 = theta * p0 / (1 - p0 + theta * p0)
        assert step == pytest.approx(k * math.log(p1 / p0) + (n - k) * math.log((1 - p1) / (1 - p0)))


@pytest.mark.parametrize("costs", [[0.0, 2.0], [0.5, 1.5], [0.0, 0.0, 0.0, 4.0], [1.0]])
def test_costs_of_the_planned_mean_give_increments_of_mean_one(costs):
    bound = sum(costs) / len(costs)

    for position in range(len(LAMBDAS)):
        mean = sum(math.exp(eprocess.planned_cost([(cost, 1)], bound=bound)[position]) for cost in costs) / len(costs)
        assert mean == pytest.approx(1.0)


def test_planned_cost_is_the_sum_written_down():
    costs = [(0.002, 3), (0.05, 1), (0.0, 2)]

    sums = eprocess.planned_cost(costs, bound=0.004)

    for lam, total in zip(LAMBDAS, sums, strict=True):
        assert total == pytest.approx(sum(n * math.log(1 - lam + lam * cost / 0.004) for cost, n in costs))


def test_the_mean_of_the_noncentral_law_is_exact():
    for n, m, odds in product([1, 5, 30], [1, 8, 40], [Fraction(4, 5), Fraction(1, 2)]):
        for drawn in range(1, n + m + 1):
            law = noncentral(n, m, drawn, odds)
            exact = float(sum(x * p for x, p in law.items()))
            assert eprocess.noncentral_mean(n, m, drawn, float(odds)) == pytest.approx(exact, rel=1e-12)


def test_a_large_look_does_not_overflow():
    mean = eprocess.noncentral_mean(40_000, 60_000, 50_000, 0.8)

    assert 0.4 * 50_000 * 0.8 < mean < 0.4 * 50_000


def test_restarts_are_the_mixture_over_start_blocks_written_out():
    draw = random.Random(7)
    blocks = [0, 0, 0, 1, 1, 2, 5, 5, 9]  # blocks 3, 4, 6, 7 and 8 passed without a look
    steps = [[draw.gauss(0, 1) for _ in THETAS] for _ in blocks]

    mixture = Mixture.new()
    for block, step in zip(blocks, steps, strict=True):
        mixture.enter(block)
        mixture.add(step)

    total = 0.0
    weights = [0.5, *(0.5 / (block * (block + 1)) for block in range(1, 10))]  # of all blocks they sum to 1
    for start, weight in enumerate(weights):
        for position in range(len(THETAS)):
            since = math.fsum(s[position] for b, s in zip(blocks, steps, strict=True) if b >= start)
            total += weight * math.exp(since) / len(THETAS)
    total += 1 - sum(weights)
    assert mixture.log_evidence == pytest.approx(math.log(total), abs=1e-9)


def test_no_data_is_evidence_of_nothing():
    mixture = Mixture.new()
    mixture.enter(400)

    assert mixture.log_evidence == pytest.approx(0)


def test_it_names_the_block_in_which_harm_began():
    mixture = Mixture.new()
    for block in range(40):
        mixture.enter(block)
        bad = 1 if block < 24 else 8
        mixture.add(eprocess.two_sample(100, bad, 900, 9))

    assert mixture.began_in == 24


def test_the_order_of_increments_within_a_block_does_not_matter():
    looks = [(10, 1, 90, 2), (12, 0, 80, 1), (9, 3, 95, 0), (50, 5, 50, 6)]
    forwards, backwards = Mixture.new(), Mixture.new()

    for look in looks:
        forwards.add(eprocess.two_sample(*look))
    for look in reversed(looks):
        backwards.add(eprocess.two_sample(*look))

    assert forwards.logs == pytest.approx(backwards.logs, abs=1e-12)


def test_catastrophic_failures_trip_after_the_promised_few_events():
    """Consecutive failures of the candidate alone that reach 100:1, by its share of traffic."""
    needed = {}
    for percent in (1, 5, 10, 25, 50, 75):
        mixture, events = Mixture.new(), 0
        while mixture.log_evidence < math.log(100):
            mixture.add(eprocess.two_sample(percent, 1, 100 - percent, 0))
            events += 1
        needed[percent] = events

    assert needed == {1: 2, 5: 3, 10: 4, 25: 6, 50: 10, 75: 24}


def test_false_alarms_stay_below_alpha_however_often_one_looks():
    """500 rollouts without harm, 600 looks each; the rate of bad requests wanders, the share changes."""
    draw = random.Random(20261124)
    alpha, alarms = 0.05, 0
    for _ in range(500):
        mixture = Mixture.new()
        highest = 0.0
        for look in range(600):
            mixture.enter(look // 60)
            rate = 0.2 if 200 < look < 230 else 0.02
            share = 0.1 if look < 300 else 0.5
            n = sum(draw.random() < share for _ in range(10))
            bad = sum(draw.random() < rate for _ in range(n))
            bad_baseline = sum(draw.random() < rate for _ in range(10 - n))
            if (steps := eprocess.two_sample(n, bad, 10 - n, bad_baseline)) is not None:
                mixture.add(steps)
                highest = max(highest, mixture.log_evidence)
        alarms += highest >= math.log(1 / alpha)

    assert alarms / 500 <= alpha
