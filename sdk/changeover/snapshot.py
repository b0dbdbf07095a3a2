"""A snapshot: the numbered, compiled flag set of one environment, read from flagd's own format. It never changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from changeover.flag import (
    DATA_FAULTS,
    DEFAULT_BUCKETING,
    Compiled,
    Flag,
    Metadata,
    is_metadata,
    read_flag,
    read_text,
)
from changeover.resolution import Resolution, failed
from changeover.rules.closures import Value

MAX_REPLACED = 10_000  # rules that share rules that share rules … grow without end


class UnreadableDocument(ValueError):
    """A document that is no flag definition at all: not JSON, no object, no flags."""


class Flags(Mapping[str, Flag]):
    """The flags by key, in their order. A flag is put together when it is first asked for: most never are."""

    __slots__ = ("compiled", "made", "metadata")

    def __init__(self, compiled: dict[str, Compiled], metadata: Metadata) -> None:
        self.compiled = compiled
        self.metadata = metadata
        self.made: dict[str, Flag] = {}

    def __getitem__(self, key: str) -> Flag:
        flag = self.made.get(key)
        if flag is None:  # threads that meet here all go on with the same one
            flag = self.made.setdefault(key, Flag(key, self.compiled[key], self.metadata))
        return flag

    def __iter__(self) -> Iterator[str]:
        return iter(self.compiled)

    def __len__(self) -> int:
        return len(self.compiled)


class Snapshot:
    __slots__ = ("_ready", "flags", "metadata", "time_dependent", "version")

    def __init__(self, compiled: dict[str, Compiled], metadata: Metadata) -> None:
        self.flags = Flags(compiled, metadata)
        self.metadata = metadata
        self.version = _version(metadata)
        """The snapshot's number; 0 where the document tells none."""
        self.time_dependent = any(flag.time_dependent for flag in compiled.values())
        self._ready: dict[str, tuple[Value, list[Resolution]]] = {}  # of flags that have been asked for

    @classmethod
    def from_flagd(cls, document: Mapping[str, Any] | str | bytes, *, previous: Snapshot | None = None) -> Snapshot:
        """Reads a flag definition and compiles its flags, taking over from `previous` those that did not change.

        A flag that cannot be read answers PARSE_ERROR; the others are none the worse. The document is not copied.
        """
        if isinstance(document, (str, bytes)):
            try:
                document = json.loads(document)
            except (ValueError, RecursionError) as fault:
                raise UnreadableDocument(f"The flag definition is no JSON: {fault}") from fault
        if not isinstance(document, Mapping):
            raise UnreadableDocument("The flag definition must be an object.")
        return cls._read(_definitions(document), document.get("metadata"), read_flag, previous)

    @classmethod
    def from_texts(
        cls, texts: Mapping[str, bytes], metadata: Mapping[str, Any], *, previous: Snapshot | None = None
    ) -> Snapshot:
        """The same from each flag's own JSON text: only texts that `previous` was not made from are parsed."""
        return cls._read(texts, metadata, read_text, previous)

    @classmethod
    def _read(
        cls, flags: Mapping[str, Any], told: Any, read: Callable[..., Compiled], previous: Snapshot | None
    ) -> Snapshot:
        metadata = _set_metadata(told)
        bucketing = metadata.get("bucketing", DEFAULT_BUCKETING)
        old = previous.flags.compiled if previous is not None else {}
        return cls({key: read(key, flag, bucketing, old.get(key)) for key, flag in flags.items()}, metadata)

    def evaluate(self, key: str, context: Mapping[str, Any] | None = None, now: float | None = None) -> Resolution:
        """What this flag answers to this context. Never raises: what goes wrong is in `error_code`.

        `now` (seconds since 1970) is what rules read as `$flagd.timestamp`; the clock's, if it is not given.
        """
        # The usual case, in as few steps as there can be; whatever is unusual begins anew below.
        try:
            rule, answers = self._ready[key]
            if type(context) is dict:
                return answers[rule(context, now)]
        except DATA_FAULTS:  # asked for the first time, or the rule stumbled
            pass
        flag = self.flags.get(key)
        if flag is None:
            return failed("FLAG_NOT_FOUND", f"Flag {key!r} is not in the snapshot.", self.metadata)
        if flag.ready is not None:
            self._ready[key] = flag.ready
        return flag.evaluate(context if type(context) is dict else dict(context or {}), now)

    def changed_since(self, before: Snapshot | None) -> list[str]:
        """The keys of flags that were added, changed or removed."""
        old = {} if before is None else before.flags.compiled
        new = self.flags.compiled
        digests = [{key: flag.digest for key, flag in flags.items()} for flags in (old, new)]
        return sorted(key for key in {**old, **new} if digests[0].get(key) != digests[1].get(key))


def _set_metadata(metadata: Any) -> Metadata:
    if not isinstance(metadata, Mapping):
        return {}
    return {name: value for name, value in metadata.items() if is_metadata(name, value)}


def _version(metadata: Metadata) -> int:
    for number in (metadata.get("revision"), metadata.get("version")):
        if isinstance(number, int) and not isinstance(number, bool):
            return number
        if isinstance(number, str) and number.isascii() and number.isdigit():
            return int(number)
    return 0


def _definitions(document: Mapping[str, Any]) -> dict[str, Any]:
    flags = document.get("flags", {})
    if isinstance(flags, list):  # flagd itself takes a list too, each flag with its key
        flags = {flag["key"]: flag for flag in flags if isinstance(flag, dict) and isinstance(flag.get("key"), str)}
    if not isinstance(flags, dict):
        raise UnreadableDocument("The flags must be an object.")
    evaluators = document.get("$evaluators")
    if not evaluators:
        return flags
    if not isinstance(evaluators, dict):
        raise UnreadableDocument("The $evaluators must be an object.")
    shared = list(evaluators.items())
    return {key: _with_shared(flag, shared) for key, flag in flags.items()}


def _with_shared(flag: Any, shared: list[tuple[str, Any]]) -> Any:
    try:
        return _Sharing().fill_in(flag, shared)
    except RecursionError:
        return None  # nested so deeply that it is no flag


class _Sharing:
    """Puts the shared rules of a document where a flag refers to them."""

    def __init__(self) -> None:
        self.replaced = 0

    def fill_in(self, node: Any, shared: list[tuple[str, Any]]) -> Any:
        """The node with each `{"$ref": name}` replaced by the shared rule of that name.

        flagd goes through the shared rules once, in order: a shared rule may refer to a later one, not to an earlier
        one nor to itself. What is left over is an operator that nobody knows.
        """
        if isinstance(node, list):
            return [self.fill_in(item, shared) for item in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and isinstance(name := node.get("$ref"), str):
            for at, (known, rule) in enumerate(shared):
                if known == name and self.replaced < MAX_REPLACED:
                    self.replaced += 1
                    return self.fill_in(rule, shared[at + 1 :])
        return {key: self.fill_in(item, shared) for key, item in node.items()}
