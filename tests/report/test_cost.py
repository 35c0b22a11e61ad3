"""The cost of a run, by hand."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lossmith.ledger import FILE, EvaluationKey, Ledger, LossRow
from lossmith.report.cost import RungCost, cost, rung_costs
from lossmith.report.record import SearchRecord
from lossmith.report.sentences import rung_facts
from lossmith.report.snapshot import Snapshot
from lossmith.train.task import StopRule
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


def test_rungs_are_counted_over_the_tasks_that_their_drafts_were_meant_for(tmp_path: Path) -> None:
    run = config()
    stopping = (StopRule(from_epoch=2, min_train_accuracy=0.3), StopRule(from_epoch=1, min_train_accuracy=0.1))
    run = run.model_copy(
        update={
            "screening": run.screening.model_copy(update={"steps": 20, "epoch_steps": 5, "stopping": stopping}),
            "task": run.task.model_copy(update={"steps": 40, "stopping": ()}),
        }
    )
    directory = make_run(tmp_path / "run", run)
    with sqlite3.connect(directory / FILE) as connection:
        connection.execute("UPDATE candidates SET refused = '{}'")
        for number, refused, seconds in (
            (0, '{"cyclic": 4, "untrainable": 2, "duplicate_function": 1}', 0.25),
            (20, '{"untrainable": 1}', 0.5),
        ):
            spent = f'{{"untrainable": {seconds}, "leads_away": 0.125}}'
            row = (refused, spent, number)
            connection.execute("UPDATE candidates SET refused = ?, rung_seconds = ? WHERE number = ?", row)
        for task, each in ((run.screening, 0.1), (run.task, 0.5)):  # seconds a step
            connection.execute("UPDATE evaluations SET seconds = steps * ? WHERE task = ?", (each, task.task_id))
    connection.close()
    with Ledger.read(directory) as ledger:
        record = SearchRecord.of(Snapshot.of(ledger))
    assert record is not None
    assert record.snapshot.candidates[20].stage == "evolution"
    duplicates, away, untrainable = rung_costs(record)
    assert (duplicates.reason, duplicates.refused, duplicates.seconds) == (Reason.DUPLICATE_FUNCTION, 1, 0.0)
    assert duplicates.training_seconds == pytest.approx(20 * 0.1)
    assert away == RungCost(Reason.LEADS_AWAY, 0, 0.25, 0.0)
    assert (untrainable.reason, untrainable.refused, untrainable.seconds) == (Reason.UNTRAINABLE, 3, 0.75)
    assert untrainable.training_seconds == pytest.approx(2 * 5 * 0.1 + 40 * 0.5)
    assert rung_facts([untrainable]) == [
        ("rung: micro-task", "3 drafts refused in 0.75 s; trained, they would have taken about 21.0 s")
    ]
