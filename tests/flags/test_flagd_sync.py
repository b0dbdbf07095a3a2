"""flagd's gRPC sync door, with the real provider of the field."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from django.utils import timezone
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.provider import ProviderStatus
from openfeature.schemas.protobuf.flagd.sync.v1 import sync_pb2, sync_pb2_grpc

from apps.access import services as access_services
from apps.access.models import ApiKey
from apps.core import refresh
from apps.flags import queries, services
from apps.flags.serving import sync
from tests.flags.doors import make_key
from tests.flags.make_flags import ALICE, NOW, make_flag
from tests.processes import eventually, free_port, start, stop

PATIENCE = 60  # seconds: a machine may be much slower than this one
SAID = {"by": ALICE, "because": "to see", "now": NOW}


@pytest.fixture
def secret(transactional_db: None, place: str) -> str:
    make_flag(environment=place)
    return secret_in(place)


def secret_in(environment: str, **more: Any) -> str:
    return make_key(environment, **more)["Authorization"].removeprefix("Bearer ")


def sync_process(folder: Path, port: int) -> Any:
    folder.mkdir(exist_ok=True)
    log = folder / "sync.log"
    log.touch()
    begun = log.read_bytes().count(b"flagd sync on")
    process = start(sys.executable, "-m", "controlplane.sync", "--port", str(port), log=log, DATA_DIR=str(folder))

    def has_begun() -> bool:
        assert process.poll() is None, log.read_text()
        return log.read_bytes().count(b"flagd sync on") > begun

    try:
        eventually(has_begun, 90)
    except BaseException:
        stop(process)
        raise
    return process


@pytest.fixture(scope="module")
def port(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One process for all tests: each has an environment of its own."""
    number = free_port()
    with django_db_blocker.unblock():
        process = sync_process(tmp_path_factory.mktemp("sync"), number)
    yield number
    stop(process)


def channel(port: int, secret: str) -> grpc.Channel:
    credentials = grpc.composite_channel_credentials(
        grpc.local_channel_credentials(), grpc.access_token_call_credentials(secret)
    )
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials)


def fetch(port: int, secret: str, selector: str = "") -> dict[str, Any]:
    """Waits for a key that is too new for the process."""
    with channel(port, secret) as opened:
        stub, end = sync_pb2_grpc.FlagSyncServiceStub(opened), time.monotonic() + PATIENCE
        while True:
            try:
                answer = stub.FetchAllFlags(sync_pb2.FetchAllFlagsRequest(selector=selector), timeout=PATIENCE)
                return json.loads(answer.flag_configuration)
            except grpc.RpcError as refused:
                early = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE)
                if refused.code() not in early or time.monotonic() > end:
                    raise
                time.sleep(0.02)


def refusal(port: int, secret: str, selector: str = "") -> grpc.StatusCode:
    with channel(port, secret) as opened, pytest.raises(grpc.RpcError) as refused:
        stub = sync_pb2_grpc.FlagSyncServiceStub(opened)
        next(stub.SyncFlags(sync_pb2.SyncFlagsRequest(), timeout=PATIENCE, metadata=[("flagd-selector", selector)]))
    return refused.value.code()


@pytest.fixture
def providers() -> Iterator[Any]:
    """OpenFeature's own list of them, empty again after the test, however it ended."""
    yield api
    api.shutdown()


def provider_of(port: int, secret: str, **more: Any) -> FlagdProvider:
    return FlagdProvider(
        host="127.0.0.1", port=port, resolver_type=ResolverType.IN_PROCESS, deadline_ms=20_000,
        channel_credentials=grpc.composite_channel_credentials(
            grpc.local_channel_credentials(), grpc.access_token_call_credentials(secret)
        ), **more,
    )  # fmt: skip


def test_the_real_provider_gets_flags_and_hears_of_changes(port, secret, place, providers):
    fetch(port, secret)
    heard: list[Any] = []
    providers.set_provider_and_wait(provider_of(port, secret), "sync")
    client = providers.get_client("sync")
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, heard.append)
    context = EvaluationContext("u")
    before = client.get_boolean_value("new-parser", True, context)

    services.update_flag(environment=place, key="new-parser", default_variant="on", **SAID)
    eventually(lambda: client.get_boolean_value("new-parser", False, context))

    assert before is False
    eventually(lambda: any("new-parser" in (told.flags_changed or []) for told in heard))


def test_after_a_restart_the_real_provider_is_ready_again_and_has_missed_nothing(secret, place, tmp_path, providers):
    number = free_port()
    process = sync_process(tmp_path / "first", number)
    provider = provider_of(number, secret, retry_backoff_ms=100, retry_backoff_max_ms=500, retry_grace_period=1)
    providers.set_provider_and_wait(provider, "restart")
    client, context = providers.get_client("restart"), EvaluationContext("u")

    stop(process)
    eventually(lambda: client.get_provider_status() is not ProviderStatus.READY)
    assert client.get_boolean_value("new-parser", True, context) is False, "flags go on from the last set"
    services.update_flag(environment=place, key="new-parser", default_variant="on", **SAID)
    process = sync_process(tmp_path / "first", number)

    try:
        eventually(lambda: client.get_boolean_value("new-parser", False, context))
        eventually(lambda: client.get_provider_status() is ProviderStatus.READY)
    finally:
        providers.shutdown()  # first: it waits for a server that has gone
        stop(process)


def test_a_selector_may_name_the_keys_own_environment(port, secret, place):
    for selector in ("", place, f"flagSetId={place}", f"source={place}"):
        assert set(fetch(port, secret, selector)["flags"]) == {"new-parser"}


def test_a_selector_of_an_owner_gives_that_owners_flags_alone_as_they_change(port, secret, place):
    make_flag("ours", environment=place, owner="payments")
    make_flag("theirs", environment=place, owner="search")
    eventually(lambda: len(fetch(port, secret)["flags"]) == 3)

    whole, part = fetch(port, secret), fetch(port, secret, f"flagSetId={place},owner=payments")

    assert part == whole | {"flags": {"ours": whole["flags"]["ours"]}}
    with channel(port, secret) as opened:
        stub = sync_pb2_grpc.FlagSyncServiceStub(opened)
        stream = stub.SyncFlags(sync_pb2.SyncFlagsRequest(selector="owner=payments"), timeout=PATIENCE)
        next(stream)
        services.update_flag(environment=place, key="ours", default_variant="on", **SAID)
        assert json.loads(next(stream).flag_configuration)["flags"]["ours"]["defaultVariant"] == "on"


@pytest.mark.parametrize(
    ("selector", "code"),
    [
        ("other", grpc.StatusCode.PERMISSION_DENIED),
        ("colour=red", grpc.StatusCode.INVALID_ARGUMENT),
        ("owner=", grpc.StatusCode.INVALID_ARGUMENT),
        ("owner=nobody", grpc.StatusCode.NOT_FOUND),
    ],
)
def test_another_selector_is_refused(port, secret, selector, code):
    fetch(port, secret)

    assert refusal(port, secret, selector) is code


def test_a_wrong_key_and_one_without_the_scope_are_refused_and_told(port, secret, place):
    narrow = secret_in(place, scopes=["telemetry:write"])

    assert refusal(port, "co_wrong") is grpc.StatusCode.UNAUTHENTICATED
    eventually(lambda: refusal(port, narrow) is grpc.StatusCode.PERMISSION_DENIED)

    def told() -> dict[str, Any]:
        """By the key. Keys of tests before this one may be among them, as unknown: their rows are gone."""
        rows = queries.refused_clients(place)
        return {row.key: row for row in rows if row.key in ("co_wrong…", "key 1")}

    eventually(lambda: len(told()) == 2)
    unknown, narrowed = told()["co_wrong…"], told()["key 1"]
    assert (unknown.why, unknown.environment) == ("unknown key", "")
    assert (narrowed.why, narrowed.environment) == ("wrong scope", place)
    for row in (unknown, narrowed):
        assert (row.door, row.address, row.agent[:11]) == ("sync", "127.0.0.1", "grpc-python")


def test_a_key_that_asks_too_often_is_told_to_wait(port, place, transactional_db):
    make_flag(environment=place)
    key = secret_in(place)
    access_services.set_rate(key=ApiKey.objects.get(), rate_per_second=1, **SAID)

    fetch(port, key)
    with channel(port, key) as opened:
        ask = sync_pb2_grpc.FlagSyncServiceStub(opened).FetchAllFlags.future

        def codes() -> set[grpc.StatusCode]:
            asked = [ask(sync_pb2.FetchAllFlagsRequest(), timeout=PATIENCE) for _ in range(20)]
            return {one.code() for one in asked}

        eventually(lambda: grpc.StatusCode.RESOURCE_EXHAUSTED in codes())  # the rate is a little newer than the key


def test_pings_as_often_as_a_client_likes_do_not_cut_its_stream(port, secret, place):
    fetch(port, secret)
    often = [("grpc.keepalive_time_ms", 10), ("grpc.http2.max_pings_without_data", 0)]
    credentials = grpc.composite_channel_credentials(
        grpc.local_channel_credentials(), grpc.access_token_call_credentials(secret)
    )
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=often) as opened:
        stream = sync_pb2_grpc.FlagSyncServiceStub(opened).SyncFlags(sync_pb2.SyncFlagsRequest(), timeout=PATIENCE)
        next(stream)
        time.sleep(0.5)  # some fifty pings: a server with limits cuts the third
        services.update_flag(environment=place, key="new-parser", default_variant="on", **SAID)

        assert json.loads(next(stream).flag_configuration)["flags"]["new-parser"]["defaultVariant"] == "on"


def test_a_revoked_key_loses_its_stream(port, secret):
    """Though nothing else happens: keys are looked at every two seconds, and at the bell; streams ask every second."""
    assert (refresh.EVERY_SECONDS, sync.KEY_SECONDS) == (2, 1)
    fetch(port, secret)
    with channel(port, secret) as opened:
        stream = sync_pb2_grpc.FlagSyncServiceStub(opened).SyncFlags(sync_pb2.SyncFlagsRequest(), timeout=PATIENCE)
        next(stream)
        access_services.revoke_key(key=ApiKey.objects.get(), by=ALICE, because="leaked", now=timezone.now())
        with pytest.raises(grpc.RpcError) as refused:
            next(stream)

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_busy_port_is_said(port, tmp_path):
    log = tmp_path / "second.log"
    second = start(sys.executable, "-m", "controlplane.sync", "--port", str(port), log=log, **os.environ)

    assert second.wait(PATIENCE) == 1
    assert str(port) in log.read_text()
