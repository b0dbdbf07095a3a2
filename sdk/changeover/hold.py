"""What one call may cost, the room that it draws from, and what all calls of its kind have in common."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Self

from changeover.terms import NANO, Terms, Usage, nano_of

if TYPE_CHECKING:
    from changeover.holds import Holds

MOST_UNPRICED = 10_000  # calls that wait for a price; the oldest go, and their reports alone tell of them


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
    """All calls of one kind: one route, variant, model, tag …, at one service tier."""

    scope: dict[str, str]
    service_tier: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    terms: Terms | None = None
    terms_until: float = 0.0
    slice: Slice | None = None
    ending: list[Slice] = field(default_factory=list)  # no call draws from them any more
    unverified: int = 0  # nano-USD that were spent without asking, and not told yet
    unpriced: deque[Usage | None] = field(default_factory=lambda: deque(maxlen=MOST_UNPRICED))  # and before any terms

    @property
    def is_empty(self) -> bool:
        """Nothing is shared out, nothing is to be told."""
        return not (self.slice or self.ending or self.unverified or self.unpriced)


class Hold:
    """What one call may cost. Settled once; left without settling it counts as a whole: the call may have been made."""

    def __init__(
        self,
        keeper: Holds,
        account: Account,
        terms: Terms,
        nano: int | None,
        max_tokens: int | None,
        drawn: Slice | None,
        most: Usage | None = None,
    ) -> None:
        """`nano` None: nobody has told a price yet; then `most` are the tokens that the call may take."""
        self._keeper, self._account, self._terms = keeper, account, terms
        self._nano, self._slice, self._most = nano, drawn, most
        self._is_settled = False
        self.max_tokens = max_tokens
        """Give it to the provider: with more the call may cost more than is held."""
        self.is_verified = drawn is not None or not terms.is_capped
        self.at_cap = terms.at_cap
        """finish, or cut: what becomes of an answer under way for which `extend` finds no room."""

    @property
    def usd(self) -> Decimal:
        """0 where nobody has told a price yet."""
        return (self._nano or 0) / NANO

    def extend(self, usd: Decimal | str | float) -> None:
        """More for a call under way. Raises BudgetExceeded where there is no room."""
        more = nano_of(usd)
        if self._slice is not None:
            self._keeper.widen(self._account, self._slice, more)
        if self._nano is not None:
            self._nano += more

    def settle(
        self,
        usd: Decimal | str | float | None = None,
        *,
        input_tokens: int | None = None,
        cached_input_tokens: int = 0,
        cache_write_tokens: int = 0,
        cache_write_1h_tokens: int = 0,
        output_tokens: int | None = None,
    ) -> bool:
        """What the call cost, or its tokens; neither: nobody knows, and all that was held counts. False if settled.

        Tokens read from a cache and written to one are parts of the input, those for an hour of the written ones.
        """
        usage, nano = self._most, None if usd is None else nano_of(usd)
        if input_tokens is not None and output_tokens is not None:
            usage = Usage(input_tokens, output_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens)
            nano = self._terms.cost(usage) if nano is None else nano
        if self._is_settled:
            return False
        self._is_settled = True
        nano = self._nano if nano is None else nano
        if self._slice is not None and self._nano is not None and nano is not None:
            self._keeper.settled(self._account, self._slice, self._nano, nano)
        elif not self.is_verified:
            self._keeper.note_unverified(self._account, nano, usage)
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
