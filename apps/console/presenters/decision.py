"""The decision's page: understood without a press, from what was stored with the decision.

Everything above the charts comes from the decision's own row, so the page also stands when telemetry is away.
"""

from dataclasses import dataclass, field
from datetime import datetime

from django.utils.safestring import SafeString

from apps.console.acts import Act
from apps.console.charts import Chart
from apps.console.presenters.board import Line
from apps.console.presenters.route import Pair, Panel, VerdictRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    label: str
    value: str
    second: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    position: int
    title: str
    outcome: str
    word: str
    glyph: str
    tone: str
    done_at: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPage:
    id: str
    short_id: str
    environment: str
    route: str
    route_href: str
    baseline: str
    candidate: str
    word: str
    glyph: str
    tone: str
    pie: float | None
    at: datetime
    long_moment: str
    sentence: SafeString
    more: SafeString
    meta: list[str]
    facts: list[Fact] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    charts_title: str = ""
    charts_note: str = ""
    guardrails: list[VerdictRow] = field(default_factory=list)
    stage_told: str = ""
    steps: list[StepRow] = field(default_factory=list)
    steps_told: str = ""
    exposure: list[Pair] = field(default_factory=list)
    exposure_told: str = ""
    acts: list[Act] = field(default_factory=list)
    silences: list[Act] = field(default_factory=list)
    acts_note: str = ""
    next: Panel | None = None
    hour_before: list[Line] = field(default_factory=list)
    proof: Panel | None = None

    @property
    def json_href(self) -> str:
        return f"/api/v1/decisions/{self.id}/"
