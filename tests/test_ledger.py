from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmith.errors import RunError
from lossmith.ledger import FILE, SCHEMA_VERSION, CandidateRow, EvaluationKey, Ledger, LossRow
from lossmith.verdict import Reason

LOSS = LossRow("abc", "y*yhat", True)
KEY = EvaluationKey("abc", "task1", 2**62, "validation")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "run", {"name": "test"}) as ledger:
        ledger.begin_session("lossmith test", 2, {"torch": "2"}, time.monotonic())
        ledger.add_task("task1", "digits", {"steps": 3}, "checksum")
        yield ledger


def candidate(number: int) -> CandidateRow:
    nodes = {"root": ["mul", "y", "yhat"]}
    mutation = {"kind": "swap", "node": "root", "before": ["sub", "y", "yhat"], "after": ["sub", "yhat", "y"]}
    refused, seconds = {"cyclic": 2}, {"untrainable": 0.5}
    return CandidateRow(number, "evolution", 3, 1, "abc", nodes, 4, mutation, refused, 0, None, None, seconds)


def test_what_is_written_is_read(ledger: Ledger) -> None:
    ledger.add_candidate(LOSS, candidate(0))
    written = ledger.add_evaluation(
        LOSS, KEY, reason=Reason.OK, score=0.5, nll=1.5, ece=0.1, steps=7, seconds=0.2, curve=[{"epoch": 1}], worker=1
    )
    ledger.tell(0, written.id)
    with Ledger.read(ledger.directory) as reader:  # while the other writes
        assert reader.configuration() == {"name": "test"}
        (row,) = reader.candidates()
        assert (row.number, row.genome, row.mutation) == (0, candidate(0).genome, candidate(0).mutation)
        assert (row.refused, row.parent, row.evaluation) == ({"cyclic": 2}, 4, written.id)
        assert row.rung_seconds == {"untrainable": 0.5}
        assert row.told is not None
        assert row.asked < row.told
        assert list(reader.evaluations()) == [written]
        assert reader.find(KEY) == written
        assert reader.find(EvaluationKey("abc", "task1", 1, "validation")) is None
        assert reader.losses() == {"abc": LOSS}
        assert reader.loss("abc") == LOSS
        (task,) = reader.tasks()
        assert (task.name, task.data_checksum) == ("digits", "checksum")
        (session,) = reader.sessions()
        assert (session.command, session.workers, session.versions) == ("lossmith test", 2, {"torch": "2"})
        assert session.seconds > 0


def test_every_kind_of_failure_is_kept_as_itself(ledger: Ledger) -> None:
    failures = [reason for reason in Reason if not reason.ok]
    for seed, reason in enumerate(failures):
        ledger.add_evaluation(
            LOSS, EvaluationKey("abc", "task1", seed, "validation"), reason=reason, detail=reason.message
        )
    assert [(row.reason, row.detail) for row in ledger.evaluations()] == [(r, r.message) for r in failures]
    assert all(row.score is None for row in ledger.evaluations())


def test_the_order_of_events_goes_on_after_reopening(ledger: Ledger) -> None:
    ledger.add_candidate(LOSS, candidate(0))
    row = ledger.add_evaluation(LOSS, KEY, reason=Reason.OK, score=0.5)
    ledger.tell(0, row.id)
    ledger.close()
    with Ledger.open(ledger.directory) as again:
        again.add_candidate(LOSS, candidate(1))
        assert [(c.asked, c.told) for c in again.candidates()] == [(1, 2), (3, None)]


def test_an_evaluation_is_recorded_once(ledger: Ledger) -> None:
    ledger.add_evaluation(LOSS, KEY, reason=Reason.OK, score=0.5)
    with pytest.raises(RunError, match="in the ledger already"):
        ledger.add_evaluation(LOSS, KEY, reason=Reason.OK, score=0.6)
    assert [row.score for row in ledger.evaluations()] == [0.5]


def test_changed_data_are_refused(ledger: Ledger) -> None:
    ledger.add_task("task1", "digits", {"steps": 3}, "checksum")
    with pytest.raises(RunError, match="the data of task 'digits' changed"):
        ledger.add_task("task1", "digits", {"steps": 3}, "other")


def test_a_reader_cannot_write(ledger: Ledger) -> None:
    with Ledger.read(ledger.directory) as reader, pytest.raises(RunError, match="readonly"):
        reader.add_comparison({})


def test_a_run_in_use_is_refused_and_free_again_after(ledger: Ledger) -> None:
    with pytest.raises(RunError, match=f"in use by another lossmith \\(process {os.getpid()}\\)"):
        Ledger.open(ledger.directory)
    ledger.close()
    Ledger.open(ledger.directory).close()


def test_a_run_is_not_made_twice(ledger: Ledger) -> None:
    with pytest.raises(RunError, match="holds a run already; go on with 'lossmith resume"):
        Ledger.create(ledger.directory, {})


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"is not empty \(thesis.tex"):
        Ledger.create(tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    for opening in (Ledger.open, Ledger.read):
        with pytest.raises(RunError, match="no such directory"):
            opening(tmp_path / "nowhere")
        with pytest.raises(RunError, match="is not a run"):
            opening(tmp_path)
    (tmp_path / FILE).write_text("hello")
    with pytest.raises(RunError, match="not a database"):
        Ledger.open(tmp_path)
    (tmp_path / FILE).unlink()
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(RunError, match="not a Lossmith ledger"):
        Ledger.read(tmp_path)


def test_a_newer_schema_is_refused(ledger: Ledger) -> None:
    ledger.close()
    with sqlite3.connect(ledger.directory / FILE) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for opening in (Ledger.open, Ledger.read):
        with pytest.raises(RunError, match="newer Lossmith"):
            opening(ledger.directory)


def test_a_ledger_of_the_first_version_is_read_and_brought_up_to_date(ledger: Ledger) -> None:
    ledger.add_candidate(LOSS, candidate(0))
    ledger.close()
    path = ledger.directory / FILE
    with sqlite3.connect(path) as connection:  # what the first version wrote
        connection.execute("ALTER TABLE candidates DROP COLUMN rung_seconds")
        connection.execute("ALTER TABLE tasks DROP COLUMN plan")
        connection.execute("DROP TABLE results")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with Ledger.read(ledger.directory) as reader:  # changes nothing
        (row,) = reader.candidates()
        assert row.rung_seconds == {}
    assert _version(path) == 1
    for _ in range(2):  # the second time there is nothing to do
        with Ledger.open(ledger.directory) as writer:
            (row,) = writer.candidates()
            assert (row.genome, row.refused, row.rung_seconds) == (candidate(0).genome, {"cyclic": 2}, {})
    assert _version(path) == SCHEMA_VERSION
    backup = path.with_name(f"{FILE}.v1")
    assert _version(backup) == 1
    with contextlib.closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT count(*) FROM candidates").fetchone() == (1,)
    with Ledger.open(ledger.directory) as writer:
        writer.add_candidate(LOSS, candidate(1))
        assert [row.rung_seconds for row in writer.candidates()] == [{}, {"untrainable": 0.5}]


def test_a_ledger_of_the_second_version_has_no_plans(ledger: Ledger) -> None:
    ledger.close()
    path = ledger.directory / FILE
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE tasks DROP COLUMN plan")
        connection.execute("DROP TABLE results")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with Ledger.read(ledger.directory) as reader:
        assert [(task.task_id, task.plan) for task in reader.tasks()] == [("task1", None)]
    with Ledger.open(ledger.directory) as writer:
        writer.add_task("task2", "digits", {}, "checksum", {"slots": 4})
        assert {task.task_id: task.plan for task in writer.tasks()} == {"task1": None, "task2": {"slots": 4}}
        writer.set_plan("task2", {"slots": 2})
        writer.add_task("task2", "digits", {}, "checksum", {"slots": 8})  # known: nothing changes
        assert {task.task_id: task.plan for task in writer.tasks()} == {"task1": None, "task2": {"slots": 2}}


def test_results_are_kept_by_kind_and_an_older_ledger_has_none(ledger: Ledger) -> None:
    assert ledger.results("elimination") == []
    ledger.add_result("elimination", {"keep": ["a"]})
    ledger.add_result("transfer", {"cells": 2})
    ledger.add_result("elimination", {"keep": []})
    assert ledger.results("elimination") == [{"keep": ["a"]}, {"keep": []}]
    ledger.close()
    with sqlite3.connect(ledger.directory / FILE) as connection:  # what the third version wrote
        connection.execute("DROP TABLE results")
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with Ledger.read(ledger.directory) as reader:
        assert reader.results("elimination") == []
    with Ledger.open(ledger.directory) as writer:
        writer.add_result("transfer", {"cells": 3})
        assert writer.results("transfer") == [{"cells": 3}]


def _version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_damage_is_noticed(ledger: Ledger) -> None:
    for seed in range(200):
        key = EvaluationKey("abc", "task1", seed, "validation")
        ledger.add_evaluation(LOSS, key, reason=Reason.OK, score=0.5, curve=[{"text": "x" * 500}])
    ledger.close()
    path = ledger.directory / FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8_192] = os.urandom(8_192)
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"damaged|malformed"):
        Ledger.open(ledger.directory)


def test_a_full_disk_loses_nothing(ledger: Ledger) -> None:
    """SQLite's own bound on the size of a file answers as a full disk does."""
    ledger._connection.execute("PRAGMA max_page_count = 40")
    kept: list[int] = []

    def fill() -> None:
        for seed in range(1_000):
            key = EvaluationKey("abc", "task1", seed, "validation")
            ledger.add_evaluation(LOSS, key, reason=Reason.OK, score=0.5, curve=[{"text": "x" * 2_000}])
            kept.append(seed)

    with pytest.raises(RunError, match=r"full; nothing recorded so far is lost: make room, then 'lossmith resume"):
        fill()
    ledger.close()
    with Ledger.open(ledger.directory) as again:
        assert [row.key.seed for row in again.evaluations()] == kept


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(RunError, match="cannot"):
        Ledger.create(tmp_path / "run", {})


def test_a_writer_that_is_killed_leaves_a_whole_ledger_and_no_lock(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from lossmith.ledger import *
from lossmith.verdict import Reason
with Ledger.create(Path(sys.argv[1]), {}) as ledger:
    ledger.begin_session("x", 1, {}, time.monotonic())
    ledger.add_task("t", "t", {}, "c")
    for seed in range(10**6):
        key = EvaluationKey("k", "t", seed, "test")
        ledger.add_evaluation(LossRow("k", "y", None), key, reason=Reason.OK, score=1.0)
        print(seed, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(50)]
        writer.kill()
        told += [int(line) for line in writer.stdout.read().splitlines()]
    with Ledger.open(tmp_path / "run") as ledger:
        recorded = [row.key.seed for row in ledger.evaluations()]
    assert recorded[: len(told)] == told  # everything that was reported is there
    assert len(recorded) <= len(told) + 1


def test_a_verdict_of_a_newer_version_is_said(ledger: Ledger) -> None:
    ledger.add_evaluation(LOSS, KEY, reason=Reason.OK, score=0.5)
    ledger._connection.execute("UPDATE evaluations SET reason = 'new'")
    with pytest.raises(RunError, match="unknown verdict 'new'"):
        list(ledger.evaluations())
