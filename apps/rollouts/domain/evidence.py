"""What a decision keeps as plain values, and the way back from them: the base of `recheck`."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from apps.budgets.domain.verdicts import Verdict
from apps.rollouts.domain import machine, sentences, stages
from apps.rollouts.domain.machine import Decision, Pressure, Progress
from apps.rollouts.domain.sentences import Names

VERDICT_FIELDS = {field.name for field in fields(Verdict)}
PRESSURE_FIELDS = {field.name for field in fields(Pressure)}
KEPT = ("rollout", "environment", "route", "baseline", "candidate", "stage", "share", "shadow", "paused", "switch")


def of_progress(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in KEPT} | {
        "stages": [stage.as_dict() for stage in progress.stages],
        "started_at": progress.started_at.isoformat(),
        "stage_began_at": progress.stage_began_at.isoformat(),
        "approved": progress.approved,
        "samples": progress.samples,
        "acted": sorted(progress.acted),
    }


def to_progress(kept: Mapping[str, Any]) -> Progress:
    return Progress(
        **{name: kept[name] for name in KEPT},
        stages=stages.read(kept["stages"]),
        started_at=datetime.fromisoformat(kept["started_at"]),
        stage_began_at=datetime.fromisoformat(kept["stage_began_at"]),
        approved=kept["approved"],
        samples=kept["samples"],
        acted=frozenset(kept["acted"]),
    )


def of_pressure(pressure: Pressure) -> dict[str, Any]:
    return asdict(pressure)


def to_pressure(kept: Mapping[str, Any]) -> Pressure:
    return Pressure(**{name: value for name, value in kept.items() if name in PRESSURE_FIELDS})


def to_verdict(kept: Mapping[str, Any]) -> Verdict:
    values = {name: value for name, value in kept.items() if name in VERDICT_FIELDS}
    began_at = values.get("began_at")
    if isinstance(began_at, str):
        values["began_at"] = datetime.fromisoformat(began_at)
    return Verdict(**values)


def causes(decision: Decision) -> list[dict[str, Any]]:
    """As every answer shows them: which guardrail or budget, which metric, what it said."""
    rows = []
    for one in decision.because:
        if isinstance(one, Pressure):
            rows.append({"budget": one.budget, "metric": "spend", "verdict": one.state})
        else:
            rows.append({"guardrail": one.guardrail, "metric": one.metric, "verdict": one.state})
    return rows


def again(evidence: Mapping[str, Any], at: datetime) -> tuple[Decision, str]:
    """The decision and its sentence, made anew from what was kept."""
    progress = to_progress(evidence["progress"])
    verdicts = [to_verdict(one) for one in evidence["verdicts"]]
    pressures = [to_pressure(one) for one in evidence["pressures"]]
    names = Names(**evidence["names"])
    decision = machine.decide(progress, verdicts, pressures, at)
    decision = machine.possible(decision, has_fallback=bool(names.fallback))
    return decision, sentences.text(sentences.tell(progress, decision, names))
