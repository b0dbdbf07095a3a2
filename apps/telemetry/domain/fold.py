"""Batches in, sums out.

A request is judged, a call is billed. All attempts of one request travel in one batch: the request has the latency from
its first start to its last end, the error of its last attempt, the cost of all of them. What was counted before is told
to us call by call (`new`), and nothing of it is counted again. A call belongs to the window in which it ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from apps.catalog.domain.pricing import PriceBook
from apps.telemetry.domain.attempts import Attempt, alike, first_of_each_id, named_model, variant_of
from apps.telemetry.domain.batch import Call, Outcome
from apps.telemetry.domain.cohorts import Cohort, Cohorts, Parts
from apps.telemetry.domain.histogram import Histogram
from apps.telemetry.domain.lines import line_sums, tokens_of
from apps.telemetry.domain.pairs import GRADE, PairSum, leg_of
from apps.telemetry.domain.pricing import (
    EVERYWHERE,
    REMEMBERED,
    Priced,
    TokenHistory,
    Usual,
    is_complete,
    price_call,
)
from apps.telemetry.domain.raw import Alike
from apps.telemetry.domain.routes import RouteFacts
from apps.telemetry.domain.shards import shard_of
from apps.telemetry.domain.sums import (
    LedgerKey,
    LedgerSum,
    OutcomeKey,
    OutcomeSum,
    RequestKey,
    RequestSum,
    Sums,
    WindowKey,
    WindowSum,
)

LATE_SECONDS = 30  # after the end of its window


class Known(Protocol):
    """What the fold asks about: filled from tables by the writer, from a plan by a replay."""

    def route(self, environment: str, route: str) -> RouteFacts: ...

    def history(self, environment: str, route: str) -> TokenHistory: ...


Memo = tuple[object, ...]


def add_each_as_request(requests: RequestSum, cohort: Cohort, whole: WindowSum, prices: Sequence[Priced]) -> None:
    """Of calls that came to `whole`, all of them failed or none, all of them priced or none."""
    requests.requests += whole.calls
    requests.attempts += whole.calls
    requests.errors += whole.errors
    requests.unfinal += 0 if cohort.is_final else whole.calls
    requests.unnamed += sum([not call.request_id for call in cohort.calls])
    requests.unpriced += whole.unpriced
    requests.first_at = min(requests.first_at, min(cohort.ends))
    requests.last_at = max(requests.last_at, max(cohort.ends))
    if not whole.errors:
        requests.latency.merge(whole.latency)
    if not whole.unpriced:
        requests.cost_nano += whole.confirmed_nano + whole.estimated_nano
        requests.estimated_nano += whole.estimated_nano
        requests.cost.add_all([(price.confirmed_nano + price.estimated_nano) / 1e9 for price in prices])


class Fold:
    """The private dictionaries find the same sums by plain tuples, which are made ten times as fast as named ones."""

    def __init__(
        self, known: Known, book: PriceBook, *, window_seconds: int, arrived_at: float, keeps_raw: bool = False
    ) -> None:
        self.keeps_raw = keeps_raw
        self.known = known
        self.book = book
        self.window_seconds = window_seconds
        self.late_before = arrived_at - window_seconds - LATE_SECONDS
        self.sums = Sums()
        self.windows, self.requests, self.outcomes = self.sums.windows, self.sums.requests, self.sums.outcomes
        self.ledger: dict[LedgerKey, LedgerSum] = {}
        self.unassigned: dict[tuple[str, str], int] = {}  # calls of routes that nobody made
        self.unassigned_of: dict[tuple[str, str], tuple[str, str]] = {}  # service and model of those that name none
        self.heard: dict[tuple[str, str, str, str, str], int] = {}  # environment, service, source, what, API key
        self.raw: dict[tuple[str, int], list[Alike]] = {}  # by environment and shard
        self.pairs: dict[tuple[str, str], PairSum] = {}  # by environment and the pair's id
        self.touched: set[tuple[str, str]] = set()  # routes with anything new
        self.learned: set[tuple[str, str]] = set()  # routes whose token history grew
        self._windows: dict[Memo, WindowSum] = {}
        self._requests: dict[Memo, RequestSum] = {}

    def add_calls(self, environment: str, batches: Iterable[tuple[Sequence[Call], Sequence[bool]]]) -> None:
        """Calls of some batches, each in the order in which it was sent, and which of them are new."""
        cohorts = Cohorts(self.window_seconds)
        requests: list[Parts] = []
        for calls, new in batches:
            if any(new):
                requests += cohorts.add(calls, new)
        self.learn(environment, cohorts)
        for cohort in cohorts:
            facts = self.known.route(environment, cohort.calls[0].route)
            self.add_cohort(environment, cohort, facts, self.prices(environment, cohort.calls, facts))
        for parts in requests:
            self.add_group(environment, [self.attempt_of(environment, call, is_new=is_new) for call, is_new in parts])

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

    def learn(self, environment: str, cohorts: Iterable[Cohort]) -> None:
        """Before pricing: an unknown call of a route's first batch is taken for what its neighbours were."""
        complete = [cohort.calls for cohort in cohorts if is_complete(cohort.calls[0])]  # then all of them are
        self.learn_calls(environment, complete)

    def prices(self, environment: str, calls: Sequence[Call], facts: RouteFacts) -> list[Priced]:
        """Of calls of one variant and model."""
        first, find = calls[0], self.book.find
        provider, model = named_model(first, facts)
        settings, usual = facts.variants.get(variant_of(first)), partial(self.usual, environment, first, facts)
        return [price_call(call, find(provider, model, call.at, call.service_tier), usual, settings) for call in calls]

    def usual(self, environment: str, call: Call, facts: RouteFacts) -> Usual:
        history = self.known.history
        return Usual(
            history(environment, call.route), history(environment, EVERYWHERE), "/".join(named_model(call, facts))
        )

    def learn_calls(self, environment: str, many: Iterable[Sequence[Call]]) -> None:
        """Each of one route and model. What is learnt everywhere is learnt of all of one model at once."""
        everywhere: dict[str, tuple[list[int], list[int]]] = {}
        for calls in many:
            calls = calls[-REMEMBERED:]
            route = calls[0].route
            model = "/".join(named_model(calls[0], self.known.route(environment, route)))
            inputs, outputs = [call.input_tokens or 0 for call in calls], [call.output_tokens or 0 for call in calls]
            self.known.history(environment, route).learn(inputs, outputs, model)
            self.learned.add((environment, route))
            all_inputs, all_outputs = everywhere.setdefault(model, ([], []))
            all_inputs += inputs
            all_outputs += outputs
        for model, (inputs, outputs) in everywhere.items():
            self.known.history(environment, EVERYWHERE).learn(inputs, outputs, model)
            self.learned.add((environment, EVERYWHERE))

    def add_cohort(
        self, environment: str, cohort: Cohort, facts: RouteFacts, prices: list[Priced], *, is_booked: bool = False
    ) -> None:
        """Parts whose price has the same rule, and that are of one split, are counted at once: mostly all of it.

        `is_booked`: what these calls cost stands in the ledger."""
        first = cohort.calls[0]
        kinds: list[object] = [(price.rule, price.rate) for price in prices]
        if first.snapshot is None:  # then the moment tells the split
            kinds = [(kind, facts.split_of(None, call.at)) for kind, call in zip(kinds, cohort.calls, strict=True)]
        if kinds.count(kinds[0]) == len(kinds):
            self.count_cohort(environment, cohort, facts, prices, is_booked=is_booked)
            return
        parts: dict[object, tuple[Cohort, list[Priced]]] = {}
        for kind, call, ended_at, price in zip(kinds, cohort.calls, cohort.ends, prices, strict=True):
            part, of_part = parts.setdefault(kind, (Cohort([], [], cohort.is_whole, cohort.is_final), []))
            part.calls.append(call)
            part.ends.append(ended_at)
            of_part.append(price)
        for part, of_part in parts.values():
            self.count_cohort(environment, part, facts, of_part, is_booked=is_booked)

    def count_cohort(
        self, environment: str, cohort: Cohort, facts: RouteFacts, prices: Sequence[Priced], *, is_booked: bool
    ) -> None:
        calls, n = cohort.calls, len(cohort.calls)
        example = Attempt(calls[0], facts, prices[0], is_new=True)
        starts_at = self.window_at(example.ended_at)
        inputs, cached, outputs = tokens = tokens_of(calls)
        whole = WindowSum(
            calls=n,
            errors=n if example.call.error else 0,
            input_tokens=inputs,
            cached_input_tokens=cached,
            output_tokens=outputs,
            confirmed_nano=sum([price.confirmed_nano for price in prices]),
            estimated_nano=sum([price.estimated_nano for price in prices]),
            unpriced=n if example.price.is_unpriced else 0,  # the rule is the same, so this is
            late=n if starts_at < self.late_before else 0,
            latency=Histogram.of([call.latency_ms / 1000 for call in calls]),
        )
        self.window_of(environment, example).add(whole)
        if not is_booked:
            self.add_line(self.ledger_key(environment, example), line_sums(calls, prices, tokens))
            if not facts.is_known:
                self.unassign(environment, example.call.route, n)
        self.keep(environment, example, calls, prices)
        if cohort.is_whole:
            add_each_as_request(self.request_of(environment, example, [example], starts_at), cohort, whole, prices)

    def unassign(self, environment: str, route: str, n: int) -> None:
        """So many calls more, or fewer below 0, of a route that nobody made."""
        self.unassigned[environment, route] = self.unassigned.get((environment, route), 0) + n

    def keep(self, environment: str, example: Attempt, calls: Sequence[Call], prices: Sequence[Priced]) -> None:
        """Calls as they are, and the legs of pairs."""
        if self.keeps_raw:
            shard = shard_of(environment, example.call.route)
            self.raw.setdefault((environment, shard), []).append((calls, prices))
        for n in [n for n, call in enumerate(calls) if call.pair_id]:
            leg = leg_of(calls[n], prices[n].confirmed_nano + prices[n].estimated_nano, example.variant)
            self.pair(environment, calls[n].pair_id or "", calls[n].route).add(example.arm, leg)

    def pair(self, environment: str, pair_id: str, route: str) -> PairSum:
        return self.pairs.get((environment, pair_id)) or self.pairs.setdefault((environment, pair_id), PairSum(route))

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
        call, facts = attempt.call, attempt.facts
        return LedgerKey(
            int(attempt.ended_at // 60), environment, call.route, attempt.variant, *named_model(call, facts),
            facts.owner, attempt.arm, attempt.split.trial, call.tag or "", attempt.price.rule, attempt.price.rate,
        )  # fmt: skip

    # What comes through other doors than the native one: money at once, and moved when more is known; the rest once.

    def attempt_of(self, environment: str, call: Call, *, is_new: bool = True) -> Attempt:
        facts = self.known.route(environment, call.route)
        return Attempt(call, facts, self.prices(environment, [call], facts)[0], is_new=is_new)

    def attempts(self, environment: str, calls: Iterable[Call]) -> list[Attempt]:
        """In any order."""
        found = []
        for of_model in alike(calls):
            facts = self.known.route(environment, of_model[0].route)
            prices = self.prices(environment, of_model, facts)
            found += [Attempt(call, facts, price, is_new=True) for call, price in zip(of_model, prices, strict=True)]
        return found

    def add_line(self, key: LedgerKey, sums: LedgerSum, sign: int = 1) -> None:
        """With the sign -1 a line takes back what another one booked."""
        line = self.ledger.get(key)
        if line is None:
            line = self.ledger[key] = LedgerSum()
        line.add(sums, sign)
        self.touched.add((key.environment, key.route))

    def hear(self, environment: str, service: str, source: str, what: str, n: int = 1, *, key: str = "") -> None:
        told = (environment, service, source, what[:64], key)
        self.heard[told] = self.heard.get(told, 0) + n

    def learn_told(self, environment: str, calls: Iterable[Call]) -> None:
        self.learn_calls(environment, alike(call for call in calls if is_complete(call) and call.output_tokens))

    def count_attempts(self, environment: str, attempts: Sequence[Attempt]) -> None:
        """Into windows and requests, without their money's lines."""
        attempt_of = {id(attempt.call): attempt for attempt in attempts}
        cohorts = Cohorts(self.window_seconds)
        requests = cohorts.add([attempt.call for attempt in attempts], [True] * len(attempts))
        for cohort in cohorts:
            prices = [attempt_of[id(call)].price for call in cohort.calls]
            self.add_cohort(environment, cohort, attempt_of[id(cohort.calls[0])].facts, prices, is_booked=True)
        for parts in requests:
            self.add_group(environment, [attempt_of[id(call)] for call, _ in parts])

    def add_coarse(self, environment: str, attempt: Attempt) -> None:
        """A call of which nobody told how long it took: into its window only."""
        self.keep(environment, attempt, [attempt.call], [attempt.price])
        window = self.window_of(environment, attempt)
        inputs, cached, outputs = tokens_of([attempt.call])
        window.calls += 1
        window.coarse += 1
        window.errors += bool(attempt.call.error)
        window.input_tokens += inputs
        window.cached_input_tokens += cached
        window.output_tokens += outputs
        window.confirmed_nano += attempt.price.confirmed_nano
        window.estimated_nano += attempt.price.estimated_nano
        window.unpriced += attempt.price.is_unpriced
        window.late += self.window_at(attempt.ended_at) < self.late_before

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
        if not last.call.request_id:
            sums.unnamed += 1
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
        if outcome.name == GRADE and outcome.request_id:
            self.pair(environment, outcome.request_id, outcome.route).grade = outcome.value
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
