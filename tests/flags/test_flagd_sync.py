"""flagd's gRPC sync door, with the real provider of the field."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.schemas.protobuf.flagd.sync.v1 import sync_pb2, sync_pb2_grpc

from apps.access import services as access_services
from apps.access.models import ApiKey
from apps.flags import services
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_flag
from tests.processes import free_port, start, stop

SAID = {"by": ALICE, "because": "to see", "now": NOW}


@pytest.fixture
def environment_key(request: pytest.FixtureRequest) -> str:
    return "s-" + str(abs(hash(request.node.name)) % 10**9)


@pytest.fixture
def secret(transactional_db: None, environment_key: str) -> str:
    make_flag(environment=environment_key)
    return make_key(environment_key)["Authorization"].removeprefix("Bearer ")


@pytest.fixture
def port(secret: str, tmp_path: Path) -> Iterator[int]:
    number, log = free_port(), tmp_path / "sync.log"
    process = start(sys.executable, "-m", "controlplane.sync", "--port", str(number), log=log, DATA_DIR=str(tmp_path))
    end = time.monotonic() + 20
    while b"flagd sync on" not in log.read_bytes():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    yield number
    stop(process)


def channel(port: int, secret: str) -> grpc.Channel:
    credentials = grpc.composite_channel_credentials(
        grpc.local_channel_credentials(), grpc.access_token_call_credentials(secret)
    )
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials)


def test_the_real_provider_gets_flags_and_hears_of_changes(port, secret, environment_key):
    provider = FlagdProvider(
        host="127.0.0.1", port=port, resolver_type=ResolverType.IN_PROCESS, deadline_ms=5000,
        channel_credentials=grpc.composite_channel_credentials(
            grpc.local_channel_credentials(), grpc.access_token_call_credentials(secret)
        ),
    )  # fmt: skip
    heard: list[object] = []
    api.set_provider_and_wait(provider, "sync")
    client = api.get_client("sync")
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, heard.append)
    context = EvaluationContext("u")
    before = client.get_boolean_value("new-parser", True, context)

    services.update_flag(environment=environment_key, key="new-parser", default_variant="on", **SAID)
    end = time.monotonic() + 4
    while time.monotonic() < end and not client.get_boolean_value("new-parser", False, context):
        time.sleep(0.02)

    assert before is False
    assert client.get_boolean_value("new-parser", False, context) is True
    assert heard
    api.shutdown()


def test_a_stub_fetches_all_and_a_selector_may_name_the_keys_own_environment(port, secret, environment_key):
    with channel(port, secret) as open_channel:
        stub = sync_pb2_grpc.FlagSyncServiceStub(open_channel)
        for selector in ("", environment_key, f"flagSetId={environment_key}", f"source={environment_key}"):
            request = sync_pb2.FetchAllFlagsRequest(provider_id="p", selector=selector)
            answer = stub.FetchAllFlags(request, timeout=5)
            assert '"new-parser"' in answer.flag_configuration


@pytest.mark.parametrize(
    ("selector", "code"),
    [("other", grpc.StatusCode.PERMISSION_DENIED), ("colour=red", grpc.StatusCode.INVALID_ARGUMENT)],
)
def test_another_selector_is_refused(port, secret, selector, code):
    with channel(port, secret) as open_channel, pytest.raises(grpc.RpcError) as refused:
        stub = sync_pb2_grpc.FlagSyncServiceStub(open_channel)
        stub.FetchAllFlags(sync_pb2.FetchAllFlagsRequest(), timeout=5, metadata=[("flagd-selector", selector)])
    assert refused.value.code() is code


def test_no_key_a_wrong_key_and_a_key_without_the_scope(port, environment_key):
    wrong_scope = make_key(environment_key, scopes=["telemetry:write"])["Authorization"].removeprefix("Bearer ")
    time.sleep(2.5)  # until the server has looked
    codes = []
    for secret in ("wrong", wrong_scope):
        with channel(port, secret) as open_channel, pytest.raises(grpc.RpcError) as refused:
            next(
                iter(sync_pb2_grpc.FlagSyncServiceStub(open_channel).SyncFlags(sync_pb2.SyncFlagsRequest(), timeout=5))
            )
        codes.append(refused.value.code())

    assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]


def test_a_revoked_key_loses_its_stream(port, secret):
    with channel(port, secret) as open_channel:
        stream = sync_pb2_grpc.FlagSyncServiceStub(open_channel).SyncFlags(sync_pb2.SyncFlagsRequest(), timeout=20)
        next(stream)
        access_services.revoke_key(key=ApiKey.objects.get(), **(SAID | {"now": NOW.replace(year=2020)}))
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as refused:
            next(stream)

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert time.monotonic() - began < 5


def test_a_busy_port_is_said(port, secret, tmp_path):
    log = tmp_path / "second.log"
    second = start(sys.executable, "-m", "controlplane.sync", "--port", str(port), log=log, **os.environ)

    assert second.wait(20) == 1
    assert str(port) in log.read_text()
