"""The pages of flags: who sees them, what they say, switches, versions."""

import pytest

from apps.flags import queries
from tests.console.flag_pages import HERE, KEY, address, body, change_behind, rule_form
from tests.flags.make_flags import make_flag

pytestmark = pytest.mark.django_db


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
    assert "Revision 2, whole" in text and "Staff: in audience staff, then on" in text
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
