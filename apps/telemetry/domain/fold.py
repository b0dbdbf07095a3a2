"""Batches in, sums out.

A request is judged, a call is billed. All attempts of one request travel in one batch: the request has the latency from
its first start to its last end, the error of its last attempt, the cost of all of them. What was counted before is told
to us call by call (`new`), and nothing of it is counted again. A call belongs to the window in which it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from apps.catalog.domain.pricing import PriceBook, normalised
from apps.telemetry.domain.batch import Call, Outcome
from apps.telemetry.domain.pricing import Priced, TokenHistory, price_call
from apps.telemetry.domain.routes import RouteFacts
from apps.telemetry.domain.sums import (
    LedgerKey,
    LedgerSum,
    OutcomeKey,
    OutcomeSum,
    RequestKey,
    RequestSum,
    WindowKey,
    WindowSum,
)

LATE_SECONDS = 30  # after the end of its window


class Known(Protocol):
    """What the fold asks about: filled from tables by the writer, from a plan by a replay."""

    def route(self, environment: str, route: str) -> RouteFacts: ...

    def history(self, environment: str, route: str) -> TokenHistory: ...


class Attempt:
    """One call, with all that is found out about it."""

    __slots__ = ("arm", "call", "ended_at", "facts", "is_new", "price", "seconds", "split", "variant")

    def __init__(self, call: Call, facts: RouteFacts, price: Priced, *, is_new: bool) -> None:
        self.call = call
        self.facts = facts
        self.price = price
        self.is_new = is_new
        self.variant = call.variant or call.assigned or ""  # where the sender names none, the one the flag chose
        self.arm = call.arm or "live"
        self.split = facts.split_of(call.snapshot, call.at)
        self.seconds = call.latency_ms / 1000
        self.ended_at = call.at.timestamp() + self.seconds


Memo = tuple[object, ...]


class Fold:
    """The private dictionaries find the same sums by plain tuples, which are made ten times as fast as named ones."""

    def __init__(self, known: Known, book: PriceBook, *, window_seconds: int, arrived_at: float) -> None:
        self.known = known
        self.book = book
        self.window_seconds = window_seconds
        self.late_before = arrived_at - window_seconds - LATE_SECONDS
        self.windows: dict[WindowKey, WindowSum] = {}
        self.requests: dict[RequestKey, RequestSum] = {}
        self.outcomes: dict[OutcomeKey, OutcomeSum] = {}
        self.ledger: dict[LedgerKey, LedgerSum] = {}
        self.unassigned: dict[tuple[str, str], int] = {}  # calls of routes that nobody made
        self.unassigned_of: dict[
            tuple[str, str], tuple[str, str]
        ] = {}  # with the service and model of those without one
        self.heard: dict[tuple[str, str, str, str], int] = {}  # environment, service, source, what
        self.touched: set[tuple[str, str]] = set()  # routes with anything new
        self.learned: set[tuple[str, str]] = set()  # routes whose token history grew
        self._windows: dict[Memo, WindowSum] = {}
        self._requests: dict[Memo, RequestSum] = {}
        self._calls: dict[Memo, tuple[WindowSum, LedgerSum]] = {}

    def add_calls(self, environment: str, calls: Sequence[Call], new: Sequence[bool]) -> None:
        """One batch's calls, in the order in which they were sent."""
        if not any(new):
            return
        self.learn(environment, calls, new)
        groups: dict[Memo, list[Attempt]] = {}
        for call, is_new in zip(calls, new, strict=True):
            facts = self.known.route(environment, call.route)
            attempt = Attempt(call, facts, self.price(environment, call, facts), is_new=is_new)
            if is_new:
                self.add_call(environment, attempt)
            if call.request_id:
                groups.setdefault((call.route, attempt.arm, call.request_id), []).append(attempt)
            elif is_new:
                self.add_request(environment, attempt, [attempt], is_final=True)
        for attempts in groups.values():
            self.add_group(environment, attempts)

    def add_group(self, environment: str, attempts: list[Attempt]) -> None:
        """The attempts of one request. Without a final one each new call stands for a request, and is marked so."""
        if len(attempts) == 1:
            if attempts[0].is_new:
                self.add_request(environment, attempts[0], attempts, is_final=bool(attempts[0].call.final))
            return
        attempts = first_of_each_id(attempts)
        last = next((attempt for attempt in reversed(attempts) if attempt.call.final), None)
        if last is None:
            for attempt in attempts:
                if attempt.is_new:
                    self.add_request(environment, attempt, [attempt], is_final=False)
        elif last.is_new:
            self.add_request(environment, last, attempts, is_final=True)

    def learn(self, environment: str, calls: Sequence[Call], new: Sequence[bool]) -> None:
        """Before pricing: an unknown call of a route's first batch is taken for what its neighbours were."""
        histories: dict[str, TokenHistory] = {}
        for call, is_new in zip(calls, new, strict=True):
            if is_new and not call.error and call.input_tokens is not None and call.output_tokens is not None:
                history = histories.get(call.route)
                if history is None:
                    history = histories[call.route] = self.known.history(environment, call.route)
                    self.learned.add((environment, call.route))
                history.learn(call.input_tokens, call.output_tokens)

    def price(self, environment: str, call: Call, facts: RouteFacts) -> Priced:
        variant = call.variant or call.assigned or ""
        price = self.book.find(call.provider, call.model or facts.model_of(variant), call.at)
        return price_call(call, price, self.known.history(environment, call.route), facts.variants.get(variant))

    def add_call(self, environment: str, attempt: Attempt) -> None:
        call, price = attempt.call, attempt.price
        inputs, outputs, cached = call.input_tokens or 0, call.output_tokens or 0, call.cached_input_tokens or 0
        if cached > inputs:  # it is a part of the input: a larger one means something else
            cached = 0
        confirmed, estimated, is_unpriced, rule = price
        ended_at = attempt.ended_at
        memo = (
            environment, call.route, attempt.variant, attempt.arm, ended_at // self.window_seconds, ended_at // 60,
            call.provider, call.model, attempt.split.trial, call.tag, rule,
        )  # fmt: skip
        pair = self._calls.get(memo)
        if pair is None:
            line_key = self.ledger_key(environment, attempt)
            line = self.ledger.setdefault(line_key, LedgerSum())
            pair = self._calls[memo] = (self.window_of(environment, attempt), line)
        window, line = pair

        window.calls += 1
        if call.error:
            window.errors += 1
        window.input_tokens += inputs
        window.cached_input_tokens += cached
        window.output_tokens += outputs
        window.latency.add(attempt.seconds)
        line.calls += 1
        line.input_tokens += inputs
        line.cached_input_tokens += cached
        line.output_tokens += outputs
        if confirmed:
            window.confirmed_nano += confirmed
            line.confirmed_nano += confirmed
        elif estimated:
            window.estimated_nano += estimated
            line.estimated_nano += estimated
        elif is_unpriced:
            window.unpriced += 1
            line.unpriced += 1

        if not attempt.facts.is_known:
            name = (environment, call.route)
            self.unassigned[name] = self.unassigned.get(name, 0) + 1
        if ended_at < self.late_before:
            window.late += self.window_at(ended_at) < self.late_before

    def add_window(self, environment: str, attempt: Attempt, *, has_latency: bool = True) -> None:
        call, price = attempt.call, attempt.price
        inputs, outputs, cached = call.input_tokens or 0, call.output_tokens or 0, call.cached_input_tokens or 0
        if cached > inputs:
            cached = 0
        window = self.window_of(environment, attempt)
        window.calls += 1
        if call.error:
            window.errors += 1
        window.input_tokens += inputs
        window.cached_input_tokens += cached
        window.output_tokens += outputs
        window.confirmed_nano += price.confirmed_nano
        window.estimated_nano += price.estimated_nano
        window.unpriced += price.is_unpriced
        if has_latency:
            window.latency.add(attempt.seconds)
        else:
            window.coarse += 1
        if attempt.ended_at < self.late_before:
            starts_at = self.window_at(attempt.ended_at)
            window.late += starts_at < self.late_before

    def window_at(self, seconds: float) -> int:
        return int(seconds // self.window_seconds) * self.window_seconds

    def window_of(self, environment: str, attempt: Attempt) -> WindowSum:
        starts_at = self.window_at(attempt.ended_at)
        memo = (environment, attempt.call.route, attempt.variant, attempt.arm, starts_at)
        window = self._windows.get(memo)
        if window is None:
            key = WindowKey(environment, attempt.call.route, attempt.variant, attempt.arm, starts_at)
            window = self._windows[memo] = self.windows.setdefault(key, WindowSum())
            self.touched.add((environment, attempt.call.route))
        return window

    def ledger_key(self, environment: str, attempt: Attempt) -> LedgerKey:
        call = attempt.call
        # One spelling of each model, so that money by model is not split by how a sender writes it.
        named = normalised(call.provider, call.model or attempt.facts.model_of(attempt.variant) or "")
        return LedgerKey(
            int(attempt.ended_at // 60), environment, call.route, attempt.variant, *named, attempt.facts.owner,
            attempt.arm, attempt.split.trial, call.tag or "", attempt.price.rule,
        )  # fmt: skip

    # What comes through other doors than the native one: money at once, and moved when more is known; the rest once.

    def attempt_of(self, environment: str, call: Call) -> Attempt:
        facts = self.known.route(environment, call.route)
        return Attempt(call, facts, self.price(environment, call, facts), is_new=True)

    def add_line(self, key: LedgerKey, sums: LedgerSum, sign: int = 1) -> None:
        """With the sign -1 a line takes back what another one booked."""
        line = self.ledger.setdefault(key, LedgerSum())
        line.calls += sign * sums.calls
        line.confirmed_nano += sign * sums.confirmed_nano
        line.estimated_nano += sign * sums.estimated_nano
        line.unpriced += sign * sums.unpriced
        line.input_tokens += sign * sums.input_tokens
        line.cached_input_tokens += sign * sums.cached_input_tokens
        line.output_tokens += sign * sums.output_tokens
        self.touched.add((key.environment, key.route))

    def hear(self, environment: str, service: str, source: str, what: str, n: int = 1) -> None:
        key = (environment, service, source, what[:64])
        self.heard[key] = self.heard.get(key, 0) + n

    def learn_of(self, environment: str, call: Call) -> None:
        if not call.error and call.input_tokens is not None and call.output_tokens:
            self.known.history(environment, call.route).learn(call.input_tokens, call.output_tokens)
            self.learned.add((environment, call.route))

    def count_attempts(self, environment: str, attempts: Sequence[Attempt]) -> None:
        """Into windows and requests, without their money's lines."""
        groups: dict[Memo, list[Attempt]] = {}
        for attempt in attempts:
            self.add_window(environment, attempt)
            if attempt.call.request_id:
                groups.setdefault((attempt.call.route, attempt.arm, attempt.call.request_id), []).append(attempt)
            else:
                self.add_request(environment, attempt, [attempt], is_final=True)
        for group in groups.values():
            self.add_group(environment, group)

    def add_request(self, environment: str, last: Attempt, attempts: Sequence[Attempt], *, is_final: bool) -> None:
        seconds, ended_at = last.seconds, last.ended_at
        if len(attempts) > 1:
            began_at = min(attempt.call.at for attempt in attempts)
            seconds = max((attempt.call.at - began_at).total_seconds() + attempt.seconds for attempt in attempts)
            ended_at = began_at.timestamp() + seconds
        sums = self.request_of(environment, last, attempts, self.window_at(ended_at))
        sums.requests += 1
        sums.attempts += len(attempts)
        if not is_final:
            sums.unfinal += 1
        if ended_at < sums.first_at:
            sums.first_at = ended_at
        if ended_at > sums.last_at:
            sums.last_at = ended_at
        if last.call.error:
            sums.errors += 1
        else:
            sums.latency.add(seconds)
        estimated = confirmed = 0
        for attempt in attempts:
            if attempt.price.is_unpriced:
                sums.unpriced += 1
                return
            estimated += attempt.price.estimated_nano
            confirmed += attempt.price.confirmed_nano
        cost = estimated + confirmed
        sums.cost_nano += cost
        sums.estimated_nano += estimated
        sums.cost.add(cost / 1e9)

    def request_of(self, environment: str, last: Attempt, attempts: Sequence[Attempt], starts_at: int) -> RequestSum:
        said, split = last, last.split
        if len(attempts) > 1:
            said = next((attempt for attempt in (last, *attempts) if attempt.call.assigned is not None), last)
            began_at = min(attempt.call.at for attempt in attempts)
            split = last.facts.split_of(said.call.snapshot, began_at)
        assigned = last.variant if last.arm == "shadow" else said.call.assigned or attempts[0].variant
        assigned_by = split.assigned_by(said.call.assigned_by)
        route = last.call.route
        memo = (environment, route, split.since_version, assigned, last.arm, assigned_by, starts_at)
        sums = self._requests.get(memo)
        if sums is None:
            sums = self._requests[memo] = RequestSum()
            key = RequestKey(
                environment, route, split.trial, split.since_version, assigned, last.arm, assigned_by, starts_at
            )
            self.requests[key] = sums
        return sums

    def add_outcomes(self, environment: str, outcomes: Sequence[Outcome], new: Sequence[bool]) -> None:
        for outcome, is_new in zip(outcomes, new, strict=True):
            if is_new:
                self.add_outcome(environment, outcome)

    def add_outcome(self, environment: str, outcome: Outcome) -> None:
        self.touched.add((environment, outcome.route))
        split = self.known.route(environment, outcome.route).split_of(outcome.snapshot, outcome.at)
        arm = outcome.arm or "live"
        variant = outcome.variant or outcome.assigned or ""
        key = OutcomeKey(
            environment,
            outcome.route,
            split.trial,
            split.since_version,
            variant,
            variant if arm == "shadow" else outcome.assigned or variant,
            arm,
            split.assigned_by(outcome.assigned_by),
            outcome.name,
            int(outcome.at.timestamp() // self.window_seconds) * self.window_seconds,
        )
        sums = self.outcomes.get(key)
        if sums is None:
            sums = self.outcomes[key] = OutcomeSum()
        sums.count += 1
        sums.ones += outcome.value == 1
        sums.zeros += outcome.value == 0
        sums.total += outcome.value


def first_of_each_id(attempts: Sequence[Attempt]) -> list[Attempt]:
    """A call that a sender put into one batch twice is one attempt."""
    seen: set[str] = set()
    kept = []
    for attempt in attempts:
        if attempt.call.id not in seen:
            seen.add(attempt.call.id)
            kept.append(attempt)
    return kept
