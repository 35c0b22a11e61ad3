"""The CSV files read back to what the ledger holds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lossmith.ledger import Ledger
from lossmith.report.page import write_report

from .conftest import VERSIONS, comparison


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def folder(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(finished, tmp_path_factory.mktemp("report")).parent


def test_evaluations(finished: Path, folder: Path) -> None:
    rows = read(folder / "evaluations.csv")
    with Ledger.read(finished) as ledger:
        evaluations = list(ledger.evaluations())
        losses = ledger.losses()
    assert len(rows) == len(evaluations)
    for row, evaluation in zip(rows, evaluations, strict=True):
        assert int(row["number"]) == evaluation.id
        assert (row["loss"], row["task_id"]) == (evaluation.key.loss, evaluation.key.task)
        assert (int(row["seed"]), row["split"]) == (evaluation.key.seed, evaluation.key.split)
        assert row["formula"] == losses[evaluation.key.loss].formula
        assert (float(row["accuracy"]) if row["accuracy"] else None) == evaluation.score
        assert row["verdict"] == evaluation.reason.value
        assert float(row["seconds"]) == evaluation.seconds


def test_candidates(finished: Path, folder: Path) -> None:
    rows = read(folder / "candidates.csv")
    with Ledger.read(finished) as ledger:
        candidates = list(ledger.candidates())
    assert len(rows) == len(candidates)
    for row, candidate in zip(rows, candidates, strict=True):
        assert int(row["number"]) == candidate.number
        assert (int(row["parent"]) if row["parent"] else None) == candidate.parent
        assert (json.loads(row["mutation"]) if row["mutation"] else None) == candidate.mutation
        assert json.loads(row["refused_drafts"]) == candidate.refused
        assert int(row["evaluation"]) == candidate.evaluation


def test_losses(finished: Path, folder: Path) -> None:
    rows = read(folder / "losses.csv")
    with Ledger.read(finished) as ledger:
        losses = ledger.losses()
    assert {row["key"]: row["formula"] for row in rows} == {key: loss.formula for key, loss in losses.items()}
    ranks = [int(row["rank"]) for row in rows if row["rank"]]
    assert ranks == list(range(1, len(ranks) + 1))
    assert {row["flip"] for row in rows} <= {"0", "1", ""}


def test_comparison(tmp_path: Path) -> None:
    content = comparison()
    with Ledger.create(tmp_path / "run", {"name": "train"}) as ledger:
        ledger.begin_session("lossmith train", 1, VERSIONS, 0.0)
        ledger.add_comparison(content)
    rows = read(write_report(tmp_path / "run").with_name("comparison.csv"))
    scores = [score for loss in content["losses"] for score in loss["scores"]]
    assert [float(row["accuracy"]) if row["accuracy"] else None for row in rows] == scores
    assert [row["seed"] for row in rows[:3]] == ["11", "12", "13"]
    assert float(rows[3]["difference"]) == pytest.approx(0.0151)
    assert rows[5]["difference"] == ""
