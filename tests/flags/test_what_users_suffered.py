"""What users of other flag services met, each told as it happened there; here it must not.

Those about drafts and approvals stand in test_change_requests.py and test_scheduled_changes.py, those about clients and
doors with the doors.
"""

import json

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from apps.core.refusals import Refused
from apps.flags import (
    audience_versions,
    audiences,
    change_requests,
    copying,
    environment_file,
    importing,
    keeping,
    queries,
    services,
    versions,
)
from apps.flags.domain import definition
from apps.flags.models import Flag, Snapshot
from apps.journal.models import Entry
from changeover import Snapshot as Compiled
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
FLAG = SAID | {"key": "new-parser"}
BETA = {"all": [{"attribute": "plan", "operator": "is", "values": ["beta"]}]}
PRO = {"all": [{"attribute": "plan", "operator": "is", "values": ["pro"]}]}
RULES = [{"name": "Testers", "when": {"audience": "testers"}, "variant": "on"}]


def make_story():
    make_environment()
    audiences.create_audience(**SAID, key="testers", conditions=BETA)
    make_flag(rules=RULES)
    make_flag("gone")
    keeping.archive_flag(**SAID, key="gone")
    audiences.change_audience(**SAID, key="testers", conditions=PRO)


def of_a_file():
    text = environment_file.export("production").replace("Testers", "Those who test")
    environment_file.apply(**SAID, text=text)


def of_a_request():
    row = change_requests.propose(**SAID, subject="new-parser", fields={"default_variant": "on"})
    change_requests.apply(id=row.id, by=ALICE, now=NOW)


OTHER = {"flags": {"other": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}}
WRITES = {
    "archive": lambda: keeping.archive_flag(**FLAG),
    "bring back": lambda: keeping.unarchive_flag(**SAID, key="gone"),
    "rename": lambda: keeping.rename_flag(**FLAG, to="newer"),
    "copy": lambda: copying.copy_flag(**FLAG, to="newer"),
    "revert": lambda: (
        versions.revert(**FLAG, revision=1, only=["targeting", "rules"])
        or services.update_flag(**FLAG, default_variant="on")
    ),
    "audience": lambda: audiences.change_audience(**SAID, key="testers", conditions=BETA),
    "audience reverted": lambda: audience_versions.revert_audience(**SAID, key="testers", revision=1),
    "import": lambda: importing.import_definition(**SAID, document=OTHER, bucketing="v2"),
    "file": of_a_file,
    "change request": of_a_request,
    "prerequisite": lambda: services.update_flag(**FLAG, prerequisites=[{"flag": "base", "variant": "on"}]),
    "settings that no rule sees": lambda: services.update_flag(**FLAG, owner="payments"),
}


@pytest.mark.parametrize("write", WRITES)
def test_archiving_bumped_no_revision_and_pollers_stayed_stale(write):
    make_story()
    make_flag("base", salt="s")
    before = Snapshot.objects.latest("version")

    WRITES[write]()

    after = Snapshot.objects.latest("version")
    assert after.version > before.version
    assert after.digest != before.digest
    assert after.changed_keys


def test_the_audit_said_new_version_and_not_what_changed():
    make_story()
    audiences.change_audience(**SAID, key="testers", conditions=BETA)
    services.update_flag(**FLAG, owner="payments")
    row = change_requests.schedule_change(
        **SAID, subject="new-parser", fields={"owner": "web"}, due_at=NOW.replace(day=25)
    )

    change_requests.run_due(now=row.due_at)

    told = [(entry.kind, entry.before, entry.after, entry.by) for entry in Entry.objects.order_by("pk")][-1]
    assert told[:3] == ("flag.changed", {"owner": "payments"}, {"owner": "web"})
    assert told[3].startswith("worker")
    audience = Entry.objects.filter(kind="audience.changed").order_by("pk").last()
    assert (audience.before, audience.after) == ({"conditions": PRO}, {"conditions": BETA})


def test_one_percent_was_the_smallest_step():
    make_flag()
    services.change_weights(**FLAG, weights={"on": 1, "off": 9_999})

    served = json.loads(queries.snapshot("production").body)["flags"]["new-parser"]
    text = environment_file.export("production")

    assert served["targeting"] == {"fractional": [["on", 1], ["off", 9999]]}
    assert "on: 0.01" in text.replace("'", "")
    compiled = Compiled.from_flagd(queries.snapshot("production").body)
    got = sum(
        compiled.evaluate("new-parser", {"targetingKey": f"u-{number}"}).variant == "on" for number in range(60_000)
    )
    assert 1 <= got <= 20  # six are expected


def test_an_expired_flag_is_reminded_of_and_still_served():
    make_flag(expires_on=NOW.date().replace(day=1))

    compiled = Compiled.from_flagd(queries.snapshot("production").body)

    assert compiled.evaluate("new-parser", {}).variant == "off"


class Anything(RuleBasedStateMachine):
    """Any verbs in any order: what is served is always what the rows say, and no version follows a newer one."""

    def __init__(self) -> None:
        super().__init__()
        self.work = transaction.atomic()
        self.work.__enter__()
        make_environment()
        audiences.create_audience(**SAID, key="testers", conditions=BETA)
        make_route("route-0", environment="production")
        self.last = queries.newest_version("production")[0]

    keys = st.sampled_from(["flag-0", "flag-1", "flag-2"])

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.work.__exit__(None, None, None)

    def attempt(self, verb, **fields):
        try:
            with transaction.atomic():
                verb(**SAID, **fields)
        except Refused:
            pass

    @rule(key=keys, ruled=st.booleans(), salted=st.booleans())
    def create(self, key, ruled, salted):
        values = {"variants": {"on": True, "off": False}, "default_variant": "off"}
        salt = {"salt": "s"} if salted else {}
        self.attempt(services.create_flag, key=key, rules=RULES if ruled else [], **values, **salt)

    @rule(key=keys, default=st.sampled_from(["on", "off"]))
    def change(self, key, default):
        self.attempt(services.update_flag, key=key, default_variant=default)

    @rule(key=keys, share=st.integers(0, 10_000))
    def weigh(self, key, share):
        self.attempt(services.change_weights, key=key, weights={"on": share, "off": 10_000 - share})

    @rule(key=keys, other=keys)
    def require(self, key, other):
        self.attempt(services.update_flag, key=key, prerequisites=[{"flag": other, "variant": "on"}])

    @rule(key=keys, to=keys)
    def rename(self, key, to):
        self.attempt(keeping.rename_flag, key=key, to=to)

    @rule(key=keys, to=keys)
    def copy(self, key, to):
        self.attempt(copying.copy_flag, key=key, to=to)

    @rule(key=keys, act=st.sampled_from([keeping.archive_flag, keeping.unarchive_flag, keeping.delete_flag]))
    def keep(self, key, act):
        self.attempt(act, key=key)

    @rule(key=keys, act=st.sampled_from([services.switch_off, services.restore]))
    def switch(self, key, act):
        self.attempt(act, key=key)

    @rule(conditions=st.sampled_from([BETA, PRO]))
    def change_testers(self, conditions):
        self.attempt(audiences.change_audience, key="testers", conditions=conditions)

    @rule(key=keys, revision=st.integers(1, 4))
    def revert(self, key, revision):
        self.attempt(versions.revert, key=key, revision=revision)

    @invariant()
    def what_is_served_is_what_the_rows_say(self):
        found = queries.snapshot("production")
        rows = Flag.objects.with_route().of("production").served()
        anew = ((row.key, definition.encode(definition.definition(row.parts))) for row in rows)
        assert found.body == definition.document(anew, environment="production", version=found.version)
        assert found.version >= self.last
        self.last = found.version


def test_a_cache_missed_some_writes_and_what_verified_it_had_crashed():
    run_state_machine_as_test(Anything, settings=settings(max_examples=8, stateful_step_count=12, deadline=None))
