"""`fractional`: from a subject to an arm, in the three ways found in the field. A flag is pinned to one for life.

    v1  murmur3_32 of flag key + subject, signed; |h| / (2^31 - 1) * 100, arms in percent of the total, in floats
    v2  the same bytes, unsigned; h * total >> 32, arms in running weights
    v3  canonical CBOR of [flag key, subject], or of the seed alone; then as v2

An arm of v2 and v3 is decided by comparing the hash with precomputed edges: h * total >> 32 < w holds exactly where
h < ceil(w * 2^32 / total).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from changeover import cbor
from changeover.murmur3 import murmur3_32

VERSIONS = ("v1", "v2", "v3")
MAX_TOTAL = 2**31 - 1
SPAN = 2**32

Hash = Callable[[str], int]


class NoArm:
    """The split could not decide: no subject, no readable weights. Another thing than an arm that says null."""

    def __repr__(self) -> str:
        return "NO_ARM"


NO_ARM = NoArm()


def weight_of(entry: Any) -> int | None:
    """The weight of one entry of a split; None where the entry is none, and so the whole split is."""
    if not isinstance(entry, (list, tuple)) or not 0 < len(entry) <= 2:
        return None
    if len(entry) == 1:
        return 1
    weight = entry[1]
    if isinstance(weight, bool) or not isinstance(weight, int):
        return None
    return max(0, weight)  # a computed weight may fall below zero


def weights_of(entries: Sequence[Any]) -> list[int] | None:
    weights = []
    for entry in entries:
        weight = weight_of(entry)
        if weight is None:
            return None
        weights.append(weight)
    return weights if 0 < sum(weights) <= MAX_TOTAL else None


def edges(weights: Sequence[int], bucketing: str) -> list[int]:
    """For each arm the first hash beyond it: arm i is the first whose edge is greater than the hash."""
    total, running = sum(weights), 0
    if bucketing == "v1":
        return _legacy_edges(weights, total)
    found = []
    for weight in weights:
        running += weight
        found.append(-(-running * SPAN // total))
    return found


def _legacy_edges(weights: Sequence[int], total: int) -> list[int]:
    """The same for v1, where the hash is |h|: floats are summed and compared exactly as those clients did it."""
    found, end = [], 0.0
    for weight in weights:
        end += weight * 100 / total
        low, high = 0, 2**31 + 1
        while low < high:
            middle = (low + high) // 2
            if middle / MAX_TOTAL * 100 < end:
                low = middle + 1
            else:
                high = middle
        found.append(low)
    return found


def _legacy(data: bytes) -> int:
    h = murmur3_32(data)
    return h if h < 2**31 else SPAN - h


def hash_of(bucketing: str) -> Callable[[bytes], int]:
    return _legacy if bucketing == "v1" else murmur3_32


class Heads(dict[int, bytes]):
    """What is hashed before a subject of so many bytes: in v3 the salt and the length, before that the salt alone."""

    __slots__ = ("has_length", "salt")

    def __init__(self, bucketing: str, salt: str) -> None:
        super().__init__()
        self.has_length = bucketing == "v3"
        self.salt = b"\x82" + cbor.encode(salt) if self.has_length else salt.encode()

    def __missing__(self, size: int) -> bytes:
        head = self.salt + cbor.head(3, size) if self.has_length else self.salt
        if size < 256:  # whoever sends subjects of every length shall not fill the memory
            self[size] = head
        return head


def subject_hash(bucketing: str, salt: str) -> Hash:
    """The hash of a subject in the shorthand, where the salt is the flag's key unless the flag says otherwise."""
    heads, digest = Heads(bucketing, salt), hash_of(bucketing)

    def of_subject(subject: str) -> int:
        data = subject.encode()
        return digest(heads[len(data)] + data)

    return of_subject


def seed_hash(bucketing: str, seed: Any) -> int | None:
    """The hash of an explicit seed, or None where this algorithm has none for it."""
    if bucketing == "v3":
        if seed is None:
            return None
        try:
            return murmur3_32(cbor.encode(seed))
        except (ValueError, OverflowError, RecursionError):
            return None
    if not isinstance(seed, str) or not seed:
        return None
    try:
        return hash_of(bucketing)(seed.encode())
    except UnicodeEncodeError:
        return None


def choose(h: int | None, entries: Sequence[Any], bucketing: str) -> Any:
    """The arm of this hash among evaluated entries, or NO_ARM."""
    if h is None:
        return NO_ARM
    weights = weights_of(entries)
    if weights is None:
        return NO_ARM
    for entry, edge in zip(entries, edges(weights, bucketing), strict=True):
        if h < edge:
            return entry[0]
    return NO_ARM  # v1 alone: the very end of its range belongs to nobody


def fractional(bucketing: str, hash_subject: Hash, data: Any, args: Sequence[Any]) -> Any:
    """The whole operator for evaluated arguments: the arm, or NO_ARM."""
    if not args:
        return NO_ARM
    # To v1 and v2 whatever is no text is no seed, and so the first entry.
    if isinstance(args[0], (list, tuple)) or (bucketing != "v3" and not isinstance(args[0], str)):
        subject = data.get("targetingKey")
        if not isinstance(subject, str) or not subject:
            return NO_ARM
        try:
            return choose(hash_subject(subject), args, bucketing)
        except UnicodeEncodeError:
            return NO_ARM
    return choose(seed_hash(bucketing, args[0]), args[1:], bucketing)
