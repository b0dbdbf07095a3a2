"""The bodies that the services of others want: Slack, PagerDuty Events v2, Microsoft Teams, HTML mail. Pure."""

import json
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from apps.alerts.domain import messages
from apps.alerts.domain.messages import Message

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
ACTIONS = {"firing": "trigger", "acknowledged": "acknowledge", "resolved": "resolve", "test": "trigger"}
MARKS = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
SLACK_TEXT = 1000  # the notification. All of a message stays below 10,000 characters as they are sent
SLACK_SECTION = 2500
SLACK_PLACE = 900
PAGERDUTY_DETAIL = 20_000  # of 512 kB in all, whatever a character weighs
TEAMS_BYTES = 20_000  # of 28 kB in all
TEAMS_LEAST = 400  # of each paragraph


def fitted(text: str, most: int, weigh: Callable[[str], int]) -> str:
    """Cut until it weighs no more than that."""
    left = most
    while (weight := weigh(shown := messages.shortened(text, left))) > most:
        left = left * most // weight
    return shown


def written(text: str) -> str:
    """As JSON writes it, where quotes and line ends weigh two."""
    return json.dumps(text, ensure_ascii=False)


def for_slack(text: str, most: int = SLACK_SECTION) -> str:
    """Cut before it is escaped, so that no escape is cut in two."""
    return escaped_for_slack(fitted(text, most, lambda shown: len(written(escaped_for_slack(shown)))))


def escaped_for_slack(text: str) -> str:
    """Slack wants these three escaped, and nothing else."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mark(message: Message) -> str:
    return "✅" if message.event == "resolved" else MARKS.get(message.first.severity, "🟡")


def slack(message: Message) -> dict[str, Any]:
    """An incoming webhook. `text` is what the notification shows; the blocks are what the channel shows."""
    line = f"{mark(message)} {messages.headline(message)}"
    said = [f"*{for_slack(line)}*" if message.is_one else for_slack(line)]
    if not message.is_one:
        said.append(for_slack("\n".join(f"• {each}" for each in messages.lines(message))))
    elif message.first.runbook:
        said.append(for_slack(f"What to do: {message.first.runbook}"))
    if message.link:
        said.append(f"<{escaped_for_slack(message.link)}|Look>")
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": each}} for each in said if each]
    place = {"type": "mrkdwn", "text": for_slack(messages.where(message), SLACK_PLACE)}
    return {"text": for_slack(line, SLACK_TEXT), "blocks": [*blocks, {"type": "context", "elements": [place]}]}


def pagerduty(message: Message, routing_key: str) -> dict[str, Any]:
    first = message.first
    action = ACTIONS[message.event]
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": message.key[:255],
        "client": "Changeover",
        "client_url": message.home,
    }
    if action != "trigger":
        return event
    details = {name: detail(value) for name, value in messages.data_of(first).items() if value}
    event["payload"] = {
        "summary": messages.shortened(messages.headline(message), 1024),
        "source": f"changeover {first.environment}",
        "severity": first.severity if first.severity in MARKS else "warning",
        "timestamp": first.at.isoformat(),
        "component": first.route,
        "group": first.owner,
        "class": first.condition.partition(":")[0],
        "custom_details": details if message.is_one else {"alerts": messages.lines(message)},
    }
    if message.link:
        event["links"] = [{"href": message.link, "text": "Look"}]
    return event


def detail(value: Any) -> Any:
    return messages.shortened(value, PAGERDUTY_DETAIL) if isinstance(value, str) else value


def teams(message: Message) -> dict[str, Any]:
    """An adaptive card for a Workflows webhook. Teams answers 202: the flow was started, no more."""
    body = [f"{mark(message)} {messages.headline(message)}"]
    if not message.is_one:
        body += messages.lines(message)
    elif message.first.runbook:
        body.append(f"What to do: {message.first.runbook}")
    body.append(messages.where(message))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": text_blocks(body),
    }
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Look", "url": message.link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def text_blocks(paragraphs: Sequence[str]) -> list[dict[str, Any]]:
    """The first stands out, the last stands back. What is too long is cut, and of too many some are left out."""
    blocks: list[dict[str, Any]] = []
    left, last = TEAMS_BYTES, len(paragraphs) - 1
    for place, text in enumerate(paragraphs):
        if left <= 0 and place != last:
            continue
        shown = fitted(text, max(left, TEAMS_LEAST), weight_in_teams)
        left -= weight_in_teams(shown)
        look = {"weight": "Bolder", "size": "Medium"} if place == 0 else {"isSubtle": True} if place == last else {}
        blocks.append({"type": "TextBlock", "text": shown, "wrap": True, **look})
    return blocks


def weight_in_teams(text: str) -> int:
    return len(written(text).encode())


def html(message: Message) -> str:
    """The mail's other half: the same words, one link."""
    said = [f"<p><strong>{escape(messages.headline(message))}</strong></p>"]
    if not message.is_one:
        said.append(f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in messages.lines(message))}</ul>")
    if message.link:
        said.append(f'<p><a href="{escape(message.link)}">{escape(message.link)}</a></p>')
    if message.is_one and message.first.runbook:
        said.append(f"<p>What to do: {escape(message.first.runbook)}</p>")
    said.append(f"<p><small>{escape(messages.where(message))}</small></p>")
    if message.link:
        said.append("<p><small>The link only shows. Nothing is done by opening it.</small></p>")
    return f"<!doctype html><html><body>{''.join(said)}</body></html>"
