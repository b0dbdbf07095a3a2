"""A split that is not what it should be holds the ramp: the arms are not alike, whatever their figures say."""

import random
from datetime import timedelta

import pytest

from apps.budgets.domain import ratio
from apps.flags import queries as flags
from apps.rollouts import services
from tests.rollouts.make_rollouts import ALICE, make_rollout, make_route, see_client, see_traffic, start_rollout

MINUTE = timedelta(minutes=1)


def give(now, minutes, *, candidate, baseline, snapshot=None):
    version = flags.snapshot("production").version if snapshot is None else snapshot
    for minute in range(minutes):
        at = now + minute * MINUTE
        exposures = [
            {
                "flag": "invoice-extraction", "variant": variant, "snapshot": version, "assigned_by": "split",
                "minute": at.isoformat(), "count": n, "subjects": [],
            }
            for variant, n in (("gpt-4.1", baseline), ("gpt-5", candidate))
        ]  # fmt: skip
        see_client(at, exposures=exposures)
        see_traffic(at + timedelta(seconds=5), n=candidate, variant="gpt-5")
        see_traffic(at + timedelta(seconds=5), n=baseline, variant="gpt-4.1")
        services.tick(now=at + timedelta(seconds=30))


def why(rollout):
    hold = rollout.decisions.newest_first().first()
    return hold.code, "the arms are not given out in the share that is set" in hold.sentence


STAGES = [{"share": 10, "min_seconds": 86400}, {"share": 100}]


@pytest.mark.django_db
def test_a_candidate_that_is_given_too_seldom_holds(environment, now):
    rollout = start_rollout(now, stages=STAGES)

    give(now, 4, candidate=40, baseline=860)

    assert why(rollout) == ("inconclusive", True)


@pytest.mark.django_db
def test_the_share_that_is_set_holds_nothing(environment, now):
    rollout = start_rollout(now, stages=STAGES)

    give(now, 4, candidate=90, baseline=810)

    assert not why(rollout)[1]


@pytest.mark.django_db
def test_clients_that_still_have_the_old_share_are_not_counted(environment, now):
    rollout = start_rollout(now, stages=STAGES)

    give(now, 4, candidate=40, baseline=860, snapshot=flags.snapshot("production").version - 1)

    assert not why(rollout)[1]


@pytest.mark.django_db
def test_where_subjects_keep_their_arm_the_ratio_says_nothing(environment, now):
    make_route(now, bucketing_unit="tenant")
    rollout = make_rollout(now, stages=STAGES)
    services.start(rollout=rollout, by=ALICE, because="x", now=now)

    give(now, 4, candidate=40, baseline=860)

    assert not why(rollout)[1]


@pytest.mark.parametrize(
    ("candidate", "baseline", "share", "is_wrong"),
    [
        (0, 0, 0.1, False),
        (0, 99, 0.5, False),  # too few
        (10, 90, 0.1, False),
        (200, 800, 0.1, True),
        (0, 200, 0.1, True),
        (15_400, 204_600, 0.07, False),
        (14_000, 206_000, 0.07, True),  # a tenth of the candidate's is missing
        (500, 0, 1.0, False),  # nothing to compare with
    ],
)
def test_when_a_ratio_is_wrong(candidate, baseline, share, is_wrong):
    assert ratio.is_wrong(candidate, baseline, share) is is_wrong


def test_the_right_share_is_hardly_ever_called_wrong_however_often_one_looks():
    chance = random.Random(7)
    alarms = 0
    for _ in range(200):
        candidate = baseline = 0
        for _ in range(40):
            given = sum(chance.random() < 0.1 for _ in range(50))
            candidate, baseline = candidate + given, baseline + 50 - given
            if ratio.is_wrong(candidate, baseline, 0.1):
                alarms += 1
                break
    assert alarms <= 1
