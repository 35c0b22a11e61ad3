"""The picture of a fidelity study: each surrogate's tau with its interval over its cost, and how far truth is known.

One panel for each data set, as SVG without scripts; its colours follow the reader's theme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lossmith.report import frame, words
from lossmith.report.card_svg import ticks
from lossmith.report.fidelity_text import by_cost
from lossmith.report.markup import Html, element, joined

WIDTH = 640  # of a panel, in its own units: pixels where it has the room
_LEFT, _RIGHT, _TOP, _PLOT, _AXIS = 52, 18, 46, 320, 52
_LINE = 18  # height of a line of the legend
_COLOURS = 8  # classes `s0` to `s7` of the style sheet, and `f0` to `f7`
# where a point's number may stand, from the point, the best first
_PLACES = tuple(
    (distance * math.cos(angle), distance * math.sin(angle))
    for distance in (13, 20, 28, 37)
    for angle in (math.radians(degrees) for degrees in (0, 180, -45, 45, -135, 135, -20, 20, -160, 160))
)


@dataclass(frozen=True, slots=True)
class _Point:
    entry: Mapping[str, Any]
    number: int
    colour: int
    x: float
    y: float


def picture(contents: Sequence[Mapping[str, Any]]) -> str:
    """All panels beside each other as one SVG file."""
    panels = [_parts(content) for content in contents]
    height = max(tall for _, tall in panels)
    width = WIDTH * len(panels)
    placed = [
        element("g", parts, transform=f"translate({WIDTH * number} 0)") for number, (parts, _) in enumerate(panels)
    ]
    inner = joined(
        [
            Html(f"<style>{frame.asset('fidelity.css')}</style>"),
            Html(f'<rect width="{width}" height="{height}" class="background"/>'),
            *placed,
        ]
    )
    return str(
        element(
            "svg",
            inner,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
            class_="fidelity",
            role="img",
        )
    )


def panel(content: Mapping[str, Any]) -> Html:
    """One data set's panel, for a page that has the style sheet `fidelity.css`."""
    parts, height = _parts(content)
    return element("svg", parts, viewBox=f"0 0 {WIDTH} {height}", role="img", class_="fidelity panel")


def _parts(content: Mapping[str, Any]) -> tuple[Html, int]:
    """What is drawn in a panel, and its height."""
    expensive = content["expensive"]
    reliability = expensive["reliability"]["tau"]
    entries = by_cost(content["surrogates"])
    costs = [*(entry["cost"]["seconds"] for entry in entries), expensive["cost"]["seconds"]]
    lows = [*(entry["tau"]["low"] for entry in entries), expensive["single"]["tau"]["low"], reliability["low"], 0.0]
    left, right = _decades(costs)
    bottom = math.floor(10 * min(lows)) / 10
    width = WIDTH - _LEFT - _RIGHT

    def x_of(seconds: float) -> float:
        return _LEFT + width * (math.log10(max(seconds, 1e-9)) - left) / (right - left)

    def y_of(tau: float) -> float:
        return _TOP + _PLOT * (1 - tau) / (1 - bottom)

    label = f"Kendall's tau of each surrogate over its cost, on {expensive['dataset']}"
    title = f"{expensive['dataset']}: {len(content['losses'])} losses, as '{expensive['name']}' ranks them"
    parts = [element("title", label), _text(_LEFT, 22, words.truncated(title, 84), "start", class_="title")]
    parts += _axes(left, right, bottom, x_of, y_of)
    parts += _ceiling(expensive, x_of, y_of)
    colours = {task: number % _COLOURS for number, task in enumerate(dict.fromkeys(e["task_id"] for e in entries))}
    points = [
        _Point(entry, number, colours[entry["task_id"]], x_of(entry["cost"]["seconds"]), y_of(entry["tau"]["value"]))
        for number, entry in enumerate(entries, start=1)
    ]
    parts += _links(points)
    for point in points:
        tau = point.entry["tau"]
        parts.append(_path(point.x, y_of(tau["low"]), point.x, y_of(tau["high"]), f"bar s{point.colour}"))
    for point in points:
        name = element("title", _words(point.entry))
        parts.append(element("circle", name, cx=f"{point.x:.1f}", cy=f"{point.y:.1f}", r=5, class_=f"f{point.colour}"))
    parts += _numbers(points)
    legend = _TOP + _PLOT + _AXIS
    for line, point in enumerate(points):
        y = legend + _LINE * (line + 1)
        parts.append(element("circle", cx=_LEFT + 4, cy=y - 4, r=5, class_=f"f{point.colour}"))
        parts.append(_text(_LEFT + 32, y, str(point.number), "end", class_="number"))
        parts.append(_text(_LEFT + 42, y, _words(point.entry), "start", class_="entry"))
    y = legend + _LINE * (len(points) + 1)
    parts.append(_diamond(_LEFT + 4, y - 4))
    parts.append(_text(_LEFT + 42, y, f"one training of it: {_seconds(expensive)}", "start", class_="entry"))
    y += _LINE
    parts.append(_path(_LEFT - 8, y - 4, _LEFT + 32, y - 4, "ceiling"))
    halves = f"its seeds halved, one half against the other: {_tau(reliability)}"
    parts.append(_text(_LEFT + 42, y, halves, "start", class_="entry"))
    y += _LINE
    parts.append(_path(_LEFT - 8, y - 4, _LEFT + 32, y - 4, "noiseless"))
    noiseless = f"a surrogate without noise of its own, by estimate: {_tau(expensive['reliability']['noiseless'])}"
    parts.append(_text(_LEFT + 42, y, noiseless, "start", class_="entry"))
    return joined(parts), y + 16


def _axes(left: float, right: float, bottom: float, x_of: Any, y_of: Any) -> list[Html]:
    parts: list[Html] = []
    for tick in ticks(bottom, 1.0):
        parts.append(_path(_LEFT, y_of(tick), WIDTH - _RIGHT, y_of(tick), "zero" if tick == 0 else "rule"))
        parts.append(_text(_LEFT - 7, y_of(tick) + 4, f"{tick:g}", "end"))
    for seconds in _log_ticks(left, right):
        parts.append(_path(x_of(seconds), _TOP, x_of(seconds), _TOP + _PLOT, "rule"))
        parts.append(_text(x_of(seconds), _TOP + _PLOT + 17, f"{seconds:g}", "middle"))
    middle = _TOP + _PLOT / 2
    parts.append(_text(14, middle, "Kendall's tau", "middle", transform=f"rotate(-90 14 {middle:g})"))
    caption = "seconds of training for one loss (logarithmic)"
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, _TOP + _PLOT + 36, caption, "middle"))
    return parts


def _ceiling(expensive: Mapping[str, Any], x_of: Any, y_of: Any) -> list[Html]:
    """How far the expensive task agrees with itself: a line with its band, and one training of it."""
    reliability = expensive["reliability"]["tau"]
    top = y_of(expensive["reliability"]["noiseless"]["value"])
    high, low = y_of(reliability["high"]), y_of(reliability["low"])
    box = {"x": _LEFT, "y": f"{high:.1f}", "width": WIDTH - _LEFT - _RIGHT, "height": f"{max(low - high, 0.5):.1f}"}
    y, tau = y_of(reliability["value"]), expensive["single"]["tau"]
    x = x_of(expensive["cost"]["seconds"])
    return [
        element("rect", class_="band", **box),
        _path(_LEFT, y, WIDTH - _RIGHT, y, "ceiling"),
        _path(_LEFT, top, WIDTH - _RIGHT, top, "noiseless"),
        _path(x, y_of(tau["low"]), x, y_of(tau["high"]), "bar own"),
        _diamond(x, y_of(tau["value"])),
    ]


def _links(points: Sequence[_Point]) -> list[Html]:
    """A thin line through the readings of the same trainings."""
    parts: list[Html] = []
    for task in dict.fromkeys(point.entry["task_id"] for point in points):
        own = sorted((p for p in points if p.entry["task_id"] == task), key=lambda p: p.entry["step"])
        parts += [_path(one.x, one.y, other.x, other.y, f"link s{one.colour}") for one, other in pairwise(own)]
    return parts


def _numbers(points: Sequence[_Point]) -> list[Html]:
    """Each point's number, where it is clear of the points and of the numbers before it."""
    taken = [(point.x, point.y) for point in points]
    parts: list[Html] = []
    for point in points:

        def room(place: tuple[float, float], point: _Point = point) -> float:
            x, y = point.x + place[0], point.y + place[1]
            inside = _LEFT < x < WIDTH - 4 and _TOP < y < _TOP + _PLOT
            nearest = min(math.hypot(x - other_x, 1.2 * (y - other_y)) for other_x, other_y in taken)
            return min(nearest, 11.5) if inside else 0.0

        dx, dy = max(_PLACES, key=room)
        taken.append((point.x + dx, point.y + dy))
        parts.append(_text(point.x + dx, point.y + dy + 4, str(point.number), "middle", class_="number"))
    return parts


def _words(entry: Mapping[str, Any]) -> str:
    return f"{words.truncated(entry['name'], 44)}: {_seconds(entry)}"


def _seconds(entry: Mapping[str, Any]) -> str:
    measures = entry.get("single", entry)
    return f"{entry['cost']['seconds']:.3g} s, {entry['cost']['steps']:,} steps, {_tau(measures['tau'])}"


def _tau(estimate: Mapping[str, float]) -> str:
    return f"tau {estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def _decades(costs: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis, in powers of ten, a little beyond the costs."""
    known = [math.log10(max(cost, 1e-9)) for cost in costs]
    margin = max(0.08 * (max(known) - min(known)), 0.1)
    return min(known) - margin, max(known) + margin


def _log_ticks(left: float, right: float) -> list[float]:
    """Round numbers on the axis, about three to nine: of every decade as many as there is room for."""
    factors: tuple[float, ...]
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(1 + place / 10 for place in range(90))):
        found = [
            float(f"{factor:g}e{power}")
            for power in range(math.floor(left), math.ceil(right) + 1)
            for factor in factors
            if left <= math.log10(float(f"{factor:g}e{power}")) <= right
        ]
        if len(found) >= 3:
            return found[:: -(-len(found) // 9)]
    return found


def _diamond(x: float, y: float) -> Html:
    return element("path", d=f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z", class_="whole")


def _path(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return element("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", class_=kind)


def _text(x: float, y: float, text: str, anchor: str, **attributes: object) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes)
