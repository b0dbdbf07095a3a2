"""What a person on call reads: the decision's sentence first, then what is true now and where to look.

Plain values in, text out. The first 200 characters of a mail say it all, since it is read on a phone's lock screen.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to say about one alert. `event` is `firing`, `resolved` or `test`."""

    event: str
    alert: str
    condition: str
    severity: str
    environment: str
    route: str
    owner: str
    sentence: str
    link: str
    runbook: str
    at: datetime


def subject(notice: Notice) -> str:
    head = "" if notice.event == "firing" else f"{notice.event.capitalize()}: "
    return " ".join(f"{head}{notice.sentence}".split())


def plain_text(notice: Notice) -> str:
    lines = [subject(notice), "", f"Look: {notice.link}" if notice.link else ""]
    lines += [f"What to do: {notice.runbook}"] if notice.runbook else []
    where = ", ".join(part for part in (notice.environment, notice.route, notice.owner) if part)
    lines += ["", f"{notice.severity} · {where} · {notice.at:%Y-%m-%d %H:%M:%S} UTC"]
    lines += ["The link only shows. Nothing is done by opening it."] if notice.link else []
    return "\n".join(lines).replace("\n\n\n", "\n\n")


def document(notice: Notice) -> dict[str, str]:
    """The JSON body of a signed webhook."""
    return {
        "type": f"alert.{notice.event}",
        "timestamp": notice.at.isoformat(),
        "alert": notice.alert,
        "condition": notice.condition,
        "severity": notice.severity,
        "environment": notice.environment,
        "route": notice.route,
        "owner": notice.owner,
        "sentence": notice.sentence,
        "link": notice.link,
        "runbook": notice.runbook,
    }
