"""Answers of flagd's older core, one a line: run with its folder first on the path.

python -m tests.sdk.older_core SEED PAIRS
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import time_machine

from .chance import Chance
from .flagd_core import ask, load

CONTEXTS = 8
NOW = 1_764_000_000


def cases(seed: str, pairs: int) -> Iterator[tuple[dict[str, object], list[dict[str, object]]]]:
    """Flags with their contexts: the same ones for the same seed, in every process."""
    for number in range(pairs // CONTEXTS):
        chance = Chance(f"{seed}/v2/{number}")
        yield chance.flag(), [chance.context() for _ in range(CONTEXTS)]


def main() -> None:
    seed, pairs = sys.argv[1], int(sys.argv[2])
    with time_machine.travel(NOW, tick=False):
        for flag, contexts in cases(seed, pairs):
            core = load({"flags": {"f": flag}})
            for context in contexts:
                print(repr(ask(core, "f", context)))


if __name__ == "__main__":
    main()
