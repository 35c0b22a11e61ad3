"""What this machine can do at most: float32 arithmetic and memory bandwidth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lossmith.bench.engine.crew import Crew
from lossmith.bench.engine.loads import Product, Triad
from lossmith.bench.engine.pace import Window

PRODUCTS = (512, 1024)  # sides of the matrices, of which the best is taken
_CACHES = 4  # an array is this many times as large as the largest cache, as STREAM asks for
_SMALLEST, _LARGEST = 16 << 20, 512 << 20  # bytes of an array
_UNKNOWN_CACHE = 32 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The best that was measured."""

    processes: int  # of one thread each, at the same time
    arithmetic: float  # floating-point operations per second, of all together
    bandwidth: float  # bytes per second, of all together

    def better(self, other: Limits) -> Limits:
        """The best of two measurements."""
        return Limits(self.processes, max(self.arithmetic, other.arithmetic), max(self.bandwidth, other.bandwidth))


def measure_limits(crew: Crew, window: Window, processes: int) -> Limits:
    """A product of matrices, and a triad of arrays larger than the caches, in so many processes at once."""
    products = [Product(side) for side in PRODUCTS]
    arithmetic = max(crew.measure(load, window, processes).rate * load.amount for load in products)
    triad = Triad(array_bytes(processes) // 4)
    return Limits(processes, arithmetic, crew.measure(triad, window, processes).rate * triad.amount)


def array_bytes(processes: int) -> int:
    """Bytes of each array of a triad: the arrays of all processes together are larger than the largest cache."""
    return min(_LARGEST, max(_SMALLEST, _CACHES * _largest_cache() // processes))


def _largest_cache() -> int:
    """Bytes, as Linux tells."""
    sizes: list[int] = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text(encoding="ascii").strip()  # such as 32768K
        if text.endswith("K") and text[:-1].isdigit():
            sizes.append(int(text[:-1]) << 10)
    return max(sizes, default=_UNKNOWN_CACHE)
