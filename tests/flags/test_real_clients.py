"""The real OpenFeature clients against a real server process."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from apps.flags import services
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route
from tests.processes import Server

BETA = {"if": [{"==": [{"var": "plan"}, "beta"]}, "on"]}


@pytest.fixture
def environment_key(request: pytest.FixtureRequest) -> str:
    """Its own in each test: the server remembers a test's rows for two seconds."""
    return "e-" + str(abs(hash(request.node.name)) % 10**9)


@pytest.fixture
def flags(server: Server, environment_key: str) -> dict[str, str]:
    make_flag(environment=environment_key, targeting=BETA)
    make_flag(
        "size", environment=environment_key, type="integer", variants={"small": 1, "large": 9}, default_variant="small"
    )
    make_flag("ratio", environment=environment_key, type="float", variants={"one": 1}, default_variant="one")
    make_flag("off", environment=environment_key, enabled=False)
    make_flag("own-default", environment=environment_key, default_variant="")
    make_route(environment=environment_key, fallback_variant="flash-lite")
    services.change_weights(
        environment=environment_key, key="invoice-extraction", weights={"flash-lite": 1000, "gpt-4.1": 9000},
        by=ALICE, because="", now=NOW,
    )  # fmt: skip
    key = make_key(environment_key)
    eventually(lambda: httpx.get(f"{server.url}/flagd/flags.json", headers=key).status_code == 200)
    return key


@pytest.fixture
def ofrep(server: Server, flags: dict[str, str]) -> Iterator[Any]:
    api.set_provider_and_wait(OFREPProvider(server.url, headers_factory=lambda: flags))
    yield api.get_client()
    api.shutdown()


def eventually(true: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def test_the_ofrep_client_gets_values_reasons_and_variants(ofrep):
    beta = ofrep.get_boolean_details("new-parser", False, EvaluationContext("u-1", {"plan": "beta"}))
    other = ofrep.get_boolean_details("new-parser", True, EvaluationContext("u-1"))

    assert (beta.value, beta.variant, beta.reason, beta.error_code) == (True, "on", Reason.TARGETING_MATCH, None)
    assert beta.flag_metadata["assigned_by"] == "rule"
    assert (other.value, other.reason) == (False, Reason.DEFAULT)
    assert ofrep.get_integer_value("size", 0, EvaluationContext("u")) == 1
    assert ofrep.get_float_value("ratio", 0.0, EvaluationContext("u")) == 1.0


def test_the_ofrep_client_falls_back_to_the_code_where_it_should(ofrep):
    off = ofrep.get_boolean_details("off", True, EvaluationContext("u"))
    own = ofrep.get_boolean_details("own-default", True, EvaluationContext("u"))
    unknown = ofrep.get_boolean_details("nobody", True, EvaluationContext("u"))
    wrong_type = ofrep.get_string_details("new-parser", "x", EvaluationContext("u"))

    assert (off.value, off.reason, off.error_code) == (True, Reason.DISABLED, None)
    assert (own.value, own.reason, own.error_code) == (True, Reason.DEFAULT, None)
    assert (unknown.value, unknown.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
    assert (wrong_type.value, wrong_type.error_code) == ("x", ErrorCode.TYPE_MISMATCH)


def test_a_service_that_asks_by_ofrep_gets_its_models_configuration(ofrep, server, flags, environment_key):
    chosen = ofrep.get_object_details("invoice-extraction", {}, EvaluationContext("user-3"))

    assert (chosen.variant, chosen.value["model"]) == ("flash-lite", "google/gemini-2.5-flash-lite")
    assert chosen.flag_metadata["assigned_by"] == "split"

    services.switch_to_fallback(
        environment=environment_key, key="invoice-extraction", by=ALICE, because="on fire", now=NOW
    )
    context = EvaluationContext("user-1")  # was on the baseline
    eventually(lambda: ofrep.get_object_details("invoice-extraction", {}, context).variant == "flash-lite", 3)


def test_a_wrong_key_is_told_so(server, flags):
    answer = httpx.post(f"{server.url}/ofrep/v1/evaluate/flags/new-parser", headers={"X-API-Key": "wrong"}, json={})

    assert (answer.status_code, list(answer.json())) == (401, ["errorDetails"])


@pytest.mark.parametrize("key", ["a/b", "a%2Fb", "a?b"])
def test_keys_arrive_decoded_once(server, flags, key):
    answer = httpx.post(f"{server.url}/ofrep/v1/evaluate/flags/{key}", headers=flags, json={})

    assert answer.json()["key"] == {"a/b": "a/b", "a%2Fb": "a/b", "a?b": "a"}[key]


def test_flagds_own_client_reads_what_the_file_door_serves(server, flags, tmp_path):
    file = tmp_path / "flags.json"
    file.write_bytes(httpx.get(f"{server.url}/flagd/flags.json", headers=flags).content)
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file))
    api.set_provider_and_wait(provider, "file")
    client = api.get_client("file")

    for subject in (f"user-{number}" for number in range(200)):
        theirs = client.get_object_details("invoice-extraction", {}, EvaluationContext(subject))
        body = {"context": {"targetingKey": subject}}
        url = f"{server.url}/ofrep/v1/evaluate/flags/invoice-extraction"
        if subject.endswith("7"):  # a tenth of them over the wire
            ours = httpx.post(url, headers=flags, json=body).json()
            assert (theirs.variant, theirs.value) == (ours["variant"], ours["value"])
    assert client.get_boolean_details("off", True).reason == Reason.DISABLED
    api.shutdown()


def test_a_change_reaches_an_open_stream_within_a_second(server, flags, environment_key):
    with httpx.stream("GET", f"{server.url}/api/v1/changes", headers=flags, timeout=5) as stream:
        lines = stream.iter_lines()
        first = next(json.loads(line[6:]) for line in lines if line.startswith("data: "))
        began = time.monotonic()
        published = services.update_flag(
            environment=environment_key, key="new-parser", by=ALICE, because="", now=NOW, default_variant="on"
        )
        second = next(json.loads(line[6:]) for line in lines if line.startswith("data: "))

    assert (first["keys"], second["keys"]) == (None, ["new-parser"])
    assert second["version"] == published.version
    assert time.monotonic() - began < 1
