"""The JavaScript clients of the OpenFeature Remote Evaluation Protocol against a real server process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.access import services as access
from apps.access.models import ApiKey
from apps.flags import services
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, VARIANTS, make_flag, make_route
from tests.node import runs
from tests.node.runs import Script
from tests.processes import Server, eventually

BETA = {"if": [{"==": [{"var": "plan"}, "beta"]}, "on"]}
NO_FORMAT = "does not match the expected format"


@pytest.fixture
def key(server: Server, place: str) -> dict[str, str]:
    make_flag(environment=place, targeting=BETA, metadata={"team": "growth"})
    make_flag("ratio", environment=place, type="float", variants={"one": 1, "half": 0.5}, default_variant="one")
    make_flag("size", environment=place, type="integer", variants={"small": 1}, default_variant="small")
    make_flag("words", environment=place, variants={"a": "zoë 🦀"}, default_variant="a")
    make_flag("off", environment=place, enabled=False)
    make_flag("own-default", environment=place, default_variant="")
    make_flag("needs-key", environment=place, metadata={"targetingKeyRequired": True})
    make_route(environment=place, fallback_variant="flash-lite")
    services.change_weights(
        environment=place, key="invoice-extraction", weights={"flash-lite": 5000, "gpt-4.1": 5000},
        by=ALICE, because="", now=NOW,
    )  # fmt: skip
    headers = make_key(place)
    known_by(server, headers)
    return headers


def known_by(server: Server, headers: dict[str, str]) -> None:
    eventually(lambda: httpx.get(f"{server.url}/flagd/flags.json", headers=headers).status_code == 200)


# The server provider: one call per evaluation


@pytest.fixture
def node(server: Server, key: dict[str, str], tmp_path: Path) -> Iterator[Script]:
    with runs.running("ofrep_server.mjs", {"url": server.url, "headers": key}, tmp_path) as script:
        yield script


def test_the_server_provider_gets_values_of_every_type_with_their_reason(node: Script):
    static = node.ask("words", "string", "?", {"targetingKey": "u"})
    assert (static["value"], static["variant"], static["reason"]) == ("zoë 🦀", "a", "STATIC")
    assert node.ask("ratio", "float", 9, {"targetingKey": "u"})["value"] == 1
    assert node.ask("size", "integer", 9, {"targetingKey": "u"})["value"] == 1
    matched = node.ask("new-parser", "boolean", False, {"targetingKey": "u", "plan": "beta"})
    assert (matched["value"], matched["variant"], matched["reason"]) == (True, "on", "TARGETING_MATCH")
    assert matched["metadata"]["team"] == "growth"
    assert matched["metadata"]["assigned_by"] == "rule"
    assert node.ask("new-parser", "boolean", True, {"targetingKey": "u"})["reason"] == "DEFAULT"
    route = node.ask("invoice-extraction", "object", {}, {"targetingKey": "r-1"})
    assert route["value"]["model"] == VARIANTS[route["variant"]]["model"]
    assert (route["reason"], route["metadata"]["assigned_by"]) == ("TARGETING_MATCH", "split")


def test_without_a_targeting_key_it_is_evaluated_and_says_so(node: Script):
    found = node.ask("new-parser", "boolean", True, {"plan": "beta"})

    assert (found["value"], found["metadata"]["targetingKeyMissing"]) == (True, True)


def test_errors_keep_their_codes(node: Script):
    unknown = node.ask("nobody", "boolean", True, {"targetingKey": "u"})
    assert (unknown["value"], unknown["errorCode"]) == (True, "FLAG_NOT_FOUND")
    needed = node.ask("needs-key", "boolean", True, {})
    assert (needed["value"], needed["errorCode"]) == (True, "TARGETING_KEY_MISSING")
    mixed = node.ask("new-parser", "integer", 7, {"targetingKey": "u"})
    assert (mixed["value"], mixed["errorCode"]) == (7, "TYPE_MISMATCH")


@pytest.mark.parametrize("flag", ["off", "own-default"])
def test_no_value_is_the_code_default_which_this_client_calls_an_error(node: Script, flag: str):
    found = node.ask(flag, "boolean", True, {"targetingKey": "u"})

    assert found["value"] is True
    assert (found["errorCode"], NO_FORMAT in found["errorMessage"]) == ("GENERAL", True)


def test_a_context_of_a_thousand_attributes_arrives_whole(node: Script):
    context = {"targetingKey": "u", "plan": "beta"} | {f"attribute-{n}": "x" * 100 for n in range(1000)}

    assert node.ask("new-parser", "boolean", False, context)["value"] is True


def test_a_wrong_key_and_one_without_the_scope_are_code_defaults(server: Server, key: dict, place: str, tmp_path: Path):
    other = make_key(place, ["telemetry:write"])
    url = f"{server.url}/ofrep/v1/evaluate/flags/words"
    eventually(lambda: httpx.post(url, headers=other, json={}).status_code == 403)
    for headers in ({"Authorization": "Bearer co_wrong"}, {}, other):
        with runs.running("ofrep_server.mjs", {"url": server.url, "headers": headers}, tmp_path) as script:
            found = script.ask("words", "string", "mine", {"targetingKey": "u"})
        assert (found["value"], found["errorCode"]) == ("mine", "GENERAL")


def test_x_api_key_is_a_key_too(server: Server, key: dict[str, str], tmp_path: Path):
    headers = {"X-API-Key": key["Authorization"].removeprefix("Bearer ")}
    with runs.running("ofrep_server.mjs", {"url": server.url, "headers": headers}, tmp_path) as script:
        assert script.ask("size", "integer", 9, {"targetingKey": "u"})["value"] == 1


def test_too_fast_is_a_pause_of_one_second_not_of_two_thousand(server: Server, place: str, key: dict, tmp_path: Path):
    slow = make_key(place)
    row = ApiKey.objects.get(environment__key=place, name="key 1")
    access.set_rate(key=row, rate_per_second=2, by=ALICE, because="", now=NOW)
    url = f"{server.url}/ofrep/v1/evaluate/flags/size"
    eventually(lambda: httpx.post(url, headers=slow, json={}).status_code == 429)
    with runs.running("ofrep_server.mjs", {"url": server.url, "headers": slow}, tmp_path) as script:

        def answer() -> int:
            return script.ask("size", "integer", 9, {"targetingKey": "u"})["value"]

        eventually(lambda: answer() == 1)
        eventually(lambda: answer() == 9)  # its own default, for every flag
        eventually(lambda: answer() == 1)


# The web provider: all flags at once, then polls or a stream


def web(server: Server, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"url": server.url, "headers": headers, "context": {"targetingKey": "u"}} | more


def test_the_web_provider_polls_with_its_tag_and_sees_a_change(server: Server, key: dict, place: str, tmp_path: Path):
    with runs.running("ofrep_web.mjs", web(server, key), tmp_path) as script:
        assert script.ask("new-parser", "boolean", True)["value"] is False
        assert script.ask("off", "boolean", True)["reason"] == "DISABLED"
        assert script.ask("own-default", "boolean", True) | {"metadata": 0} == {
            "did": "ask", "value": True, "variant": "", "reason": "DEFAULT", "errorCode": None, "errorMessage": None,
            "metadata": 0,
        }  # fmt: skip
        assert script.ask("ratio", "float", 9)["value"] == 1
        same = script.until(lambda line: line.get("status") == 304)
        assert same["ifNoneMatch"] == same["etag"]

        services.update_flag(
            environment=place, key="new-parser", default_variant="on", by=ALICE, because="", now=NOW
        )  # fmt: skip
        told = script.until(lambda line: line.get("event") == "ConfigurationChanged" and line["changed"])

        assert "new-parser" in told["changed"]
        assert script.ask("new-parser", "boolean", False)["value"] is True


def test_the_tag_covers_the_context_since_the_client_keeps_it_when_an_attribute_changes(
    server: Server, key: dict[str, str], tmp_path: Path
):
    with runs.running("ofrep_web.mjs", web(server, key, poll=60_000), tmp_path) as script:
        assert script.ask("new-parser", "boolean", True)["value"] is False
        script.do("context", context={"targetingKey": "u", "plan": "beta"})
        assert script.ask("new-parser", "boolean", False)["value"] is True

        last = script.requests()[-1]
        assert (last["status"], bool(last["ifNoneMatch"])) == (200, True)


def test_a_wrong_key_is_fatal_at_the_start_and_stale_later(server: Server, key: dict, place: str, tmp_path: Path):
    with runs.running("ofrep_web.mjs", web(server, {"Authorization": "Bearer co_wrong"}), tmp_path) as script:
        assert script.do("status")["status"] == "FATAL"

    with runs.running("ofrep_web.mjs", web(server, key), tmp_path) as script:
        row = ApiKey.objects.get(environment__key=place)
        access.revoke_key(key=row, by=ALICE, because="leaked", now=NOW)
        assert script.until(lambda line: line.get("status") == 401)
        assert script.until(lambda line: line.get("event") == "Stale")
        assert script.ask("new-parser", "boolean", True)["value"] is False


def test_the_web_provider_hears_of_a_change_by_the_event_stream(server: Server, key: dict, place: str, tmp_path: Path):
    with runs.running("ofrep_web.mjs", web(server, key, stream=True, poll=0), tmp_path) as script:
        assert script.ask("new-parser", "boolean", True)["value"] is False
        told = script.until(lambda line: "flagConfigEtag" in line.get("query", ""))  # who connects fetches once
        assert told["status"] == 304
        services.update_flag(
            environment=place, key="new-parser", default_variant="on", by=ALICE, because="", now=NOW
        )  # fmt: skip

        asked = script.until(lambda line: "flagConfigEtag" in line.get("query", ""))
        script.until(lambda line: line.get("event") == "ConfigurationChanged" and line["changed"])

        assert asked["status"] == 200 and "flagConfigLastModified" in asked["query"]
        assert script.ask("new-parser", "boolean", False)["value"] is True


# flagd's own provider, in-process


def test_an_exported_file_means_the_same_to_the_javascript_core(db: None, tmp_path: Path):
    from apps.flags import queries
    from changeover import Snapshot

    make_flag(environment="filed", targeting=BETA)
    make_flag("words", environment="filed", variants={"a": "zoë 🦀", "b": "y"}, default_variant="a", bucketing="v2")
    make_route(environment="filed", bucketing="v2")
    services.change_weights(
        environment="filed", key="invoice-extraction", weights={"flash-lite": 2500, "gpt-4.1": 7500},
        by=ALICE, because="", now=NOW,
    )  # fmt: skip
    body = queries.snapshot("filed").body
    (tmp_path / "flags.json").write_bytes(body)
    ours = Snapshot.from_flagd(json.loads(body))

    with runs.running("flagd.mjs", {"file": str(tmp_path / "flags.json")}, tmp_path) as script:
        for number in range(40):
            context = {"targetingKey": f"user-{number}", "plan": ("beta", "free")[number % 2]}
            for flag, kind, fallback in (("new-parser", "boolean", True), ("invoice-extraction", "object", {})):
                theirs, mine = script.ask(flag, kind, fallback, context), ours.evaluate(flag, context)
                assert (theirs["value"], theirs["variant"], theirs["reason"]) == (mine.value, mine.variant, mine.reason)
