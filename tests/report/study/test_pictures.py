"""The pictures by themselves."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from lossmith.report.study.pictures import (
    WIDTH,
    Interval,
    Line,
    forest,
    histogram,
    joined_ranks,
    line_panel,
    rank_diagram,
)


def places(picture: str) -> list[tuple[float, float]]:
    """Every point of a picture's own lines and dots; it is well-formed XML."""
    root = ET.fromstring(picture)  # noqa: S314 - made above
    found = [(float(each.get("cx", 0)), float(each.get("cy", 0))) for each in root.iter("circle")]
    for path in root.findall("path"):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d", ""))]
        found += list(zip(numbers[::2], numbers[1::2], strict=True))
    return found


def inside(picture: str) -> bool:
    height = float(ET.fromstring(picture).get("viewBox", "").split()[3])  # noqa: S314 - made above
    return all(0 <= x <= WIDTH and 0 <= y <= height for x, y in places(picture))


def test_a_forest_places_means_between_the_ends_of_their_intervals() -> None:
    rows = [
        Interval("a", 0.5, 0.2, 0.9, "better", "+0.50"),
        Interval("b", -12.0, -14.0, -11.0, "worse", "-12.00"),
        Interval("one pair", 0.1, None, None, "not comparable", "+0.10"),
        Interval("none <&", None, None, None, "not comparable", "-"),
    ]
    picture = forest("label", rows, 0.1)
    root = ET.fromstring(picture)  # noqa: S314 - made above
    dots = [float(each.get("cx", 0)) for each in root.iter("circle")]
    lines = [path for path in root.findall("path") if "interval" in path.get("class", "")]
    assert len(dots) == 3
    assert len(lines) == 2
    for dot, line in zip(dots, lines, strict=False):
        low, high = (float(number) for number in re.findall(r"[ML](-?[\d.]+)", line.get("d", "")))
        assert low < dot < high
    assert dots[1] < dots[2] < dots[0]
    assert [each.get("class") for each in lines] == ["interval better", "interval worse"]
    assert inside(picture)


def test_losses_are_joined_where_their_ranks_are_near() -> None:
    # Demsar 2006, figure 1a: mean ranks of four algorithms on 14 data sets, Nemenyi's critical difference 1.25
    assert joined_ranks([2.0, 2.3, 2.55, 3.143], 1.25) == [(0, 3)]
    assert joined_ranks([1.0, 2.0, 3.5, 3.6], 1.2) == [(0, 1), (2, 3)]
    assert joined_ranks([1.0, 2.0, 2.5, 3.5], 1.6) == [(0, 2), (1, 3)]
    assert joined_ranks([1.0, 3.0], 1.0) == []


@pytest.mark.parametrize("critical", [0.4, 1.0, 9.0])
def test_a_rank_diagram_stays_inside(critical: float) -> None:
    picture = rank_diagram("label", [("a", 1.2), ("b", 1.8), ("cross_entropy", 3.0)], critical)
    assert inside(picture)
    assert ("longer than the axis" in picture) == (critical > 2)
    assert picture.count('class="clique"') == {0.4: 0, 1.0: 1, 9.0: 1}[critical]


def test_lines_and_histograms_of_little_are_drawn() -> None:
    steps = Line("search", "k2", range(1, 4), [90.0, 90.0, 91.0], steps=True)
    flat = Line("null", "k0", [1], [90.0], steps=True)
    assert inside(line_panel("label", [steps, flat], "x", "y", cut=False))
    assert inside(line_panel("label", [flat], "x", "y", cut=False))
    picture = histogram("label", [90.0], [("best", 90.0, "k0"), ("search", 97.0, "k2")], "accuracy")
    assert inside(picture)
    assert picture.count('class="column"') == 1
