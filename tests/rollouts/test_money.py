"""A crossed budget acts once, never towards what is dearer, and says so where it cannot help."""

from datetime import timedelta

import pytest

from apps.budgets import services as budgets
from apps.flags import queries as flags
from apps.journal.models import Entry
from apps.rollouts import money, services
from apps.rollouts.models import Decision, Rollout
from tests.budgets.make_rows import spend as spend_line
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


def test_a_fallback_that_becomes_cheaper_is_taken_in_the_same_crossing(environment, now):
    make_route(now)
    make_budget(now, "fall_back")
    spend(now + SECOND, cheap_fallback=False)
    services.tick(now=now + 5 * SECOND)
    services.tick(now=now + 10 * SECOND)
    held = Decision.objects.get()
    later = now + timedelta(hours=2)
    see_traffic(later, n=500, variant="flash-lite", cost="0.0001", assigned_by="fallback")
    see_traffic(later, n=500, variant="gpt-4.1", cost="0.001", assigned_by="default")

    for tick in range(1, 4):
        services.tick(now=later + 10 * tick * SECOND)

    kinds = Decision.objects.order_by("at").values_list("kind", "repeats")
    money = Entry.objects.filter(condition="money:invoice-extraction").order_by("at", "id")
    assert (held.repeats, held.last_at) == (1, now + 10 * SECOND)
    assert list(kinds) == [("hold", 1), ("fall_back", 0)]
    assert on_fallback() == {"invoice-extraction"}
    assert list(money.values_list("effect", flat=True)) == ["opens", "closes"]


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


def test_going_back_is_refused_where_nobody_knows_what_that_costs(environment, now):
    rollout = start_rollout(now, guardrails=[], candidate="flash-lite")
    make_budget(now, "roll_back")
    see_traffic(now + SECOND, n=100, variant="flash-lite", cost="0.001")

    services.tick(now=now + 5 * SECOND)

    rollout.refresh_from_db()
    assert (rollout.state, rollout.decisions.newest_first().first().code) == ("running", "money")
    assert "it is not known that the baseline costs less" in rollout.decisions.newest_first().first().sentence


@pytest.mark.parametrize(
    "scope", [{"provider": "google"}, {"model": "google/gemini-2.5-flash-lite"}, {"variant": "flash-lite"}]
)
def test_a_budget_does_not_fall_back_into_what_it_counts(environment, now, scope):
    make_route(now)
    make_budget(now, "fall_back", scope=scope)
    spend(now + SECOND)
    see_traffic(now + SECOND, n=100, variant="flash-lite", cost="0.0008", assigned_by="rule")

    services.tick(now=now + 5 * SECOND)

    decision = Decision.objects.get()
    assert (decision.kind, on_fallback()) == ("hold", set())
    assert decision.sentence.startswith(
        "Held invoice-extraction: this budget counts the fallback too (now $0.00/h and fallback $1.8"
    )


def test_a_plan_that_leads_back_to_a_dearer_fallback_is_not_run_for_money(environment, now):
    rollout = start_rollout(now, guardrails=[])
    services.set_plan(
        environment="production", route="invoice-extraction", target="fallback", by=ALICE, because="x", now=now
    )
    make_budget(now, "roll_back")
    spend(now + SECOND, cheap_fallback=False)
    see_traffic(now + SECOND, n=100, variant="gpt-5", cost="0.03")

    services.tick(now=now + 5 * SECOND)

    decision = rollout.decisions.newest_first().first()
    assert (decision.kind, on_fallback()) == ("hold", set())
    assert "no cheaper fallback" in decision.sentence


def test_a_cheaper_fallback_that_the_budget_counts_too_is_taken(environment, now):
    make_route(now, fallback="gpt-5")
    make_budget(now, "fall_back", scope={"provider": "openai"})
    see_traffic(now + SECOND, n=20, variant="gpt-5", cost="0.0001", assigned_by="fallback")
    see_traffic(now + SECOND, n=100, variant="gpt-4.1", cost="0.001", assigned_by="default")

    services.tick(now=now + 5 * SECOND)

    assert on_fallback() == {"invoice-extraction"}


@pytest.mark.parametrize("do", ["roll_back", "step_back", "cap_share"])
@pytest.mark.parametrize(
    ("scope", "acts"), [({"model": "gpt-4.1"}, False), ({"variant": "gpt-4.1"}, False), ({"provider": "openai"}, True)]
)
def test_a_budget_does_not_go_back_into_what_it_counts(environment, now, do, scope, acts):
    rollout = start_rollout(now, guardrails=[])
    make_budget(now, do, scope=scope, **({"share": 5} if do == "cap_share" else {}))
    see_traffic(now + SECOND, n=100, variant="gpt-4.1", cost="0.001")
    see_traffic(now + SECOND, n=100, variant="gpt-5", cost="0.03")

    services.tick(now=now + 5 * SECOND)

    decision = rollout.decisions.newest_first().first()
    assert (decision.kind != "hold", weights().get("gpt-5", 0) < 1000) == (acts, acts)
    assert acts or "this budget does not count GPT-5, going back would lower nothing of it" in decision.sentence


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


def see_two_routes(now, *, second="0.002"):
    for route, cost in (("invoice-extraction", "0.001"), ("support-triage", second)):
        see_traffic(now, n=20, variant="flash-lite", cost="0.0001", assigned_by="fallback", route=route)
        see_traffic(now, n=100, variant="gpt-4.1", cost=cost, assigned_by="default", route=route)


def on_fallback():
    return {view.key for view in flags.routes("production") if view.on_fallback}


def test_a_wide_budget_begins_with_the_route_that_saves_most(environment, now):
    make_route(now)
    make_route(now, key="support-triage")
    make_budget(now, "fall_back", scope={"owner": "payments"})
    see_two_routes(now + SECOND)

    services.tick(now=now + 5 * SECOND)

    verdicts = budgets.judge_money(now=now + 6 * SECOND)
    assert on_fallback() == {"invoice-extraction", "support-triage"}
    assert list(money.pressures(verdicts, now + 6 * SECOND)) == [
        ("production", "invoice-extraction"), ("production", "support-triage"),
    ]  # fmt: skip


def test_what_burns_too_fast_moves_one_route_and_the_next_only_if_that_was_not_enough(environment, now):
    make_route(now)
    make_route(now, key="support-triage")
    budgets.create_budget(
        environment="production", scope={"owner": "payments"}, period="day", limit_nano=10**9,
        thresholds=[{"burn": 3, "do": "fall_back"}], by=ALICE, because="test", now=now,
    )  # fmt: skip
    see_two_routes(now + SECOND, second="0.004")

    services.tick(now=now + 5 * SECOND)
    first = on_fallback()
    services.tick(now=now + 60 * SECOND)
    soon = on_fallback()
    see_two_routes(now + 660 * SECOND, second="0.004")
    services.tick(now=now + 665 * SECOND)

    assert (first, soon) == ({"support-triage"}, {"support-triage"})
    assert on_fallback() == {"invoice-extraction", "support-triage"}


def test_routes_that_spend_nothing_under_the_budget_are_left_alone(environment, now):
    make_route(now)
    make_route(now, key="support-triage")
    make_budget(now, "fall_back", scope={"tag": "night"})
    spend(now + SECOND)
    see_traffic(now + SECOND, n=100, variant="gpt-4.1", cost="0.001", route="support-triage", tag="night")
    see_traffic(now + SECOND, n=20, variant="flash-lite", cost="0.0001", route="support-triage")

    services.tick(now=now + 5 * SECOND)

    assert on_fallback() == {"support-triage"}


PROMPT = {"input_tokens": 2000, "output_tokens": 500}


def test_a_fallback_that_nobody_has_tried_is_priced_by_the_list(environment, now):
    make_route(now)
    make_budget(now, "fall_back")
    see_traffic(now + SECOND, n=100, variant="gpt-4.1", cost="0.001", assigned_by="default", **PROMPT)

    services.tick(now=now + 5 * SECOND)

    decision = Decision.objects.get()
    assert decision.kind == "fall_back"
    assert "by the price list" in decision.evidence["pressures"][0]["costs"]


def test_what_every_target_costs_by_the_hour_is_told(environment, now):
    make_route(now)
    make_budget(now, "fall_back")
    spend(now + SECOND, cheap_fallback=False)

    services.tick(now=now + 5 * SECOND)

    assert (
        "no cheaper fallback (now $1.44/h, baseline $1.44/h and fallback $14.40/h)" in Decision.objects.get().sentence
    )


def test_where_the_hardest_act_cannot_help_the_next_gentler_one_is_done(environment, now):
    stages = [{"shadow": 20, "min_seconds": 86400}, {"share": 100}]
    rollout = start_rollout(now, stages=stages, guardrails=[])
    budgets.create_budget(
        environment="production", scope={"route": "invoice-extraction"}, period="day", limit_nano=50_000_000,
        thresholds=[{"at": 0.8, "do": "stop_shadow"}, {"at": 1.0, "do": "fall_back"}], by=ALICE, because="x", now=now,
    )  # fmt: skip
    spend(now + SECOND, cheap_fallback=False)

    services.tick(now=now + 5 * SECOND)

    rollout.refresh_from_db()
    assert (rollout.shadow, on_fallback()) == (0, set())


def test_a_cap_of_shadow_traffic_stops_the_shadow_and_nothing_else(environment, now):
    stages = [{"shadow": 20, "min_seconds": 86400}, {"share": 100}]
    rollout = start_rollout(now, stages=stages, guardrails=[])
    make_budget(now, "stop_shadow", scope={"rollout": rollout.id, "arm": "shadow"}, limit="1.00")
    see_traffic(now + SECOND, n=100, variant="gpt-4.1", cost="0.05", assigned_by="default")
    services.tick(now=now + 5 * SECOND)
    rollout.refresh_from_db()
    before = rollout.shadow

    see_traffic(now + 6 * SECOND, n=40, variant="gpt-5", cost="0.03", arm="shadow")
    services.tick(now=now + 10 * SECOND)

    rollout.refresh_from_db()
    assert (before, rollout.shadow, rollout.state) == (2000, 0, "running")


def test_after_the_fallback_comes_the_block(environment, now):
    make_route(now)
    budgets.create_budget(
        environment="production", scope={}, period="day", limit_nano=50_000_000,
        thresholds=[{"at": 1.0, "do": "fall_back"}, {"at": 4.0, "do": "block"}], by=ALICE, because="x", now=now,
    )  # fmt: skip
    spend(now + SECOND)
    services.tick(now=now + 5 * SECOND)
    see_traffic(now + 6 * SECOND, n=2000, variant="flash-lite", cost="0.0001", assigned_by="fallback")

    services.tick(now=now + 10 * SECOND)

    assert list(Decision.objects.order_by("at").values_list("kind", flat=True)) == ["fall_back", "block"]
    assert flags.route("production", "invoice-extraction").is_off


def test_a_raised_limit_that_is_reached_again_is_another_crossing(environment, now):
    make_route(now)
    budget = make_budget(now, "fall_back")
    spend(now + SECOND)
    services.tick(now=now + 5 * SECOND)
    budgets.update_budget(budget=budget.id, changes={"limit_nano": 10**9}, by=ALICE, because="more", now=now)
    services.restore(environment="production", route="invoice-extraction", by=ALICE, because="more", now=now)
    services.tick(now=now + 10 * SECOND)
    between = on_fallback()
    see_traffic(now + 11 * SECOND, n=1000, variant="gpt-4.1", cost="0.001", assigned_by="default")

    services.tick(now=now + 15 * SECOND)

    assert (between, on_fallback()) == (set(), {"invoice-extraction"})


def test_a_hold_that_was_told_is_over_when_its_crossing_is(environment, now):
    make_route(now)
    make_budget(now, "fall_back")
    spend(now + SECOND, cheap_fallback=False)
    services.tick(now=now + 5 * SECOND)

    services.tick(now=now + timedelta(days=1))

    told = Entry.objects.filter(condition="money:invoice-extraction").order_by("at").values_list("effect", flat=True)
    assert list(told) == ["opens", "closes"]


@pytest.mark.parametrize(
    ("do", "kind", "state", "weights_after", "switch"),
    [
        ("alert", "advance", "running", {"gpt-4.1": 0, "gpt-5": 10_000}, ""),
        ("hold", "hold", "running", {"gpt-4.1": 5000, "gpt-5": 5000}, ""),
        ("cap_share", "cap_share", "running", {"gpt-4.1": 9500, "gpt-5": 500}, ""),
        ("step_back", "step_back", "running", {"gpt-4.1": 9000, "gpt-5": 1000}, ""),
        ("pause", "pause", "paused", {"gpt-4.1": 5000, "gpt-5": 5000}, ""),
        ("roll_back", "roll_back", "rolled_back", {"gpt-4.1": 10_000, "gpt-5": 0}, ""),
        ("fall_back", "fall_back", "paused", {"gpt-4.1": 10_000, "gpt-5": 0}, "fallback"),
        ("block", "block", "paused", {"gpt-4.1": 10_000, "gpt-5": 0}, "off"),
    ],
)
def test_each_act_is_done_in_the_tick_that_sees_the_crossing(environment, now, do, kind, state, weights_after, switch):
    stages = [{"share": 10, "min_seconds": 0}, {"share": 50, "min_seconds": 0}, {"share": 100, "min_seconds": 0}]
    rollout = start_rollout(now, guardrails=[], stages=stages)
    services.advance(rollout=rollout, by=ALICE, because="x", now=now)
    make_budget(now, do, **({"share": 5} if do == "cap_share" else {}))
    spend(now + SECOND)
    see_traffic(now + SECOND, n=100, variant="gpt-5", cost="0.03")

    services.tick(now=now + 5 * SECOND)

    rollout.refresh_from_db()
    decision = rollout.decisions.newest_first().first()
    route = flags.route("production", "invoice-extraction")
    assert (decision.kind, rollout.state, route.switch) == (kind, state, switch)
    assert {name: weights().get(name, 0) for name in weights_after} == weights_after
    if do != "alert":
        assert [cause["metric"] for cause in decision.because] == ["spend"]
        assert "spend of invoice-extraction was $3.10, limit $0.0500" in decision.sentence
    assert Entry.objects.filter(kind="budget.exceeded").count() == 1


@pytest.mark.parametrize(
    "scope",
    [
        {}, {"owner": "payments"}, {"route": "invoice-extraction"}, {"variant": "gpt-4.1"}, {"model": "openai/gpt-4.1"},
        {"provider": "openai"}, {"tag": "night"}, {"route": "invoice-extraction", "arm": "live"},
    ],
)  # fmt: skip
def test_budgets_of_every_scope_act_on_the_route_that_spends(environment, now, scope):
    make_route(now)
    make_route(now, key="idle")
    make_budget(now, "fall_back", scope=scope)
    see_traffic(now + SECOND, n=20, variant="flash-lite", cost="0.0001", assigned_by="fallback")
    see_traffic(
        now + SECOND, n=100, variant="gpt-4.1", cost="0.001", assigned_by="default", tag="night", provider="openai",
        model="gpt-4.1",
    )  # fmt: skip

    services.tick(now=now + 5 * SECOND)

    assert on_fallback() == {"invoice-extraction"}


def test_a_forecast_that_crosses_acts_before_the_money_is_gone(environment, now):
    make_route(now)
    budgets.create_budget(
        environment="production", scope={"route": "invoice-extraction"}, period="week", limit_nano=20 * 10**9,
        thresholds=[{"forecast": 1.0, "do": "fall_back"}], by=ALICE, because="test", now=now,
    )  # fmt: skip
    for hour in range(1, 100):
        spend_line(now - timedelta(hours=hour), 0.2)
    spend(now + SECOND)

    services.tick(now=now + 5 * SECOND)

    decision = Decision.objects.get()
    assert (decision.kind, on_fallback()) == ("fall_back", {"invoice-extraction"})
