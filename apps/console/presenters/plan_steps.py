"""The steps of a rollback plan on the page of its decision: what each did, when, and which clients confirmed it."""

from collections.abc import Sequence

from apps.console import figures
from apps.console.presenters.decision import Fact, StepRow
from apps.rollouts.domain import plan as planning
from apps.rollouts.models import Decision, PlanStep

STEP_WORDS = {
    "done": ("done", "within", "ok"),
    "waiting": ("under way", "inconclusive", "warn"),
    "unseen": ("nothing was visible", "holding", "warn"),
    "failed": ("failed", "firing", "danger"),
}


def clients_fact(steps: Sequence[PlanStep]) -> Fact | None:
    step = next((one for one in steps if one.kind == planning.CONFIRM), None)
    if step is None:
        return None
    there, behind = step.evidence.get("there"), step.evidence.get("behind")
    if there is None or behind is None:
        return Fact(
            label="Clients confirmed",
            value="none yet" if step.state == "waiting" else "not visible",
            second=step.outcome,
        )
    took = step.evidence.get("seconds")
    whole = len(there) + len([name for name in behind if name not in there])
    second = (
        f"all in {figures.seconds(took)}"
        if took is not None and not behind
        else f"behind: {', '.join(behind[:3])}"
        if behind
        else ""
    )
    return Fact(label="Clients confirmed", value=f"{len(there)} of {whole}", second=second)


def row_of(step: PlanStep, decision: Decision) -> StepRow:
    word, glyph, tone = STEP_WORDS[step.state]
    partly = step.state == "done" and ("did not" in step.outcome or "fails" in step.outcome)
    if partly:
        word, glyph, tone = "partly done", "holding", "warn"
    done_at, after = "", ""
    if step.done_at is not None:
        at = step.done_at
        done_at = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
        after = f"+{(at - decision.at).total_seconds():.2f}{figures.NBSP}s"
    return StepRow(
        position=step.position,
        title=step.title,
        outcome=step.outcome,
        word=word,
        glyph=glyph,
        tone=tone,
        done_at=done_at,
        after=after,
    )


def told(steps: Sequence[PlanStep], decision: Decision) -> str:
    done = [one for one in steps if one.state == "done" and one.done_at is not None]
    if not steps:
        return ""
    last = max((one.done_at for one in done if one.done_at), default=None)
    took = (
        f" in {figures.seconds((last - decision.at).total_seconds())}"
        if last is not None and len(done) == len(steps)
        else ""
    )
    return f"{len(done)} of {len(steps)} steps done{took}"
