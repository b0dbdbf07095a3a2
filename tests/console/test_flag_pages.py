import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from apps.access.domain.roles import Role
from apps.access.models import Grant
from apps.core.actors import person
from apps.flags import change_requests, queries, services
from apps.flags.models import ChangeRequest
from apps.journal.models import Entry
from tests.console.make_flags import make_story
from tests.flags.make_flags import make_flag

pytestmark = pytest.mark.django_db
KEY = "new-parser"
HERE = "production"


@pytest.fixture
def story(environment):
    make_story(timezone.now())


@pytest.fixture
def protected(story, environment):
    environment.is_protected = True
    environment.save()
    return environment


@pytest.fixture
def dora(db, password_hash):
    """She approves."""
    user = User.objects.create(username="dora", password=password_hash)
    Grant.objects.create(user=user, environment=None, role=Role.APPROVER)
    return user


def body(answer):
    return answer.content.decode().replace("&nbsp;", " ").replace("\u00a0", " ")


def address(name, *args):
    return reverse(name, args=args)


def rule_form(**more):
    return {
        "name": "Germans", "kind-0": "all", "attribute-0": "country", "operator-0": "is", "values-0": "DE",
        "answer": "on", "do": "keep",
    } | more  # fmt: skip


READ = [
    ("flags",), ("flag", KEY), ("flag", "invoice-extraction"), ("flag-versions", KEY), ("audiences",),
    ("audience", "staff"), ("changes",), ("clients",), ("tester",),
]  # fmt: skip
WRITE = [
    ("flag-rule", KEY, 0), ("flag-rule-act", KEY, 1, "delete"), ("flag-edit", KEY, "weights"), ("flag-review", KEY),
    ("flag-draft", KEY, "discard"), ("flag-switch", KEY, "off"), ("flag-revert", KEY, 1), ("audience", "staff"),
    ("audience", "-"),
]  # fmt: skip


@pytest.mark.parametrize("who", ["alice", "bob", "dora"])
@pytest.mark.parametrize("page", READ)
def test_whoever_has_a_role_sees_every_page(page, who, story, client, request):
    client.force_login(request.getfixturevalue(who))

    answer = client.get(address(*page))

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("page", READ)
def test_a_stranger_sees_none(page, story, client, charlie):
    client.force_login(charlie)

    answer = client.get(address(*page))

    assert answer.status_code in (403, 404)
    assert KEY not in body(answer)


@pytest.mark.parametrize("page", READ)
def test_nobody_sees_a_page_without_logging_in(page, story, client):
    assert client.get(address(*page)).status_code == 302


@pytest.mark.parametrize("who", ["bob", "charlie"])
@pytest.mark.parametrize("page", WRITE)
def test_viewer_and_stranger_change_nothing(page, who, story, client, request):
    before = queries.newest_version(HERE)
    client.force_login(request.getfixturevalue(who))

    assert client.post(address(*page), rule_form(because="x")).status_code in (403, 404)
    assert queries.newest_version(HERE) == before


@pytest.mark.parametrize("page", [("flag", "gone"), ("flag-versions", "gone"), ("audience", "gone"), ("change", "gone"),
                                  ("flag-rule", KEY, 9), ("flag-edit", KEY, "nothing"), ("flag-revert", KEY, 99),
                                  ("flag-switch", KEY, "explode")])  # fmt: skip
def test_what_is_not_there_is_not_found(page, story, client, alice):
    client.force_login(alice)

    assert client.get(address(*page)).status_code == 404


def test_the_list_says_what_each_flag_serves_and_who_changed_it(story, client, bob):
    client.force_login(bob)

    text = body(client.get(address("flags")))

    assert "2 rules answer first; of everybody else 25 % get on, 75 % off." in text
    assert "by tom" in text and "payments" in text
    assert "1 route and 1 plain flag." in text


def test_the_page_of_a_flag_reads_like_a_sentence(story, client, bob):
    client.force_login(bob)

    text = body(client.get(address("flag", KEY)))

    assert "in audience staff" in text and "plan is one of beta, pro" in text
    assert "billing" in text  # whose client was given what
    assert "this. " not in text.split("Switches")[0] or "can do this." in text


def test_a_viewer_reads_who_can_do_it(story, client, bob, alice):
    client.force_login(bob)

    text = body(client.get(address("flag", KEY)))

    assert "alice can do this." in text
    assert "Add a rule" not in text


# --- drafts -------------------------------------------------------------------------------------------------------


def test_a_rule_is_drafted_reviewed_and_saved_as_one_version(story, client, alice):
    client.force_login(alice)
    before = queries.newest_version(HERE)[0]

    client.post(address("flag-rule", KEY, 0), rule_form())
    drafted = body(client.get(address("flag", KEY)))
    untouched = queries.newest_version(HERE)[0]
    review = body(client.get(address("flag-review", KEY)))
    client.post(address("flag-review", KEY), {"because": "Germany goes live", "revision": "2"})

    assert "1 change drafted. Nothing is live yet." in drafted
    assert untouched == before
    assert "Germans: country is DE, then on" in review
    assert queries.newest_version(HERE)[0] == before + 1
    assert queries.flag(HERE, KEY).conditions[-1] == "Germans: country is DE → on"
    assert Entry.objects.newest_first().first().because == "Germany goes live"


def test_nothing_drafted_leaves_a_trace(story, client, alice):
    client.force_login(alice)
    entries = Entry.objects.count()

    client.post(address("flag-rule", KEY, 0), rule_form())

    assert Entry.objects.count() == entries
    assert not ChangeRequest.objects.exists()


def test_rules_move_and_go(story, client, alice):
    client.force_login(alice)

    client.post(address("flag-rule-act", KEY, 2, "up"))
    client.post(address("flag-rule-act", KEY, 2, "delete"))
    client.post(address("flag-review", KEY), {"because": "order", "revision": "2"})

    assert [rule["name"] for rule in queries.flag(HERE, KEY).rules] == ["Beta plans"]


def test_what_is_put_back_is_no_draft(story, client, alice):
    client.force_login(alice)

    client.post(address("flag-rule-act", KEY, 2, "up"))
    client.post(address("flag-rule-act", KEY, 2, "up"))

    assert "drafted" not in body(client.get(address("flag", KEY)))


def test_conditions_are_added_and_removed_without_a_script(story, client, alice):
    client.force_login(alice)

    more = body(client.post(address("flag-rule", KEY, 0), rule_form(do="add")))
    less = body(client.post(address("flag-rule", KEY, 0), rule_form(do="remove-0")))

    assert more.count('name="attribute-') == 2
    assert less.count('name="attribute-') == 0


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"operator-0": "greater", "values-0": "many"}, "takes a number"),
        ({"operator-0": "matches", "values-0": "^a.*b+$"}, ""),
        ({"answer": "maybe"}, "is no variant"),
        ({"answer": "…divide", "share-0": "10", "share-1": "10"}, "add up to 100"),
        ({"operator-0": "in_audience", "values-0": "nobody"}, "There is no audience nobody."),
        ({"attribute-0": "", "values-0": "x"}, "names its attribute"),
    ],
)
def test_a_rule_that_cannot_stand_is_refused_where_it_is_written(form, sentence, story, client, alice):
    client.force_login(alice)

    answer = client.post(address("flag-rule", KEY, 0), rule_form(**form))

    assert answer.status_code == 400
    assert sentence in body(answer)
    assert 'value="country"' in body(answer) or form.get("attribute-0") == ""  # nothing that was typed is lost


def test_values_keep_their_kind(story, client, alice):
    client.force_login(alice)

    client.post(
        address("flag-rule", KEY, 0), rule_form(**{"operator-0": "is_one_of", "values-0": '5, "5", true, "a, b"'})
    )
    client.post(address("flag-review", KEY), {"because": "kinds", "revision": "2"})

    assert queries.flag(HERE, KEY).rules[-1]["when"]["all"][0]["values"] == [5, "5", True, "a, b"]
    form = client.get(address("flag-rule", KEY, 3)).content.decode()
    assert "5, &quot;5&quot;, true, &quot;a, b&quot;" in form


def test_moving_shares_says_who_would_move_before_it_is_saved(story, client, alice):
    client.force_login(alice)

    looked = body(
        client.post(address("flag-edit", KEY, "weights"), {"share-0": "40", "share-1": "60", "do": "preview"})
    )
    client.post(address("flag-edit", KEY, "weights"), {"share-0": "40", "share-1": "60", "do": "keep"})
    review = body(client.get(address("flag-review", KEY)))
    client.post(address("flag-review", KEY), {"because": "more", "revision": "2"})

    assert re.search(r"Of 40 subjects seen in the last day \d+ would move: \d+ from off to on\.", looked)
    assert "Yes, save and move 15 %" in review
    assert queries.flag(HERE, KEY).weights == {"on": 4000, "off": 6000}


@pytest.mark.parametrize("shares", [("40", "50"), ("x", "60"), ("40.001", "59.999"), ("-5", "105")])
def test_shares_that_make_no_hundred_are_refused(shares, story, client, alice):
    client.force_login(alice)

    answer = client.post(address("flag-edit", KEY, "weights"), {"share-0": shares[0], "share-1": shares[1]})

    assert answer.status_code == 400


def test_fields_and_shares_are_saved_in_one_version(story, client, alice):
    client.force_login(alice)
    before = queries.newest_version(HERE)[0]

    client.post(address("flag-edit", KEY, "about"), {"owner": "search", "expires_on": "2027-01-31"})
    client.post(address("flag-edit", KEY, "weights"), {"share-0": "50", "share-1": "50"})
    client.post(address("flag-review", KEY), {"because": "both", "revision": "2"})

    flag = queries.flag(HERE, KEY)
    assert (flag.owner, flag.expires_on.isoformat(), flag.weights["on"]) == ("search", "2027-01-31", 5000)
    assert queries.newest_version(HERE)[0] == before + 1


def test_a_variant_can_be_added_and_one_in_use_cannot_go(story, client, alice):
    client.force_login(alice)
    one, other = {"variant-0": "on", "value-0": "true"}, {"variant-1": "off", "value-1": "false"}

    added = client.post(
        address("flag-edit", KEY, "variants"),
        one | other | {"variant-2": "later", "value-2": "false", "default": "off", "do": "keep"},
    )
    gone = client.post(address("flag-edit", KEY, "variants"), other | {"default": "off", "do": "keep"})

    assert added.status_code == 302
    assert gone.status_code in (400, 409)
    assert "on" in body(gone)


def test_an_expert_s_jsonlogic_replaces_the_rules_and_is_linted(story, client, alice):
    client.force_login(alice)

    broken = client.post(address("flag-edit", KEY, "logic"), {"targeting": "{"})
    unknown = body(client.post(address("flag-edit", KEY, "logic"), {"targeting": '{"frob": [1]}'}))
    client.post(
        address("flag-edit", KEY, "logic"), {"targeting": '{"if": [{">=": [{"var": "age"}, 18]}, "on", "off"]}'}
    )
    review = body(client.get(address("flag-review", KEY)))

    assert broken.status_code == 400
    assert "There is no operator frob." in unknown
    assert "A missing attribute passes" in review


def test_sticky_units_say_what_they_cost(story, client, alice):
    client.force_login(alice)

    text = body(client.get(address("flag-edit", "invoice-extraction", "about")))

    assert "22 to 36 % of healthy candidates were rolled back falsely" in text


def test_a_reason_is_needed(story, client, alice):
    client.force_login(alice)
    client.post(address("flag-rule", KEY, 0), rule_form())

    answer = client.post(address("flag-review", KEY), {"because": " ", "revision": "2"})

    assert answer.status_code == 400
    assert len(queries.flag(HERE, KEY).rules) == 2


# --- conflicts ----------------------------------------------------------------------------------------------------


def change_behind(**fields):
    services.update_flag(environment=HERE, key=KEY, by=person("tom"), because="meanwhile", now=timezone.now(), **fields)


def test_a_stale_write_shows_who_when_and_field_by_field(story, client, alice):
    client.force_login(alice)
    client.post(address("flag-rule", KEY, 0), rule_form())
    change_behind(owner="search", rules=[])

    answer = client.post(address("flag-review", KEY), {"because": "mine", "revision": "2"})

    text = body(answer)
    assert answer.status_code == 409
    assert "tom changed new-parser at" in text
    assert "both of you" in text and "search" in text and "Germans" in text
    assert "Discard mine" in text and "Apply mine on top" in text
    assert queries.flag(HERE, KEY).rules == []


def test_mine_can_be_put_on_top_and_is_reviewed_again(story, client, alice):
    client.force_login(alice)
    client.post(address("flag-edit", KEY, "about"), {"owner": "mine"})
    change_behind(rules=[])

    client.post(address("flag-draft", KEY, "on-top"))
    client.post(address("flag-review", KEY), {"because": "mine on top", "revision": "3"})

    flag = queries.flag(HERE, KEY)
    assert (flag.owner, flag.rules) == ("mine", [])


def test_mine_can_be_discarded(story, client, alice):
    client.force_login(alice)
    client.post(address("flag-rule", KEY, 0), rule_form())

    client.post(address("flag-draft", KEY, "discard"))

    assert "drafted" not in body(client.get(address("flag", KEY)))


def test_a_draft_is_seen_by_nobody_else(story, client, alice, dora):
    client.force_login(alice)
    client.post(address("flag-rule", KEY, 0), rule_form())

    client.force_login(dora)

    assert "drafted" not in body(client.get(address("flag", KEY)))


# --- switches, versions -------------------------------------------------------------------------------------------


def test_the_kill_switch_takes_two_presses_and_nothing_else(protected, client, alice):
    client.force_login(alice)

    first = body(client.get(address("flag-switch", KEY, "off"), headers={"HX-Request": "true"}))
    still_on = queries.flag(HERE, KEY).switch
    second = body(client.post(address("flag-switch", KEY, "off"), headers={"HX-Request": "true"}))

    assert "Switch new-parser off for everybody?" in first and "Keep it on" in first
    assert (still_on, queries.flag(HERE, KEY).switch) == ("", "off")
    assert "Switched off, snapshot" in second


def test_a_route_falls_back_and_is_restored(story, client, alice):
    client.force_login(alice)

    client.post(address("flag-switch", "invoice-extraction", "fall-back"), {"idempotency_key": "a"})
    text = body(client.get(address("flag", "invoice-extraction")))
    client.post(address("flag-switch", "invoice-extraction", "restore"), {"idempotency_key": "b"})

    assert "On fallback: everybody gets" in text
    assert queries.route(HERE, "invoice-extraction").switch == ""


def test_versions_are_compared_field_by_field(story, client, bob):
    client.force_login(bob)

    text = body(client.get(address("flag-versions", KEY), {"from": 1, "to": 2}))

    assert "75 % off" in text and "25 % on" in text
    assert "Revert to this" not in text


def test_a_revert_is_shown_first_and_becomes_a_new_version(story, client, alice):
    client.force_login(alice)
    change_behind(rules=[], owner="search")

    shown = body(client.get(address("flag-revert", KEY, 2)))
    form = {"because": "it was better", "revision": "3", "only": ["rules"]}
    client.post(address("flag-revert", KEY, 2), form)

    flag = queries.flag(HERE, KEY)
    assert "Beta plans" in shown and "Yes, revert to 2" in shown
    assert (len(flag.rules), flag.owner, flag.revision) == (2, "search", 4)
    assert flag.weights == {"on": 2500, "off": 7500}


# --- four eyes ----------------------------------------------------------------------------------------------------


def ask(client, user):
    client.force_login(user)
    client.post(address("flag-rule", KEY, 0), rule_form())
    return client.post(address("flag-review", KEY), {"because": "Germany", "revision": "2", "do": "submit"})


def test_in_a_protected_environment_saving_asks_another_person(protected, client, alice, dora):
    answer = ask(client, alice)

    row = ChangeRequest.objects.get()
    assert answer["Location"].startswith(address("change", row.id))
    assert (row.state, len(queries.flag(HERE, KEY).rules)) == ("submitted", 2)
    text = body(client.get(address("change", row.id)))
    assert "You wrote this: it waits for dora." in text
    assert "Germans: country is DE, then on" in text


def test_four_eyes_approve_and_apply(protected, client, alice, dora):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    own = client.post(address("change-act", row.id, "approve"), {"digest": ""})
    client.force_login(dora)

    text = body(client.get(address("change", row.id)))
    digest = re.search(r'name="digest"\s+value="(\w+)"', text)[1]
    client.post(address("change-act", row.id, "approve"), {"digest": digest, "expected": row.revision})
    armed = body(client.get(address("change-act", row.id, "apply")))
    for _ in range(2):  # a double tap
        client.post(address("change-act", row.id, "apply"), {"expected": row.revision + 1})

    row.refresh_from_db()
    assert own.status_code == 403
    assert "Yes, apply it" in armed
    assert (row.state, len(queries.flag(HERE, KEY).rules)) == ("applied", 3)


def test_a_void_approval_is_said(protected, client, alice, dora):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    change_requests.approve(id=row.id, by=person("dora"), now=timezone.now())
    services.switch_off(environment=HERE, key=KEY, by=person("tom"), because="hot", now=timezone.now())

    text = body(client.get(address("change", row.id)))
    answer = client.post(address("change-act", row.id, "apply"))

    assert "The approval by dora is void" in text
    assert answer.status_code == 409 and "is void" in body(answer)
    row.refresh_from_db()
    assert row.state == "submitted"


def test_a_rejection_needs_a_reason(protected, client, alice, dora):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    client.force_login(dora)

    without = client.post(address("change-act", row.id, "reject"), {"because": ""})
    client.post(address("change-act", row.id, "reject"), {"because": "Not on Friday"})

    row.refresh_from_db()
    assert without.status_code == 409
    assert (row.state, row.sentence) == ("rejected", "Not on Friday")


@pytest.mark.parametrize("act", ["submit", "approve", "reject", "apply", "schedule", "redraft", "withdraw"])
def test_a_viewer_and_a_stranger_decide_nothing(act, protected, client, alice, bob, charlie):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    client.force_login(bob)
    viewer = client.post(address("change-act", row.id, act), {"because": "x"}).status_code
    client.force_login(charlie)
    stranger = client.post(address("change-act", row.id, act), {"because": "x"}).status_code

    row.refresh_from_db()
    assert (viewer, stranger, row.state) == (403, 404, "submitted")


def test_a_conflict_is_drafted_anew(protected, client, alice):
    ask(client, alice)
    row = ChangeRequest.objects.get()
    protected.is_protected = False
    protected.save()
    change_behind(rules=[])

    text = body(client.get(address("change", row.id)))
    client.post(address("change-act", row.id, "redraft"))

    row.refresh_from_db()
    assert "What has moved since" in text
    assert (row.state, row.base_revision) == ("draft", 3)


def test_a_change_is_scheduled_for_a_moment_to_come(story, client, alice):
    row = change_requests.propose(
        environment=HERE, subject=KEY, fields={"owner": "x"}, by=person("alice"), because="b", now=timezone.now()
    )
    client.force_login(alice)

    past = client.post(address("change-act", row.id, "schedule"), {"due_at": "2020-01-01T00:00"})
    client.post(address("change-act", row.id, "schedule"), {"due_at": "2100-01-01T00:00"})

    row.refresh_from_db()
    assert past.status_code == 409
    assert row.state == "scheduled"


def test_what_waits_comes_first(protected, client, alice):
    ask(client, alice)

    text = body(client.get(address("changes")))

    assert "Waits for approval" in text and "Change new-parser" in text


# --- audiences, clients, tester -----------------------------------------------------------------------------------


def test_an_audience_is_named_and_changed_in_one_version(story, client, alice):
    client.force_login(alice)
    form = {"kind-0": "any", "attribute-0": "mail", "operator-0": "ends_with", "values-0": "@example.org", "do": "save"}

    client.post(address("audience", "-"), form | {"name": "friends"})
    client.post(address("audience", "staff"), form | {"because": "moved", "revision": "1"})

    assert queries.audience(HERE, "friends").words == "mail ends with @example.org"
    assert "@example.org" in str(queries.flag(HERE, KEY).targeting)


def test_a_stale_audience_is_not_overwritten(story, client, alice):
    client.force_login(alice)
    form = {"kind-0": "all", "attribute-0": "a", "operator-0": "is_set", "values-0": "", "do": "save", "because": "x"}
    client.post(address("audience", "staff"), form | {"revision": "1"})

    answer = client.post(address("audience", "staff"), form | {"attribute-0": "b", "revision": "1"})

    assert answer.status_code == 400
    assert "alice changed this audience since you looked" in body(answer)


def test_the_tester_traces_each_rule_and_says_when_one_would_join(story, client, bob):
    client.force_login(bob)

    text = body(client.post(address("tester"), {"flag": KEY, "context": "targetingKey=on-user-1\nplan=free"}))

    assert "Does not hold" in text
    assert "mail is missing from the context" in text
    assert re.search(r"on: (joins at a share of at least|has it, and keeps it down to a share of) [\d.]+ %", text)


def test_a_rule_that_holds_ends_the_trace(story, client, bob):
    client.force_login(bob)

    text = body(
        client.post(address("tester"), {"flag": KEY, "context": '{"targetingKey": "x", "mail": "a@example.com"}'})
    )

    assert "Holds" in text and "Not reached" in text
    assert "A rule answered on." in text


def test_a_past_snapshot_answers_as_it_did(story, client, bob):
    client.force_login(bob)

    text = body(client.post(address("tester"), {"flag": KEY, "context": "targetingKey=x", "at": "1"}))

    assert "snapshot 1" in text
    assert "Neither a rule nor a split answered: the default variant is off." in text


def test_two_snapshots_are_compared_over_many_ids(story, client, bob):
    client.force_login(bob)
    ids = "\n".join(f"user-{number}" for number in range(1000))

    text = body(
        client.post(
            address("tester"),
            {"flag": KEY, "context": "", "ids": ids, "from": "1", "to": "2", "do": "compare"},
        )
    )

    changed = int(re.search(r"(\d+) of 1000 change", text)[1])
    assert 200 < changed < 300


@pytest.mark.parametrize(
    "form",
    [
        {"context": "{"}, {"context": "no sign"}, {"context": "[1]", "flag": KEY}, {"context": "", "at": "x"},
        {"context": "", "at": "999"}, {"context": "", "do": "compare"}, {"context": "", "flag": "gone"},
        {"context": "", "do": "compare", "ids": "a", "from": "77"},
    ],
)  # fmt: skip
def test_what_the_tester_cannot_read_is_said(form, story, client, bob):
    client.force_login(bob)

    assert client.post(address("tester"), form).status_code == 400


def test_a_long_list_is_paged_and_searched(story, client, bob):
    for number in range(105):
        make_flag(f"many-{number:03}")
    client.force_login(bob)

    first, second = (body(client.get(address("flags"), {"page": page})) for page in (1, 2))
    found = body(client.get(address("flags"), {"q": "104"}))

    assert "1 of 2" in first and "many-104" not in first
    assert "many-104" in second
    assert "many-104" in found and "many-103" not in found


def test_the_list_asks_the_database_as_often_for_a_hundred_flags(story, client, bob, django_assert_max_num_queries):
    for number in range(60):
        make_flag(f"many-{number:03}")
    client.force_login(bob)
    client.get(address("flags"))

    with django_assert_max_num_queries(30):
        client.get(address("flags"))


@pytest.mark.parametrize(
    ("page", "form"),
    [
        (("tester",), {"flag": "a\0b", "context": "x=\0", "at": "\0"}),
        (("flag-rule", KEY, 0), rule_form(name="a\0", **{"values-0": "\0"})),
        (("flag-edit", KEY, "about"), {"owner": "\0"}),
        (("flag-edit", KEY, "variants"), {"variant-0": "\0", "value-0": "true"}),
        (("flag-edit", KEY, "logic"), {"targeting": '{"if": [' * 3000}),
        (("audience", "-"), rule_form(name="\0")),
    ],
)
def test_texts_that_no_database_takes_are_no_fault_of_ours(page, form, story, client, alice):
    client.force_login(alice)

    assert client.post(address(*page), form).status_code < 500


def test_a_change_of_rules_says_who_would_move_before_it_is_saved(story, client, alice):
    client.force_login(alice)
    own = {"attribute-0": "targetingKey", "operator-0": "starts_with", "values-0": "off-user-1"}

    client.post(address("flag-rule", KEY, 0), rule_form(**own))
    text = body(client.get(address("flag-review", KEY)))

    assert "Who would move" in text
    assert re.search(r"Of 40 subjects seen in the last day \d+ would move: \d+ from off to on\.", text)
    assert "The rules ask for mail, plan, which nobody reports with a subject" in text


def test_a_change_of_an_audience_says_who_would_move(story, client, alice):
    client.force_login(alice)
    form = rule_form(do="preview", **{"attribute-0": "targetingKey", "values-0": "off-user-1"})

    text = body(client.post(address("audience", "staff"), form))

    assert "<strong>new-parser</strong>: Of 40 subjects seen in the last day" in text
    assert queries.audience(HERE, "staff").conditions["all"][0]["attribute"] == "mail"


def test_a_reviewed_change_can_wait_for_its_moment(story, client, alice):
    client.force_login(alice)
    client.post(address("flag-rule", KEY, 0), rule_form())
    before = queries.newest_version(HERE)
    due = {"because": "At night", "do": "schedule", "due_at": "2090-01-01T03:00"}

    wrong = body(client.post(address("flag-review", KEY), due | {"due_at": "soon"}))
    client.post(address("flag-review", KEY), due)

    assert "Choose the day and the minute, in UTC." in wrong
    row = ChangeRequest.objects.get()
    assert (row.state, row.due_at.year, row.because) == ("scheduled", 2090, "At night")
    assert queries.newest_version(HERE) == before
    assert "drafted" not in body(client.get(address("flag", KEY)))
