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


class Fold:
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
        self.touched: set[tuple[str, str]] = set()  # routes with anything new
        self.models: dict[tuple[str | None, str | None], tuple[str, str]] = {}
        self.learned: set[tuple[str, str]] = set()  # routes whose token history grew

    def add_calls(self, environment: str, calls: Sequence[Call], new: Sequence[bool]) -> None:
        """One batch's calls, in the order in which they were sent."""
        if not any(new):
            return
        self.learn(environment, calls, new)
        groups: dict[tuple[str, str, str], list[int]] = {}
        priced: list[Priced] = []
        for position, call in enumerate(calls):
            facts = self.known.route(environment, call.route)
            price = self.price(environment, call, facts)
            priced.append(price)
            if new[position]:
                self.add_call(environment, call, facts, price)
            if call.request_id:
                groups.setdefault((call.route, call.arm or "live", call.request_id), []).append(position)
            elif new[position]:
                self.add_request(environment, [call], call, [price], is_final=True)
        for positions in groups.values():
            self.add_group(environment, positions, calls, priced, new)

    def add_group(
        self,
        environment: str,
        positions: Sequence[int],
        calls: Sequence[Call],
        priced: Sequence[Priced],
        new: Sequence[bool],
    ) -> None:
        """The attempts of one request. Without a final one each new call stands for a request, and is marked so."""
        if len(positions) > 1:
            positions = first_of_each_id(positions, calls)
        last = next((position for position in reversed(positions) if calls[position].final), None)
        if last is None:
            for position in positions:
                if new[position]:
                    self.add_request(
                        environment, [calls[position]], calls[position], [priced[position]], is_final=False
                    )
        elif new[last]:
            attempts = [calls[position] for position in positions]
            prices = [priced[position] for position in positions]
            self.add_request(environment, attempts, calls[last], prices, is_final=True)

    def learn(self, environment: str, calls: Sequence[Call], new: Sequence[bool]) -> None:
        """Before pricing: an unknown call of a route's first batch is taken for what its neighbours were."""
        for call, is_new in zip(calls, new, strict=True):
            if is_new and not call.error and call.input_tokens is not None and call.output_tokens is not None:
                self.known.history(environment, call.route).learn(call.input_tokens, call.output_tokens)
                self.learned.add((environment, call.route))

    def price(self, environment: str, call: Call, facts: RouteFacts) -> Priced:
        variant = variant_of(call)
        price = self.book.find(call.provider, call.model or facts.model_of(variant), call.at)
        history = self.known.history(environment, call.route)
        return price_call(call, price, history, facts.variants.get(variant))

    def model(self, provider: str | None, model: str | None) -> tuple[str, str]:
        """Provider and model under one spelling, so that money by model is not split by how a sender writes it."""
        known = self.models.get((provider, model))
        if known is None:
            known = self.models[provider, model] = normalised(provider, model or "")
        return known

    def add_call(self, environment: str, call: Call, facts: RouteFacts, price: Priced) -> None:
        route, variant, arm = call.route, variant_of(call), call.arm or "live"
        self.touched.add((environment, route))
        if not facts.is_known:
            self.unassigned[environment, route] = self.unassigned.get((environment, route), 0) + 1
        inputs, outputs = call.input_tokens or 0, call.output_tokens or 0
        cached = call.cached_input_tokens or 0
        if cached > inputs:  # it is a part of the input: a larger one means something else
            cached = 0
        seconds = call.latency_ms / 1000
        ended_at = call.at.timestamp() + seconds
        starts_at = int(ended_at // self.window_seconds) * self.window_seconds

        window_key = WindowKey(environment, route, variant, arm, starts_at)
        window = self.windows.get(window_key)
        if window is None:
            window = self.windows[window_key] = WindowSum()
        window.calls += 1
        window.errors += bool(call.error)
        window.input_tokens += inputs
        window.cached_input_tokens += cached
        window.output_tokens += outputs
        window.confirmed_nano += price.confirmed_nano
        window.estimated_nano += price.estimated_nano
        window.unpriced += price.is_unpriced
        window.late += starts_at < self.late_before
        window.latency.add(seconds)

        ledger_key = LedgerKey(
            int(ended_at // 60),
            environment,
            route,
            variant,
            *self.model(call.provider, call.model or facts.model_of(variant)),
            facts.owner,
            arm,
            facts.split_of(call.snapshot, call.at).trial,
            call.tag or "",
            price.rule,
        )
        line = self.ledger.get(ledger_key)
        if line is None:
            line = self.ledger[ledger_key] = LedgerSum()
        line.calls += 1
        line.confirmed_nano += price.confirmed_nano
        line.estimated_nano += price.estimated_nano
        line.unpriced += price.is_unpriced
        line.input_tokens += inputs
        line.cached_input_tokens += cached
        line.output_tokens += outputs

    def add_request(
        self, environment: str, attempts: Sequence[Call], last: Call, prices: Sequence[Priced], *, is_final: bool
    ) -> None:
        first = attempts[0]
        began_at, seconds = first.at, last.latency_ms / 1000
        if len(attempts) > 1:
            began_at = min(call.at for call in attempts)
            seconds = max((call.at - began_at).total_seconds() + call.latency_ms / 1000 for call in attempts)
        ended_at = began_at.timestamp() + seconds
        facts = self.known.route(environment, first.route)
        said = last
        if said.assigned is None and len(attempts) > 1:
            said = next((call for call in attempts if call.assigned is not None), last)
        split = facts.split_of(said.snapshot, began_at)
        arm = last.arm or "live"
        assigned = variant_of(last) if arm == "shadow" else said.assigned or variant_of(first)
        key = RequestKey(
            environment,
            first.route,
            split.trial,
            split.since_version,
            assigned,
            arm,
            split.assigned_by(said.assigned_by),
            int(ended_at // self.window_seconds) * self.window_seconds,
        )
        sums = self.requests.get(key)
        if sums is None:
            sums = self.requests[key] = RequestSum()
        sums.requests += 1
        sums.attempts += len(attempts)
        sums.unfinal += not is_final
        sums.first_at = min(sums.first_at, ended_at)
        sums.last_at = max(sums.last_at, ended_at)
        if not last.error:
            sums.latency.add(seconds)
        else:
            sums.errors += 1
        estimated = confirmed = 0
        for price in prices:
            if price.is_unpriced:
                sums.unpriced += 1
                return
            estimated += price.estimated_nano
            confirmed += price.confirmed_nano
        cost = estimated + confirmed
        sums.cost_nano += cost
        sums.estimated_nano += estimated
        sums.cost.add(cost / 1e9)

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


def variant_of(call: Call) -> str:
    """The variant that answered; where the sender names none, the one that the flag chose."""
    return call.variant or call.assigned or ""


def first_of_each_id(positions: Sequence[int], calls: Sequence[Call]) -> list[int]:
    """A call that a sender put into one batch twice is one attempt."""
    seen: set[str] = set()
    kept = []
    for position in positions:
        if calls[position].id not in seen:
            seen.add(calls[position].id)
            kept.append(position)
    return kept
