"""The route's page: a sentence, the stages, each guardrail as an interval against its limit, acts with their price."""

from dataclasses import dataclass, field
from typing import Literal

from django.utils.safestring import SafeString

from apps.console.acts import Act
from apps.console.charts import Chart
from apps.console.presenters.board import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    state: Literal["done", "now", "stopped", "to_come"]
    share: str
    dot: SafeString
    rail: SafeString | None
    time: str = ""
    samples: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    metric: str
    against: str
    baseline: str = ""
    candidate: str = ""
    difference: str = ""
    range: str = ""
    interval: SafeString = field(default_factory=SafeString)
    limit: str = ""
    state: str = "inconclusive"
    second: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    name: str
    value: str
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPanel:
    id: str
    title: str
    timezone: str = "UTC"
    spent: SafeString
    limit: str
    bar: SafeString
    told: str
    pairs: list[Pair] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Names and values, with a line above and one beneath."""

    title: str
    ok: str = ""
    warn: str = ""
    words: SafeString = field(default_factory=SafeString)
    pairs: list[Pair] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantFigures:
    """Live requests that were given this variant. Empty: nobody can say, and `latency_note` tells why."""

    name: str
    requests: str
    p50: str
    p95: str
    p99: str
    latency_note: str
    errors: str
    per_1k: str
    unpriced: str
    attempts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAfter:
    measure: str
    before: str
    after: str
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePage:
    key: str
    state: str
    share: float
    baseline: str
    candidate: str
    meta: list[str]
    sentence: SafeString
    stages: list[StageView] = field(default_factory=list)
    stages_told: SafeString = field(default_factory=SafeString)
    verdicts: list[VerdictRow] = field(default_factory=list)
    verdicts_since: str = ""
    charts: list[Chart] = field(default_factory=list)
    charts_title: str = ""
    charts_arms: list[str] = field(default_factory=list)  # the baseline, then the candidate if there is one
    charts_note: str = ""
    by_variant: list[VariantFigures] = field(default_factory=list)
    coverage_note: str = ""
    decisions: list[Line] = field(default_factory=list)
    before_after: list[BeforeAfter] = field(default_factory=list)
    before_after_arms: list[str] = field(default_factory=list)
    before_after_note: str = ""
    acts: list[Act] = field(default_factory=list)
    acts_note: str = ""
    budget: BudgetPanel | None = None
    way_back: Panel | None = None
