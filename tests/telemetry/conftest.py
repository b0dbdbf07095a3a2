from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from apps.telemetry import serving
from tests.telemetry.make_telemetry import NOW, make_key, make_route


@pytest.fixture
def key() -> Iterator[str]:
    """Of production, where there is a route. The doors are open, and the clock stands."""
    with time_machine.travel(NOW, tick=False):
        make_route(now=NOW - timedelta(days=1))
        secret = make_key("telemetry:write")
        serving.start()
        yield secret
        serving.stop()
