from datetime import timedelta

import pytest

from apps.flags import queries as flags
from apps.journal.models import Entry
from apps.rollouts import services
from apps.rollouts.models import Decision, PlanStep, Rollout
from tests.rollouts.make_rollouts import (
    ALICE,
    make_rollout,
    make_route,
    see_traffic,
    start_rollout,
    weights,
)

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def harm(rollout, now):
    see_traffic(now, n=400, variant="gpt-4.1", latency_ms=420)
    see_traffic(now, n=80, variant="gpt-5", latency_ms=4300)


def test_a_started_rollout_takes_its_first_share(environment, now):
    rollout = start_rollout(now)

    assert weights() == {"gpt-4.1": 9000, "gpt-5": 1000}
    assert (rollout.state, rollout.stage, rollout.share) == ("running", 0, 1000)
    assert flags.route("production", "invoice-extraction").trial == rollout.id


def test_harm_rolls_back_and_says_why(environment, now):
    rollout = start_rollout(now)
    harm(rollout, now + 5 * SECOND)

    services.tick(now=now + 5 * SECOND)

    rollout.refresh_from_db()
    decision = rollout.decisions.newest_first().first()
    assert weights() == {"gpt-4.1": 10_000}
    assert (rollout.state, rollout.share, rollout.ended_by_machine) == ("rolled_back", 0, True)
    assert decision.kind == "roll_back"
    assert decision.sentence.startswith(
        "Rolled back invoice-extraction from 10 % to 0 % GPT-5 because p95 latency was 4."
    )
    assert "limit 1.5" in decision.sentence and decision.sentence.endswith("80 requests.")


def test_a_rollback_is_told_to_those_on_call(environment, now):
    rollout = start_rollout(now)
    harm(rollout, now + 5 * SECOND)

    services.tick(now=now + 5 * SECOND)

    entry = Entry.objects.get(kind="rollout.rolled_back")
    decision = rollout.decisions.get(kind="roll_back")
    assert (entry.effect, entry.severity, entry.owner) == ("opens", "critical", "payments")
    assert entry.sentence == decision.sentence
    assert entry.link == f"/d/{decision.id}"
    assert entry.version == decision.version


def test_the_flag_is_free_again_after_a_rollback(environment, now):
    rollout = start_rollout(now)
    harm(rollout, now + 5 * SECOND)

    services.tick(now=now + 5 * SECOND)

    route = flags.route("production", "invoice-extraction")
    assert (route.held_by, route.trial) == ("", "")


def test_a_rollback_keeps_what_a_recheck_needs(environment, now):
    rollout = start_rollout(now)
    harm(rollout, now + 5 * SECOND)

    services.tick(now=now + 5 * SECOND)

    evidence = rollout.decisions.get(kind="roll_back").evidence
    assert {v["state"] for v in evidence["verdicts"]} >= {"exceeded"}
    assert evidence["exposure"]["requests"] == 80
    assert evidence["exposure"]["confirmed_nano"] == 80_000_000
    assert evidence["receipt"]["before"]["weights"]["gpt-5"] == 1000
    assert evidence["receipt"]["after"]["weights"]["gpt-5"] == 0
    assert evidence["trial"]["looks"] is not None
    assert [c["target"] for c in evidence["costs_per_hour"]] == ["now", "baseline", "fallback", "candidate"]


def test_health_moves_on_when_time_and_samples_are_there(environment, now):
    rollout = start_rollout(now)
    see_traffic(now + 5 * SECOND, n=400, variant="gpt-4.1")
    see_traffic(now + 5 * SECOND, n=60, variant="gpt-5")

    services.tick(now=now + 6 * SECOND)
    baking = Rollout.objects.get(pk=rollout.pk)
    see_traffic(now + 19 * SECOND, n=40, variant="gpt-4.1")
    services.tick(now=now + 20 * SECOND)
    rollout.refresh_from_db()

    assert (baking.stage, baking.samples) == (0, 60)
    assert (rollout.stage, rollout.share, rollout.samples) == (1, 5000, 0)
    assert weights() == {"gpt-4.1": 5000, "gpt-5": 5000}


def test_no_traffic_holds_for_ever_and_advances_never(environment, now):
    rollout = start_rollout(now)

    for minute in range(0, 120, 10):
        services.tick(now=now + timedelta(minutes=minute))

    rollout.refresh_from_db()
    (hold,) = rollout.decisions.filter(kind="hold")
    assert (rollout.stage, rollout.share) == (0, 1000)
    assert hold.repeats == 11


def test_an_equal_hold_is_counted_and_another_is_a_row(environment, now):
    rollout = start_rollout(now)
    services.tick(now=now + 5 * SECOND)
    services.tick(now=now + 10 * SECOND)
    services.pause(rollout=rollout, by=ALICE, because="lunch", now=now + 11 * SECOND)
    services.tick(now=now + 15 * SECOND)

    kinds = list(rollout.decisions.order_by("generation").values_list("kind", "code", "repeats"))

    assert kinds == [
        ("advance", "start", 0),
        ("hold", "inconclusive", 1),
        ("pause", "person", 0),
        ("hold", "inconclusive", 0),
    ]


def test_pausing_does_not_stop_protection(environment, now):
    rollout = start_rollout(now)
    services.pause(rollout=rollout, by=ALICE, because="lunch", now=now)
    harm(rollout, now + 5 * SECOND)

    services.tick(now=now + 5 * SECOND)

    assert weights() == {"gpt-4.1": 10_000}
    assert Rollout.objects.get(pk=rollout.pk).state == "rolled_back"


def test_a_second_tick_at_the_same_time_finds_nothing(environment, now):
    start_rollout(now)
    first = services.tick(now=now + 5 * SECOND)

    second = services.tick(now=now + 5 * SECOND)

    assert (first.shards, first.judged) == (16, 1)
    assert (second.shards, second.judged) == (0, 0)


def test_the_last_stage_finishes(environment, now):
    rollout = start_rollout(now, stages=[{"share": 100}], guardrails=[])
    see_traffic(now + 5 * SECOND, n=60, variant="gpt-5")

    services.tick(now=now + 5 * SECOND)

    route = flags.route("production", "invoice-extraction")
    rollout.refresh_from_db()
    assert (rollout.state, route.default_variant, route.held_by) == ("finished", "gpt-5", "")
    assert weights() == {"gpt-5": 10_000}


def test_what_a_rollback_still_has_to_do_is_rows(environment, now):
    rollout = start_rollout(now)
    harm(rollout, now + 5 * SECOND)

    services.tick(now=now + 5 * SECOND)

    steps = PlanStep.objects.filter(decision__rollout=rollout).order_by("position")
    assert list(steps.values_list("kind", "state")) == [
        ("freeze_ramp", "done"),
        ("set_candidate_to_0", "done"),
        ("tell", "waiting"),
        ("confirm_at_clients", "waiting"),
        ("watch_baseline", "waiting"),
    ]


def test_one_rollout_that_fails_does_not_stop_the_next(environment, now, monkeypatch):
    first = start_rollout(now)
    make_route(now, key="support-triage")
    second = services.start(rollout=make_rollout(now, route="support-triage"), by=ALICE, because="next", now=now)
    Rollout.objects.update(shard=0)
    from apps.core.refusals import Refused
    from apps.rollouts import ticking

    real = ticking.acting.act

    def fails_for_the_first(**asked):
        if asked["rollout"].id == first.id:
            raise Refused
        return real(**asked)

    monkeypatch.setattr(ticking.acting, "act", fails_for_the_first)
    monkeypatch.setattr(ticking, "shard_of", lambda environment, route: 0)
    monkeypatch.setattr("apps.telemetry.writing.shard_of", lambda environment, route: 0)
    for route in ("invoice-extraction", "support-triage"):
        see_traffic(now + 5 * SECOND, n=400, variant="gpt-4.1", route=route)
        see_traffic(now + 5 * SECOND, n=80, variant="gpt-5", latency_ms=4300, route=route)

    services.tick(now=now + 5 * SECOND)

    assert Rollout.objects.get(pk=first.pk).state == "running"
    assert Rollout.objects.get(pk=second.pk).state == "rolled_back"


def test_a_hand_edit_under_way_does_not_save_the_candidate(environment, now):
    """Whatever the weights are by then: the rollback takes the candidate to 0."""
    from apps.flags import services as flag_services

    rollout = start_rollout(now)
    flag_services.change_weights(
        environment="production", key="invoice-extraction", by=ALICE, because="by hand", now=now,
        weights={"gpt-4.1": 2000, "gpt-5": 5000, "flash-lite": 3000}, holder=rollout.holder,
    )  # fmt: skip
    harm(rollout, now + 5 * SECOND)

    services.tick(now=now + 5 * SECOND)

    assert weights() == {"gpt-4.1": 7000, "flash-lite": 3000}
    assert Decision.objects.get(kind="roll_back").evidence["receipt"]["before"]["weights"]["gpt-5"] == 5000


def test_a_shard_that_cannot_be_judged_is_told_to_be_unprotected(environment, now, monkeypatch):
    from apps.rollouts import queries, ticking

    rollout = start_rollout(now)
    services.tick(now=now)

    def broken(**_):
        raise RuntimeError("the ledger is away")

    monkeypatch.setattr(ticking.budgets, "judge", broken)
    ticked = [services.tick(now=now + at * SECOND) for at in range(5, 95, 5)]

    assert {one.faults for one in ticked} == {1}
    assert ticked[-1].shards == 16
    assert queries.last_tick_at() == now
    assert queries.route_state("production", rollout.route, now + 90 * SECOND).state == "Unprotected"


def test_a_ledger_that_cannot_be_read_does_not_stop_protection(environment, now, monkeypatch):
    from apps.rollouts import ticking

    rollout = start_rollout(now)
    harm(rollout, now + 5 * SECOND)

    def broken(**_):
        raise RuntimeError("the ledger is away")

    monkeypatch.setattr(ticking.budgets, "judge_money", broken)
    services.tick(now=now + 5 * SECOND)

    assert weights() == {"gpt-4.1": 10_000}
