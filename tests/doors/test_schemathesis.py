"""Whatever fits the OpenAPI, or nearly does, is answered without a fault: flags' management API and the raw doors."""

import contextlib
import unittest
from typing import Any

import pytest
import schemathesis
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from apps.flags import services
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route
from tests.processes import Server, eventually

pytestmark = [pytest.mark.fuzz, pytest.mark.slow, pytest.mark.timeout(600)]
STREAMS = {"/api/v1/changes"}  # it never ends
TO_THE_LETTER = ("/ofrep/", "/flagd/")
MANAGEMENT = [
    "/api/v1/flags/", "/api/v1/routes/", "/api/v1/audiences/", "/api/v1/evaluate/", "/api/v1/change-requests/",
    "/api/v1/api-keys/",
]  # fmt: skip
ASKED = [(group, mode) for group in TO_THE_LETTER for mode in GenerationMode]
ASKED += [(group, GenerationMode.NEGATIVE) for group in MANAGEMENT]
EXAMPLES = 25
PATIENCE = settings(
    max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck), derandomize=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Any:
    told = SchemaGenerator().get_schema(request=None, public=True)
    return schemathesis.openapi.from_dict(told)


@pytest.fixture
def headers(server: Server, place: str) -> dict[str, str]:
    """A key that may read flags and manage, in an environment with something to find."""
    make_flag("string", environment=place)
    make_flag("0", environment=place, targeting={"if": [{"==": [{"var": "plan"}, "beta"]}, "on"]})
    make_flag("broken", environment=place, targeting={"/": [1, 0]})
    make_route(environment=place)
    services.change_weights(
        environment=place, key="invoice-extraction", weights={"flash-lite": 1000, "gpt-4.1": 9000},
        by=ALICE, because="", now=NOW,
    )  # fmt: skip
    key = make_key(place, ["flags:read", "manage:read", "manage:write"])
    eventually(lambda: server.request("GET", "/flagd/flags.json", headers=key)[0] == 200)
    return key


def try_out(operation: Any, mode: GenerationMode, url: str, headers: dict[str, str], checks: list[Any]) -> None:
    @PATIENCE
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        answer = case.call(base_url=url, headers=headers, timeout=60)
        assert answer.status_code < 500, (case.as_curl_command(), answer.text[:2000])
        if checks and answer.status_code != 405:
            case.validate_response(answer, checks=checks)

    with contextlib.suppress(Unsatisfiable, unittest.SkipTest):  # nothing here that could be wrong
        run()


@pytest.mark.parametrize(("group", "mode"), ASKED)
def test_nothing_that_is_asked_makes_the_server_stumble(
    server: Server, headers: dict[str, str], schema: Any, group: str, mode: GenerationMode
):
    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [one for one in operations if one.path.startswith(group) and one.path not in STREAMS]
    assert operations
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]

    for operation in operations:
        to_the_letter = operation.path.startswith(TO_THE_LETTER)
        try_out(operation, mode, server.url, headers, checks if to_the_letter else [])
