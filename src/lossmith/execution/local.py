"""Jobs in processes of this machine, one thread each.

Workers are forked from a server process, which imports torch once for all while this process prepares its jobs; the
server itself runs nothing, since torch's threads would not survive a fork.

Each worker has a pipe of its own, so a worker that is killed takes down its own job and nothing else, and is replaced;
only the end of the server ends all of them.
A worker whose parent disappears ends itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any, Self

from lossmith.errors import LossmithError
from lossmith.execution.base import Completed, Setup
from lossmith.verdict import Reason

_CONTEXT = multiprocessing.get_context("forkserver")
_START_LIMIT = 600.0  # seconds for a worker to unpack what it needs
_MAX_STARTS_LOST = 3  # workers in a row that end before they are ready: something is wrong with all of them


@dataclass(slots=True)
class _Worker:
    number: int
    process: ForkServerProcess
    pipe: connection.Connection
    ready: bool = False
    job: int | None = None
    since: float = 0.0  # monotonic seconds at which it was started, then at which the job was handed over


class LocalExecutor:
    """An executor of `workers` processes.

    Args:
        workers: number of processes.
        preload: modules that the workers will want.
    """

    def __init__(self, workers: int, preload: Sequence[str] = ("torch",)) -> None:
        _CONTEXT.set_forkserver_preload([*preload])  # heeded by the first executor of this process
        with _translated(), _without_interrupts():
            forkserver.ensure_running()
        self._workers = workers
        self._setup: Setup | None = None
        self._time_limit: float | None = None
        self._queue: deque[tuple[int, Any]] = deque()
        self._lost_starts = 0
        self._pool: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def workers(self) -> int:
        return self._workers

    def begin(self, setup: Setup, time_limit: float | None = None) -> None:
        if self._setup is not None:
            raise RuntimeError("begin() a second time; make a new executor")
        self._setup, self._time_limit = setup, time_limit
        for number in range(self._workers):
            self._pool.append(_start(number, setup))

    def submit(self, job: int, payload: Any) -> None:
        self._queue.append((job, payload))
        self._hand_out()

    def wait(self, timeout: float | None = None) -> list[Completed]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            completed = [end for worker in list(self._pool) for end in self._collect(worker)]
            self._hand_out()
            if completed or (deadline is not None and time.monotonic() >= deadline):
                return completed
            busy = any(worker.job is not None or not worker.ready for worker in self._pool)
            if not busy and not self._queue:
                return []
            connection.wait(
                [*(w.pipe for w in self._pool), *(w.process.sentinel for w in self._pool)], self._patience(deadline)
            )

    def close(self) -> None:
        for worker in self._pool:
            worker.process.kill()  # a job in progress is not worth waiting for: nothing of it is kept
        for worker in self._pool:
            worker.process.join()
            worker.pipe.close()
        self._pool.clear()
        self._queue.clear()

    def _hand_out(self) -> None:
        for worker in self._pool:
            if self._queue and worker.ready and worker.job is None:
                worker.job, payload = self._queue.popleft()
                worker.since = time.monotonic()
                with contextlib.suppress(OSError):  # it died just now: `_collect` sees that, and reports the job
                    worker.pipe.send(payload)

    def _collect(self, worker: _Worker) -> list[Completed]:
        """What `worker` has to say; a lost or overdue one is replaced."""
        try:
            if worker.pipe.poll():
                message = worker.pipe.recv()
                if not worker.ready:
                    self._begin(worker, message)
                    return []
                return [self._end(worker, *message)]
            if worker.process.is_alive():
                limit = self._time_limit if worker.ready else _START_LIMIT
                idle = worker.ready and worker.job is None
                if idle or limit is None or time.monotonic() - worker.since <= limit:
                    return []
                return self._replace(worker, Reason.TIME_LIMIT)
        except (EOFError, OSError):
            pass  # the pipe ended: the worker is gone
        return self._replace(worker, Reason.WORKER_LOST)

    def _begin(self, worker: _Worker, error: str) -> None:
        if error:
            raise LossmithError(f"worker {worker.number} cannot start: {error}")
        worker.ready = True
        self._lost_starts = 0

    def _end(self, worker: _Worker, result: Any, detail: str) -> Completed:
        job = worker.job
        if job is None:
            raise RuntimeError(f"worker {worker.number} sent a result without a job")
        worker.job = None
        reason = Reason.ERROR if detail else Reason.OK
        return Completed(job, result, reason, detail, worker.number, time.monotonic() - worker.since)

    def _replace(self, worker: _Worker, reason: Reason) -> list[Completed]:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        if not worker.ready:
            self._lost_starts += 1
            if self._lost_starts >= _MAX_STARTS_LOST:
                raise LossmithError(
                    f"{_MAX_STARTS_LOST} workers in a row ended while starting (exit code {worker.process.exitcode});"
                    " is there enough memory? try fewer workers"
                )
        if self._setup is not None:
            self._pool[worker.number] = _start(worker.number, self._setup)
        if worker.job is None:
            return []
        detail = f"worker process ended with exit code {worker.process.exitcode}"
        return [Completed(worker.job, None, reason, detail, worker.number, time.monotonic() - worker.since)]

    def _patience(self, deadline: float | None) -> float | None:
        """Seconds to sleep at most: until the deadline, or until the first worker is overdue."""
        now = time.monotonic()
        times = [] if deadline is None else [deadline]
        if self._time_limit is not None:
            times += [worker.since + self._time_limit for worker in self._pool if worker.job is not None]
        times += [worker.since + _START_LIMIT for worker in self._pool if not worker.ready]
        return max(0.0, min(times) - now) if times else None


def _start(number: int, setup: Setup) -> _Worker:
    with _translated(), _without_interrupts():
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_work, args=(theirs, setup), daemon=True, name=f"lossmith-{number}")
        process.start()
    theirs.close()  # so that the pipe ends when the worker does
    return _Worker(number, process, ours, since=time.monotonic())


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, which a terminal sends to all: this process decides what it means.

    One that comes meanwhile is not lost: it reaches this process at the end. So the signal is blocked, which processes
    inherit, and not ignored. multiprocessing unblocks it when it starts its resource tracker, so that comes first.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        raise LossmithError(
            f"cannot start workers: {error or type(error).__name__}; is there enough memory, and is TMPDIR a short path"
            " that can be written?"
        ) from error


def _work(pipe: connection.Connection, setup: Setup) -> None:
    """The life of a worker process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        import torch  # noqa: PLC0415 - only a worker needs it here

        torch.set_num_threads(1)
        function = setup()
    except Exception as error:  # whatever it is, the parent must hear of it
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("")
    while True:
        try:
            payload = pipe.recv()
        except EOFError:
            return
        try:
            message = (function(payload), "")
        except Exception:  # a bug in one job must not end the search; its text is recorded
            message = (None, traceback.format_exc(limit=-6))
        pipe.send(message)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
