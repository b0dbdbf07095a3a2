"""All that is kept of one trial (a rollout's generation of evidence): small, and exact when written and read again.

`plain()` gives lists, numbers and texts only, the same for JSON and msgpack; `Trial.from_plain` gives the trial back,
bit by bit. Per rule there are a few mixtures of ten floats. Beside them stand segments: sums of both arms by
30-minute block, so that a verdict can say what was seen since harm began. Neighbouring segments melt into one as soon
as no mixture's most likely beginning lies between them, so there are rarely more than three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from apps.budgets.domain.eprocess import LAMBDAS, SAFE_THETAS, Mixture
from apps.budgets.domain.marks import Mark
from apps.budgets.domain.rules import ATTEMPTS, LIMIT, Rule
from apps.telemetry.domain.histogram import Histogram

FORMAT = 1


class Arm:
    """Sums over the requests of one arm. `latency` holds answered requests, `cost` priced ones.

    `tries`: of how many requests all attempts are known, and how many these were.
    """

    __slots__ = ("cost", "cost_nano", "errors", "latency", "outcomes", "requests", "tries", "unpriced")

    def __init__(
        self,
        requests: int = 0,
        errors: int = 0,
        unpriced: int = 0,
        cost_nano: int = 0,
        latency: Histogram | None = None,
        cost: Histogram | None = None,
        outcomes: dict[str, list[int]] | None = None,
        tries: tuple[int, int] = (0, 0),
    ) -> None:
        self.requests = requests
        self.errors = errors
        self.unpriced = unpriced
        self.cost_nano = cost_nano
        self.latency = latency if latency is not None else Histogram()
        self.cost = cost if cost is not None else Histogram()
        self.outcomes = outcomes if outcomes is not None else {}  # name -> [n, ones]
        self.tries = tries

    def add(self, other: Arm) -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.unpriced += other.unpriced
        self.cost_nano += other.cost_nano
        self.tries = (self.tries[0] + other.tries[0], self.tries[1] + other.tries[1])
        self.latency.merge(other.latency)
        self.cost.merge(other.cost)
        for name, (n, ones) in other.outcomes.items():
            self.add_outcome(name, n, ones)

    def add_outcome(self, name: str, n: int, ones: int) -> None:
        sums = self.outcomes.setdefault(name, [0, 0])
        sums[0] += n
        sums[1] += ones

    @property
    def mean_cost(self) -> float | None:
        priced = self.cost.count
        return self.cost_nano / priced / 1e9 if priced else None

    @property
    def mean_attempts(self) -> float | None:
        known, attempts = self.tries
        return attempts / known if known else None

    def plain(self) -> list[Any]:
        return [
            self.requests,
            self.errors,
            self.unpriced,
            self.cost_nano,
            plain_histogram(self.latency),
            plain_histogram(self.cost),
            self.outcomes,
            list(self.tries),
        ]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Arm:
        requests, errors, unpriced, cost_nano, latency, cost, outcomes, *tries = plain  # early trials kept none
        return cls(
            requests,
            errors,
            unpriced,
            cost_nano,
            histogram_from_plain(latency),
            histogram_from_plain(cost),
            outcomes,
            tuple(tries[0]) if tries else (0, 0),
        )


class Segment:
    """Both arms from one look on, until the next segment begins."""

    __slots__ = ("baseline", "block", "candidate", "look")

    def __init__(self, block: int, look: int, candidate: Arm, baseline: Arm) -> None:
        self.block = block
        self.look = look
        self.candidate = candidate
        self.baseline = baseline


@dataclass(slots=True)
class Assigned:
    """How often services were given either arm under the present split, up to a moment."""

    since_version: int
    until: float
    candidate: int = 0
    baseline: int = 0

    def plain(self) -> list[Any]:
        return [self.since_version, self.until, self.candidate, self.baseline]


class RuleState:
    """The evidence of one rule. `marks` is None until they are frozen; `since` is the first look that is judged."""

    __slots__ = ("base", "breaches", "companion", "first_block", "harm", "marks", "safe", "since", "totals")

    def __init__(
        self,
        marks: tuple[Mark, ...] | None,
        since: int,
        first_block: int,
        harm: list[Mixture],
        safe: list[list[float]],
        companion: list[Mixture],
        base: list[Mixture],
        totals: list[int],
        breaches: int,
    ) -> None:
        self.marks = marks
        self.since = since
        self.first_block = first_block
        self.harm = harm  # one per mark
        self.safe = safe  # one per mark: the logarithms of the opposite question, without restarts
        self.companion = companion  # for a limit: the two-sample comparison at the same mark
        self.base = base  # for a limit: the baseline against the same limit
        self.totals = totals  # per mark n, k, n and k of the baseline, over all that was judged
        self.breaches = breaches  # looks in a row that broke a limit above 75 % share

    @classmethod
    def waiting(cls) -> RuleState:
        return cls(None, 0, 0, [], [], [], [], [], 0)

    def freeze(self, rule: Rule, marks: tuple[Mark, ...], *, since: int, block: int) -> None:
        self.marks = marks
        self.since = since
        self.first_block = block
        processes = len(marks)
        if rule.is_of_means:
            self.harm = [Mixture.new(len(LAMBDAS))]
            self.base = [Mixture.new(len(LAMBDAS))] if rule.kind == ATTEMPTS else []
            self.totals = [0, 0, 0, 0]
            return
        self.harm = [Mixture.new() for _ in range(processes)]
        self.safe = [[0.0] * len(SAFE_THETAS) for _ in range(processes)]
        self.totals = [0, 0, 0, 0] * processes
        if rule.against == LIMIT:
            self.companion = [Mixture.new() for _ in range(processes)]
            self.base = [Mixture.new() for _ in range(processes)]

    def mixtures(self) -> list[Mixture]:
        return self.harm + self.companion + self.base

    def plain(self) -> list[Any]:
        marks = None if self.marks is None else [[m.quantile, m.edge, m.baseline_edge] for m in self.marks]
        return [
            marks,
            self.since,
            self.first_block,
            [m.plain() for m in self.harm],
            self.safe,
            [m.plain() for m in self.companion],
            [m.plain() for m in self.base],
            self.totals,
            self.breaches,
        ]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> RuleState:
        marks, since, first_block, harm, safe, companion, base, totals, breaches = plain
        return cls(
            None if marks is None else tuple([Mark(*mark) for mark in marks]),
            since,
            first_block,
            [Mixture(*mixture) for mixture in harm],
            safe,
            [Mixture(*mixture) for mixture in companion],
            [Mixture(*mixture) for mixture in base],
            totals,
            breaches,
        )


class Trial:
    """One trial: its rules, their evidence, and the sums of both arms."""

    __slots__ = (
        "assigned",
        "at",
        "baseline",
        "blind",
        "blind_at",
        "block",
        "candidate",
        "gap",
        "look",
        "marking",
        "rules",
        "segments",
        "stage_at",
        "stage_requests",
        "started_at",
        "states",
        "unclear",
        "with_zeros",
    )

    def __init__(
        self,
        *,
        candidate: str,
        baseline: str,
        rules: tuple[Rule, ...],
        states: list[RuleState] | None = None,
        segments: list[Segment] | None = None,
        marking: Arm | None = None,
        started_at: float | None = None,
        at: float | None = None,
        gap: float = 0.0,
        look: int = 0,
        block: int = 0,
        unclear: int = 0,
        stage_at: float = 0.0,
        stage_requests: list[int] | None = None,
        with_zeros: list[str] | None = None,
        blind: bool = False,
        blind_at: float = 0.0,
        assigned: Assigned | None = None,
    ) -> None:
        self.candidate = candidate
        self.baseline = baseline
        self.rules = rules
        self.states = states if states is not None else [RuleState.waiting() for _ in rules]
        self.segments = segments if segments is not None else []
        self.marking = marking  # the baseline's requests while a mark waits for 2,000 of them
        self.started_at = started_at  # seconds since 1970, as all moments here
        self.at = at  # the last look that brought requests
        self.gap = gap  # the usual time between such looks
        self.look = look
        self.block = block
        self.unclear = unclear  # requests of which nobody knows whether a rule or the split chose
        self.stage_at = stage_at
        self.stage_requests = stage_requests if stage_requests is not None else [0, 0]  # candidate, baseline

        self.with_zeros = with_zeros if with_zeros is not None else []  # outcomes of which a 0 has come
        self.blind = blind
        self.blind_at = blind_at  # when that was last looked at
        self.assigned = assigned  # None: not visible

    @property
    def requests(self) -> int:
        return sum(segment.candidate.requests for segment in self.segments)

    @property
    def baseline_requests(self) -> int:
        return sum(segment.baseline.requests for segment in self.segments)

    def enter_stage(self, at: float) -> None:
        """A stage counts its own requests."""
        if at != self.stage_at:
            self.stage_at = at
            self.stage_requests = [0, 0]

    def segment_for(self, look: int) -> Segment:
        """The segment that this look is added to; a new one at the first look of a block."""
        begins = {state.since for state in self.states}
        last = self.segments[-1] if self.segments else None
        if last is None or last.block != self.block or (look in begins and last.look != look):
            self._melt(begins | {look})
            last = Segment(self.block, look, Arm(), Arm())
            self.segments.append(last)
        return last

    def _melt(self, looks_kept: set[int]) -> None:
        blocks_kept = {
            start + state.first_block for state in self.states for mixture in state.harm for start in mixture.starts
        }
        kept: list[Segment] = []
        for segment in self.segments:
            if kept and segment.block not in blocks_kept and segment.look not in looks_kept:
                kept[-1].candidate.add(segment.candidate)
                kept[-1].baseline.add(segment.baseline)
            else:
                kept.append(segment)
        self.segments = kept

    def since(self, *, block: int, look: int) -> tuple[Arm, Arm]:
        """Both arms summed from that block on, but not before that look."""
        chosen = [s for s in self.segments if s.block >= block and s.look >= look] or self.segments[-1:]
        if len(chosen) == 1:
            return chosen[0].candidate, chosen[0].baseline
        return _sum(s.candidate for s in chosen), _sum(s.baseline for s in chosen)

    def plain(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "candidate": self.candidate,
            "baseline": self.baseline,
            "rules": [rule.plain() for rule in self.rules],
            "states": [state.plain() for state in self.states],
            "segments": [[s.block, s.look, s.candidate.plain(), s.baseline.plain()] for s in self.segments],
            "marking": None if self.marking is None else self.marking.plain(),
            "started_at": self.started_at,
            "at": self.at,
            "gap": self.gap,
            "look": self.look,
            "block": self.block,
            "unclear": self.unclear,
            "stage_at": self.stage_at,
            "stage_requests": self.stage_requests,
            "with_zeros": self.with_zeros,
            "blind": self.blind,
            "blind_at": self.blind_at,
            "assigned": self.assigned and self.assigned.plain(),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Trial:
        """Takes over the lists inside: give it plain values that nobody else keeps."""
        if plain["format"] != FORMAT:
            raise ValueError(f"trial format {plain['format']} is not known")
        return cls(
            candidate=plain["candidate"],
            baseline=plain["baseline"],
            rules=tuple([Rule(*rule) for rule in plain["rules"]]),
            states=[RuleState.from_plain(state) for state in plain["states"]],
            segments=[
                Segment(block, look, Arm.from_plain(candidate), Arm.from_plain(baseline))
                for block, look, candidate, baseline in plain["segments"]
            ],
            marking=None if plain["marking"] is None else Arm.from_plain(plain["marking"]),
            started_at=plain["started_at"],
            at=plain["at"],
            gap=plain["gap"],
            look=plain["look"],
            block=plain["block"],
            unclear=plain["unclear"],
            stage_at=plain["stage_at"],
            stage_requests=plain["stage_requests"],
            with_zeros=plain["with_zeros"],
            blind=plain["blind"],
            blind_at=plain["blind_at"],
            assigned=Assigned(*found) if (found := plain.get("assigned")) else None,
        )


def plain_histogram(histogram: Histogram) -> list[int]:
    flat = [histogram.zero, histogram.clamped]
    for cell in sorted(histogram.cells.items()):
        flat += cell
    return flat


def histogram_from_plain(flat: list[int]) -> Histogram:
    return Histogram(dict(zip(flat[2::2], flat[3::2], strict=True)), zero=flat[0], clamped=flat[1])


def _sum(arms: Iterable[Arm]) -> Arm:
    total = Arm()
    for arm in arms:
        total.add(arm)
    return total
