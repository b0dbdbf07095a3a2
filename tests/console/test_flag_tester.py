"""The tester: why a context gets what it gets, as of any snapshot; and two snapshots compared."""

import re

import pytest

from tests.console.flag_pages import KEY, address, body

pytestmark = pytest.mark.django_db


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
