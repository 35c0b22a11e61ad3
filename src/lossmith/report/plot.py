"""Small curve plots of characters, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

_BLANK = 0x2800  # of the Braille patterns: 2 x 4 dots in a character, one bit each
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(frozen=True, slots=True)
class CurvePlot:
    """A curve in `width` x `height` characters: Braille dots, or stars where the terminal has ASCII alone.

    What is not finite, or outside `low`..`high`, is left out.
    """

    values: Sequence[float]  # at evenly spaced places
    low: float
    high: float
    style: str = ""
    width: int = 36
    height: int = 7

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = Style.parse(self.style)
        lines = self._stars() if options.ascii_only else self._braille()
        labels = self._labels()
        room = max(map(len, labels))
        for number, line in enumerate(lines):
            label = labels[0] if number == 0 else labels[1] if number == len(lines) - 1 else ""
            yield Segment(f"{label:>{room}} ")
            yield Segment(line, style)
            yield Segment.line()
        yield Segment(f"{'':>{room}} p = 0{'p = 1':>{self.width - 5}}")
        yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = max(map(len, self._labels())) + 1 + self.width
        return Measurement(width, width)

    def _labels(self) -> tuple[str, str]:
        return f"{self.high:.3g}", f"{self.low:.3g}"

    def _braille(self) -> list[str]:
        cells = [[_BLANK] * self.width for _ in range(self.height)]
        for x, y in self._places(2 * self.width, 4 * self.height):
            cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
        return ["".join(map(chr, row)) for row in cells]

    def _stars(self) -> list[str]:
        cells = [[" "] * self.width for _ in range(self.height)]
        for x, y in self._places(self.width, self.height):
            cells[y][x] = "*"
        return ["".join(row) for row in cells]

    def _places(self, columns: int, rows: int) -> list[tuple[int, int]]:
        """The dots of the curve, the row counted from the top."""
        places: list[tuple[int, int]] = []
        for x in range(columns):
            value = self.values[round(x / (columns - 1) * (len(self.values) - 1))]
            if math.isfinite(value) and self.low <= value <= self.high:
                share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
                places.append((x, round((1 - share) * (rows - 1))))
        return places
