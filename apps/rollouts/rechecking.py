"""A decision again, from nothing but what is stored in its row: evidence, verdicts, decision, sentence."""

from dataclasses import dataclass, field
from typing import Any

from apps.budgets.domain import recheck as evidence_again
from apps.budgets.domain.verdicts import Verdict
from apps.rollouts.domain import evidence as kept
from apps.rollouts.domain import words
from apps.rollouts.models import Decision


@dataclass(frozen=True, slots=True)
class Rechecked:
    sentence: str
    kind: str
    verdicts: tuple[Verdict, ...] = ()
    differences: tuple[str, ...] = ()
    looks: int = 0
    lines: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence,
            "kind": self.kind,
            "holds": self.holds,
            "differences": list(self.differences),
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
        }


def recheck(decision: Decision) -> Rechecked:
    """A person's act is quoted, not judged: only what the machine decided can come out another."""
    evidence = decision.evidence
    if "progress" not in evidence:
        return Rechecked(decision.sentence, decision.kind, lines=("Nothing was judged for this decision.",))
    differences: list[str] = []
    lines: list[str] = []
    stored = evidence
    if evidence.get("trial"):
        judged = evidence_again.recheck(evidence["trial"])
        differences += judged.differences
        lines += [line_of(verdict) for verdict in judged.verdicts]
        if evidence["verdicts"]:
            stored = {**evidence, "verdicts": [verdict.as_dict() for verdict in judged.verdicts]}
    if evidence.get("reason"):
        return Rechecked(decision.sentence, decision.kind, differences=tuple(differences), lines=tuple(lines))
    again, sentence = kept.again(stored, decision.at)
    if again.kind != decision.kind:
        differences.append(f"The decision is {again.kind}, was {decision.kind}.")
    if sentence != decision.sentence and not decision.repeats:  # a repeated hold tells its newest figures
        differences.append(f"The sentence is “{sentence}”, was “{decision.sentence}”.")
    verdicts = tuple(kept.to_verdict(one) for one in stored["verdicts"])
    return Rechecked(sentence, again.kind, verdicts, tuple(differences), lines=tuple(lines))


def line_of(verdict: Verdict) -> str:
    odds = f"evidence {words.evidence(verdict.evidence)}, needed {words.evidence(verdict.needed)}"
    return (
        f"{words.metric(verdict.metric)} against {verdict.against}: {verdict.state}, {odds}, {verdict.k} of {verdict.n}"
    )
