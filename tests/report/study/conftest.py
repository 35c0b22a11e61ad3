"""Studies and stages that trained nothing: the stages' own code ran, with scores that a function gives."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from confirmations import null_score
from lossmith.commands.study import go_on
from lossmith.ledger import FILE
from lossmith.search.serving import EvaluationJob
from lossmith.study.study import load_preset, write_study
from lossmith.train.result import EpochRecord, TrainingResult
from lossmith.train.task import TaskConfig
from scripted import Score, Scripted, work_with

SETTINGS = [
    *(f"{stage}.execution={{way: processes}}" for stage in ("search", "elimination", "transfer", "confirmation")),
    "search.rungs.microtask=null",
    "search.search.iterations=6",
    "confirmation.seeds=10",
    "transfer.seeds=3",
]


class WithCurves(Scripted):
    """Gives every training a curve of two epochs."""

    def result(self, job: EvaluationJob, task: TaskConfig) -> TrainingResult:
        result = super().result(job, task)
        score = result.score or 0.0
        points = ((1, 10, score / 2), (2, 20, score))
        curve = tuple(EpochRecord(epoch, step, 1.0, value, value, 0.1) for epoch, step, value in points)
        return replace(result, curve=curve)


def score(job: EvaluationJob, task: TaskConfig) -> float | None:
    """Losses that are alike, but that focal is ten points worse, and label smoothing fails with some seeds."""
    if job.loss.key == "zoo:label_smoothing" and job.seed % 3 == 0:
        return None
    return null_score(job, task) - (45 / 450 if job.loss.key == "zoo:focal" else 0.0)


def make_study(directory: Path, of: Score, *more: str) -> Path:
    """A finished study in `directory`."""
    config = load_preset("study-smoke", [*SETTINGS, *more])
    write_study(directory, config)
    assert go_on(config, directory, work_with(WithCurves(of), another=lambda: WithCurves(of))) == 0
    return directory


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study; do not write into it."""
    baselines = "confirmation.baselines=[cross_entropy, label_smoothing, focal]"
    return make_study(tmp_path_factory.mktemp("studies") / "finished", score, baselines)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished study without its report."""
    directory = tmp_path / "copied"
    shutil.copytree(finished, directory, ignore=shutil.ignore_patterns("report", "*.npz"))
    return directory


def change_ledger(stage: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(stage / FILE) as connection:
        connection.execute(statement, values)
    connection.close()


def change_result(stage: Path, change: Callable[[str], str]) -> None:
    """Write another result over the one in a stage's ledger."""
    with sqlite3.connect(stage / FILE) as connection:
        number, content = connection.execute("SELECT id, content FROM results ORDER BY id DESC").fetchone()
        assert change(content) != content
        connection.execute("UPDATE results SET content = ? WHERE id = ?", (change(content), number))
    connection.close()


_VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """A page taken apart; closing tags that do not match are errors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.text = ""
        self.attributes: list[tuple[str, str, str]] = []  # (element, name, value)
        self.tables: list[list[list[str]]] = []
        self.figures: dict[str, str] = {}  # what is shown, by the name in trace.csv
        self._open: list[tuple[str, str | None]] = []
        self._cell = ""
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in _VOID:
            return
        figure = dict(attrs).get("data-figure")
        assert figure is None or figure not in self.figures
        if figure is not None:
            self.figures[figure] = ""
        self._open.append((tag, figure))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag
        if tag in ("td", "th"):
            self.tables[-1][-1].append(" ".join(self._cell.split()))

    def handle_data(self, data: str) -> None:
        self.text += data
        self._cell += data
        if self._open and (figure := self._open[-1][1]) is not None:
            self.figures[figure] += data
