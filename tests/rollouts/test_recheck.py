import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from apps.rollouts import rechecking, services
from apps.rollouts.models import Decision
from tests.rollouts.make_rollouts import ALICE, see_traffic, start_rollout

pytestmark = pytest.mark.django_db


@pytest.fixture
def rolled_back(environment, now):
    """After a few looks of harm that grows."""
    rollout = start_rollout(now)
    at = now
    for _ in range(6):
        at += timedelta(seconds=5)
        see_traffic(at, n=90, variant="gpt-4.1", latency_ms=420)
        see_traffic(at, n=10, variant="gpt-5", latency_ms=2600, errors=1)
        services.tick(now=at)
    return rollout.decisions.get(kind="roll_back")


def test_a_decision_comes_out_the_same_from_what_it_stored(rolled_back):
    found = rechecking.recheck(Decision.objects.get(pk=rolled_back.pk))

    assert found.holds, found.differences
    assert found.sentence == rolled_back.sentence
    assert "p95 latency against limit: exceeded" in " ".join(found.lines)


def test_retries_roll_back_and_come_out_the_same(environment, now):
    rollout = start_rollout(now, guardrails=[{"metric": "amplification", "limit": 1.2, "on_breach": "roll_back"}])
    for number in range(1, 8):
        at = now + timedelta(seconds=5 * number)
        see_traffic(at, n=20, variant="gpt-4.1")
        see_traffic(at, n=8, variant="gpt-5", tries=4)
        services.tick(now=at)

    decision = rollout.decisions.get(kind="roll_back")
    assert "because attempts per request was 4.00, limit 1.20. Evidence " in decision.sentence
    assert rechecking.recheck(Decision.objects.get(pk=decision.pk)).differences == ()


def test_the_command_prints_verdicts_and_sentence(rolled_back):
    out = io.StringIO()

    call_command("recheck", rolled_back.pk, stdout=out)

    assert rolled_back.sentence in out.getvalue()
    assert "the same verdict, the same sentence" in out.getvalue()


def test_a_changed_figure_is_found(rolled_back):
    evidence = rolled_back.evidence
    evidence["trial"]["verdicts"][0]["observed"] += 0.5
    Decision.objects.filter(pk=rolled_back.pk).update(evidence=evidence)

    with pytest.raises(CommandError, match="comes out another"):
        call_command("recheck", rolled_back.pk, stdout=io.StringIO())


def test_a_persons_act_is_quoted(environment, now):
    rollout = start_rollout(now)
    decision = services.roll_back(rollout=rollout, by=ALICE, because="users complain", now=now)

    assert rechecking.recheck(decision).sentence == (
        "Rolled back invoice-extraction from 10 % to 0 % GPT-5 because users complain."
    )


def test_an_unknown_decision_is_said_to_be_unknown(db):
    with pytest.raises(CommandError, match="no decision"):
        call_command("recheck", "nothing", stdout=io.StringIO())
