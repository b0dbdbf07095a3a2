"""What a guardrail says now, with the evidence for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

EXCEEDED = "exceeded"
WARNING = "warning"
WITHIN = "within"
INCONCLUSIVE = "inconclusive"

HARM = "harm"
SAFE = "safe"
UNDECIDED = "undecided"

# Why a verdict is not what its evidence alone would say.
THIN = "thin"  # too few requests
NO_MARK = "no_mark"  # the baseline's mark is still being measured
STALE = "stale"  # nothing has come for too long
BLIND = "blind"  # services ask for the variant, their answers are missing
RATIO = "ratio"  # services are not given the arms in the share that was asked for
RULES = "rules"  # nobody can tell a rule's requests from the split's
COARSE = "coarse"  # the source's buckets hold no marks
BOTH_ARMS = "both_arms"  # the baseline does no better: an incident, not the candidate
NOT_VISIBLE = "not_visible"  # the source tells of requests, and not how often they were tried
WAITS = "waits"  # there is hardly a baseline to compare with: three looks are held first

EXPLANATIONS = {
    THIN: "too few requests to judge",
    NO_MARK: "the baseline is still being measured",
    STALE: "no new requests have come",
    BLIND: "requests are sent out, but their answers are missing",
    RATIO: "the arms are not given out in the share that is set",
    RULES: "cannot tell rule from split",
    COARSE: "the sender's buckets are too coarse: set base2_exponential_bucket_histogram there, or send spans",
    BOTH_ARMS: "both variants are affected",
    NOT_VISIBLE: "how often a request is tried is not visible from this source",
    WAITS: "held for three looks before acting without a comparison",
}

STOPS = frozenset({"roll_back", "fall_back"})


@dataclass(frozen=True, slots=True)
class Verdict:
    guardrail: str
    metric: str
    against: str  # baseline, limit or plan
    state: str
    on_breach: str  # what should be done when it is exceeded: "hold" where both arms are affected, whatever was asked
    observed: float | None  # the candidate's figure since harm began (over the whole trial where there is no harm)
    limit: float | None  # what it is compared with, in the same unit; for latencies the edge that is counted at
    baseline: float | None
    low: float | None  # an interval around `observed`, of the kind that `interval` names
    high: float | None
    n: int  # candidate requests behind `observed`
    n_baseline: int
    k: int  # of these, bad ones: failed, or above the mark
    k_baseline: int
    evidence: float  # E: "565:1"
    needed: float  # the E at which it is exceeded
    why: str
    proof: str  # harm, safe or undecided
    began_at: datetime | None  # about when harm began
    looks: int
    unit: str  # s, usd, share or attempts
    quantile: float | None = None
    at_least: bool = False  # the quantile lies among failed requests: it is `observed` or more
    interval: str = ""
    safe_evidence: float = 0.0
    requests: int = 0  # candidate requests judged in all
    unpriced: int = 0

    @property
    def exceeded(self) -> bool:
        return self.state == EXCEEDED

    @property
    def rolls_back(self) -> bool:
        return self.on_breach in STOPS

    @property
    def warning(self) -> bool:
        """Evidence of harm that holds the ramp; an exceeded guardrail that does not roll back is at least that."""
        return self.state == WARNING or (self.exceeded and not self.rolls_back)

    @property
    def inconclusive(self) -> bool:
        return self.state == INCONCLUSIVE

    @property
    def is_incident(self) -> bool:
        """The limit is broken, and not by the candidate alone: hold and page."""
        return self.exceeded and self.why == BOTH_ARMS

    @property
    def explanation(self) -> str:
        return EXPLANATIONS.get(self.why, "")

    def as_dict(self) -> dict[str, Any]:
        row = asdict(self)
        row["began_at"] = self.began_at.isoformat() if self.began_at else None
        row["explanation"] = self.explanation
        return row
