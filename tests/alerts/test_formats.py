"""The bodies for the services of others, field by field, and within the limits that these publish."""

import json
from datetime import UTC, datetime

import pytest

from apps.alerts.domain import formats, messages
from apps.alerts.domain.messages import Message, Notice
from tests.alerts.make_alerts import ROUTE, SENTENCE

AT = datetime(2026, 11, 24, 3, 0, 1, tzinfo=UTC)
HOME = "https://changeover.example"


def notice(**fields):
    blank = dict.fromkeys(("alert", "condition", "environment", "route", "owner", "sentence", "link", "runbook"), "")
    return Notice(**{"event": "firing", "severity": "error", "opened_at": AT, "at": AT, **blank, **fields})


def message(*notices, key="a-1"):
    return Message(id="m-1", key=key, notices=notices, home=HOME)


ROLLED_BACK = {
    "alert": "a-1",
    "condition": f"rollout:{ROUTE}",
    "severity": "critical",
    "environment": "production",
    "route": ROUTE,
    "owner": "payments",
    "sentence": SENTENCE,
    "link": f"{HOME}/d/1",
    "runbook": "Ask the provider.",
}


def test_pagerduty_is_told_what_events_v2_asks_for():
    told = formats.pagerduty(message(notice(**ROLLED_BACK)), "k" * 32)

    details = told["payload"].pop("custom_details")
    assert told == {
        "routing_key": "k" * 32,
        "event_action": "trigger",
        "dedup_key": "a-1",
        "client": "Changeover",
        "client_url": HOME,
        "links": [{"href": f"{HOME}/d/1", "text": "Look"}],
        "payload": {
            "summary": SENTENCE,
            "source": "changeover production",
            "severity": "critical",
            "timestamp": "2026-11-24T03:00:01+00:00",
            "component": ROUTE,
            "group": "payments",
            "class": "rollout",
        },
    }
    assert (details["runbook"], details["sentence"]) == ("Ask the provider.", SENTENCE)


@pytest.mark.parametrize(("event", "action"), [("acknowledged", "acknowledge"), ("resolved", "resolve")])
def test_pagerduty_acknowledges_and_resolves_by_the_key_alone(event, action):
    told = formats.pagerduty(message(notice(**ROLLED_BACK | {"event": event})), "k" * 32)

    assert (told["event_action"], told["dedup_key"]) == (action, "a-1")
    assert "payload" not in told


def test_teams_is_told_by_an_adaptive_card():
    told = formats.teams(message(notice(**ROLLED_BACK)))

    line = {"type": "TextBlock", "wrap": True}
    assert told == {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        line | {"text": f"🔴 {SENTENCE}", "weight": "Bolder", "size": "Medium"},
                        line | {"text": "What to do: Ask the provider."},
                        line
                        | {
                            "text": "critical · production, invoice-extraction, payments · 2026-11-24 03:00:01 UTC",
                            "isSubtle": True,
                        },
                    ],
                    "actions": [{"type": "Action.OpenUrl", "title": "Look", "url": f"{HOME}/d/1"}],
                },
            }
        ],
    }


def test_slack_is_told_by_a_text_and_blocks():
    told = formats.slack(message(notice(**ROLLED_BACK)))

    def section(text):
        return {"type": "section", "text": {"type": "mrkdwn", "text": text}}

    place = "critical · production, invoice-extraction, payments · 2026-11-24 03:00:01 UTC"
    assert told == {
        "text": f"🔴 {SENTENCE}",
        "blocks": [
            section(f"*🔴 {SENTENCE}*"),
            section("What to do: Ask the provider."),
            section(f"<{HOME}/d/1|Look>"),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": place}]},
        ],
    }


def long_messages(text):
    """One alert and a digest, everything in them as long as it may be."""
    long = {"sentence": f"It is so because {text * 9000}", "runbook": text * 600_000, "environment": text * 64}
    long |= {"route": text * 128, "owner": text * 128, "link": f"{HOME}/?{'a&' * 240}", "condition": "c"}
    yield message(notice(**long))
    yield message(*(notice(**long | {"alert": str(n), "route": f"{n}{text * 124}"}) for n in range(500)))


@pytest.mark.parametrize("text", ["&", "<", '"', "x", "of ", "😀", "\x01"])
def test_however_long_it_is_it_stays_within_every_limit_and_says_something(text):
    for told in long_messages(text):
        slack, teams = formats.slack(told), formats.teams(told)
        duty = formats.pagerduty(told, "k" * 32)
        sections = [block["text"]["text"] for block in slack["blocks"] if "text" in block]
        card = teams["attachments"][0]["content"]["body"]

        assert len(json.dumps(slack, ensure_ascii=False)) < 10_000
        assert len(slack["blocks"]) <= 50
        assert max(map(len, sections)) <= 3000
        assert len(json.dumps(teams, ensure_ascii=False).encode()) < 28_000
        assert len(json.dumps(duty, ensure_ascii=False).encode()) < 512_000
        assert len(duty["payload"]["summary"]) <= 1024
        assert len(messages.subject(told)) <= 78
        assert min(len(slack["text"]), len(sections[0]), len(card[0]["text"]), len(card[1]["text"])) > 60


@pytest.mark.parametrize("sign", "&<>x")
def test_slacks_escapes_are_never_cut_in_two(sign):
    told = notice(sentence=f"It is so because {sign * 9000}", runbook=sign * 9000, route="r" * 128)
    body = formats.slack(message(told))

    for text in (body["text"], *(block["text"]["text"] for block in body["blocks"] if "text" in block)):
        rest = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert not set(rest) & set("&<>")


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        ({"sentence": "The budget is spent."}, "Firing: The budget is spent."),
        (
            {"sentence": SENTENCE, "route": ROUTE},
            "Firing: Rolled back invoice-extraction: p95 latency was 4.34 s, limit 2.56 s",
        ),
        (
            {"sentence": SENTENCE, "route": ROUTE, "event": "resolved"},
            "Resolved: Rolled back invoice-extraction: p95 latency was 4.34 s, limit 2.56 s",
        ),
        (
            {"sentence": f"Held the ramp because {'the errors rise and ' * 9}fall", "route": "search"},
            "Firing: Held the ramp: the errors rise and the errors rise and the errors…",
        ),
        ({"sentence": "y" * 300}, f"Firing: {'y' * 69}…"),
        ({"sentence": "Nothing came.", "again": True}, "Still firing since 03:00 UTC: Nothing came."),
    ],
)
def test_a_subject_has_state_route_and_figure_in_78_characters(fields, subject):
    assert messages.subject(message(notice(**fields))) == subject
    assert len(subject) <= 78
