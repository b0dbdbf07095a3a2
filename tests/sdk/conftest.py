from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from changeover import Client

from .control_plane import KEY, ControlPlane

ROUTE: dict[str, Any] = {
    "state": "ENABLED",
    "variants": {
        "gpt-4.1": {"model": "openai/gpt-4.1", "timeout_ms": 8000},
        "flash-lite": {"model": "google/gemini-2.5-flash-lite", "timeout_ms": 3000},
    },
    "defaultVariant": "gpt-4.1",
    "targeting": {"if": [{"==": [{"var": "plan"}, "beta"]}, "flash-lite", {"fractional": [["flash-lite", 100]]}]},
}


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    plane = ControlPlane()
    plane.publish(412, **{"invoice-extraction": ROUTE})
    yield plane
    plane.close()


@pytest.fixture
def connect(plane: ControlPlane) -> Iterator[Callable[..., Client]]:
    """Makes clients of the control plane, quick ones; closes them all."""
    clients: list[Client] = []

    def make(**options: Any) -> Client:
        quick = {
            "name": "invoices",
            "flush_seconds": 0.05,
            "timeout_seconds": 20.0,
            "wait_seconds": 20.0,
            "poll_seconds": 15.0,
        }
        options = {**quick, **options}
        clients.append(Client(options.pop("url", plane.url), options.pop("key", KEY), **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close(timeout=1.0)
