"""Conformance of the local executor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import BrokenSetup, DyingSetup, Setup
from lossmith.errors import LossmithError
from lossmith.execution.base import Completed
from lossmith.execution.local import LocalExecutor, _without_interrupts
from lossmith.verdict import Reason


@contextmanager
def executor(workers: int = 2, time_limit: float | None = None) -> Iterator[LocalExecutor]:
    with LocalExecutor(workers) as running:
        running.begin(Setup(), time_limit)
        yield running


def drain(running: LocalExecutor, count: int) -> dict[int, Completed]:
    done: dict[int, Completed] = {}
    while len(done) < count:
        for completed in running.wait(60):
            assert completed.job not in done
            done[completed.job] = completed
    return done


def test_results_errors_and_lost_workers_are_told_apart() -> None:
    with executor() as running:
        running.submit(0, {"plain": [1, 2]})
        running.submit(1, ("raise", "on purpose"))
        running.submit(2, ("die", None))
        running.submit(3, ("threads", None))
        for job in range(4, 20):
            running.submit(job, job)
        done = drain(running, 20)
        assert done[0].result == {"plain": [1, 2]}
        assert done[1].reason is Reason.ERROR
        assert "ValueError: on purpose" in done[1].detail
        assert done[2].reason is Reason.WORKER_LOST
        assert "-9" in done[2].detail
        assert done[3].result == 1  # one thread each
        assert [done[job].result for job in range(4, 20)] == list(range(4, 20))  # a lost worker is replaced
        assert {completed.worker for completed in done.values()} <= {0, 1}
        assert running.wait(0) == []
        assert running.wait() == []  # nothing to wait for is not a reason to hang


def test_a_job_that_takes_too_long_is_ended_and_the_worker_replaced() -> None:
    with executor(workers=1, time_limit=1.0) as running:
        running.submit(0, ("sleep", 600))
        running.submit(1, "next")
        done = drain(running, 2)
        assert done[0].reason is Reason.TIME_LIMIT
        assert 1.0 <= done[0].seconds < 30
        assert done[1].result == "next"


def test_waiting_with_a_timeout_returns_without_results() -> None:
    with executor(workers=1) as running:
        running.submit(0, ("sleep", 5))
        began = time.monotonic()
        assert running.wait(0.1) == []
        assert time.monotonic() - began < 4


def test_closing_ends_the_processes_at_once() -> None:
    running = LocalExecutor(2)
    running.begin(Setup())
    running.submit(0, ("sleep", 600))
    running.wait(0.5)
    children = [child for child in multiprocessing.active_children() if child.name.startswith("lossmith-")]
    assert len(children) == 2
    running.close()
    running.close()
    assert not any(child.is_alive() for child in children)


def test_a_setup_that_fails_is_reported_with_its_reason() -> None:
    with LocalExecutor(1) as running:
        running.begin(BrokenSetup())
        with pytest.raises(LossmithError, match="no data here"):
            running.wait(60)


def test_workers_that_die_while_starting_are_not_replaced_for_ever() -> None:
    with LocalExecutor(1) as running:
        running.begin(DyingSetup())
        running.submit(0, 0)
        with pytest.raises(LossmithError, match="3 workers in a row"):
            drain(running, 1)


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    program = f"""
import multiprocessing, sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from jobs import Setup
from lossmith.execution.local import LocalExecutor, _without_interrupts
if __name__ == "__main__":
    running = LocalExecutor(2)
    running.begin(Setup())
    running.submit(0, 0); running.submit(1, 1)
    done = []
    while len(done) < 2:
        done += running.wait(60)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    time.sleep(600)
"""
    script = tmp_path / "parent.py"
    script.write_text(program)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.kill()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_an_interrupt_while_processes_start_comes_afterwards_and_to_this_process_alone() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with _without_interrupts():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            os.kill(os.getpid(), signal.SIGINT)
            assert heard == []
        assert heard == [signal.SIGINT]
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        child.kill()
        child.wait()
    finally:
        signal.signal(signal.SIGINT, before)
