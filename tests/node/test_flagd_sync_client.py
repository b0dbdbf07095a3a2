"""The JavaScript flagd provider, in-process, at the gRPC sync door."""

from pathlib import Path
from typing import Any

import pytest

from apps.flags import services
from tests.flags.make_flags import ALICE, NOW
from tests.flags.test_flagd_sync import fetch, port, secret, sync_process
from tests.node import runs
from tests.processes import free_port, stop

__all__ = ["port", "secret"]


def switch_on(environment: str) -> None:
    services.update_flag(
        environment=environment, key="new-parser", default_variant="on", by=ALICE, because="", now=NOW
    )  # fmt: skip


def is_change(line: dict[str, Any]) -> bool:
    return line.get("event") == "ConfigurationChanged" and "new-parser" in (line["changed"] or [])


def test_it_connects_with_a_key_and_hears_of_a_change(port: int, secret: str, place: str, tmp_path: Path):
    fetch(port, secret)
    given = {"port": port, "authorization": f"Bearer {secret}"}
    with runs.running("flagd.mjs", given, tmp_path) as script:
        assert script.ask("new-parser", "boolean", True, {"targetingKey": "u"})["value"] is False
        switch_on(place)

        script.until(is_change)

        assert script.ask("new-parser", "boolean", False, {"targetingKey": "u"})["value"] is True


@pytest.mark.slow
def test_after_a_restart_it_hears_of_what_it_has_missed(secret: str, place: str, tmp_path: Path):
    number = free_port()
    process = sync_process(tmp_path / "sync", number)
    given = {"port": number, "authorization": f"Bearer {secret}"}
    try:
        with runs.running("flagd.mjs", given, tmp_path) as script:
            stop(process)
            assert script.ask("new-parser", "boolean", True, {"targetingKey": "u"})["value"] is False
            switch_on(place)
            process = sync_process(tmp_path / "sync", number)

            script.until(is_change)

            assert script.ask("new-parser", "boolean", False, {"targetingKey": "u"})["value"] is True
    finally:
        stop(process)


def test_without_a_key_it_never_gets_ready(port: int, tmp_path: Path):
    with runs.running("flagd.mjs", {"port": port, "deadline": 2000}, tmp_path) as script:
        assert any("failed" in line for line in script.said)
        assert script.ask("new-parser", "boolean", True, {"targetingKey": "u"})["value"] is True
