"""Snapshots compiled for whoever asks outside the hot doors, and an answer in one sentence."""

from functools import lru_cache

from apps.flags import queries
from changeover import Resolution
from changeover import Snapshot as Compiled

SENTENCES = {
    "split": "The split put this subject on {variant}.",
    "rule": "A rule answered {variant}.",
    "fallback": "The route is on its fallback: everybody gets {variant}.",
    "default": "Neither a rule nor a split answered: the default variant is {variant}.",
}


@lru_cache(maxsize=8)
def compiled(environment: str, version: int, digest: str) -> Compiled:
    return Compiled.from_flagd(queries.snapshot(environment, version).body)


def why(answer: Resolution) -> str:
    if answer.error_code is not None:
        return f"The evaluation failed: {answer.error_details or answer.error_code}"
    if answer.reason == "DISABLED":
        return "The flag is switched off: the caller uses the default in its code."
    if answer.variant is None:
        return "Nothing answered and there is no default variant: the caller uses the default in its code."
    return SENTENCES.get(answer.assigned_by or "", "The answer is {variant}.").format(variant=answer.variant)
