"""What a person on call reads: the decision's sentence first, then what is true now and where to look.

Plain values in, words out. One message carries one notice, or many of the same kind: those of a route that joined its
group, or everything that a channel's rate held back. The first 200 characters say it all: phones show no more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from apps.alerts.domain.life import rank

LISTED = 20  # lines of a digest; the rest is a number
LINE = 500
MOST_DATA = 200  # alerts in a webhook's digest
SUBJECT = 78
HEADS = {"firing": "", "acknowledged": "Acknowledged: ", "resolved": "Resolved: ", "test": "Test: "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to say about one alert. `event` is `firing`, `acknowledged`, `resolved` or `test`."""

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
    opened_at: datetime
    again: bool = False  # told before, and nobody has it yet
    by: str = ""  # who acknowledged

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat(), "opened_at": self.opened_at.isoformat()}


def from_json(kept: dict[str, Any]) -> Notice:
    moments = {name: datetime.fromisoformat(kept[name]) for name in ("at", "opened_at")}
    return Notice(**kept | moments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent in one go. `id` stays the same while the same notices are tried again; `key` is what joins all
    messages of one alert at the receiver."""

    id: str
    key: str
    notices: tuple[Notice, ...]
    home: str  # the console's address
    reached: tuple[str, ...] = ()  # of a mail that is tried again: who has it already

    @property
    def event(self) -> str:
        return self.notices[0].event

    @property
    def first(self) -> Notice:
        """The worst of them."""
        return max(self.notices, key=lambda notice: rank(notice.severity))

    @property
    def is_one(self) -> bool:
        return len(self.notices) == 1

    @property
    def link(self) -> str:
        return self.first.link if self.is_one else f"{self.home}/alerts/"


def headline(message: Message) -> str:
    """One sentence that stands alone."""
    return said(message.first) if message.is_one else many(message.notices)


def said(notice: Notice) -> str:
    head = HEADS[notice.event]
    if notice.event == "firing" and notice.again:
        head = f"Still firing since {notice.opened_at:%H:%M} UTC: "
    if notice.event == "acknowledged" and notice.by:
        head = f"Acknowledged by {notice.by}: "
    return " ".join(f"{head}{notice.sentence}".split())


def many(notices: Sequence[Notice]) -> str:
    """`37 routes are firing in production, 12 critical: invoice-extraction, search and 35 more.`"""
    routes = list(dict.fromkeys(notice.route for notice in notices if notice.route))
    loose = len({notice.alert for notice in notices if not notice.route})
    worst = sum(notice.severity == "critical" for notice in notices)
    place = notices[0].environment
    if len(routes) == 1 and not loose:
        what, names = f"{routes[0]}: {len(notices)} alerts", ""
    else:
        counted = [f"{len(routes)} {'route' if len(routes) == 1 else 'routes'}"] if routes else []
        counted += [f"{loose} other {'alert' if loose == 1 else 'alerts'}"] if loose else []
        what, names = " and ".join(counted), listed(routes)
    verb = {"firing": "are firing", "acknowledged": "are acknowledged", "resolved": "are resolved"}[notices[0].event]
    tail = f", {worst} critical" if worst and notices[0].event == "firing" else ""
    return f"{what} {verb} in {place}{tail}{f': {names}' if names else ''}."


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    if len(names) <= most:
        return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def subject(message: Message) -> str:
    """State, route and figure in 78 characters at most."""
    if not message.is_one:
        return shortened(headline(message), SUBJECT)
    notice = message.first
    is_new = notice.event == "firing" and not notice.again
    whole = f"Firing: {said(notice)}" if is_new else said(notice)
    if len(whole) <= SUBJECT:
        return whole
    head = whole[: len(whole) - len(" ".join(notice.sentence.split()))]
    sentence = first_sentence(whole[len(head) :])
    what, _, why = sentence.partition(" because ")
    if why:
        name = notice.route
        if name and name in what:
            what = what[: what.index(name) + len(name)]
        sentence = f"{what}: {why}"
    elif notice.route and notice.route not in sentence:
        sentence = f"{notice.route}: {sentence}"
    return shortened(head + sentence, SUBJECT)


def first_sentence(text: str) -> str:
    for at, mark in enumerate(text):
        if mark == "." and text[at + 1 : at + 2] in ("", " "):
            return text[:at]
    return text


def shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    cut = text[: most - 1]
    words = cut.rpartition(" ")[0]
    return (words if len(words) > most // 2 else cut).rstrip(" ,;:") + "…"


def lines(message: Message) -> list[str]:
    """What a digest carries, the worst first, the rest as a number."""
    worst_first = sorted(message.notices, key=lambda notice: -rank(notice.severity))
    shown = [shortened(f"{notice.severity}: {said(notice)}", LINE) for notice in worst_first[:LISTED]]
    more = len(worst_first) - LISTED
    return shown + ([f"and {more} more"] if more > 0 else [])


def where(message: Message) -> str:
    notice = message.first
    if not message.is_one:
        return f"{notice.environment} · {notice.at:%Y-%m-%d %H:%M:%S} UTC"
    place = ", ".join(part for part in (notice.environment, notice.route, notice.owner) if part)
    return f"{notice.severity} · {place} · {notice.at:%Y-%m-%d %H:%M:%S} UTC"


def plain_text(message: Message) -> str:
    paragraphs = [headline(message)]
    if not message.is_one:
        paragraphs.append("\n".join(lines(message)))
    if message.link:
        paragraphs.append(f"Look: {message.link}")
    if message.is_one and message.first.runbook:
        paragraphs.append(f"What to do: {message.first.runbook}")
    tail = [where(message)] + (["The link only shows. Nothing is done by opening it."] if message.link else [])
    return "\n\n".join([*paragraphs, "\n".join(tail)])


def document(message: Message) -> dict[str, Any]:
    """The JSON body of a signed webhook: `alert.firing` of one, `alerts.firing` of many."""
    at = max(notice.at for notice in message.notices)
    if message.is_one:
        return {"type": f"alert.{message.event}", "timestamp": at.isoformat(), "data": data_of(message.first)}
    worst_first = sorted(message.notices, key=lambda notice: -rank(notice.severity))
    data = {
        "sentence": headline(message),
        "environment": message.first.environment,
        "severity": message.first.severity,
        "link": message.link,
        "count": len(message.notices),
        "routes": sorted({notice.route for notice in message.notices if notice.route}),
        "alerts": [data_of(notice) for notice in worst_first[:MOST_DATA]],
    }
    return {"type": f"alerts.{message.event}", "timestamp": at.isoformat(), "data": data}


def data_of(notice: Notice) -> dict[str, Any]:
    return {
        "alert": notice.alert,
        "condition": notice.condition,
        "severity": notice.severity,
        "environment": notice.environment,
        "route": notice.route,
        "owner": notice.owner,
        "sentence": notice.sentence,
        "link": notice.link,
        "runbook": notice.runbook,
        "opened_at": notice.opened_at.isoformat(),
        "again": notice.again,
        "by": notice.by,
    }
