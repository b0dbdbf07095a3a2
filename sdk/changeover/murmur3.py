"""murmur3_32 with seed 0: in pure Python, and through `mmh3` where it is installed (some seventy times faster)."""

from __future__ import annotations

from collections.abc import Callable

_MASK = 0xFFFFFFFF


def pure_murmur3_32(data: bytes) -> int:
    h = 0
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & _MASK
        k = (k << 15 | k >> 17) * 0x1B873593 & _MASK
        h ^= k
        h = (h << 13 | h >> 19) & _MASK
        h = h * 5 + 0xE6546B64 & _MASK
    if whole < len(data):
        k = int.from_bytes(data[whole:], "little") * 0xCC9E2D51 & _MASK
        h ^= (k << 15 | k >> 17) * 0x1B873593 & _MASK
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK
    return h ^ h >> 16


def _fastest() -> Callable[[bytes], int]:
    try:
        import mmh3
    except ImportError:
        return pure_murmur3_32
    digest: Callable[[bytes], int] | None = getattr(mmh3, "mmh3_32_uintdigest", None)  # since mmh3 5.0
    if digest is not None:
        return digest
    return lambda data: mmh3.hash(data, 0, False)


murmur3_32: Callable[[bytes], int] = _fastest()
