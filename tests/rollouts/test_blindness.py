from datetime import timedelta

import pytest

from apps.flags import queries as flags
from apps.journal.models import Entry
from apps.rollouts import services
from apps.rollouts.models import Rollout
from tests.rollouts.make_rollouts import see_client, see_traffic, start_rollout

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


def ten_minutes(now, *, told_of_candidate):
    """Both variants are given out 100 times a minute; so many of the candidate's answers are reported."""
    version = flags.snapshot("production").version
    for minute in range(12):
        at = now + minute * MINUTE
        exposures = [
            {
                "flag": "invoice-extraction", "variant": variant, "snapshot": version, "assigned_by": "split",
                "minute": at.isoformat(), "count": 100, "subjects": [],
            }
            for variant in ("gpt-4.1", "gpt-5")
        ]  # fmt: skip
        see_client(at, exposures=exposures)
        see_traffic(at + timedelta(seconds=5), n=100, variant="gpt-4.1")
        see_traffic(at + timedelta(seconds=5), n=told_of_candidate, variant="gpt-5")


def test_answers_that_are_missing_hold_and_page(environment, now):
    rollout = start_rollout(now)
    ten_minutes(now, told_of_candidate=40)

    services.tick(now=now + 12 * MINUTE)

    hold = rollout.decisions.newest_first().first()
    assert (hold.kind, hold.code) == ("hold", "blind")
    assert "answers are missing" in hold.sentence
    assert Entry.objects.get(kind="rollout.held").condition == "stale:invoice-extraction"


def test_the_alert_is_over_when_answers_come_again(environment, now):
    rollout = start_rollout(now)
    ten_minutes(now, told_of_candidate=40)
    services.tick(now=now + 12 * MINUTE)
    later = now + 30 * MINUTE
    see_traffic(later, n=100, variant="gpt-4.1")
    see_traffic(later, n=100, variant="gpt-5")

    services.tick(now=later)

    assert rollout.decisions.newest_first().first().code != "blind"
    assert Entry.objects.filter(condition="stale:invoice-extraction", effect="closes").exists()


def test_what_all_senders_leave_out_is_no_blindness(environment, now):
    start_rollout(now)
    ten_minutes(now, told_of_candidate=100)

    services.tick(now=now + 12 * MINUTE)

    rollout = Rollout.objects.get()
    assert rollout.stage == 1  # nothing was missing: it went on
