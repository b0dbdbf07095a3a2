"""A crossed budget acts once, never towards what is dearer, and says so where it cannot help."""

from datetime import timedelta

import pytest

from apps.budgets import services as budgets
from apps.flags import queries as flags
from apps.journal.models import Entry
from apps.rollouts import services
from apps.rollouts.models import Decision, Rollout
from tests.rollouts.make_rollouts import ALICE, make_route, see_traffic, start_rollout, weights

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def make_budget(now, do, at=1.0, limit="0.05", scope=None, **more):
    return budgets.create_budget(
        environment="production",
        scope=scope if scope is not None else {"route": "invoice-extraction"},
        period="day",
        limit_nano=int(float(limit) * 1e9),
        thresholds=[{"at": at, "do": do, **more}],
        by=ALICE,
        because="test",
        now=now,
    )


def spend(now, *, cheap_fallback=True):
    """A hundred baseline requests at a tenth of a cent, and what the fallback costs is known."""
    see_traffic(now, n=20, variant="flash-lite", cost="0.0001" if cheap_fallback else "0.01", assigned_by="fallback")
    see_traffic(now, n=100, variant="gpt-4.1", cost="0.001", assigned_by="default")


def test_a_route_without_a_rollout_falls_back_when_its_budget_is_gone(environment, now):
    make_route(now)
    make_budget(now, "fall_back")
    spend(now + SECOND)

    services.tick(now=now + 5 * SECOND)

    decision = Decision.objects.get()
    assert flags.route("production", "invoice-extraction").switch == "fallback"
    assert (decision.kind, decision.rollout) == ("fall_back", None)
    assert decision.because == [{"budget": decision.because[0]["budget"], "metric": "spend", "verdict": "exceeded"}]
    assert decision.sentence == (
        "Fell back invoice-extraction to Gemini 2.5 Flash-Lite because the day spend of invoice-extraction was $0.10, "
        "limit $0.0500."
    )
    assert Entry.objects.get(kind="rollout.fell_back").effect == "opens"


def test_a_crossing_acts_once_and_a_restore_stands(environment, now):
    make_route(now)
    make_budget(now, "fall_back")
    spend(now + SECOND)
    services.tick(now=now + 5 * SECOND)
    services.restore(environment="production", route="invoice-extraction", by=ALICE, because="we need it", now=now)

    services.tick(now=now + 10 * SECOND)

    assert flags.route("production", "invoice-extraction").switch == ""
    assert Decision.objects.count() == 1


def test_no_cheaper_fallback_is_a_hold_that_is_told(environment, now):
    make_route(now)
    make_budget(now, "fall_back")
    spend(now + SECOND, cheap_fallback=False)

    services.tick(now=now + 5 * SECOND)
    services.tick(now=now + 10 * SECOND)

    decision = Decision.objects.get()
    assert flags.route("production", "invoice-extraction").switch == ""
    assert (decision.kind, "no cheaper fallback" in decision.sentence) == ("hold", True)
    assert Entry.objects.get(kind="rollout.held").effect == "opens"


def test_an_alert_threshold_moves_nothing(environment, now):
    make_route(now)
    make_budget(now, "alert")
    spend(now + SECOND)

    services.tick(now=now + 5 * SECOND)

    assert not Decision.objects.exists()
    assert Entry.objects.filter(kind="budget.exceeded").exists()


def test_a_rollout_under_a_crossed_budget_is_paused_on_the_fallback(environment, now):
    rollout = start_rollout(now, guardrails=[])
    make_budget(now, "fall_back")
    spend(now + SECOND)
    see_traffic(now + SECOND, n=20, variant="gpt-5", cost="0.03")

    services.tick(now=now + 5 * SECOND)

    rollout.refresh_from_db()
    assert (rollout.state, rollout.share) == ("paused", 0)
    assert flags.route("production", "invoice-extraction").switch == "fallback"
    assert weights() == {"gpt-4.1": 10_000}


def test_stepping_back_towards_what_is_dearer_is_refused(environment, now):
    """Money never chooses the baseline blindly: Flash-Lite is cheaper than what it came from."""
    rollout = start_rollout(now, guardrails=[], candidate="flash-lite", stages=[{"share": 10}, {"share": 50}])
    services.advance(rollout=rollout, by=ALICE, because="x", now=now)
    make_budget(now, "step_back")
    see_traffic(now + SECOND, n=100, variant="gpt-4.1", cost="0.001")
    see_traffic(now + SECOND, n=100, variant="flash-lite", cost="0.0001")

    services.tick(now=now + 5 * SECOND)

    decision = Rollout.objects.get().decisions.newest_first().first()
    assert (decision.kind, decision.code) == ("hold", "money")
    assert "the baseline costs more than the candidate" in decision.sentence
    assert weights()["flash-lite"] == 5000


def test_a_wide_budget_acts_on_every_route_that_it_covers(environment, now):
    make_route(now)
    make_route(now, key="support-triage")
    make_budget(now, "fall_back", scope={"owner": "payments"})
    for route in ("invoice-extraction", "support-triage"):
        see_traffic(now + SECOND, n=20, variant="flash-lite", cost="0.0001", assigned_by="fallback", route=route)
        see_traffic(now + SECOND, n=100, variant="gpt-4.1", cost="0.001", assigned_by="default", route=route)

    services.tick(now=now + 5 * SECOND)

    assert {flags.route("production", key).switch for key in ("invoice-extraction", "support-triage")} == {"fallback"}


def test_a_shadow_that_has_cost_enough_is_stopped(environment, now):
    stages = [{"shadow": 20, "limit_usd": "1.00", "min_seconds": 86400}, {"share": 100}]
    rollout = start_rollout(now, stages=stages, guardrails=[])
    see_traffic(now + SECOND, n=40, variant="gpt-5", cost="0.03", arm="shadow")

    services.tick(now=now + 5 * SECOND)
    services.tick(now=now + 10 * SECOND)

    rollout.refresh_from_db()
    decision = rollout.decisions.get(kind="stop_shadow")
    assert flags.route("production", "invoice-extraction").shadow is None
    assert (rollout.state, rollout.stage, rollout.shadow) == ("running", 0, 0)
    assert decision.sentence.startswith("Stopped the shadow of GPT-5 on invoice-extraction because the shadow spend")
