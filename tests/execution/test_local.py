"""Conformance of the local executor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import BrokenSetup, DyingSetup, Setup, Together
from lossmith.errors import LossmithError
from lossmith.execution.base import Completed
from lossmith.execution.local import LocalExecutor, _without_interrupts
from lossmith.verdict import Reason


@contextmanager
def executor(workers: int = 2, time_limit: float | None = None) -> Iterator[LocalExecutor]:
    with LocalExecutor(workers) as running:
        running.begin(Setup(), time_limit)
        yield running


@contextmanager
def shared(workers: int, slots: int, time_limit: float | None = None) -> Iterator[LocalExecutor]:
    """An executor whose workers hold several jobs, all of them ready."""
    with LocalExecutor(workers) as running:
        running.begin(Together(), time_limit, slots)
        until_ready(running)
        yield running


def until_ready(running: LocalExecutor) -> None:
    """Wait until every worker takes jobs, while none is about to end."""
    while not all(worker.ready for worker in running._pool):
        assert running.wait(0.05) == []


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


def test_a_worker_that_ends_itself_is_lost_with_its_own_exit_code() -> None:
    with executor(workers=1) as running:
        running.submit(0, ("exit", 7))
        lost = drain(running, 1)[0]
        assert (lost.reason, lost.exit_code, lost.beside) == (Reason.WORKER_LOST, 7, 0)


def test_a_result_that_cannot_be_sent_is_the_job_s_own_error() -> None:
    with executor(workers=1) as running:
        pid = multiprocessing.active_children()
        running.submit(0, ("unpicklable", None))
        running.submit(1, 1)
        done = drain(running, 2)
        assert done[0].reason is Reason.ERROR
        assert "pickle" in done[0].detail
        assert done[1].result == 1
        assert multiprocessing.active_children() == pid  # the same worker


def test_jobs_are_spread_evenly_and_never_more_than_slots() -> None:
    with shared(workers=2, slots=3) as running:
        assert (running.workers, running.capacity) == (2, 6)
        for job in range(6):
            running.submit(job, ("hold", job, ""))
        assert [len(worker.jobs) for worker in running._pool] == [3, 3]
        running.submit(6, ("free", 6, ""))
        assert running.wait(0.3) == []  # no room
    with shared(workers=2, slots=3) as running:
        for job in range(4):
            running.submit(job, ("hold", job, ""))
        running.submit(4, ("free", 4, ""))  # both have two: the first worker
        done = drain(running, 3)
        assert {job: completed.result for job, completed in done.items()} == {
            0: (0, [""], 3),
            2: (2, [""], 3),
            4: (4, [""], 3),
        }
        assert {completed.worker for completed in done.values()} == {0}
        running.submit(5, ("sleep", 0.0, ""))  # the first is empty
        assert drain(running, 1)[5].worker == 0


def test_a_worker_holds_one_group_at_a_time_and_no_more_than_may_be_together() -> None:
    with shared(workers=2, slots=4) as running:
        groups = "aaaabbbabaabbbcacccbabaaaaaabcbb"
        most = {"a": 2, "b": 4, "c": 1}
        for job, group in enumerate(groups):
            running.submit(job, ("sleep", 0.01 + job % 3 / 100, group), group, most[group])
        done = drain(running, len(groups))
        for job, group in enumerate(groups):
            _, tags, beside = done[job].result
            assert tags == [group]
            assert beside <= most[group]
        assert max(done[job].result[2] for job, group in enumerate(groups) if group == "b") > 1


def test_no_job_overtakes_another() -> None:
    """Or one of a second group would wait for as long as there are jobs of the first."""
    with shared(workers=1, slots=4) as running:
        order: list[int] = []
        running.submit(0, ("sleep", 0.05, "a"), "a")
        running.submit(1, ("end", 1, "b"), "b")
        submitted, running_a = 2, 0
        while 1 not in order and submitted < 60:
            if running_a < 6:  # there is always another job of the first group
                running.submit(submitted, ("sleep", 0.05, "a"), "a")
                submitted, running_a = submitted + 1, running_a + 1
            ended = [completed.job for completed in running.wait(0.01)]
            running_a -= len(ended)
            order += ended
        assert order == [0, 1]
        assert len(drain(running, submitted - 2)) == submitted - 2


def test_a_killed_worker_loses_the_jobs_that_it_holds_and_no_others() -> None:
    with shared(workers=2, slots=4) as running:
        for job in range(6):
            running.submit(job, ("hold", job, ""))
        running.submit(6, ("pid", None, ""))  # to the first worker, which holds three
        victim = drain(running, 1)[6]
        os.kill(victim.result[0], signal.SIGKILL)
        lost = drain(running, 3)
        assert sorted(lost) == [0, 2, 4]
        for completed in lost.values():
            assert (completed.reason, completed.beside, completed.exit_code) == (Reason.WORKER_LOST, 2, -9)
            assert completed.worker == victim.worker
        until_ready(running)
        for job in (0, 2, 4):
            running.submit(job + 10, ("hold", job, ""))
        running.submit(20, ("free", 20, ""))
        running.submit(21, ("free", 21, ""))
        done = drain(running, 8)  # the others were not disturbed, and the lost one was replaced
        assert sorted(done) == [1, 3, 5, 10, 12, 14, 20, 21]
        assert all(completed.reason.ok for completed in done.values())
        assert running.wait() == []


def test_a_job_that_was_alone_in_a_lost_worker_is_said_to_have_been() -> None:
    with shared(workers=1, slots=4) as running:
        running.submit(0, ("kill", None, ""), "a", 1)
        running.submit(1, ("end", 1, ""), "a", 4)
        done = drain(running, 2)
        assert (done[0].reason, done[0].beside) == (Reason.WORKER_LOST, 0)
        assert done[1].result == (1, [""], 1)


def test_neighbours_of_a_job_that_takes_too_long_are_run_again(tmp_path: Path) -> None:
    with shared(workers=1, slots=3, time_limit=2.0) as running:
        running.submit(0, ("hold", None, ""))
        assert running.wait(1.0) == []
        running.submit(1, ("again", str(tmp_path / "begun"), ""))
        running.submit(2, ("again", str(tmp_path / "begun too"), ""))
        (overdue,) = running.wait(60)
        assert (overdue.job, overdue.reason) == (0, Reason.TIME_LIMIT)
        assert overdue.seconds >= 2.0
        running.submit(3, ("end", 3, ""))
        done = drain(running, 3)
        assert all(completed.reason.ok for completed in done.values())


def test_jobs_handed_over_together_are_overdue_together() -> None:
    with shared(workers=1, slots=4, time_limit=1.0) as running:
        for job in range(3):
            running.submit(job, ("hold", None, ""))
        assert [(c.job, c.reason) for c in running.wait(60)] == [(job, Reason.TIME_LIMIT) for job in range(3)]


def test_a_failed_job_leaves_its_neighbours_alone() -> None:
    with shared(workers=1, slots=3) as running:
        running.submit(0, ("hold", 0, ""))
        running.submit(1, ("raise", "on purpose", ""))
        failed = drain(running, 1)[1]
        assert failed.reason is Reason.ERROR
        assert "ValueError: on purpose" in failed.detail
        running.submit(2, ("free", 2, ""))
        assert {job: c.result[0] for job, c in drain(running, 2).items()} == {0: 0, 2: 2}


@pytest.mark.parametrize(("what", "said"), [("crash", "ValueError: broken"), ("leave", "without an answer")])
def test_a_server_that_breaks_answers_for_its_jobs_and_goes_on(what: str, said: str) -> None:
    with shared(workers=1, slots=3) as running:
        running.submit(0, ("hold", 0, ""))
        running.submit(1, ("hold", 1, ""))
        running.submit(2, (what, "broken", ""))
        done = drain(running, 3)
        assert all(completed.reason is Reason.ERROR and said in completed.detail for completed in done.values())
        running.submit(3, ("end", 3, ""))
        assert drain(running, 1)[3].result == (3, [""], 1)


def test_large_payloads_and_results_do_not_wait_for_each_other() -> None:
    """A pipe holds a few hundred kilobytes."""
    with shared(workers=1, slots=4) as running:
        for job in range(16):
            running.submit(job, ("sleep" if job % 4 else "end", 0.01 * (job % 4), "x" * 2_000_000))
        assert sorted(drain(running, 16)) == list(range(16))


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


@pytest.mark.parametrize("other_threads", [False, True])
def test_an_interrupt_while_processes_start_comes_afterwards_and_to_this_process_alone(other_threads: bool) -> None:
    heard: list[int] = []
    enough = threading.Event()
    idle = threading.Thread(target=enough.wait)
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    if other_threads:  # does not block the signal, so that the system gives it the one that is sent
        idle.start()
    try:
        with _without_interrupts():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            early = list(heard)
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        child.kill()
        child.wait()
    finally:
        enough.set()
        signal.signal(signal.SIGINT, before)
    assert (early, heard) == ([], [signal.SIGINT])
