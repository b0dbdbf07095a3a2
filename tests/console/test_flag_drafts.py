"""A draft of a flag: written in small forms, reviewed, saved as one version, or in conflict."""

import re

import pytest

from apps.flags import queries
from apps.flags.models import ChangeRequest
from apps.journal.models import Entry
from tests.console.flag_pages import HERE, KEY, address, body, change_behind, rule_form

pytestmark = pytest.mark.django_db


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


def test_a_change_of_rules_says_who_would_move_before_it_is_saved(story, client, alice):
    client.force_login(alice)
    own = {"attribute-0": "targetingKey", "operator-0": "starts_with", "values-0": "off-user-1"}

    client.post(address("flag-rule", KEY, 0), rule_form(**own))
    text = body(client.get(address("flag-review", KEY)))

    assert "Who would move" in text
    assert re.search(r"Of 40 subjects seen in the last day \d+ would move: \d+ from off to on\.", text)
    assert "The rules ask for mail, plan, which nobody reports with a subject" in text


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
