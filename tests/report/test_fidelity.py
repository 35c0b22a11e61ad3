"""The page, the picture, the CSV files and the terminal's table of a fidelity study."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from fidelities import losses, run, settings
from lossmith.report.fidelity import page, write_fidelity
from lossmith.report.fidelity_svg import picture
from lossmith.report.fidelity_text import by_cost, fidelity_summary

LOSSES = losses(12)
QUALITY = np.random.default_rng(1).permutation(12) / 30 + 0.4


def curve(place: int, task: str, seed: int) -> list[float]:
    score = float(QUALITY[place] + 0.01 * np.random.default_rng([place, seed, *task.encode()]).standard_normal())
    if task == "b" and place < 3:
        return [score]
    return [score] * (2 if task in {"a", "b"} else 4)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    task = {"base": "digits", "steps": 80, "epoch_steps": 20, "stopping": []}
    config = settings("a", "b", expensive={"name": "<whole> & true", "task": task, "seeds": 3, "at": [20]}, top=[1, 3])
    return run(tmp_path_factory.mktemp("study"), config, LOSSES, curve)[0]


def elements(text: str, name: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(text)  # noqa: S314 - our own
    return [each for each in root.iter() if each.tag.rpartition("}")[2] == name]


def test_the_picture_has_every_surrogate_with_its_interval(content: dict[str, Any]) -> None:
    text = picture([content, content])
    words = [each.text or "" for each in elements(text, "text")]
    numbers = [each.text for each in elements(text, "text") if each.get("class") == "number"]
    for number, entry in enumerate(by_cost(content["surrogates"]), start=1):
        tau = entry["tau"]
        shown = f"tau {tau['value']:.2f} ({tau['low']:.2f} to {tau['high']:.2f})"
        assert sum(word.startswith(f"{entry['name']}: ") and word.endswith(shown) for word in words) == 2
        assert numbers.count(str(number)) == 4  # in the plot and in the legend of each panel
    own = content["expensive"]["reliability"]["tau"]
    assert sum(f"one half against the other: tau {own['value']:.2f}" in word for word in words) == 2
    assert sum("without noise of its own, by estimate: tau" in word for word in words) == 2
    assert words.count("Kendall's tau") == 2
    # points stand where the numbers say: higher tau, smaller y; dearer, larger x
    points = [each for each in elements(picture([content]), "circle") if len(each)]
    entries = by_cost(content["surrogates"])
    assert len(points) == len(entries)
    xs, ys = ([float(each.get(axis, "")) for each in points] for axis in ("cx", "cy"))
    assert xs == sorted(xs)
    taus = [entry["tau"]["value"] for entry in entries]
    assert np.argsort(ys).tolist() == np.argsort([-tau for tau in taus]).tolist()
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_page_is_whole_escaped_and_loads_nothing(content: dict[str, Any], tmp_path: Path) -> None:
    where = write_fidelity(tmp_path, [content], tmp_path / "elsewhere")
    assert where == tmp_path / "elsewhere" / "index.html"
    text = where.read_text(encoding="utf-8")
    assert sorted(path.name for path in where.parent.iterdir()) == [
        "fidelity.svg",
        "index.html",
        "losses.csv",
        "scores.csv",
        "surrogates.csv",
    ]
    assert "<whole>" not in text
    assert "&lt;whole&gt; &amp; true" in text
    assert "<script" not in text
    assert "3 training accuracy fell below" in text

    class Links(HTMLParser):
        found: list[str] = []  # noqa: RUF012 - one parser, one page

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [value or "" for name, value in attrs if name in {"src", "href"}]

    Links().feed(text)
    assert all((where.parent / link).exists() for link in Links.found if not link.startswith("#"))
    assert page([content, content]).count(b"<svg") == 2


def test_the_csv_files_have_the_figures_in_full(content: dict[str, Any], tmp_path: Path) -> None:
    folder = write_fidelity(tmp_path, [content]).parent
    rows = list(csv.DictReader(io.StringIO((folder / "surrogates.csv").read_text(encoding="utf-8"))))
    assert [row["kind"] for row in rows] == ["task", "task", "early", "itself", "halves"]
    for row, entry in zip(rows, content["surrogates"], strict=False):
        assert row["name"] == entry["name"]
        assert float(row["tau_low"]) == entry["tau"]["low"]
        assert float(row["recall_3_value"]) == entry["recall"]["3"]["value"]
        assert float(row["seconds"]) == entry["cost"]["seconds"]
        assert int(row["failed"]) == entry["failed"]
    assert float(rows[-1]["tau_value"]) == content["expensive"]["reliability"]["tau"]["value"]
    assert rows[-1]["seconds"] == ""
    scores = list(csv.DictReader(io.StringIO((folder / "scores.csv").read_text(encoding="utf-8"))))
    assert len(scores) == 12 * (3 + 1 + 1 + 3)
    named = csv.DictReader(io.StringIO((folder / "losses.csv").read_text(encoding="utf-8")))
    assert {row["loss"]: row["label"] for row in named} == {each.loss.key: each.label for each in LOSSES}
    failed = [row for row in scores if row["accuracy"] == ""]
    assert {row["name"] for row in failed} == {"b"}
    assert len(failed) == 3


def test_the_terminal_has_a_line_for_each_surrogate(content: dict[str, Any]) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(fidelity_summary(content))
    text = console.export_text()
    for name in ("a", "b", "<whole> & true at 20", "<whole> & true, once", "its seeds halved"):
        assert any(line.startswith(name) for line in text.splitlines()), name
    assert "12 losses" in text
    assert " ".join(content["recommendation"].split()) in " ".join(text.split())
    (line,) = [line for line in text.splitlines() if line.startswith("b ")]
    assert line.split()[-1] == "3"
