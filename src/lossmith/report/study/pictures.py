"""The pictures of a study as inline SVG: no library, no script, colours of the page's style sheet.

Every panel is as wide as a telephone's screen, so that its letters can be read there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lossmith.report import words
from lossmith.report.card_svg import ticks, value_range
from lossmith.report.markup import Html, element, joined

WIDTH = 360  # of a panel, in its own units
_LEFT, _RIGHT = 12, 12
_ROW = 40  # height of a row of a forest
_LABEL = 30  # characters of a name in a picture


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of a forest plot; in points."""

    name: str
    mean: float | None  # None: no pairs
    low: float | None
    high: float | None
    verdict: str
    note: str  # stands at the right


def forest(label: str, rows: Sequence[Interval], margin: float) -> Html:
    """Differences to a baseline with their intervals, all rows of one size; the band is the margin of equivalence."""
    values = [value for row in rows for value in (row.mean, row.low, row.high) if value is not None]
    low, high = min([*values, -margin, 0.0]), max([*values, margin, 0.0])
    room = 0.05 * (high - low)
    low, high = low - room, high + room
    width, height = WIDTH - _LEFT - _RIGHT, _ROW * len(rows) + 4

    def x_of(value: float) -> float:
        return _LEFT + width * (value - low) / (high - low)

    band = {"x": f"{x_of(-margin):.1f}", "y": 0, "width": f"{max(x_of(margin) - x_of(-margin), 0.5):.1f}"}
    parts = [element("title", label), element("rect", class_="band", height=height, **band)]
    for tick in ticks(low, high):
        parts.append(_line(x_of(tick), 0, x_of(tick), height, "zero" if tick == 0 else "grid"))
        parts.append(_text(x_of(tick), height + 15, f"{tick:+g}" if tick else "0", "middle"))
    for number, row in enumerate(rows):
        top = _ROW * number
        parts.append(_text(_LEFT, top + 15, words.truncated(row.name, _LABEL), "start", class_="name"))
        parts.append(_text(WIDTH - _RIGHT, top + 15, row.note, "end", class_="value"))
        y, style = top + 28, row.verdict.replace(" ", "-")
        if row.low is not None and row.high is not None:
            parts.append(_line(x_of(row.low), y, x_of(row.high), y, f"interval {style}"))
        if row.mean is not None:
            parts.append(element("circle", cx=f"{x_of(row.mean):.1f}", cy=y, r=4.5, class_=f"mean {style}"))
    parts.append(_text(WIDTH / 2, height + 32, "points of accuracy more than the baseline", "middle"))
    return _picture(parts, height + 38)


def rank_diagram(label: str, ranks: Sequence[tuple[str, float]], critical: float) -> Html:
    """A critical-difference diagram (Demsar 2006): mean ranks, 1 at the left; a bar joins losses whose ranks differ by
    less than the critical difference."""
    order = sorted(ranks, key=lambda pair: pair[1])
    count, left, right = len(order), 16, WIDTH - 16

    def x_of(rank: float) -> float:
        return left + (right - left) * (rank - 1) / max(count - 1, 1)

    span = min(critical, count - 1)
    parts = [element("title", label), _line(x_of(1), 22, x_of(1 + span), 22, "critical")]
    more = "" if critical <= count - 1 else ", longer than the axis"
    parts.append(_text(left, 14, f"critical difference {critical:.2f}{more}", "start"))
    parts.append(_line(left, 44, right, 44, "zero"))
    for rank in range(1, count + 1):
        parts += [_line(x_of(rank), 40, x_of(rank), 48, "zero"), _text(x_of(rank), 37, str(rank), "middle")]
    y = 58.0
    for first, last in joined_ranks([rank for _, rank in order], critical):
        parts.append(_line(x_of(order[first][1]) - 3, y, x_of(order[last][1]) + 3, y, "clique"))
        y += 8
    dots: list[Html] = []  # over the lines of the others
    for name, rank in order:
        y += 22
        x = x_of(rank)
        parts.append(_line(x, 44, x, y - 4, "grid"))
        dots.append(element("circle", cx=f"{x:.1f}", cy=f"{y - 4:.1f}", r=4, class_="rank"))
        anchor, shift = ("start", 9) if x < WIDTH / 2 else ("end", -9)
        dots.append(_text(x + shift, y, f"{words.truncated(name, _LABEL)} {rank:.2f}", anchor, class_="name"))
    return _picture([*parts, *dots], y + 12)


def joined_ranks(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """The longest spans (first, last) of rising ranks, of two losses or more, within the critical difference."""
    spans: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(place for place, other in enumerate(ranks) if other - rank < critical)
        if last > first and (not spans or last > spans[-1][1]):
            spans.append((first, last))
    return spans


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    label: str
    style: str  # CSS class
    x: Sequence[float]
    y: Sequence[float]
    steps: bool = False  # each value holds until the next


def line_panel(label: str, lines: Sequence[Line], x_title: str, y_title: str, *, cut: bool = True) -> Html:
    """Lines over one axis; `cut` leaves out the 2% of the values at either end, as in the first steps of training."""
    left, right, top, tall = 46, 8, 8, 170
    values = [value for line in lines for value in line.y]
    low, high = value_range([values]) if cut else _whole(values)
    first, last = min(line.x[0] for line in lines), max(line.x[-1] for line in lines)
    width = WIDTH - left - right
    span = (last - first) or 1.0
    parts = [element("title", label)]
    for tick in ticks(low, high):
        y = top + tall * (high - tick) / (high - low)
        parts += [_line(left, y, left + width, y, "grid"), _text(left - 5, y + 4, f"{tick:g}", "end")]
    for tick in ticks(first, last) if last > first else [first]:
        x = left + width * (tick - first) / span
        anchor = "end" if x > left + width - 12 else "middle"
        parts += [_line(x, top, x, top + tall, "grid"), _text(x, top + tall + 15, f"{tick:g}", anchor)]
    parts.append(_text(left + width / 2, top + tall + 31, x_title, "middle"))
    middle = top + tall / 2
    parts.append(_text(10, middle, y_title, "middle", transform=f"rotate(-90 10 {middle:g})"))
    curves = []
    for line in lines:
        path = ""
        for x, y in zip(line.x, line.y, strict=True):
            near = min(max(y, low - (high - low)), high + (high - low))
            across, down = width * (x - first) / span, tall * (high - near) / (high - low)
            path += (
                f"M{across:.1f} {down:.1f}"
                if not path
                else (f"H{across:.1f}V{down:.1f}" if line.steps else f"L{across:.1f} {down:.1f}")
            )
        if line.steps:
            path += f"H{width * (last - first) / span:.1f}"
        curves.append(element("path", element("title", line.label), d=path, class_=f"curve {line.style}"))
    # an svg in the svg, which cuts off what is outside of it
    parts.append(element("svg", joined(curves), x=left, y=top, width=width, height=tall))
    return _picture(parts, top + tall + 38)


def histogram(label: str, values: Sequence[float], marks: Sequence[tuple[str, float, str]], x_title: str) -> Html:
    """How often each value occurs, and values that are marked: (name, value, CSS class)."""
    every = [*values, *(value for _, value, _ in marks)]
    low, high = _whole(every)
    bins = min(30, max(6, math.ceil(2 * len(values) ** 0.5)))
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(bins * (value - low) / (high - low)))] += 1
    left, tall = 30, 110
    width, top = WIDTH - left - 10, 18 * len(marks) + 6

    def x_of(value: float) -> float:
        return left + width * (value - low) / (high - low)

    most = max(counts)
    parts = [element("title", label)]
    for tick in sorted({0, most}):
        y = top + tall * (1 - tick / most)
        parts += [_line(left, y, left + width, y, "grid"), _text(left - 5, y + 4, str(tick), "end")]
    for place, amount in enumerate(counts):
        if amount:
            size = tall * amount / most
            place_of = {"x": f"{left + width * place / bins + 0.5:.1f}", "y": f"{top + tall - size:.1f}"}
            size_of = {"width": f"{width / bins - 1:.1f}", "height": f"{size:.1f}"}
            parts.append(element("rect", element("title", str(amount)), class_="column", **place_of, **size_of))
    for tick in ticks(low, high):
        parts.append(_text(x_of(tick), top + tall + 15, f"{tick:g}", "middle"))
    # the highest on top, so that no line crosses the name of one that is written to the left of its own
    for number, (name, value, style) in enumerate(sorted(marks, key=lambda mark: -mark[1])):
        y = 18 * number + 13
        parts.append(_line(x_of(value), y - 9, x_of(value), top + tall, f"mark {style}"))
        anchor, shift = ("start", 5) if x_of(value) < WIDTH / 2 else ("end", -5)
        parts.append(_text(x_of(value) + shift, y, f"{name} {value:.2f}", anchor, class_="name"))
    parts.append(_text(left + width / 2, top + tall + 31, x_title, "middle"))
    return _picture(parts, top + tall + 38)


def _whole(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def _picture(parts: Sequence[Html], height: float) -> Html:
    return element("svg", joined(parts), viewBox=f"0 0 {WIDTH} {height:g}", role="img", class_="study")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return element("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", class_=kind)


def _text(x: float, y: float, text: str, anchor: str, **attributes: object) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes)
