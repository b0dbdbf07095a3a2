"""The bodies that the services of others want: Slack, PagerDuty Events v2, Microsoft Teams, HTML mail. Pure."""

from html import escape
from typing import Any

from apps.alerts.domain import messages
from apps.alerts.domain.messages import Message

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
ACTIONS = {"firing": "trigger", "acknowledged": "acknowledge", "resolved": "resolve", "test": "trigger"}
MARKS = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
SLACK_SECTION = 3000  # the text of a block: text, headline, list or runbook, and place stay below 10,000 in all
SLACK_PLACE = 2000
TEAMS_TEXT = 6000  # of 28 kB in all, whatever a character weighs in UTF-8


def for_slack(text: str, most: int = SLACK_SECTION) -> str:
    """Slack wants these three escaped, and nothing else. Cut before, so that no escape is cut in two."""
    left = most
    while len(escaped := escaped_for_slack(messages.shortened(text, left))) > most:
        left -= len(escaped) - most
    return escaped


def escaped_for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mark(message: Message) -> str:
    return "✅" if message.event == "resolved" else MARKS.get(message.first.severity, "🟡")


def slack(message: Message) -> dict[str, Any]:
    """An incoming webhook. `text` is what the notification shows; the blocks are what the channel shows."""
    line = f"{mark(message)} {messages.headline(message)}"
    said = [f"*{for_slack(line, SLACK_SECTION - 2)}*" if message.is_one else for_slack(line)]
    if not message.is_one:
        said.append(for_slack("\n".join(f"• {each}" for each in messages.lines(message))))
    elif message.first.runbook:
        said.append(for_slack(f"What to do: {message.first.runbook}"))
    if message.link:
        said.append(f"<{escaped_for_slack(message.link)}|Look>")
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": each}} for each in said if each]
    place = {"type": "mrkdwn", "text": for_slack(messages.where(message), SLACK_PLACE)}
    return {"text": for_slack(line), "blocks": [*blocks, {"type": "context", "elements": [place]}]}


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
    details = {name: value for name, value in messages.data_of(first).items() if value}
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


def teams(message: Message) -> dict[str, Any]:
    """An adaptive card for a Workflows webhook. Teams answers 202: the flow was started, no more."""
    body = [f"{mark(message)} {messages.headline(message)}"]
    if not message.is_one:
        body += messages.lines(message)
    elif message.first.runbook:
        body.append(f"What to do: {message.first.runbook}")
    body.append(messages.where(message))
    blocks: list[dict[str, Any]] = []
    left = TEAMS_TEXT
    for place, text in enumerate(body):
        shown = messages.shortened(text, max(left, 80))
        left -= len(shown)
        if left < 0 and place not in (0, len(body) - 1):
            continue
        look = (
            {"weight": "Bolder", "size": "Medium"}
            if place == 0
            else {"isSubtle": True}
            if place == len(body) - 1
            else {}
        )
        blocks.append({"type": "TextBlock", "text": shown, "wrap": True, **look})
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
    }
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Look", "url": message.link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


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
