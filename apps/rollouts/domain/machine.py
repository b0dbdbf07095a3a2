"""What should happen to a rollout now: plain values in, one decision out. No clock, no query, nothing is changed here.

`Progress` is where the rollout stands, `Verdict`s are what its guardrails say, `Pressure`s are money limits that ask
its route for an act. `decide` is read aloud from the top: the worst comes first, "we do not know" is an answer of its
own, and only a rollout about which everything is known, and nothing is wrong, may move forward. A paused rollout runs
through the same lines: pausing stops advancing, never protection.

A repeated look must not repeat an act: what already led to an act (`Progress.acted`) holds from then on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from apps.budgets.domain.verdicts import BLIND, STALE, Verdict
from apps.rollouts.domain.stages import WHOLE, Stage

Kind = Literal[
    "hold", "advance", "step_back", "cap_share", "stop_shadow", "roll_back", "fall_back", "block", "pause", "finish"
]
# The order in which a breach may interfere, strongest first. `hold` and `alert` move no traffic.
ACTS: tuple[Kind, ...] = ("roll_back", "fall_back", "block", "pause", "stop_shadow", "step_back", "cap_share")
MOVES_TRAFFIC = frozenset({"roll_back", "fall_back", "block", "step_back", "advance", "finish"})


@dataclass(frozen=True, slots=True)
class Pressure:
    """A crossed money limit, as seen from one route. `once` names the crossing: it acts one time, then it holds."""

    budget: str
    do: str
    once: str
    spent_nano: int
    limit_nano: int
    estimated_nano: int = 0  # the part of spent_nano that nobody has confirmed
    scope: str = ""
    period: str = ""
    state: str = "exceeded"
    share: int | None = None  # cap_share: the cap
    refused: str = ""  # why what was asked cannot help: "no cheaper fallback"
    costs: str = ""  # what every target costs by the hour, in words

    @property
    def cause(self) -> str:
        return self.once


@dataclass(frozen=True, slots=True)
class Progress:
    rollout: str
    environment: str
    route: str
    baseline: str
    candidate: str
    stages: tuple[Stage, ...]
    stage: int | None  # None: not yet in the first stage
    share: int
    shadow: int
    started_at: datetime
    stage_began_at: datetime
    paused: bool = False
    switch: str = ""  # the route is on its fallback, or off: nobody gets the candidate
    approved: int | None = None  # the stage that a second person has approved
    samples: int = 0  # requests that the candidate answered in this stage
    acted: frozenset[str] = frozenset()

    @property
    def present(self) -> Stage | None:
        return None if self.stage is None else self.stages[self.stage]

    @property
    def following(self) -> Stage | None:
        index = self.following_index
        return self.stages[index] if index is not None else None

    @property
    def following_index(self) -> int | None:
        index = 0 if self.stage is None else self.stage + 1
        return index if index < len(self.stages) else None

    @property
    def needs_approval(self) -> bool:
        following = self.following
        return following is not None and following.approval and self.approved != self.following_index

    @property
    def has_candidate_traffic(self) -> bool:
        return self.share > 0 or self.shadow > 0


@dataclass(frozen=True, slots=True)
class Decision:
    kind: Kind
    code: str  # why, in one word of ours
    because: tuple[Verdict | Pressure, ...] = ()
    stage: int | None = None  # where it leads
    share: int = 0
    shadow: int = 0
    until: datetime | None = None  # when time alone may change it
    missing: tuple[str, ...] = ()

    @property
    def acts(self) -> bool:
        return self.kind != "hold"

    @property
    def reason(self) -> str:
        """Two holds with the same reason are one row that repeats."""
        return ":".join([self.kind, self.code, *sorted(cause_of(one) for one in self.because), *self.missing])


def cause_of(one: Verdict | Pressure) -> str:
    return one.cause if isinstance(one, Pressure) else str(one.guardrail)


def decide(progress: Progress, verdicts: Sequence[Verdict], pressures: Sequence[Pressure], now: datetime) -> Decision:
    """What should happen to this rollout at this moment?"""
    exceeded = [v for v in verdicts if v.exceeded]
    harmful = [v for v in exceeded if v.rolls_back]
    if harmful:
        return go_back(progress, harmful)
    if act := strongest_act(progress, exceeded, pressures):
        return act
    if incidents := [v for v in exceeded if v.is_incident]:
        return hold(progress, "incident", incidents)
    if exceeded:
        return hold(progress, "exceeded", exceeded)
    if pressures:
        return hold(progress, "money", pressures)
    if warning := [v for v in verdicts if v.warning]:
        return hold(progress, "warning", warning)
    if progress.switch:
        return hold(progress, "switched")
    if progress.stage is not None and (unknown := [v for v in verdicts if v.inconclusive]):
        return cannot_tell(progress, unknown, now)
    if progress.paused:
        return hold(progress, "paused")
    return move_on(progress, verdicts, now)


def move_on(progress: Progress, verdicts: Sequence[Verdict], now: datetime) -> Decision:
    """Nothing speaks against the next stage. Is everything there that speaks for it?"""
    present = progress.present
    if present is not None:
        if missing := unproven(present.safe, verdicts):
            return hold(progress, "unproven", missing=missing)
        if progress.samples < present.min_samples:
            return hold(progress, "samples")
        ends_at = progress.stage_began_at + present.least_time
        if now < ends_at:
            return hold(progress, "baking", until=ends_at)
    following = progress.following
    if progress.needs_approval:
        return hold(progress, "approval")
    if following is not None:
        return advance(progress, verdicts)
    if progress.share < WHOLE:  # a plan that ends in shadow, or at half, says nothing about the rest
        return hold(progress, "plan_ends")
    return Decision("finish", "within", tuple(verdicts), stage=progress.stage, share=WHOLE)


def advance(progress: Progress, verdicts: Sequence[Verdict] = (), code: str = "within") -> Decision:
    following = progress.following
    assert following is not None
    return Decision(
        "advance",
        code,
        tuple(verdicts),
        stage=progress.following_index,
        share=following.share,
        shadow=following.shadow,
    )


def go_back(progress: Progress, harmful: Sequence[Verdict]) -> Decision:
    """To the baseline; to the fallback only where every broken guardrail asks for that."""
    if any(v.on_breach == "roll_back" for v in harmful):
        return roll_back(progress, "exceeded", harmful)
    return Decision("fall_back", "exceeded", tuple(harmful), stage=progress.stage)


def roll_back(progress: Progress, code: str, because: Iterable[Verdict | Pressure] = ()) -> Decision:
    return Decision("roll_back", code, tuple(because), stage=progress.stage)


def step_back(progress: Progress, code: str, because: Iterable[Verdict | Pressure] = ()) -> Decision:
    """To the stage before; from the first one there is no way but out."""
    if not progress.stage:
        return roll_back(progress, code, because)
    before = progress.stages[progress.stage - 1]
    return Decision(
        "step_back", code, tuple(because), stage=progress.stage - 1, share=before.share, shadow=before.shadow
    )


def hold(
    progress: Progress,
    code: str,
    because: Iterable[Verdict | Pressure] = (),
    *,
    until: datetime | None = None,
    missing: tuple[str, ...] = (),
) -> Decision:
    return Decision(
        "hold",
        code,
        tuple(because),
        stage=progress.stage,
        share=progress.share,
        shadow=progress.shadow,
        until=until,
        missing=missing,
    )


def strongest_act(progress: Progress, exceeded: Sequence[Verdict], pressures: Sequence[Pressure]) -> Decision | None:
    """The strongest act that a breach asks for and that has not been done already."""
    asked: dict[str, list[Verdict | Pressure]] = {}
    for verdict in exceeded:
        if cause_of(verdict) not in progress.acted:
            asked.setdefault(verdict.on_breach, []).append(verdict)
    for pressure in pressures:
        if not pressure.refused and pressure.cause not in progress.acted:
            asked.setdefault(pressure.do, []).append(pressure)
    for kind in ACTS:
        if kind in asked and (act := act_of(kind, progress, asked[kind])):
            return act
    return None


def act_of(kind: Kind, progress: Progress, because: list[Verdict | Pressure]) -> Decision | None:
    """That act from here, or None where it would change nothing."""
    code = "money" if isinstance(because[0], Pressure) else "exceeded"
    stays = Decision(kind, code, tuple(because), stage=progress.stage, share=progress.share, shadow=progress.shadow)
    match kind:
        case "roll_back":
            return roll_back(progress, code, because)
        case "step_back":
            return step_back(progress, code, because) if progress.stage is not None else None
        case "fall_back":
            return None if progress.switch else replace(stays, share=0, shadow=0)
        case "block":
            return None if progress.switch == "off" else replace(stays, share=0, shadow=0)
        case "pause":
            return None if progress.paused else stays
        case "stop_shadow":
            return replace(stays, shadow=0) if progress.shadow else None
        case "cap_share":
            caps = [one.share for one in because if isinstance(one, Pressure) and one.share is not None]
            share = min([progress.share, *caps])
            return replace(stays, share=share) if share < progress.share else None
        case _:
            return stays


def cannot_tell(progress: Progress, unknown: list[Verdict], now: datetime) -> Decision:
    """Too thin, stale or blind holds. After a day beyond the stage's own time it is paused, and somebody is told."""
    present = progress.present
    assert present is not None
    waits_until = progress.stage_began_at + present.asks_for_help_after
    if now >= waits_until and not progress.paused:
        return Decision(
            "pause", "never_judged", tuple(unknown), stage=progress.stage, share=progress.share, shadow=progress.shadow
        )
    whys = {verdict.why for verdict in unknown}
    code = next((why for why in (BLIND, STALE) if why in whys), "inconclusive")
    return hold(progress, code, unknown, until=waits_until)


def unproven(metrics: Sequence[str], verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Which of the metrics that must be proven safe are not: nobody judges them, or not all verdicts say safe."""
    proofs = {metric: [v.proof for v in verdicts if v.metric == metric] for metric in metrics}
    return tuple(metric for metric in metrics if not proofs[metric] or set(proofs[metric]) != {"safe"})


def after(progress: Progress, decision: Decision, now: datetime) -> Progress:
    """Where the rollout stands once the decision is done. The tick and the replay both move by this function."""
    acted = progress.acted
    if decision.acts and decision.kind not in ("advance", "finish"):
        acted = acted | {cause_of(one) for one in decision.because}
    moved = decision.kind in ("advance", "step_back")
    return replace(
        progress,
        stage=decision.stage,
        share=decision.share,
        shadow=decision.shadow,
        stage_began_at=now if moved else progress.stage_began_at,
        samples=0 if moved else progress.samples,
        paused=decision.kind in ("pause", "fall_back", "block") or progress.paused,
        approved=None if moved else progress.approved,
        acted=acted,
    )


def possible(decision: Decision, *, has_fallback: bool) -> Decision:
    """A route without a fallback can only roll back: the baseline is what it has."""
    if decision.kind == "fall_back" and not has_fallback:
        return replace(decision, kind="roll_back", share=0, shadow=0)
    return decision


def ends(decision: Decision) -> bool:
    """Whether the rollout is over. A fallback that money or a person asked for only pauses it."""
    return decision.kind in ("roll_back", "finish") or (decision.kind == "fall_back" and decision.code == "exceeded")
