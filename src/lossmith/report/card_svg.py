"""Line plots as inline SVG: no library, no script, and colours of the page's style, so that they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lossmith.report.markup import Html, element, escaped, joined

_WIDTH, _HEIGHT = 340, 230  # of the whole plot, in its own units: pixels on a page that gives it this room
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 38
_TICKS = 5
_EDGE = 0.02  # share of the values left out at each end of the range: poles would flatten everything else


@dataclass(frozen=True, slots=True)
class Series:
    """One curve."""

    x: Sequence[float]  # rising
    y: Sequence[float]  # NaN where there is a gap
    style: str  # CSS class of the line: "own", "base", or "k0" to "k5"
    label: str  # for the tooltip


def line_plot(label: str, series: Sequence[Series], x_title: str, y_title: str) -> Html:
    """A plot over x in [0, 1]; `label` says to a screen reader what it shows. What is out of range is cut off."""
    low, high = value_range([curve.y for curve in series])
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    parts = [element("title", label)]
    for tick in ticks(low, high):
        y = _TOP + height * (high - tick) / (high - low)
        kind = "zero" if tick == 0 else "grid"
        parts.append(_line(_LEFT, y, _LEFT + width, y, kind))
        parts.append(_text(_LEFT - 6, y + 4, f"{tick:g}".replace("e+0", "e").replace("e+", "e"), "end"))
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = _LEFT + width * tick
        parts.append(_line(x, _TOP, x, _TOP + height, "grid"))
        parts.append(_text(x, _TOP + height + 16, f"{tick:g}", "middle"))
    parts.append(_text(_LEFT + width / 2, _HEIGHT - 4, x_title, "middle"))
    middle = _TOP + height / 2
    parts.append(_text(11, middle, y_title, "middle", transform=f"rotate(-90 11 {middle:g})"))
    # an svg in the svg, which cuts off what is outside of it
    curves = [
        element("path", element("title", curve.label), d=path, class_=f"curve {curve.style}")
        for curve in series
        if (path := _path(curve, width, height, low, high))
    ]
    parts.append(element("svg", joined(curves), x=_LEFT, y=_TOP, width=width, height=height))
    return element("svg", joined(parts), viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", class_="lines")


def swatch(style: str, text: str) -> Html:
    """An entry of a legend."""
    line = element("path", d="M1 4H33", class_=f"curve {style}")
    return Html(f'<li><svg viewBox="0 0 34 8" aria-hidden="true">{line}</svg>{escaped(text)}</li>')


def value_range(curves: Sequence[Sequence[float]]) -> tuple[float, float]:
    """(low, high) of a plot, low < high: of all finite values but the 2% at either end."""
    values = sorted(value for curve in curves for value in curve if math.isfinite(value))
    if not values:
        return 0.0, 1.0
    cut = int(_EDGE * len(values))
    low, high = values[cut], values[-1 - cut]
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers between `low` and `high`."""
    rough = (high - low) / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= 0.999 * rough)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [float(f"{(first + number) * step:.6g}") + 0.0 for number in range(count)]


def _path(curve: Series, width: float, height: float, low: float, high: float) -> str:
    span = high - low
    written: list[str] = []
    drawing = False
    for x, y in zip(curve.x, curve.y, strict=True):
        if not math.isfinite(y):
            drawing = False
            continue
        near = min(max(y, low - 2 * span), high + 2 * span)  # a renderer need not know 1e300
        written.append(f"{'L' if drawing else 'M'}{x * width:.1f} {height * (high - near) / span:.1f}")
        drawing = True
    return "".join(written)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return element("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", class_=kind)


def _text(x: float, y: float, text: str, anchor: str, **attributes: object) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes)
