"""The pictures of a study as inline SVG: no library, no script, colours of the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lossmith.report.card_svg import ticks
from lossmith.report.markup import Html, element, joined
from lossmith.report.words import truncated

_WIDTH = 720  # of a picture, in its own units: pixels where it has the room
_NAMES = 230  # of it for names
_ROW = 24
_BINS = 30


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a forest plot, in points."""

    name: str
    mean: float
    low: float
    high: float
    kind: str  # CSS class: "better", "worse", "equivalent" or "none"
    hint: str  # the tooltip


def forest(label: str, groups: Sequence[tuple[str, Sequence[Bar]]], margin: float) -> Html:
    """Differences with their intervals, by cell; the band is the margin of equivalence, in points."""
    bars = [bar for _, own in groups for bar in own]
    low, high = min([*(bar.low for bar in bars), -margin]), max([*(bar.high for bar in bars), margin])
    room = 0.05 * (high - low)
    low, high = low - room, high + room
    rows = len(bars) + len(groups)
    height = _ROW * rows + 44
    plot = _WIDTH - _NAMES - 16

    def x(value: float) -> float:
        return _NAMES + plot * (value - low) / (high - low)

    bottom = _ROW * rows + 8
    parts = [element("title", label)]
    band = {"x": f"{x(-margin):.1f}", "y": 4, "width": f"{x(margin) - x(-margin):.1f}", "height": bottom - 4}
    parts.append(element("rect", element("title", f"within {margin:g} points"), class_="band", **band))
    for tick in ticks(low, high):
        parts.append(_path(x(tick), 4, x(tick), bottom, "zero" if tick == 0 else "grid"))
        parts.append(_text(x(tick), bottom + 16, f"{tick:+g}" if tick else "0", "middle"))
    parts.append(_text(_NAMES + plot / 2, bottom + 32, "points of accuracy more than the baseline", "middle"))
    y = 4.0
    for cell, own in groups:
        y += _ROW
        parts.append(_text(0, y - 7, truncated(cell, 38), "start", class_="cell"))
        for bar in own:
            y += _ROW
            middle = y - _ROW / 2
            parts.append(_text(10, middle + 4, truncated(bar.name, 34), "start"))
            mark = joined(
                [
                    element("title", bar.hint),
                    _path(x(bar.low), middle, x(bar.high), middle, "interval"),
                    element("circle", cx=f"{x(bar.mean):.1f}", cy=f"{middle:.1f}", r=4.5),
                ]
            )
            parts.append(element("g", mark, class_=bar.kind))
    return _picture(parts, height)


def rank_diagram(label: str, ranks: Mapping[str, float], difference: float) -> Html:
    """Mean ranks on a line, the best at the left; the bar at the top is as long as the critical difference."""
    order = sorted(ranks.items(), key=lambda item: item[1])
    count = len(order)
    plot = _WIDTH - 80

    def x(rank: float) -> float:
        return 40 + plot * (rank - 1) / max(count - 1, 1)

    parts = [element("title", label), _path(x(1), 44, x(count), 44, "zero")]
    parts += [_path(x(1), 20, x(min(1 + difference, count)), 20, "interval own")]
    parts.append(_text(x(1), 14, f"critical difference {difference:.2f}", "start"))
    for rank in range(1, count + 1):
        parts += [_path(x(rank), 40, x(rank), 48, "zero"), _text(x(rank), 36, str(rank), "middle")]
    for place, (name, rank) in enumerate(order):
        left = place < (count + 1) // 2
        y = 70 + 20 * (place if left else count - 1 - place)
        edge = 0 if left else _WIDTH
        parts += [_path(x(rank), 44, x(rank), y, "grid"), _path(x(rank), y, edge, y, "grid")]
        anchor = "start" if left else "end"
        parts.append(_text(edge, y - 4, f"{truncated(name, 40)} ({rank:.2f})", anchor))
    return _picture(parts, 80 + 20 * ((count + 1) // 2))


def histogram(label: str, values: Sequence[float], marks: Sequence[tuple[str, float, str]]) -> Html:
    """How often each value occurs, in percent, and some values marked: (name, value, CSS class)."""
    every = [*values, *(value for _, value, _ in marks)]
    low, high = min(every), max(every)
    span = (high - low) or 1.0
    low, high = low - 0.03 * span, high + 0.03 * span
    counts = [0] * _BINS
    for value in values:
        counts[min(_BINS - 1, int(_BINS * (value - low) / (high - low)))] += 1
    plot, tall = _WIDTH - 60, 150
    top = 18 * len(marks) + 8

    def x(value: float) -> float:
        return 40 + plot * (value - low) / (high - low)

    parts = [element("title", label)]
    for place, amount in enumerate(counts):
        if amount:
            size = tall * amount / max(counts)
            left = low + (high - low) * place / _BINS
            width = plot / _BINS - 1
            hint = element("title", f"{amount} from {left:.2f}% to {left + (high - low) / _BINS:.2f}%")
            place_of = {"x": f"{x(left):.1f}", "y": f"{top + tall - size:.1f}", "width": f"{width:.1f}"}
            parts.append(element("rect", hint, height=f"{size:.1f}", class_="column", **place_of))
    parts += [_text(x(tick), top + tall + 16, f"{tick:g}%", "middle") for tick in ticks(low, high)]
    for number, (name, value, kind) in enumerate(marks):
        parts.append(_path(x(value), 18 * number + 12, x(value), top + tall, f"interval {kind}"))
        anchor = "end" if x(value) > _WIDTH / 2 else "start"
        parts.append(_text(x(value) + (-5 if anchor == "end" else 5), 18 * number + 16, f"{name} {value:.2f}%", anchor))
    parts.append(_path(40, top + tall, 40 + plot, top + tall, "zero"))
    return _picture(parts, top + tall + 24)


def curves(label: str, lines: Sequence[tuple[str, Sequence[tuple[float, float]], str]], x_title: str) -> Html:
    """Lines (name, [(x, percent)], CSS class)."""
    points = [point for _, own, _ in lines for point in own]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    right, high = right + (right == left), high + (high == low)
    width, tall = _WIDTH - 70, 220

    def place(x: float, y: float) -> str:
        return f"{50 + width * (x - left) / (right - left):.1f} {8 + tall * (high - y) / (high - low):.1f}"

    parts = [element("title", label)]
    for tick in ticks(low, high):
        y = 8 + tall * (high - tick) / (high - low)
        parts += [_path(50, y, 50 + width, y, "grid"), _text(44, y + 4, f"{tick:g}%", "end")]
    for tick in ticks(left, right):
        parts.append(_text(50 + width * (tick - left) / (right - left), tall + 24, f"{tick:g}", "middle"))
    parts.append(_text(50 + width / 2, tall + 42, x_title, "middle"))
    for name, own, kind in lines:
        drawn = "M" + "L".join(place(x, y) for x, y in own)
        parts.append(element("path", element("title", name), d=drawn, class_=f"curve {kind}"))
    return _picture(parts, tall + 50)


def _picture(parts: Sequence[Html], height: float) -> Html:
    return element("svg", joined(parts), viewBox=f"0 0 {_WIDTH} {height:.0f}", role="img", class_="lines")


def _path(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return element("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", class_=kind)


def _text(x: float, y: float, text: str, anchor: str, **attributes: object) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes)
