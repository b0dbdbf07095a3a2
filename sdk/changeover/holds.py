"""Sets money aside under hard caps before a call is made, and settles it once it is known what the call cost.

A hold is of the most that a call may cost. The control plane is asked for many of them at once: what it gives (a slice:
1 % of what is left under the fullest cap, at least twenty calls) is shared out in this process and counts as reserved
there. It is shared for some seconds only, since what its calls have cost is reported meanwhile, and would count twice:
then it is settled at what they came to, and what was not needed goes back.

A cap that cannot be asked is not a cap with room: whether the call is made is the choice of each budget, and it was
told with the terms. What is spent without asking is told as soon as somebody can be told. Calls do not wait for a
control plane that hangs: after the first question without an answer none of them asks, until this keeper's own thread
has had an answer again.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import quote, urlencode

from changeover.circuit import Circuit
from changeover.hold import Account, Hold, Slice
from changeover.ids import new_id
from changeover.terms import CLOSED, NANO, BudgetExceeded, BudgetUnverifiable, Terms, Usage, nano_of
from changeover.transport import Connection, Unreachable

log = logging.getLogger("changeover")

HOLDS = "/api/v1/budgets/holds/"
JSON = {"Content-Type": "application/json"}
TERMS_STAY = 60.0  # seconds
SLICE_LASTS = 300.0
SHARED_FOR = 15.0
ENDS_SOON = 60.0  # before its end a slice is made longer while calls of it are under way
LOOK_EVERY = 1.0


class Holds:
    """One for each client; threads may share it. Its own thread gives back what is not needed."""

    def __init__(self, url: str, key: str, *, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._key, self._timeout, self._clock = url, key, timeout, clock
        self.reset()

    def reset(self) -> None:
        """Empty: after a fork the slices are the parent's, which will settle them."""
        self._idle: deque[Connection] = deque()
        self._circuit = Circuit(lambda: self._clock())
        self._accounts: dict[tuple[str, tuple[tuple[str, str], ...]], Account] = {}
        self._changed = threading.Condition()
        self._to_settle: deque[tuple[str, dict[str, Any]]] = deque()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    # Holding

    def hold(
        self,
        scope: Mapping[str, str | None],
        *,
        input_tokens: int | None = None,
        max_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        usd: Decimal | str | float | None = None,
        service_tier: str | None = None,
        on_unreachable: Literal["open", "closed"] = "closed",
    ) -> Hold:
        """Room for one call, by its tokens or by `usd`. Raises BudgetExceeded, BudgetUnverifiable.

        `on_unreachable` counts until the control plane has told the caps once: then each budget's own choice does.
        """
        facts, tier = {name: value for name, value in scope.items() if value}, service_tier or ""
        with self._locked(facts, tier) as account:
            terms = self._terms(account)
            if terms is None:
                unknown = Terms(closed=("every budget",) if on_unreachable == CLOSED else ())
                most = None if input_tokens is None or max_tokens is None else Usage(input_tokens, max_tokens)
                return self._unverified(account, unknown, None if usd is None else nano_of(usd), max_tokens, most)
            nano, cut = nano_of(usd) if usd is not None else None, max_tokens
            if nano is None:
                nano, cut = terms.most(input_tokens, max_tokens, cache_write_tokens)
            if not terms.is_capped:
                return Hold(self, account, terms, nano, cut, None)
            drawn = account.slice if self._fits(account.slice, nano) else self._new_slice(account, nano)
            if drawn is None:
                return self._unverified(account, terms, nano, cut)
            drawn.free -= nano
            drawn.calls += 1
            return Hold(self, account, terms, nano, cut, drawn)

    @contextmanager
    def _locked(self, scope: dict[str, str], service_tier: str) -> Iterator[Account]:
        """The account of such calls: the one that is looked after."""
        key = (service_tier, tuple(sorted(scope.items())))
        while True:
            account = self._accounts.setdefault(key, Account(scope, service_tier))
            with account.lock:
                if self._accounts.get(key) is account:  # and was not forgotten while we waited for it
                    yield account
                    return

    def widen(self, account: Account, drawn: Slice, nano: int) -> None:
        with account.lock:
            if drawn.free < nano:
                more = nano - max(drawn.free, 0)
                status, told = self._ask("POST", f"{drawn.id}/extend/", {"usd": _usd(drawn.given + more)})
                self._raise_if_refused(status, told)
                if status == 200:
                    drawn.given += more
                    drawn.free += more
                elif account.terms is not None and account.terms.closed:
                    raise BudgetUnverifiable(_closed(account.terms))
            drawn.free -= nano

    def settled(self, account: Account, drawn: Slice, held: int, nano: int) -> None:
        with account.lock:
            drawn.calls -= 1
            drawn.free += held - nano
            if drawn.calls == 0 and drawn in account.ending:
                self._end(account, drawn)

    def note_unverified(self, account: Account, nano: int | None, usage: Usage | None) -> None:
        """`nano` None: to be priced once there are terms."""
        with self._locked(account.scope, account.service_tier) as kept:
            if nano is None:
                kept.unpriced.append(usage)
            else:
                kept.unverified += nano
        self._start()

    def _fits(self, piece: Slice | None, nano: int) -> bool:
        return piece is not None and piece.free >= nano and not self._is_old(piece)

    def _is_old(self, piece: Slice) -> bool:
        return self._clock() - piece.made_at > SHARED_FOR

    def _terms(self, account: Account) -> Terms | None:
        """The newest that could be read; None while nobody has ever told any."""
        if self._clock() >= account.terms_until:
            tier = {"service_tier": account.service_tier} if account.service_tier else {}
            status, told = self._ask("GET", f"terms/?{urlencode(account.scope | tier)}")
            if status == 200:
                account.terms, account.terms_until = Terms.of(told), self._clock() + TERMS_STAY
            elif account.terms is not None:
                account.terms_until = self._clock() + LOOK_EVERY
        return account.terms

    def _new_slice(self, account: Account, nano: int) -> Slice | None:
        """None: nobody could be asked."""
        if self._circuit.is_open:
            return None
        if account.slice is not None:  # first of all, what is left of it goes back
            self._retire(account, account.slice)
        piece = Slice(new_id(), 0, 0, made_at=self._clock(), ends_at=self._clock() + SLICE_LASTS)
        asked = {"hold": piece.id, "scope": account.scope, "usd": _usd(nano), "slice": True, **_ends()}
        status, told = self._ask("POST", "", asked)
        self._raise_if_refused(status, told)
        if status not in (200, 201):
            self._settle_later(piece.id, {"usd": "0"})  # it may have been taken, and only the answer was lost
            return None
        piece.given = piece.free = max(nano_of(told["usd"]), nano)
        account.slice = piece
        self._start()
        return piece

    def _raise_if_refused(self, status: int, told: Mapping[str, Any]) -> None:
        if status == 429 and told.get("code") == "budget_exceeded":
            raise BudgetExceeded(told)
        if status == 503 and told.get("budget"):
            raise BudgetUnverifiable(str(told.get("detail")))
        if status == 400:
            raise ValueError(told.get("detail"))

    def _unverified(
        self, account: Account, terms: Terms, nano: int | None, max_tokens: int | None, most: Usage | None = None
    ) -> Hold:
        if terms.closed:
            raise BudgetUnverifiable(_closed(terms))
        return Hold(self, account, terms, nano, max_tokens, None, most)

    # Giving back

    def _retire(self, account: Account, piece: Slice) -> None:
        """No further call draws from it: its rest goes back now, and with its last call it ends."""
        account.slice = None
        account.ending.append(piece)
        if piece.calls == 0:
            self._end(account, piece)
        elif self._ask("POST", f"{piece.id}/extend/", {"usd": _usd(piece.used)})[0] == 200:
            piece.given, piece.free = piece.used, 0

    def _end(self, account: Account, piece: Slice) -> None:
        account.ending.remove(piece)
        if not self._settle(piece.id, body := {"usd": _usd(piece.used)}):
            self._settle_later(piece.id, body)

    def _settle_later(self, id: str, body: dict[str, Any]) -> None:
        with self._changed:
            self._to_settle.append((id, body))
        self._start()

    def _settle(self, id: str, body: Mapping[str, Any]) -> bool:
        """False if it must be said again."""
        status, told = self._ask("POST", f"{quote(id, safe='')}/settle/", body)
        if 400 <= status < 500 and status not in (401, 403, 404, 408, 429):
            log.error("the hold %s was not settled at %s: %s", id, body, told.get("detail"))
        return 200 <= status < 500 and status not in (401, 403, 408, 429)

    def _settle_waiting(self, until: float = math.inf) -> None:
        """The thread that looks after holds and the one that closes may both be here: each takes what it settles."""
        while self._clock() < until:
            try:
                waiting = self._to_settle.popleft()
            except IndexError:
                return
            if not self._settle(*waiting):
                self._to_settle.appendleft(waiting)
                return

    def _tell_unverified(self, account: Account) -> None:
        """As one sum: while nobody answered it may have been many calls."""
        if not account.unverified and not account.unpriced:
            return
        if (terms := self._terms(account)) is None:
            return
        for usage in account.unpriced:
            nano = None if usage is None else terms.cost(usage)
            nano = terms.max_cost if nano is None else nano
            if nano is None:
                log.warning("what a call of %s cost without room is not known: only its report tells", account.scope)
            account.unverified += nano or 0
        if account.unverified and terms.is_capped:
            told = {"usd": _usd(account.unverified), "unverified": True, "scope": account.scope}
            self._settle_later(new_id(), told)
        account.unverified = 0
        account.unpriced.clear()

    def _is_answered(self) -> bool:
        """Of all threads only this one asks whether a control plane that did not answer does so again."""
        if self._circuit.is_open and self._circuit.may_probe:
            self._ask("GET", "terms/", is_probe=True)
        return not self._circuit.is_open

    def look_after(self) -> None:
        """What was shared for long enough is given back; what calls still use is held longer. Calls of a kind that come
        no more, of one tag in thousands, leave nothing behind."""
        if not self._is_answered():
            return
        now = self._clock()
        for key, account in list(self._accounts.items()):
            with account.lock:
                self._tell_unverified(account)
                if account.is_empty and now >= account.terms_until:
                    self._accounts.pop(key, None)
                    continue
                piece = account.slice
                if piece is not None and self._is_old(piece):
                    self._retire(account, piece)
                for piece in account.ending:
                    if piece.ends_at - now <= ENDS_SOON:
                        status, _ = self._ask("POST", f"{piece.id}/extend/", _ends())
                        piece.ends_at = now + SLICE_LASTS if status == 200 else piece.ends_at
        self._settle_waiting()

    def _start(self) -> None:
        with self._changed:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._loop, name="changeover-holds", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closed, LOOK_EVERY):
                    return
            try:
                self.look_after()
            except Exception:  # the edge of this thread: the next look may be better
                log.exception("looking after holds failed")

    def close(self, timeout: float) -> None:
        """Settles everything; a call that is still under way counts as a whole."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        self._circuit.close()  # the last chance: one more question
        for account in list(self._accounts.values()):
            with account.lock:
                self._tell_unverified(account)
                for piece in [*account.ending, *([account.slice] if account.slice else [])]:
                    self._to_settle.append((piece.id, {"usd": _usd(piece.used)}))
                account.slice, account.ending = None, []
        self._settle_waiting(until=self._clock() + timeout)
        while self._idle:
            self._idle.pop().close()

    # Asking

    def _ask(
        self, method: str, address: str, body: Mapping[str, Any] | None = None, *, is_probe: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """(status, what was told); 0: nobody answered."""
        if self._circuit.is_open and not is_probe:
            return 0, {}
        connection = self._idle.pop() if self._idle else Connection(self._url, self._key, timeout=self._timeout)
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = connection.request(method, HOLDS + address, body=data, headers=JSON)
            told = json.loads(answer.body)
        except (Unreachable, ValueError):
            self._fail()
            return 0, {}
        self._idle.append(connection)
        told = told if isinstance(told, dict) else {}
        if answer.status >= 500 and not told.get("budget"):  # with a budget it is an answer: that cap cannot be read
            self._fail()
        else:
            self._circuit.close()
        return answer.status, told

    def _fail(self) -> None:
        self._circuit.fail()
        self._start()  # whose thread will ask again


def _usd(nano: int) -> str:
    return f"{nano / NANO:f}"


def _ends() -> dict[str, str]:
    return {"expires_at": (datetime.now(UTC) + timedelta(seconds=SLICE_LASTS)).isoformat()}


def _closed(terms: Terms) -> str:
    return f"Whether there is room cannot be asked now, and closed to such calls: {', '.join(terms.closed)}."
