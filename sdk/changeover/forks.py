"""In the child of a fork there are no threads, and locks may be held for ever: whoever has any begins anew there."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Restarts(Protocol):
    def after_fork(self) -> None: ...


_restarting: weakref.WeakSet[Restarts] = weakref.WeakSet()


def restart(one: Restarts) -> None:
    _restarting.add(one)


def leave(one: Restarts) -> None:
    _restarting.discard(one)


def _restart_all() -> None:
    for one in list(_restarting):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
