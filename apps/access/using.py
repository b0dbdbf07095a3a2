"""How API keys are used: no faster than each may, and when last. Doors and API share it."""

import mmap
import os
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

import structlog
from django.conf import settings

log = structlog.get_logger()
RETRY_SECONDS = 1  # a whole number, and short: OpenFeature clients answer every flag by its code's default meanwhile
BURST_SECONDS = 1.0  # so many seconds' worth may come at once
STALE_SECONDS = 60.0  # no bucket is ever so full: its number is of another clock
ROUNDING = 1e-9
CELL_BYTES = 8


class Cell(Protocol):
    """One number: the moment up to which the key has used its allowance, on the machine's monotonic clock."""

    def __getitem__(self, at: int, /) -> float: ...
    def __setitem__(self, at: int, value: float, /) -> None: ...


class Limits:
    """A leaky bucket for each key that has a rate, shared by all processes of this data folder.

    Each bucket is one number in a file that every process maps into its memory: no lock and no call between them. Who
    finds that another was faster begins anew; only where two write within the same instant one request is not counted.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, folder: Path | None = None) -> None:
        self.clock = clock
        self.given_folder = folder
        self.cells: dict[str, Cell] = {}
        self.lock = threading.Lock()

    @property
    def folder(self) -> Path:
        return self.given_folder or Path(settings.DATA) / "rates"

    def take(self, key_id: str, rate: int) -> bool:
        """False: too fast."""
        with self.lock:
            cell = self.cells.get(key_id)
            if cell is None:
                cell = self.cells[key_id] = self.cell(key_id)
            now, each = self.clock(), 1 / rate
            while True:
                was = cell[0]
                used = was - now
                if not 0.0 <= used < STALE_SECONDS:  # rested, or written before the machine started anew
                    used = 0.0
                if used + each > BURST_SECONDS + ROUNDING:
                    return False
                mine = now + used + each
                if cell[0] == was:
                    cell[0] = mine
                    return True

    def cell(self, key_id: str) -> Cell:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / key_id, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(handle, CELL_BYTES)
                return memoryview(mmap.mmap(handle, CELL_BYTES)).cast("d")
            finally:
                os.close(handle)
        except OSError as fault:  # a full disk: the limit is this process's own then
            log.warning("rates.not_shared", error=str(fault))
            return [0.0]

    def forget_all_but(self, key_ids: Collection[str]) -> None:
        """Keys that are gone."""
        with self.lock:
            self.cells = {key_id: cell for key_id, cell in self.cells.items() if key_id in key_ids}
        for file in self.folder.glob("*"):
            if file.name not in key_ids:
                file.unlink(missing_ok=True)


limits = Limits()
used: set[str] = set()  # ids of keys that came since this was last written down


def take_used() -> set[str]:
    """What is added meanwhile is in the one or in the other."""
    global used
    taken, used = used, set()
    return taken
