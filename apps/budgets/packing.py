"""Trials and looks as bytes: msgpack keeps floats to the last bit."""

from __future__ import annotations

from typing import Any

import msgspec

from apps.budgets.domain.looks import Record
from apps.budgets.domain.trial import Trial

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def pack_trial(trial: Trial) -> bytes:
    return _encode(trial.plain())


def unpack_trial(packed: bytes | memoryview) -> Trial:
    return Trial.from_plain(_decode(packed))


def plain_trial(packed: bytes | memoryview) -> dict[str, Any]:
    plain: dict[str, Any] = _decode(packed)
    return plain


def pack_look(record: Record, log_evidence: list[float | None]) -> bytes:
    """`log_evidence`: after the look, one per rule; None while its mark is measured."""
    return _encode([record.plain(), log_evidence])


def unpack_look(packed: bytes | memoryview) -> tuple[list[Any], list[float | None]]:
    record, log_evidence = _decode(packed)
    return record, log_evidence
