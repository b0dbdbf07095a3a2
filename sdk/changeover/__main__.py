"""`changeover evaluate FILE KEY --context JSON`: what a flag of a definition answers, and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from changeover.snapshot import Snapshot, UnreadableDocument
from changeover.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="changeover", description="Changeover for services.")
    parser.add_argument("--version", action="version", version=f"changeover {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    evaluate = commands.add_parser("evaluate", help="evaluate one flag of a flagd definition")
    evaluate.add_argument("file", help="the definition, or - for standard input")
    evaluate.add_argument("key", help="the flag")
    evaluate.add_argument("--context", default="{}", type=_context, metavar="JSON", help="attributes and targetingKey")
    evaluate.add_argument("--now", type=float, metavar="SECONDS", help="what rules read as $flagd.timestamp")
    given = parser.parse_args(arguments)
    return _evaluate(given)


def _context(text: str) -> dict[str, Any]:
    try:
        context = json.loads(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"no JSON: {fault}") from fault
    if not isinstance(context, dict):
        raise argparse.ArgumentTypeError("the context must be a JSON object")
    return context


def _evaluate(given: argparse.Namespace) -> int:
    """0 if the flag answered, 1 if the evaluation failed, 2 if the file cannot be read."""
    try:
        document = sys.stdin.buffer.read() if given.file == "-" else Path(given.file).read_bytes()
        snapshot = Snapshot.from_flagd(document)
    except (OSError, UnreadableDocument) as fault:
        sys.stderr.write(f"changeover: {fault}\n")
        return 2
    answer = snapshot.evaluate(given.key, given.context, now=given.now)
    told = {
        "key": given.key,
        "value": answer.value,
        "variant": answer.variant,
        "reason": answer.reason,
        "assigned_by": answer.assigned_by,
        "error_code": answer.error_code,
        "error_details": answer.error_details,
        "metadata": dict(answer.metadata),
    }
    sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    return 1 if answer.error_code else 0


if __name__ == "__main__":
    sys.exit(main())
