"""A search through the real command line, on real digits: run, stopped, killed, resumed, reported."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import lossmith
from commandline import lossmith_command, run_lossmith
from lossmith.ledger import FILE, Ledger

# seconds of work, with every stage, and some losses that fail to train
SETTINGS = [
    "--preset=smoke",
    "--set=search.initial=10",
    "--set=search.population=5",
    "--set=search.iterations=12",
    "--set=task.steps=30",
    "--set=screening.steps=20",
    "--set=task.epoch_steps=10",
    "--set=task.stopping=[{from_epoch: 2, min_train_accuracy: 0.15}]",
]


def content(directory: Path) -> list[tuple[Any, ...]]:
    """What a search found and did, without times and workers."""
    with Ledger.read(directory) as ledger:
        evaluations = {row.id: row for row in ledger.evaluations()}
        found = []
        for row in ledger.candidates():
            assert row.evaluation is not None
            result = evaluations[row.evaluation]
            lineage = (row.parent, json.dumps(row.mutation), json.dumps(row.refused))
            outcome = (result.reason, result.score, result.nll, result.steps)
            found.append((row.number, row.stage, row.iteration, row.attempt, row.loss, *lineage, *outcome))
        return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that was never interrupted, by one worker."""
    directory = tmp_path_factory.mktemp("runs") / "finished"
    run_lossmith("search", *SETTINGS, f"--run={directory}", "--workers=1")
    return directory


def test_a_search_records_everything(finished: Path) -> None:
    with Ledger.read(finished) as ledger:
        candidates, evaluations = list(ledger.candidates()), list(ledger.evaluations())
        assert [row.number for row in candidates] == list(range(len(candidates)))
        assert all(row.told is not None for row in candidates)
        assert sum(row.stage == "screening" for row in candidates) == 10
        assert sum(row.stage == "selection" for row in candidates) <= 5
        assert sum(row.stage == "evolution" and row.attempt == 0 for row in candidates) == 12
        assert len({row.key for row in evaluations}) == len(evaluations)
        assert {row.key.split for row in evaluations} == {"validation"}  # test data is never read by a search
        assert all(row.curve and row.seconds > 0 and row.steps > 0 for row in evaluations)
        assert all((row.score is not None) == row.reason.ok for row in evaluations)
        refused = {reason for row in candidates for reason in row.refused}
        assert {"leads_away", "untrainable"} <= refused  # by the rungs, which are on by default
        assert all(row.rung_seconds for row in candidates if row.stage == "screening")
        (session,) = ledger.sessions()
        assert session.versions["torch"] == torch.__version__


def test_the_best_loss_drops_in(finished: Path) -> None:
    criterion = lossmith.loss(finished / "best.json")
    logits = torch.randn(8, 10, requires_grad=True)
    criterion(logits, torch.arange(8)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert criterion.expression is not None


def test_two_workers_give_the_same_search_as_one(finished: Path, tmp_path: Path) -> None:
    run_lossmith("search", *SETTINGS, f"--run={tmp_path / 'two'}", "--workers=2")
    assert content(tmp_path / "two") == content(finished)


FUSED = [*SETTINGS, "--set=execution.way=fused"]


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search whose losses train four at once, by one worker."""
    directory = tmp_path_factory.mktemp("runs") / "fused"
    output = run_lossmith("search", *FUSED, f"--run={directory}", "--workers=1", "--set=execution.slots=4")
    assert "engine: fused, 4 losses at once in 1 process, float32" in output
    return directory


@pytest.mark.slow  # a whole second search
def test_how_many_train_at_once_changes_no_result(fused: Path, tmp_path: Path) -> None:
    run_lossmith("search", *FUSED, f"--run={tmp_path / 'two'}", "--workers=2", "--set=execution.slots=2")
    assert content(tmp_path / "two") == content(fused)
    with Ledger.read(tmp_path / "two") as ledger:
        plans = [task.plan for task in ledger.tasks()]
    assert [(plan["way"], plan["slots"], plan["dtype"]) for plan in plans if plan] == [("fused", 2, "float32")] * 2


def test_a_worker_that_is_killed_with_four_losses_costs_no_evaluation(fused: Path, tmp_path: Path) -> None:
    directory = tmp_path / "killed"
    command = lossmith_command("search", *FUSED, f"--run={directory}", "--workers=1", "--set=execution.slots=4")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as search:
        _wait_for_evaluations(directory, 2)
        (worker,) = [pid for server in _children(search.pid) for pid in _children(server)]
        os.kill(worker, signal.SIGKILL)
        output, _ = search.communicate(timeout=120)
    assert search.returncode == 0
    assert "was killed" in output
    assert content(directory) == content(fused)


def test_a_run_from_before_there_were_plans_goes_on_one_loss_at_a_time(tmp_path: Path) -> None:
    directory = tmp_path / "old"
    smaller = [f"--set=search.{setting}" for setting in ("initial=6", "population=3", "iterations=1")]
    plain = [*SETTINGS, *smaller, "--set=execution.way=processes", "--workers=1"]
    run_lossmith("search", *plain, f"--run={tmp_path / 'plain'}")
    with subprocess.Popen(
        lossmith_command("search", *plain, f"--run={directory}"), stdout=subprocess.DEVNULL
    ) as search:
        _wait_for_evaluations(directory, 3)
        search.kill()
    connection = sqlite3.connect(directory / FILE)  # as the version before wrote it
    with connection:
        configuration = json.loads(connection.execute("SELECT configuration FROM run").fetchone()[0])
        configuration["execution"] = {"time_limit": None}
        connection.execute("UPDATE run SET configuration = ?", (json.dumps(configuration),))
        connection.execute("ALTER TABLE tasks DROP COLUMN plan")
        connection.execute("DROP TABLE results")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    assert "engine: processes, 1 loss at once in 1 process, float32" in run_lossmith("resume", directory, "--workers=1")
    assert content(directory) == content(tmp_path / "plain")


def test_rungs_can_be_left_out(finished: Path, tmp_path: Path) -> None:
    off = ["duplicates=false", "classes=false", "microtask=null"]
    changed = [f"--set=rungs.{setting}" for setting in off]
    run_lossmith("search", *SETTINGS, *changed, f"--run={tmp_path / 'off'}", "--workers=1", "--set=search.iterations=0")
    with Ledger.read(tmp_path / "off") as ledger, Ledger.read(finished) as other:
        candidates = list(ledger.candidates())
        assert not {reason for row in candidates for reason in row.refused} & {"leads_away", "untrainable"}
        assert not any(row.rung_seconds for row in candidates)
        assert [row.loss for row in candidates] != [row.loss for row in other.candidates()][: len(candidates)]


def test_resuming_a_finished_search_does_nothing(finished: Path) -> None:
    before = content(finished)
    run_lossmith("resume", finished)
    assert content(finished) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_search_and_loses_nothing(finished: Path, tmp_path: Path, number: int) -> None:
    directory = tmp_path / "stopped"
    with subprocess.Popen(
        lossmith_command("search", *SETTINGS, f"--run={directory}", "--workers=2"), stdout=subprocess.PIPE, text=True
    ) as search:
        _wait_for_evaluations(directory, 4)
        search.send_signal(number)
        output, _ = search.communicate(timeout=60)
    assert search.returncode == 130
    assert f"lossmith resume {directory}" in output
    with Ledger.read(directory) as ledger:
        assert len(list(ledger.evaluations())) >= 4
    run_lossmith("resume", directory)
    assert content(directory) == content(finished)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0])
def test_ctrl_c_while_a_search_starts_is_one_line(tmp_path: Path, seconds: float) -> None:
    """A terminal sends it to every process of the command."""
    with subprocess.Popen(
        lossmith_command("search", *SETTINGS, f"--run={tmp_path / 'run'}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as search:
        time.sleep(seconds)
        os.killpg(search.pid, signal.SIGINT)
        _, error = search.communicate(timeout=120)
    assert search.returncode == 130
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) <= 1


@pytest.mark.slow
def test_killed_at_twenty_random_moments_nothing_is_lost_or_repeated(tmp_path: Path) -> None:
    settings = [*SETTINGS, "--set=search.iterations=150"]  # long enough for twenty kills
    finished, directory = tmp_path / "finished", tmp_path / "killed"
    run_lossmith("search", *settings, f"--run={finished}", "--workers=2")
    rng = random.Random(0)  # noqa: S311 - moments, not secrets
    seen: dict[int, tuple[Any, ...]] = {}
    kills = 0
    command = lossmith_command("search", *settings, f"--run={directory}", "--workers=2")
    while kills < 20:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as search:
            if rng.random() < 0.8:  # while it works
                _wait_for_evaluations(directory, len(seen) + 1)
                time.sleep(rng.uniform(0.0, 0.5))
            else:  # while it starts
                time.sleep(rng.uniform(0.0, 2.0))
            done = search.poll() is not None
            search.kill()
            assert search.stderr is not None
            error = search.stderr.read()
        assert not done, f"the search ended by itself after {kills} kills: {error}"
        kills += 1
        if not (directory / FILE).exists():
            continue
        command = lossmith_command("resume", directory, "--workers=2")
        for row in _evaluation_rows(directory):
            assert seen.setdefault(row[0], row) == row  # a finished evaluation stays as it was
        assert set(seen) == {row[0] for row in _evaluation_rows(directory)}
    run_lossmith("resume", directory)
    rows = _evaluation_rows(directory)
    assert set(seen) <= {row[0] for row in rows}
    assert len({row[1:5] for row in rows}) == len(rows)  # none was run twice
    assert content(directory) == content(finished)
    assert 10 < len(seen) < len(rows)  # kills hit a search at work
    print(f"{kills} kills, {len(rows)} evaluations, {len(seen)} of them finished before the last kill")


def test_free_order_finishes_and_resumes_too(tmp_path: Path) -> None:
    directory = tmp_path / "free"
    settings = [*SETTINGS, "--set=search.deterministic=false"]
    with subprocess.Popen(
        lossmith_command("search", *settings, f"--run={directory}", "--workers=2"), stdout=subprocess.DEVNULL
    ) as search:
        _wait_for_evaluations(directory, 12)
        search.kill()
    before = _evaluation_rows(directory)
    run_lossmith("resume", directory)
    after = _evaluation_rows(directory)
    assert after[: len(before)] == before
    with Ledger.read(directory) as ledger:
        rows = list(ledger.candidates())
        assert all(row.told is not None for row in rows)
        assert sum(row.stage == "evolution" and row.attempt == 0 for row in rows) == 12


def test_show_report_and_train_go_on_from_a_run(finished: Path) -> None:
    shown = run_lossmith("show", finished)
    assert "Search overhead" in shown
    assert "rung: micro-task" in shown
    page = Path(run_lossmith("report", finished).strip())
    assert page.read_text(encoding="utf-8").startswith("<!")
    assert (page.parent / "evaluations.csv").exists()
    command = ["train", "--task=digits-screen", "--loss=cross_entropy", f"--loss={finished}", "--seeds=2"]
    first = run_lossmith(*command, f"--run={finished}", "--split=test")
    assert "paired seeds" in first
    before = _evaluation_rows(finished)
    again = run_lossmith(*command, f"--run={finished}", "--split=test")  # from the ledger
    assert again.splitlines()[-5:] == first.splitlines()[-5:]
    assert _evaluation_rows(finished) == before
    with Ledger.read(finished) as ledger:
        assert ledger.comparisons()[0]["split"] == "test"


def test_a_damaged_worker_environment_is_one_line(tmp_path: Path) -> None:
    """The data disappear between two sessions."""
    images = tmp_path / "digits.npz"
    program = (
        "import numpy as np, sys; from sklearn.datasets import load_digits; d = load_digits();"
        "np.savez(sys.argv[1], images=(d.images * 15).astype('uint8'), labels=d.target)"
    )
    subprocess.run([sys.executable, "-c", program, images], check=True)
    data = [f"--set={task}.data={{source: npz, path: {images}}}" for task in ("task", "screening")]
    run_lossmith("search", *SETTINGS, *data, f"--run={tmp_path / 'run'}", "--set=search.iterations=1")
    images.write_bytes(images.read_bytes()[:1000])
    error = run_lossmith("resume", tmp_path / "run", code=2)
    assert str(images) in error


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            after_name = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            if int(after_name.split()[1]) == parent:
                found.append(int(status.parent.name))
    return found


def _evaluation_rows(directory: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{directory / FILE}?mode=rw", uri=True)
    try:
        return connection.execute("SELECT * FROM evaluations ORDER BY id").fetchall()
    finally:
        connection.close()


def _wait_for_evaluations(directory: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (directory / FILE).exists() and len(_evaluation_rows(directory)) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} evaluations in 120 s")
