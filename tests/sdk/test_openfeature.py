"""Our provider in the hands of the real OpenFeature SDK."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.hook.opentelemetry import TracingHook
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.hook import Hook
from openfeature.provider import ProviderStatus
from openfeature.track import TrackingEventDetails
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from changeover.openfeature import ChangeoverProvider

from .conftest import ROUTE
from .control_plane import KEY, until

ALICE = EvaluationContext("r-1", {"plan": "gold"})


def plain(value: Any, **more: Any) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": {"x": value}, "defaultVariant": "x", **more}


FLAGS: dict[str, Any] = {
    "boolean": plain(True), "string": plain("x"), "integer": plain(7), "float": plain(7), "object": plain({"a": [1]}),
    "invoice-extraction": ROUTE, "off": plain(True, state="DISABLED"), "none": plain(True, defaultVariant=None),
    "broken": plain(True, targeting={"nonsense": [1]}),
    "since": plain(True, targeting={"if": [{">=": [{"var": "at"}, "2026-01-01"]}, "x", "y"]}),
}  # fmt: skip
VALUES = {"boolean": True, "string": "x", "integer": 7, "float": 7.0, "object": {"a": [1]}}


@pytest.fixture
def provide(plane: Any) -> Iterator[Callable[..., OpenFeatureClient]]:
    """Sets a quick provider and gives OpenFeature's client for its domain."""
    plane.publish(412, **FLAGS)

    def make(*, domain: str = "invoices", wait: bool = True, **options: Any) -> OpenFeatureClient:
        quick = {
            "name": "invoices",
            "flush_seconds": 0.05,
            "timeout_seconds": 20.0,
            "wait_seconds": 20.0,
            "poll_seconds": 0.05,
            "stream": False,
        }
        options = {**quick, **options}
        provider = ChangeoverProvider(options.pop("url", plane.url), options.pop("key", KEY), **options)
        (api.set_provider_and_wait if wait else api.set_provider)(provider, domain)
        return api.get_client(domain)

    yield make
    api.shutdown()


def heard(client: OpenFeatureClient, event: ProviderEvent) -> list[EventDetails]:
    told: list[EventDetails] = []
    client.add_handler(event, told.append)
    return told


@pytest.mark.parametrize("kind", VALUES)
def test_each_type_has_its_resolver_and_its_async_twin(kind, provide):
    client = provide()
    default = {"boolean": False, "string": "", "integer": 0, "float": 0.0, "object": {}}[kind]

    at_once = getattr(client, f"get_{kind}_details")(kind, default, ALICE)
    later = asyncio.run(getattr(client, f"get_{kind}_details_async")(kind, default, ALICE))

    assert repr(at_once.value) == repr(VALUES[kind])
    assert (at_once.variant, at_once.reason, at_once.error_code) == ("x", "STATIC", None)
    assert later == at_once


def test_the_metadata_says_what_assigned_the_variant_and_by_which_snapshot(provide):
    details = provide().get_object_details("invoice-extraction", {}, ALICE)

    assert details.value["model"] == "google/gemini-2.5-flash-lite"
    assert details.reason == "TARGETING_MATCH"
    assert (details.flag_metadata["assigned_by"], details.flag_metadata["snapshot"]) == ("split", 412)


@pytest.mark.parametrize(("flag", "reason"), [("off", "DISABLED"), ("none", "DEFAULT")])
def test_where_there_is_no_value_the_code_has_its_own(flag, reason, provide):
    details = provide().get_boolean_details(flag, False)

    assert (details.value, details.variant, details.reason, details.error_code) == (False, None, reason, None)


@pytest.mark.parametrize(
    ("flag", "code"),
    [
        ("nobody's", ErrorCode.FLAG_NOT_FOUND),
        ("string", ErrorCode.TYPE_MISMATCH),
        ("integer", ErrorCode.TYPE_MISMATCH),
        ("broken", ErrorCode.PARSE_ERROR),
    ],
)
def test_an_error_has_its_code_and_the_codes_own_value(flag, code, provide):
    details = provide().get_boolean_details(flag, False)

    assert (details.value, details.error_code, details.reason) == (False, code, "ERROR")
    assert details.error_message


def test_a_moment_is_iso_text_to_rules_and_contexts_are_merged(provide):
    client = provide()
    api.set_evaluation_context(EvaluationContext(attributes={"at": datetime(2025, 1, 1, tzinfo=UTC)}))
    client.context = EvaluationContext(attributes={"at": datetime(2026, 5, 1, tzinfo=UTC)})

    assert client.get_boolean_details("since", False).reason == "TARGETING_MATCH"
    assert client.get_boolean_details("since", False, EvaluationContext("u", {"at": "2025"})).error_code


def test_hooks_see_the_evaluation(provide):
    class Seeing(Hook):
        seen: list[Any] = []

        def after(self, hook_context: Any, details: Any, hints: Any) -> None:
            self.seen.append((hook_context.flag_key, hook_context.provider_metadata.name, details.variant))

    client = provide()
    client.add_hooks([Seeing()])
    client.get_boolean_value("boolean", False, ALICE)

    assert Seeing.seen == [("boolean", "changeover", "x")]


def test_the_tracing_hook_tells_the_span_around_which_variant_it_was(provide):
    exporter, tracing = InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    client = provide()
    client.add_hooks([TracingHook()])

    with tracing.get_tracer("test").start_as_current_span("request"):
        client.get_object_value("invoice-extraction", {}, ALICE)

    (span,) = exporter.get_finished_spans()
    (event,) = span.events
    assert event.name == "feature_flag.evaluation"
    assert event.attributes["feature_flag.result.variant"] == "flash-lite"
    assert event.attributes["feature_flag.provider.name"] == "changeover"


def test_a_change_is_an_event_with_the_keys_that_changed(plane, provide):
    client = provide(stream=True)
    changed = heard(client, ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)

    plane.publish(413, **{**{key: FLAGS[key] for key in FLAGS if key != "off"}, "boolean": plain(False), "new": ROUTE})

    assert until(lambda: changed)
    assert changed[0].flags_changed == ["boolean", "new", "off"]
    assert changed[0].metadata["revision"] == 413
    assert client.get_boolean_value("boolean", True) is False


def test_away_it_is_stale_and_flags_go_on_and_back_it_is_ready(plane, provide):
    client = provide()
    stale, ready = (heard(client, event) for event in (ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_READY))
    assert until(lambda: len(ready) == 1)

    plane.flag_status = 503
    assert until(lambda: stale)
    assert client.get_provider_status() is ProviderStatus.STALE
    assert client.get_boolean_details("boolean", False).reason == "STATIC"
    plane.flag_status = 200

    assert until(lambda: len(ready) == 2)
    assert client.get_provider_status() is ProviderStatus.READY
    assert len(stale) == 1, "told once, not at each failure"


def test_a_wrong_key_is_fatal_at_once(provide):
    with pytest.raises(ProviderFatalError):
        provide(key="co_wrong", wait_seconds=5.0)

    details = api.get_client("invoices").get_boolean_details("boolean", False)
    assert (details.value, details.error_code) == (False, ErrorCode.PROVIDER_FATAL)


def test_a_key_that_is_refused_later_is_an_error_and_flags_go_on(plane, provide):
    client = provide()
    errors = heard(client, ProviderEvent.PROVIDER_ERROR)

    plane.flag_status = 401

    assert until(lambda: errors)
    assert "refuses the key" in errors[0].message
    assert client.get_boolean_value("boolean", False) is True


def test_no_answer_in_time_is_an_error_that_ends_with_the_first_answer(plane, provide):
    plane.flag_status = 503
    with pytest.raises(ProviderNotReadyError):
        provide(wait_seconds=0.1)
    client = api.get_client("invoices")
    assert client.get_provider_status() is ProviderStatus.ERROR

    plane.flag_status = 200

    assert until(lambda: client.get_provider_status() is ProviderStatus.READY)
    assert client.get_boolean_value("boolean", False) is True


def test_without_waiting_it_is_not_ready_and_then_it_is(provide):
    client = provide(wait=False)

    assert until(lambda: client.get_provider_status() is ProviderStatus.READY)
    assert client.get_boolean_value("boolean", False) is True


def test_it_may_ask_for_each_evaluation_instead(provide):
    client = provide(remote=True)

    assert client.get_integer_value("integer", 0) == 7
    assert asyncio.run(client.get_float_value_async("float", 0.0)) == 7.0
    assert client.get_boolean_details("nobody's", False).error_code is ErrorCode.FLAG_NOT_FOUND


def test_what_is_tracked_is_an_outcome_of_the_request_with_all_that_it_was_given(plane, provide):
    client = provide()
    client.get_object_value("invoice-extraction", {}, ALICE)

    client.track("handoff", ALICE, TrackingEventDetails(0))
    client.track("thumbs_up", EvaluationContext("r-2"), TrackingEventDetails(attributes={"route": "chat"}))
    client.track("nobody's")

    assert until(lambda: len(plane.told("outcomes")) == 2)
    first, second = plane.told("outcomes")
    told = {
        "route": "invoice-extraction", "request_id": "r-1", "name": "handoff", "value": 0, "snapshot": 412,
        "variant": "flash-lite", "assigned": "flash-lite", "assigned_by": "split",
    }  # fmt: skip
    assert {name: first[name] for name in told} == told
    assert (second["route"], second["request_id"], second["value"]) == ("chat", "r-2", 1)


def test_one_provider_serves_several_domains_until_the_last_lets_go(plane, provide):
    client = provide(domain="a")
    provider = client.provider
    api.set_provider_and_wait(provider, "b")
    api.set_provider(ChangeoverProvider(plane.url, KEY, name="other"), "a")
    assert api.get_client("b").get_boolean_value("boolean", False) is True

    api.set_provider(ChangeoverProvider(plane.url, KEY, name="other"), "b")

    assert until(lambda: provider._client is None)


def test_shut_down_it_has_sent_what_was_queued_and_answers_no_more(plane, provide):
    client = provide(flush_seconds=60.0)
    provider = client.provider
    client.get_object_value("invoice-extraction", {}, ALICE)
    client.track("handoff", ALICE)

    api.shutdown()

    assert [row["name"] for row in plane.told("outcomes")] == ["handoff"]
    assert provider.resolve_boolean_details("boolean", False).error_code is ErrorCode.PROVIDER_NOT_READY
    provider.track("handoff", ALICE)


def test_it_can_be_set_again_after_it_was_let_go(provide):
    provider = provide().provider
    api.shutdown()

    api.set_provider_and_wait(provider, "again")

    assert api.get_client("again").get_boolean_value("boolean", False) is True


def test_letting_go_has_a_limit(plane, provide):
    client = provide(flush_seconds=60.0, close_seconds=0.2)
    client.track("handoff", ALICE, TrackingEventDetails(attributes={"route": "r"}))
    plane.refusals.extend([(503, {"Retry-After": "30"})] * 9)

    began = time.monotonic()
    api.shutdown()

    assert time.monotonic() - began < 20, "else it would wait for half a minute"
