"""What the development page shows: every state of every part, from fixed values."""

from dataclasses import dataclass

from apps.console.acts import Act


@dataclass(frozen=True, slots=True)
class Band:
    tone: str
    glyph: str
    word: str
    words: str
    link: str = ""
    href: str = ""
    inside: bool = False


UNPROTECTED = Band(
    "danger",
    "unprotected",
    "Unprotected",
    "Nothing has been evaluated for 75 s. Services keep their last snapshot, 43. You can still roll back by hand.",
    "Open Activity",
    "#",
    True,
)
RECONNECTING = Band(
    "warn", "holding", "Reconnecting", "You see 03:12:40, 25 s ago. Trying again in 4 s.", "Try now", "#", True
)
ROLL_BACK = Act(
    key="parts-roll-back",
    label="Roll back to GPT-4.1",
    href="#",
    presses=2,
    icon="undo-2",
    css="is-danger",
    question="Send 100 % to GPT-4.1?",
    effect="Moves 25 % back in about 0.8 s and costs $12.56 more an hour.",
    keep="Keep 25 %",
    yes="Yes, send 100 % to GPT-4.1",
    back="#",
)
