"""What a person may press: the words before the press, the price, and where the press goes.

A safe act moves no traffic: one press. An act that moves traffic or money takes two; the first press shows the confirm.
"""

from dataclasses import dataclass, field

from apps.core.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    key: str
    label: str
    href: str
    presses: int = 1
    icon: str = ""
    css: str = ""  # is-main, is-danger, is-big …
    effect: str = ""  # printed before the press
    shortcut: str = ""
    can: bool = True
    why_not: str = ""  # who can do it instead
    # the second press
    title: str = ""
    question: str = ""
    yes: str = ""
    keep: str = ""
    yes_css: str = "is-armed"
    back: str = ""
    expected: int | None = None
    once: str = field(default_factory=new_id)  # one press is one act, however often it arrives


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    words: str
    second: str = ""
    refused: bool = False
    acts: tuple[Act, ...] = ()
