"""Copy, rename, archive, bring back, delete: what each does to those who ask for the flag, said before the press."""

from collections.abc import Sequence
from dataclasses import dataclass

from apps.access.domain.roles import Role
from apps.console import figures
from apps.console.flag_queries import Given, Served
from apps.console.visits import Visit
from apps.flags.queries import FlagView

SERVED = ("copy", "rename", "archive")
ARCHIVED = ("unarchive", "copy", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    act: str
    link: str  # on the flag's page
    question: str
    effect: str
    yes: str
    keep: str
    is_danger: bool = False
    is_waiting: bool = False  # it changes what is served: four eyes, where they are asked for


def offered(flag: FlagView) -> tuple[str, ...]:
    return ARCHIVED if flag.archived_at is not None else SERVED


def of(found: Served, act: str) -> Keeping | None:
    """None if a flag like this cannot have it done."""
    flag = found.flag
    if act not in offered(flag) or (act == "rename" and found.is_route):
        return None
    return MADE[act](flag, "route" if found.is_route else "flag")


def links(visit: Visit, found: Served) -> list[Keeping]:
    if not visit.may(Role.OPERATOR):
        return []
    return [one for act in offered(found.flag) if (one := of(found, act))]


def copy(flag: FlagView, kind: str) -> Keeping:
    return Keeping(
        act="copy",
        link="Copy",
        question=f"Copy {flag.key}?",
        effect=(
            f"A {kind} of its own, which nobody asks for yet. It takes all that people set here, and the salt;"
            " switches, shadow traffic and what a rollout holds stay here."
        ),
        yes="Make the copy",
        keep="Cancel",
    )


def rename(flag: FlagView, kind: str) -> Keeping:
    return Keeping(
        act="rename",
        link="Rename",
        question=f"Rename {flag.key}?",
        effect=(
            f"Whoever still asks for {flag.key} gets “flag not found”, and with it the default in the code, until the"
            f" code names the new key. Its salt stays {flag.salt}: nobody moves between variants."
        ),
        yes="Yes, rename it",
        keep="Keep the name",
        is_danger=True,
        is_waiting=True,
    )


def archive(flag: FlagView, kind: str) -> Keeping:
    what = "no model from it, and what their code does without one" if kind == "route" else "the default in their code"
    return Keeping(
        act="archive",
        link="Archive",
        question=f"Archive {flag.key}?",
        effect=(
            f"It is served no longer: within seconds callers get {what}. It can be brought back as it was, and puts"
            " everybody where they were."
        ),
        yes="Yes, archive it",
        keep="Keep it served",
        is_danger=True,
        is_waiting=True,
    )


def unarchive(flag: FlagView, kind: str) -> Keeping:
    return Keeping(
        act="unarchive",
        link="Bring it back",
        question=f"Bring {flag.key} back?",
        effect=(
            "It is served again within seconds, as it was, with its audiences and required flags as they are now."
            " Everybody gets what they got before."
        ),
        yes="Yes, serve it again",
        keep="Leave it archived",
        is_waiting=True,
    )


def delete(flag: FlagView, kind: str) -> Keeping:
    return Keeping(
        act="delete",
        link="Delete",
        question=f"Delete {flag.key} for good?",
        effect=(
            "Nothing that is served changes, since it is archived; but it cannot be brought back. Its versions and the"
            " journal stay, and its key becomes free."
        ),
        yes="Yes, delete it for good",
        keep="Keep it archived",
        is_danger=True,
    )


MADE = {"copy": copy, "rename": rename, "archive": archive, "unarchive": unarchive, "delete": delete}


def asked_by(given: Sequence[Given]) -> str:
    """Who would notice: what was seen in the last day."""
    total = sum(one.count for one in given)
    if not total:
        return "Nobody was seen asking for it in the last day. A client that reports nothing is not seen."
    named = list(dict.fromkeys(one.client for one in given if one.client))
    told = ", ".join(named[:3]) or "clients without a name"
    more = f" and {figures.counted(len(named) - 3, 'other')}" if len(named) > 3 else ""
    return f"It was asked for {figures.counted(total, 'time')} in the last day, by {told}{more}."
