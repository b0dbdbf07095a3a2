"""The JavaScript flagd provider, in-process, at the gRPC sync door."""

from pathlib import Path

from apps.flags import services
from tests.flags.make_flags import ALICE, NOW
from tests.flags.test_flagd_sync import environment_key, port, secret
from tests.node import runs

__all__ = ["environment_key", "port", "secret"]


def test_it_connects_with_a_key_and_hears_of_a_change(port: int, secret: str, environment_key: str, tmp_path: Path):
    given = {"port": port, "authorization": f"Bearer {secret}"}
    with runs.running("flagd.mjs", given, tmp_path) as script:
        assert script.ask("new-parser", "boolean", True, {"targetingKey": "u"})["value"] is False
        services.update_flag(
            environment=environment_key, key="new-parser", default_variant="on", by=ALICE, because="", now=NOW
        )

        script.until(
            lambda line: line.get("event") == "ConfigurationChanged" and "new-parser" in (line["changed"] or [])
        )

        assert script.ask("new-parser", "boolean", False, {"targetingKey": "u"})["value"] is True


def test_without_a_key_it_never_gets_ready(port: int, tmp_path: Path):
    with runs.running("flagd.mjs", {"port": port}, tmp_path) as script:
        assert any("failed" in line for line in script.said)
        assert script.ask("new-parser", "boolean", True, {"targetingKey": "u"})["value"] is True
