"""Calls that nobody can price are never free, whatever else is known."""

from datetime import timedelta

import pytest

from apps.budgets import ledger, services
from apps.flags import services as flags
from apps.journal.models import Entry
from apps.rollouts import holds
from tests.budgets.make_rows import ALICE, ROUTE, line, spend
from tests.budgets.test_budgets_judge_money import make_budget
from tests.rollouts.make_rollouts import start_rollout

pytestmark = pytest.mark.django_db
OWN = {"model": "acme/own-llm"}
BIG = {"model": "openai/gpt-4.1"}
USD = 10**9


def make_route(now, **variants):
    flags.create_route(
        environment="production", key=ROUTE, variants=variants, default_variant="own", fallback_variant="", by=ALICE,
        because="test", now=now,
    )  # fmt: skip


def unpriced(now, *, calls=10, tokens=(1000, 100), **keys):
    """That many calls of a model that no list knows, with so many tokens each."""
    of_own = {"variant": "own", "provider": "acme", "model": "own-llm", "rule": "no_price"}
    row = line(now, 0, calls=calls, **of_own | keys)
    row.unpriced, row.input_tokens, row.output_tokens = calls, calls * tokens[0], calls * tokens[1]
    row.save()


def assumed(now, scope=None):
    found = ledger.spent_in("production", scope or {}, now - timedelta(hours=1), now + timedelta(hours=1))
    return found.assumed_nano / USD, found.unknown


@pytest.mark.parametrize("scope", [{}, {"model": "own-llm"}, {"provider": "acme", "route": ROUTE}])
def test_each_counts_as_much_as_its_variant_may_cost(environment, now, scope):
    make_route(now, own=OWN | {"max_cost_usd": "0.03"}, big=BIG)
    unpriced(now)

    assert assumed(now, scope) == (0.3, 0)


@pytest.mark.parametrize("scope", [{}, {"model": "own-llm"}, {"provider": "acme", "route": ROUTE}])
def test_without_a_cap_as_a_call_of_its_routes_dearest_variant_does(environment, now, scope):
    make_route(now, own=OWN, big=BIG | {"max_cost_usd": "0.03"})
    spend(now, 1, variant="big", calls=100)
    spend(now, 1, variant="small", calls=1000)
    unpriced(now)

    assert assumed(now, scope) == (0.1, 0)


def test_else_as_the_routes_other_variants_may_cost(environment, now):
    make_route(now, own=OWN, big=BIG | {"max_cost_usd": "0.03"})
    unpriced(now)

    assert assumed(now) == (0.3, 0)


def test_else_as_the_price_list_says_of_the_routes_variants(environment, now):
    """2 and 8 USD a million. Calls that were refused and cost nothing say nothing about what others cost."""
    make_route(now, own=OWN, big=BIG, lite={"model": "google/gemini-2.5-flash-lite"})
    spend(now, 0, variant="big", calls=7)
    unpriced(now)

    assert assumed(now) == (0.028, 0)


def test_else_as_the_dearest_call_of_the_environment(environment, now):
    spend(now, 2, route="another", calls=100)
    unpriced(now, route="nobody-made-it")

    assert assumed(now, {"route": "nobody-made-it"}) == (0.2, 0)


def test_else_as_the_dearest_model_of_the_catalogue(environment, now):
    """Claude Sonnet 4.5: 3 and 15 USD a million."""
    unpriced(now, route="nobody-made-it")

    assert assumed(now) == (0.045, 0)


def test_where_nothing_at_all_is_known_that_is_told(environment, now):
    unpriced(now, route="nobody-made-it", tokens=(0, 0))

    assert assumed(now) == (0, 10)


def test_a_budget_does_not_say_within_where_nothing_is_known_of_them(environment, now):
    make_budget(now, scope={})
    unpriced(now, route="nobody-made-it", tokens=(0, 0))
    (verdict,) = services.judge_money(now=now)
    spend(now, 1, route="another", calls=100)

    (after,) = services.judge_money(now=now)

    assert (verdict.state, verdict.spent_nano, verdict.asks) == ("inconclusive", 0, ())
    assert verdict.sentence == (
        "The whole environment spent $0.00 of $50.00 today, without 10 calls of which nobody knows what they cost."
    )
    assert (after.state, after.spent_nano) == ("within", 1.1 * USD)
    told = Entry.objects.exclude(effect="").order_by("at", "id").values_list("effect", "severity")
    assert list(told) == [("opens", "warning"), ("closes", "info")]


def test_a_price_that_was_applied_since_takes_its_calls_out(environment, now):
    make_route(now, own=OWN | {"max_cost_usd": "0.03"})
    unpriced(now)
    unpriced(now, calls=-4, tokens=(0, 0), rule="repriced")

    assert assumed(now) == (0.18, 0)


def test_the_cap_of_a_shadow_counts_them_too(environment, now):
    rollout = start_rollout(now, stages=[{"shadow": 20, "limit_usd": "1.00"}, {"share": 100}], guardrails=[])
    unpriced(now, variant="gpt-5", arm="shadow", trial=rollout.id)

    over = holds.shadow_spend(rollout, USD, now + timedelta(minutes=1))

    assert (over.spent_nano, over.estimated_nano) == (2 * USD, 2 * USD)  # ten times max_cost_usd
