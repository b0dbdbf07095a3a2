"""What benchmarks on a database share: each database is measured in a process of its own, on fresh data.

python -m bench.NAME [--database sqlite|postgres|both] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import _results as results


def arguments(doc: str) -> argparse.ArgumentParser:
    reading = argparse.ArgumentParser(description=doc.splitlines()[0])
    reading.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    reading.add_argument("--results", type=Path, default=results.FOLDER)
    reading.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # the process that measures
    return reading


def on_each(module: str, database: str, *asked: str) -> Iterator[tuple[str, Any]]:
    """Name of each database that there is, and what `module --inside` printed as its last line: JSON."""
    command = [sys.executable, "-m", module, "--inside", *asked]
    for name in ("sqlite", "postgres") if database == "both" else (database,):
        with tempfile.TemporaryDirectory(prefix="changeover-bench-") as scratch:
            settings = os.environ | {"DATA_DIR": scratch, "SECRET_KEY": "bench" * 10, "DEBUG": "0"}
            if name == "sqlite":
                yield name, run(command, settings | {"DATABASE_URL": f"sqlite:///{scratch}/bench.sqlite3"})
                continue
            from tests import postgres

            try:
                with postgres.server(Path(scratch), durable=True) as url:
                    found = run(command, settings | {"DATABASE_URL": url})
            except RuntimeError as trouble:
                print(f"PostgreSQL is left out: {trouble}", file=sys.stderr)
                continue
            yield name, found


def run(command: list[str], settings: dict[str, str]) -> Any:
    done = subprocess.run(command, env=settings, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def open_database() -> None:
    """In the process that measures, before anything of the project that needs Django is imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
