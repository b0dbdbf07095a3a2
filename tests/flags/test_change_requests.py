"""Four eyes in a protected environment: a draft on a base, another person's approval of exactly that, the change."""

import pytest

from apps.core.actors import key, person
from apps.core.refusals import Forbidden, Invalid, Stale
from apps.flags import audiences, change_requests, keeping, queries, requests_seen, services, versions
from apps.flags.models import ChangeRequest
from apps.flags.refusals import ApprovalIsVoid, ChangeRequestNeeded, DraftConflicts, NotInThisState, OwnRequest
from apps.journal.models import Entry
from tests.flags.make_flags import ALICE, NOW, VARIANTS, make_environment, make_flag, make_route
from tests.flags.test_services import last_entry

pytestmark = pytest.mark.django_db
DAVE = person("dave")
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
FLAG = SAID | {"key": "new-parser"}
ROUTE = SAID | {"key": "invoice-extraction"}
HALF = {"flash-lite": 5000, "gpt-4.1": 5000}


@pytest.fixture
def protected():
    return make_environment(is_protected=True)


def propose(subject: str = "new-parser", *, submit: bool = True, **fields) -> ChangeRequest:
    return change_requests.propose(**SAID, subject=subject, fields=fields, submit=submit)


def approve(row: ChangeRequest, by=DAVE, **more) -> ChangeRequest:
    return change_requests.approve(id=row.id, by=by, now=NOW, **more)


def apply(row: ChangeRequest):
    return change_requests.apply(id=row.id, by=ALICE, now=NOW)


def state_of(row: ChangeRequest) -> str:
    return requests_seen.one(row.id).state


@pytest.mark.parametrize(
    "write",
    [
        lambda: services.update_flag(**FLAG, default_variant="on"),
        lambda: services.update_flag(**FLAG, description="even that"),
        lambda: services.update_route(**ROUTE, owner="ledger"),
        lambda: services.change_weights(**ROUTE, weights=HALF),
        lambda: keeping.archive_flag(**FLAG),
        lambda: keeping.rename_flag(**FLAG, to="x"),
        lambda: audiences.change_audience(**SAID, key="staff", description="x"),
        lambda: change_requests.schedule_change(**SAID, subject="new-parser", fields={"enabled": False}, due_at=NOW),
    ],
)  # fmt: skip
def test_a_direct_write_in_a_protected_environment_is_shown_the_way(protected, write):
    make_flag()
    make_route()
    audiences.create_audience(**SAID, key="staff", conditions={"attribute": "a", "operator": "is_set"})
    version = queries.snapshot("production").version

    with pytest.raises(ChangeRequestNeeded, match="POST /api/v1/change-requests/"):
        write()

    assert queries.snapshot("production").version == version


def test_a_revert_takes_the_same_way(protected):
    make_flag(description="first")
    row = propose(description="second")
    approve(row)
    apply(row)

    with pytest.raises(ChangeRequestNeeded):
        versions.revert(**FLAG, revision=1)
    back = propose(**versions.fields_to_revert("production", "new-parser", 1))
    approve(back)
    apply(back)

    assert queries.flag("production", "new-parser").description == "first"


def test_safety_is_never_asked_for_four_eyes(protected):
    make_route()
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")
    services.change_weights(**ROUTE, weights=HALF, holder="rollout 7")
    services.release_hold(**ROUTE, holder="rollout 7")

    services.change_weights(**ROUTE, weights={"flash-lite": 0, "gpt-4.1": 10_000})
    services.switch_to_fallback(**ROUTE)
    services.switch_off(**ROUTE)
    services.restore(**ROUTE)

    assert queries.route("production", "invoice-extraction").weights["flash-lite"] == 0


def test_a_request_is_drafted_approved_by_another_and_applied(protected):
    make_flag()
    row = propose(default_variant="on", submit=False)
    assert queries.flag("production", "new-parser").default_variant == "off"

    change_requests.submit(id=row.id, by=ALICE, now=NOW)
    approve(row)
    published = apply(row)

    assert queries.flag("production", "new-parser").default_variant == "on"
    seen = requests_seen.one(row.id)
    assert (seen.state, seen.version, seen.decided_by) == ("applied", published.version, "dave")
    assert seen.diff == {"default_variant": {"was": "off", "is": "on"}}
    entry = last_entry()
    assert (entry.kind, entry.by, entry.about["change_request"]) == ("flag.changed", "alice", row.id)
    assert entry.because == "to see (change request of alice, approved by dave)"
    kinds = [one.kind for one in Entry.objects.about(change_request=row.id).order_by("id")]
    assert kinds == [
        "change_request.drafted", "change_request.submitted", "change_request.approved", "flag.changed",
    ]  # fmt: skip


def test_nobody_approves_their_own_request_and_no_key_does(protected):
    make_flag()
    row = propose(default_variant="on")
    change_requests.edit(id=row.id, by=person("erin"), now=NOW)
    change_requests.submit(id=row.id, by=person("frank"), now=NOW)

    for own in ("alice", "erin", "frank"):
        with pytest.raises(OwnRequest, match=f"{own} wrote this change request"):
            approve(row, by=person(own))
    with pytest.raises(Forbidden):
        approve(row, by=key("ci"))

    assert approve(row).state == "approved"


def test_without_approval_it_is_not_applied(protected):
    make_flag()
    row = propose(default_variant="on")

    with pytest.raises(NotInThisState, match="is submitted; applying is for one that is approved"):
        apply(row)

    change_requests.reject(id=row.id, by=DAVE, because="not now", now=NOW)
    with pytest.raises(NotInThisState):
        apply(row)
    assert requests_seen.one(row.id).sentence == "not now"


def test_an_edit_after_the_approval_makes_it_void(protected):
    make_flag()
    row = propose(default_variant="on")
    approve(row)

    change_requests.edit(id=row.id, fields={"enabled": False}, by=ALICE, now=NOW)

    seen = requests_seen.one(row.id)
    assert (seen.state, seen.decided_by) == ("draft", "")
    with pytest.raises(NotInThisState):
        apply(row)


def test_any_change_of_the_flag_after_the_approval_makes_it_void(protected):
    make_flag()
    row = propose(description="said better")
    approve(row)
    services.switch_off(**FLAG)

    with pytest.raises(ApprovalIsVoid, match="The approval by dave is void: alice changed new-parser since"):
        apply(row)

    assert state_of(row) == "submitted"
    assert last_entry().kind == "change_request.approval_voided"
    approve(row)
    apply(row)
    assert queries.flag("production", "new-parser").description == "said better"


def test_an_approval_is_of_what_the_approver_saw(protected):
    make_flag()
    row = propose(description="said better")
    seen = requests_seen.one(row.id)
    services.switch_off(**FLAG)

    with pytest.raises(ApprovalIsVoid, match="has changed since you looked"):
        approve(row, digest=seen.digest)
    with pytest.raises(Stale):
        approve(row, expected=seen.revision + 1)

    assert approve(row, digest=requests_seen.one(row.id).digest).state == "approved"


def test_a_draft_never_carries_old_weights_back_in_after_a_rollout_moved_them(protected):
    make_route()
    row = propose("invoice-extraction", weights={"flash-lite": 100, "gpt-4.1": 9900})
    other = propose("invoice-extraction", default_variant="gpt-4.1", fallback_variant="flash-lite")
    plain = propose("invoice-extraction", owner="ledger")
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")
    services.change_weights(**ROUTE, weights=HALF, holder="rollout 7")
    services.release_hold(**ROUTE, holder="rollout 7")

    for one in (row, other):
        with pytest.raises(DraftConflicts, match="alice changed weights") as refused:
            approve(one)
        assert refused.value.changes["weights"]["is"] == {"flash-lite": 50.0, "gpt-4.1": 50.0}
    assert set(requests_seen.one(row.id).conflicts) == {"weights"}

    approve(plain)
    apply(plain)
    route = queries.route("production", "invoice-extraction")
    assert (route.owner, route.weights) == ("ledger", {"gpt-4.1": 5000, "flash-lite": 5000})


def test_two_requests_on_one_base_do_not_overwrite_each_other():
    make_flag()
    first, second, third = (
        propose(default_variant="on"),
        propose(default_variant="", description="mine"),
        propose(description="another field"),
    )
    apply(first)

    with pytest.raises(DraftConflicts, match="alice changed default_variant"):
        apply(second)
    apply(third)

    change_requests.edit(id=second.id, by=ALICE, now=NOW)  # drafted anew, upon what stands now
    apply(second)
    flag = queries.flag("production", "new-parser")
    assert (flag.default_variant, flag.description) == ("", "mine")


def test_a_held_flag_conflicts():
    make_route()
    row = propose("invoice-extraction", variants=VARIANTS | {"x": {"model": "x/y"}})
    services.take_hold(**ROUTE, holder="rollout 7", trial="7")

    with pytest.raises(services.FlagIsHeld):
        apply(row)


def test_weights_and_fields_change_in_one_version():
    make_route()
    more = VARIANTS | {"x": {"model": "x/y"}}

    published = apply(propose("invoice-extraction", variants=more, weights={"x": 1000, "gpt-4.1": 9000}))

    route = queries.route("production", "invoice-extraction")
    assert (route.weights["x"], route.since_version, route.revision) == (1000, published.version, 2)


def test_archiving_renaming_and_audiences_take_the_same_way(protected):
    make_flag()
    audiences.create_audience(**SAID, key="staff", conditions={"attribute": "a", "operator": "is_set"})
    wanted = [
        ("new-parser", "rename", {"to": "parser-2"}),
        ("parser-2", "archive", {}),
        ("parser-2", "unarchive", {}),
        ("staff", "change_audience", {"description": "Who works here"}),
    ]
    for subject, action, fields in wanted:
        row = change_requests.propose(**SAID, subject=subject, action=action, fields=fields, submit=True)
        approve(row)
        apply(row)

    assert queries.flag("production", "parser-2").archived_at is None
    assert queries.audience("production", "staff").description == "Who works here"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "has at least one field"),
        ({"default_variant": "maybe"}, "maybe is no variant"),
        ({"salt": "x"}, "has no field salt"),
        ({"owner": "x", "fallback_variant": "y"}, "has no field fallback_variant"),
        ({"weights": {"on": 1}}, "add up to 100 %"),
        ({"rules": [{"variant": "nobody"}]}, "no variant of this flag"),
        ({"expires_on": "soon"}, "2026-12-31"),
    ],
)
def test_a_draft_that_could_never_be_applied_is_refused_at_once(fields, sentence):
    make_flag()

    with pytest.raises(Invalid, match=sentence):
        propose(**fields)


def test_a_draft_on_an_old_revision_is_told_the_difference():
    make_flag()
    services.update_flag(**FLAG, default_variant="on")

    with pytest.raises(Stale) as refused:
        change_requests.propose(**SAID, subject="new-parser", fields={"enabled": False}, base_revision=1)

    assert refused.value.changes == {"default_variant": {"was": "off", "is": "on"}}


def test_reading_never_writes(protected):
    make_flag()
    row = propose(default_variant="on")
    approve(row)
    services.switch_off(**FLAG)
    before = ChangeRequest.objects.values().get(), queries.snapshot("production").version, Entry.objects.count()

    requests_seen.one(row.id)
    [requests_seen.view(listed) for listed in requests_seen.rows("production")]

    assert before == (
        ChangeRequest.objects.values().get(),
        queries.snapshot("production").version,
        Entry.objects.count(),
    )
