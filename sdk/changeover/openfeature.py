"""Changeover as a provider of OpenFeature: `api.set_provider_and_wait(ChangeoverProvider(url, key, name="invoices"))`.

The one module that needs more than the standard library: `pip install changeover[openfeature]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.provider import AbstractProvider
from openfeature.provider.metadata import Metadata
from openfeature.track import TrackingEventDetails

from changeover.client import Client
from changeover.remote import version_of
from changeover.resolution import Kind, Resolution, Resolved
from changeover.snapshot import Snapshot

Context = EvaluationContext | None
Structure = Sequence[FlagValueType] | Mapping[str, FlagValueType]

MOST_REMEMBERED = 10_000  # requests whose routes `track` still finds; then as many again, the older ones


class ChangeoverProvider(AbstractProvider):
    """One may serve several domains. It makes its client when it is first set, and closes it when the last lets go.

    `options` are those of `Client`. `wait_seconds` is how long setting it may wait for flags; `close_seconds` how long
    letting go of it may wait for the last reports. A refused key is FATAL; no answer in time is an ERROR, which ends
    as soon as there is one.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        name: str,
        wait_seconds: float = 5.0,
        close_seconds: float = 5.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self._made_of = {"url": url, "key": key, "name": name, **options}
        self._wait_seconds = wait_seconds
        self._close_seconds = close_seconds
        self._requests = Requests()
        self._client: Client | None = None
        self._is_told = False  # READY was, so that the next trouble is worth telling
        self._trouble = ""

    @property
    def client(self) -> Client:
        """For what OpenFeature has no words for: `report`, `outcome`, `resolve`. There is one while it is set."""
        if self._client is None:
            raise ProviderNotReadyError("Set the provider first.")
        return self._client

    def get_metadata(self) -> Metadata:
        return Metadata(name="changeover")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        self._trouble = ""
        client = self._client = Client(wait_seconds=0.0, **self._made_of)
        client.listen(self)
        is_ready = client.wait(self._wait_seconds)
        self._is_told = True
        if not is_ready:
            if client.is_refused:
                self._trouble = "refused"
                raise ProviderFatalError("Changeover refuses the key.")
            self._trouble = "unreachable"
            raise ProviderNotReadyError(f"No flags came within {self._wait_seconds:g} s.")

    def shutdown(self) -> None:
        client, self._client = self._client, None
        self._is_told = False
        if client is not None:
            client.close(self._close_seconds)

    # What the client's watcher tells

    def changed(self, snapshot: Snapshot, keys: list[str]) -> None:
        self.well()
        if self._is_told:
            self.emit_provider_configuration_changed(
                ProviderEventDetails(flags_changed=keys, metadata=dict(snapshot.metadata))
            )

    def well(self) -> None:
        if self._is_told and self._trouble:
            self._trouble = ""
            self.emit_provider_ready(ProviderEventDetails())

    def troubled(self, message: str, *, refused: bool) -> None:
        trouble = "refused" if refused else "unreachable"
        if not self._is_told or self._trouble == trouble:
            return
        self._trouble = trouble
        if refused:
            self.emit_provider_error(ProviderEventDetails(message=message, error_code=ErrorCode.GENERAL))
        else:
            self.emit_provider_stale(ProviderEventDetails(message=message))

    # Evaluating

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: Context = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(flag_key, default_value, evaluation_context, "boolean")

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: Context = None
    ) -> FlagResolutionDetails[bool]:
        return await self._resolve_async(flag_key, default_value, evaluation_context, "boolean")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: Context = None
    ) -> FlagResolutionDetails[str]:
        return self._resolve(flag_key, default_value, evaluation_context, "string")

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: Context = None
    ) -> FlagResolutionDetails[str]:
        return await self._resolve_async(flag_key, default_value, evaluation_context, "string")

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: Context = None
    ) -> FlagResolutionDetails[int]:
        return self._resolve(flag_key, default_value, evaluation_context, "integer")

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: Context = None
    ) -> FlagResolutionDetails[int]:
        return await self._resolve_async(flag_key, default_value, evaluation_context, "integer")

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: Context = None
    ) -> FlagResolutionDetails[float]:
        return self._resolve(flag_key, default_value, evaluation_context, "float")

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: Context = None
    ) -> FlagResolutionDetails[float]:
        return await self._resolve_async(flag_key, default_value, evaluation_context, "float")

    def resolve_object_details(
        self, flag_key: str, default_value: Structure, evaluation_context: Context = None
    ) -> FlagResolutionDetails[Structure]:
        return self._resolve(flag_key, default_value, evaluation_context, "object")

    async def resolve_object_details_async(
        self, flag_key: str, default_value: Structure, evaluation_context: Context = None
    ) -> FlagResolutionDetails[Structure]:
        return await self._resolve_async(flag_key, default_value, evaluation_context, "object")

    async def _resolve_async(
        self, flag_key: str, default: Any, context: Context, kind: Kind
    ) -> FlagResolutionDetails[Any]:
        if self._client is not None and self._client.snapshot is None:  # asked remotely, which takes its time
            return await asyncio.to_thread(self._resolve, flag_key, default, context, kind)
        return self._resolve(flag_key, default, context, kind)

    def _resolve(self, flag_key: str, default: Any, context: Context, kind: Kind) -> FlagResolutionDetails[Any]:
        client = self._client
        if client is None:
            told = "The provider is not set."
            return FlagResolutionDetails(default, ErrorCode.PROVIDER_NOT_READY, told, reason="ERROR")
        answer = client.evaluate(flag_key, data_of(context)).as_type(kind)
        snapshot = version_of(answer.metadata)
        if kind == "object" and context is not None and context.targeting_key:
            self._requests.remember(context.targeting_key, flag_key, answer, snapshot)
        metadata = {**answer.metadata, "snapshot": snapshot}
        if answer.assigned_by is not None:
            metadata["assigned_by"] = answer.assigned_by
        return FlagResolutionDetails(
            value=answer.value if answer.has_value else default,
            variant=answer.variant,
            reason=answer.reason,
            error_code=None if answer.error_code is None else code_of(answer.error_code),
            error_message=answer.error_details,
            flag_metadata=metadata,
        )

    # Tracking

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: Context = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Queues an outcome of the request that the targeting key names, for each route that it was given.

        The attribute `route` of the details names the one that is meant, or one that was asked elsewhere.
        """
        client = self._client
        if client is None:
            return
        details = tracking_event_details or TrackingEventDetails()
        request_id = evaluation_context.targeting_key if evaluation_context is not None else None
        value = 1 if details.value is None else details.value
        routes = self._requests.routes_of(request_id) if request_id else {}
        if named := details.attributes.get("route"):
            meant = routes.get(str(named), str(named))
            client.outcome(meant, tracking_event_name, value, request_id=request_id)
            return
        for resolved in routes.values():
            client.outcome(resolved, tracking_event_name, value)


class Requests:
    """Which routes each of the latest requests was given: two dictionaries in turn, so that nothing needs a lock."""

    def __init__(self) -> None:
        self._young: dict[str, dict[str, Resolved]] = {}
        self._old: dict[str, dict[str, Resolved]] = {}

    def remember(self, request_id: str, flag: str, answer: Resolution, snapshot: int) -> None:
        resolved = Resolved(
            flag=flag,
            request_id=request_id,
            value=answer.value,
            variant=answer.variant,
            reason=answer.reason,
            error_code=answer.error_code,
            error_details=answer.error_details,
            snapshot=snapshot,
            assigned_by=answer.assigned_by,
        )
        self._young.setdefault(request_id, {})[flag] = resolved
        if len(self._young) >= MOST_REMEMBERED:
            self._old, self._young = self._young, {}

    def routes_of(self, request_id: str) -> dict[str, Resolved]:
        return {**self._old.get(request_id, {}), **self._young.get(request_id, {})}


def data_of(context: Context) -> dict[str, Any]:
    """What rules see. Moments are ISO text, as they are wherever a context travels."""
    if context is None:
        return {}
    data = {name: plain(value) for name, value in context.attributes.items()}
    if context.targeting_key is not None:
        data["targetingKey"] = context.targeting_key
    return data


def plain(value: Any) -> Any:
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def code_of(code: str) -> ErrorCode:
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.GENERAL
