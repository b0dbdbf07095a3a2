"""Counts of positive values in exponential cells: latencies in seconds, costs in USD.

Cell `i` holds the values in (2^(i/16), 2^((i+1)/16)]: the base-2 exponential histogram of OpenTelemetry at scale 4.
The geometric middle of a cell is at most 2.19 % away from any value in it, and the number of values above a cell's
upper edge is exact, however many histograms were merged and in whatever order. Values of 0 and below stand in a cell
of their own. Cells run from 2^-30 (one nano-USD) to 2^10 (17 minutes); what lies outside is counted in the cell at
the end of the range, and in `clamped`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from math import frexp

from msgspec import Struct

SCALE = 4
CELLS_PER_DOUBLING = 1 << SCALE
LOWEST = -30 * CELLS_PER_DOUBLING
HIGHEST = 10 * CELLS_PER_DOUBLING - 1
FORMAT = 1

# Upper edges of the sixteen cells between 0.5 and 1, with 0.5 itself in front: all other edges are these times a power
# of two, so that an index and its edge can never disagree by a rounding.
_MANTISSAS = [2.0 ** (k / CELLS_PER_DOUBLING - 1) for k in range(CELLS_PER_DOUBLING)] + [1.0]


def index_of(value: float) -> int:
    """The cell of a positive value, before clamping."""
    mantissa, exponent = frexp(value)
    return (exponent - 1) * CELLS_PER_DOUBLING + bisect_left(_MANTISSAS, mantissa) - 1


def upper_edge(index: int) -> float:
    doubling, cell = divmod(index + 1, CELLS_PER_DOUBLING)
    return math.ldexp(_MANTISSAS[cell], doubling + 1)


def lower_edge(index: int) -> float:
    return upper_edge(index - 1)


def edge_index_at_or_above(value: float) -> int:
    """The cell whose upper edge is the first one not below a positive value: where a limit is rounded up to."""
    return min(max(index_of(value), LOWEST), HIGHEST)


class Histogram(Struct, array_like=True, eq=False):
    cells: dict[int, int] = {}  # of its own: msgspec copies it
    zero: int = 0
    clamped: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> Histogram:
        histogram = cls()
        histogram.add_all(values)
        return histogram

    def add(self, value: float, n: int = 1) -> None:
        if value <= 0:
            self.zero += n
        else:
            self.add_cell(index_of(value), n)

    def add_all(self, values: Iterable[float]) -> None:
        cells, edges, find = self.cells, _MANTISSAS, bisect_left
        for value in values:  # `add` and `index_of`, written out: this is run twice for every call
            if value <= 0:
                self.zero += 1
                continue
            mantissa, exponent = frexp(value)
            index = 16 * exponent + find(edges, mantissa) - 17
            if LOWEST <= index <= HIGHEST:
                cells[index] = cells.get(index, 0) + 1
            else:
                self.add_cell(index, 1)

    def add_cell(self, index: int, n: int) -> None:
        if not LOWEST <= index <= HIGHEST:
            index = LOWEST if index < LOWEST else HIGHEST
            self.clamped += n
        self.cells[index] = self.cells.get(index, 0) + n

    def merge(self, other: Histogram) -> Histogram:
        """Adds the other's counts to this one, and returns this one."""
        mine = self.cells
        if mine:
            for index, n in other.cells.items():
                mine[index] = mine.get(index, 0) + n
        else:
            mine.update(other.cells)
        self.zero += other.zero
        self.clamped += other.clamped
        return self

    def copy(self) -> Histogram:
        return Histogram(dict(self.cells), zero=self.zero, clamped=self.clamped)

    @property
    def count(self) -> int:
        return self.zero + sum(self.cells.values())

    def quantile(self, q: float) -> float | None:
        """The value of rank ceil(q·count), at its cell's geometric middle: within 2.2 %. None without values."""
        count = self.count
        if not count:
            return None
        rank = min(max(math.ceil(q * count), 1), count)
        seen = self.zero
        if rank <= seen:
            return 0.0
        for index in sorted(self.cells):
            seen += self.cells[index]
            if rank <= seen:
                return math.sqrt(lower_edge(index) * upper_edge(index))
        raise AssertionError("ranks end at the count")

    def count_above(self, edge_index: int) -> int:
        """How many values are above the upper edge of that cell: exact. (The end cells also hold what was clamped.)"""
        return sum(n for index, n in self.cells.items() if index > edge_index)

    def pack(self) -> bytes:
        """Equal counts give equal bytes. Varints: format, zero, clamped, then step and count of each cell."""
        out = bytearray([FORMAT])
        _write(out, self.zero)
        _write(out, self.clamped)
        before = LOWEST
        for index in sorted(self.cells):
            n = self.cells[index]
            if n:
                for number in (index - before, n):
                    if number < 128:
                        out.append(number)
                    else:
                        _write(out, number)
                before = index
        return bytes(out)

    @classmethod
    def unpack(cls, packed: bytes | memoryview) -> Histogram:
        data = bytes(packed)  # PostgreSQL's driver hands out memoryviews
        if not data:
            return cls()
        if data[0] != FORMAT:
            raise ValueError(f"histogram format {data[0]} is not known")
        numbers = _read_all(data, 1)
        cells = {}
        index = LOWEST
        for position in range(2, len(numbers), 2):
            index += numbers[position]
            cells[index] = numbers[position + 1]
        return cls(cells, zero=numbers[0], clamped=numbers[1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.pack() == other.pack()

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}>"


def _write(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _read_all(data: bytes, position: int) -> list[int]:
    numbers = []
    number = shift = 0
    for byte in data[position:]:
        number |= (byte & 127) << shift
        if byte & 128:
            shift += 7
        else:
            numbers.append(number)
            number = shift = 0
    return numbers
