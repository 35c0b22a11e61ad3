"""The cost of a run, by hand."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lossmith.ledger import FILE, EvaluationKey, Ledger, LossRow
from lossmith.report.cost import cost
from lossmith.verdict import Reason

from .conftest import config, make_run


def test_overhead_is_the_share_of_worker_time_outside_training(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Ledger.create(run, config().model_dump(mode="json")) as ledger:
        ledger.add_task("task", "a task", {}, "checksum")
        for workers, evaluations in ((2, 3), (1, 1)):
            session = ledger.begin_session("lossmith search", workers, {}, 0.0)
            for number in range(evaluations):
                key = EvaluationKey(f"{session}-{number}", "task", 1, "validation")
                ledger.add_evaluation(LossRow(key.loss, "y", None), key, reason=Reason.OK, steps=100, seconds=4.0)
    with sqlite3.connect(run / FILE) as connection:  # wall times that do not depend on this machine
        connection.execute("UPDATE sessions SET seconds = CASE id WHEN 1 THEN 10 ELSE 5 END")
    connection.close()
    with Ledger.read(run) as ledger:
        total = cost(ledger)
    first, second = total.sessions
    assert first.overhead == pytest.approx(1 - 12 / (2 * 10))
    assert second.overhead == pytest.approx(1 - 4 / 5)
    assert total.overhead == pytest.approx(1 - 16 / 25)
    assert (total.evaluations, total.steps, total.training_seconds, total.wall_seconds) == (4, 400, 16.0, 15.0)
    assert total.reused == 0


def test_a_run_without_time_has_no_overhead(tmp_path: Path) -> None:
    Ledger.create(tmp_path / "run", config().model_dump(mode="json")).close()
    with Ledger.read(tmp_path / "run") as ledger:
        assert cost(ledger).overhead is None


def test_an_outcome_that_was_there_already_is_reused(tmp_path: Path) -> None:
    run = config()
    same = run.model_copy(update={"screening": run.task})  # selection then asks for what screening has measured
    with Ledger.read(make_run(tmp_path / "run", same)) as ledger:
        assert cost(ledger).reused >= same.search.population
