"""How a benchmark tells its results: one table for people, one file for machines."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """`must`: what was promised, in words. `holds` is None where nothing was promised."""

    what: str
    value: float
    unit: str
    must: str = ""
    holds: bool | None = None
    beside: dict[str, float] = field(default_factory=dict)


def at_most(what: str, value: float, unit: str, limit: float, **beside: float) -> Row:
    return Row(what, value, unit, f"<= {limit:g} {unit}", value <= limit, beside)


def at_least(what: str, value: float, unit: str, limit: float, **beside: float) -> Row:
    return Row(what, value, unit, f">= {limit:,g} {unit}", value >= limit, beside)


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def tell(name: str, rows: list[Row], *, title: str, folder: Path = FOLDER, note: str = "") -> bool:
    """Prints the table and writes NAME.json. False if a promise is broken."""
    table = Table(title=title)
    for heading in ("what", "value", "must", "holds"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for row in rows:
        said = {True: "yes", False: "NO", None: ""}[row.holds]
        beside = "".join(f"  ({peer} {value:.4g})" for peer, value in row.beside.items())
        table.add_row(row.what, f"{row.value:.4g} {row.unit}{beside}", row.must, said)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    if note:
        console.print(note)
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "name": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rows": [asdict(row) for row in rows],
    }
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return all(row.holds is not False for row in rows)
