"""Sets money aside under hard caps before a call is made, and settles it once it is known what the call cost.

A hold is of the most that a call may cost. The control plane is asked for many of them at once: what it gives (a slice:
1 % of what is left under the fullest cap, at least twenty calls) is shared out in this process and counts as reserved
there. It is shared for some seconds only, since what its calls have cost is reported meanwhile, and would count twice:
then it is settled at what they came to, and what was not needed goes back.

A cap that cannot be asked is not a cap with room: whether the call is made is the choice of each budget, and it was
told with the terms. What is spent without asking is told as soon as somebody can be told.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

from changeover.ids import new_id
from changeover.terms import CLOSED, NANO, BudgetExceeded, BudgetUnverifiable, Terms, nano_of
from changeover.transport import Connection, Unreachable

log = logging.getLogger("changeover")

HOLDS = "/api/v1/budgets/holds/"
JSON = {"Content-Type": "application/json"}
TERMS_STAY = 60.0  # seconds
SLICE_LASTS = 300.0
SHARED_FOR = 15.0
ENDS_SOON = 60.0  # before its end a slice is made longer while calls of it are under way
LOOK_EVERY = 1.0


@dataclass(slots=True)
class Slice:
    """Room that was given at once, in nano-USD."""

    id: str
    given: int
    free: int  # neither held by a call under way nor spent
    made_at: float
    ends_at: float
    calls: int = 0  # under way

    @property
    def used(self) -> int:
        """What its calls came to; those under way may still come to all that they hold."""
        return self.given - self.free


@dataclass(slots=True)
class Account:
    """All calls of one kind: one route, variant, model, tag …"""

    scope: dict[str, str]
    lock: threading.Lock = field(default_factory=threading.Lock)
    terms: Terms | None = None
    terms_until: float = 0.0
    slice: Slice | None = None
    ending: list[Slice] = field(default_factory=list)  # no call draws from them any more


class Hold:
    """What one call may cost. Settled once; left without settling it counts as a whole: the call may have been made."""

    def __init__(
        self, keeper: Holds, account: Account, terms: Terms, nano: int, max_tokens: int | None, drawn: Slice | None
    ) -> None:
        self._keeper, self._account, self._terms = keeper, account, terms
        self._nano, self._slice = nano, drawn
        self._is_settled = False
        self.max_tokens = max_tokens
        """Give it to the provider: with more the call may cost more than is held."""
        self.is_verified = drawn is not None or not terms.is_capped
        self.at_cap = terms.at_cap
        """finish, or cut: what becomes of an answer under way for which `extend` finds no room."""

    @property
    def usd(self) -> Decimal:
        return self._nano / NANO

    def extend(self, usd: Decimal | str | float) -> None:
        """More for a call under way. Raises BudgetExceeded where there is no room."""
        more = nano_of(usd)
        if self._slice is not None:
            self._keeper.widen(self._account, self._slice, more)
        self._nano += more

    def settle(
        self,
        usd: Decimal | str | float | None = None,
        *,
        input_tokens: int | None = None,
        cached_input_tokens: int = 0,
        output_tokens: int | None = None,
    ) -> bool:
        """What the call cost, or its tokens; neither: nobody knows, and all that was held counts. False if settled."""
        nano = None if usd is None else nano_of(usd)
        if nano is None and input_tokens is not None and output_tokens is not None:
            nano = self._terms.cost(input_tokens, cached_input_tokens, output_tokens)
        if self._is_settled:
            return False
        self._is_settled = True
        self._keeper.settled(self._account, self._slice, self._nano, self._nano if nano is None else nano, self)
        return True

    def release(self) -> bool:
        """The provider did not take the call: it cost nothing."""
        return self.settle(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()


class Holds:
    """One for each client; threads may share it. Its own thread gives back what is not needed."""

    def __init__(self, url: str, key: str, *, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._key, self._timeout, self._clock = url, key, timeout, clock
        self.reset()

    def reset(self) -> None:
        """Empty: after a fork the slices are the parent's, which will settle them."""
        self._idle: deque[Connection] = deque()
        self._accounts: dict[tuple[tuple[str, str], ...], Account] = {}
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
        usd: Decimal | str | float | None = None,
        on_unreachable: Literal["open", "closed"] = "closed",
    ) -> Hold:
        """Room for one call, by its tokens or by `usd`. Raises BudgetExceeded, BudgetUnverifiable.

        `on_unreachable` counts until the control plane has told the caps once: then each budget's own choice does.
        """
        facts = {name: value for name, value in scope.items() if value}
        account = self._accounts.setdefault(tuple(sorted(facts.items())), Account(facts))
        with account.lock:
            terms = self._terms(account)
            if terms is None:
                unknown = Terms(closed=("every budget",) if on_unreachable == CLOSED else ())
                return self._unverified(account, unknown, usd)
            nano, most = (nano_of(usd), max_tokens) if usd is not None else terms.most(input_tokens, max_tokens)
            if not terms.is_capped:
                return Hold(self, account, terms, nano, most, None)
            drawn = account.slice if self._fits(account.slice, nano) else self._new_slice(account, nano)
            if drawn is None:
                return self._unverified(account, terms, nano / NANO, most)
            drawn.free -= nano
            drawn.calls += 1
            return Hold(self, account, terms, nano, most, drawn)

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

    def settled(self, account: Account, drawn: Slice | None, held: int, nano: int, hold: Hold) -> None:
        if drawn is None:
            if not hold.is_verified:
                self._settle_later(new_id(), {"usd": _usd(nano), "unverified": True, "scope": account.scope})
            return
        with account.lock:
            drawn.calls -= 1
            drawn.free += held - nano
            if drawn.calls == 0 and drawn in account.ending:
                self._end(account, drawn)

    def _fits(self, piece: Slice | None, nano: int) -> bool:
        return piece is not None and piece.free >= nano and not self._is_old(piece)

    def _is_old(self, piece: Slice) -> bool:
        return self._clock() - piece.made_at > SHARED_FOR

    def _terms(self, account: Account) -> Terms | None:
        """The newest that could be read; None while nobody has ever told any."""
        if self._clock() >= account.terms_until:
            status, told = self._ask("GET", f"terms/?{urlencode(account.scope)}")
            if status == 200:
                account.terms, account.terms_until = Terms.of(told), self._clock() + TERMS_STAY
            elif account.terms is not None:
                account.terms_until = self._clock() + LOOK_EVERY
        return account.terms

    def _new_slice(self, account: Account, nano: int) -> Slice | None:
        """None: nobody could be asked."""
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

    def _unverified(self, account: Account, terms: Terms, usd: Any, max_tokens: int | None = None) -> Hold:
        if terms.closed:
            raise BudgetUnverifiable(_closed(terms))
        return Hold(self, account, terms, nano_of(usd or 0), max_tokens, None)

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

    def look_after(self) -> None:
        """What was shared for long enough is given back; what calls still use is held longer."""
        now = self._clock()
        for account in list(self._accounts.values()):
            with account.lock:
                piece = account.slice
                if piece is not None and self._is_old(piece):
                    self._retire(account, piece)
                for piece in account.ending:
                    if piece.ends_at - now <= ENDS_SOON:
                        status, _ = self._ask("POST", f"{piece.id}/extend/", _ends())
                        piece.ends_at = now + SLICE_LASTS if status == 200 else piece.ends_at
        for _ in range(len(self._to_settle)):
            id, body = self._to_settle[0]
            if not self._settle(id, body):
                break
            self._to_settle.popleft()

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
        for account in self._accounts.values():
            with account.lock:
                for piece in [*account.ending, *([account.slice] if account.slice else [])]:
                    self._to_settle.append((piece.id, {"usd": _usd(piece.used)}))
                account.slice, account.ending = None, []
        until = self._clock() + timeout
        while self._to_settle and self._clock() < until and self._settle(*self._to_settle[0]):
            self._to_settle.popleft()
        while self._idle:
            self._idle.pop().close()

    # Asking

    def _ask(self, method: str, address: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """(status, what was told); 0: nobody answered."""
        connection = self._idle.pop() if self._idle else Connection(self._url, self._key, timeout=self._timeout)
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = connection.request(method, HOLDS + address, body=data, headers=JSON)
            told = json.loads(answer.body)
        except (Unreachable, ValueError):
            return 0, {}
        self._idle.append(connection)
        return answer.status, told if isinstance(told, dict) else {}


def _usd(nano: int) -> str:
    return f"{nano / NANO:f}"


def _ends() -> dict[str, str]:
    return {"expires_at": (datetime.now(UTC) + timedelta(seconds=SLICE_LASTS)).isoformat()}


def _closed(terms: Terms) -> str:
    return f"Whether there is room cannot be asked now, and closed to such calls: {', '.join(terms.closed)}."
