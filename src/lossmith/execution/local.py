"""Jobs in processes of this machine, one thread each.

Workers are forked from a server process, which imports torch once for all while this process prepares its jobs; the
server itself runs nothing, since torch's threads would not survive a fork.

Each worker has a pipe of its own, so a worker that is killed takes down its own jobs and nothing else, and is replaced;
only the end of the server ends all of them.
A worker whose parent disappears ends itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any, Self

from lossmith.errors import LossmithError
from lossmith.execution.base import Completed, Setup
from lossmith.execution.worker import Message, work
from lossmith.verdict import Reason

_CONTEXT = multiprocessing.get_context("forkserver")
_START_LIMIT = 600.0  # seconds for a worker to unpack what it needs
_END_LIMIT = 5.0  # seconds for a worker whose pipe ended to end itself, so that its exit code is its own
_MAX_STARTS_LOST = 3  # workers in a row that end before they are ready: something is wrong with all of them
# The share of the time limit by which a worker outlives it that holds several jobs: those that were handed over
# together are then over the limit together, and not the first of them alone.
_GRACE = 0.01


@dataclass(slots=True, eq=False)
class _Job:
    number: int
    payload: Any
    group: Hashable
    together: int  # jobs of the group that may be in one worker
    since: float = 0.0  # monotonic seconds at which it was handed over


@dataclass(slots=True)
class _Worker:
    number: int
    process: ForkServerProcess
    pipe: connection.Connection
    started: float  # monotonic seconds
    ready: bool = False
    jobs: dict[int, _Job] = field(default_factory=dict)  # that it holds, the one handed over first first

    def takes(self, job: _Job) -> bool:
        if not self.jobs:
            return self.ready
        other = next(iter(self.jobs.values()))
        return len(self.jobs) < job.together == other.together and other.group == job.group


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
        self._slots = 1
        self._setup: Setup | None = None
        self._time_limit: float | None = None
        self._queue: deque[_Job] = deque()
        self._lost_starts = 0
        self._pool: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def workers(self) -> int:
        return self._workers

    @property
    def capacity(self) -> int:
        return self._workers * self._slots

    def restrict(self, workers: int) -> None:
        """Begin with no more than this many workers."""
        if self._setup is not None:
            raise RuntimeError("restrict() after begin()")
        self._workers = min(workers, self._workers)

    def begin(self, setup: Setup, time_limit: float | None = None, slots: int = 1) -> None:
        if self._setup is not None:
            raise RuntimeError("begin() a second time; make a new executor")
        if slots < 1:
            raise ValueError(f"slots is {slots}: expected 1 or more")
        self._setup, self._time_limit, self._slots = setup, time_limit, slots
        for number in range(self._workers):
            self._pool.append(_start(number, setup))

    def submit(self, job: int, payload: Any, group: Hashable = None, together: int | None = None) -> None:
        together = self._slots if together is None else min(together, self._slots)
        if together < 1:
            raise ValueError(f"together is {together}: expected 1 or more")
        self._queue.append(_Job(job, payload, group, together))
        self._hand_out()

    def recall(self) -> list[int]:
        numbers = [job.number for job in self._queue]
        self._queue.clear()
        return numbers

    def wait(self, timeout: float | None = None) -> list[Completed]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            completed = [end for worker in list(self._pool) for end in self._collect(worker)]
            self._hand_out()
            if completed or (deadline is not None and time.monotonic() >= deadline):
                return completed
            busy = any(worker.jobs or not worker.ready for worker in self._pool)
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
        """Give the first jobs of the queue to the workers that hold the fewest."""
        while self._queue:
            job = self._queue[0]
            worker = min((w for w in self._pool if w.takes(job)), key=lambda w: len(w.jobs), default=None)
            if worker is None:
                return  # none overtakes the first, so a worker that holds another group runs dry and then takes it
            self._queue.popleft()
            worker.jobs[job.number] = job
            job.since = time.monotonic()
            with contextlib.suppress(OSError):  # it died just now: `_collect` sees that, and reports the job
                worker.pipe.send((job.number, job.payload))

    def _collect(self, worker: _Worker) -> list[Completed]:
        """What `worker` has to say; a lost or overdue one is replaced."""
        completed: list[Completed] = []
        alive = worker.process.is_alive()  # first, so that the last words of one that ends meanwhile are heard
        try:
            while worker.pipe.poll():
                message = worker.pipe.recv()
                if worker.ready:
                    completed.append(self._end(worker, message))
                else:
                    self._begin(worker, message)
        except (EOFError, OSError):  # the pipe ended: the worker is gone, or about to be
            alive = False
            worker.process.join(_END_LIMIT)
        if not alive:
            return completed + self._replace(worker)
        return completed + (self._replace(worker, overdue=True) if self._is_overdue(worker) else [])

    def _begin(self, worker: _Worker, error: str) -> None:
        if error:
            raise LossmithError(f"worker {worker.number} cannot start: {error}")
        worker.ready = True
        self._lost_starts = 0

    def _end(self, worker: _Worker, message: Message) -> Completed:
        number, result, detail = message
        job = worker.jobs.pop(number)
        reason = Reason.ERROR if detail else Reason.OK
        return Completed(number, result, reason, detail, worker.number, time.monotonic() - job.since)

    def _is_overdue(self, worker: _Worker) -> bool:
        until = self._until(worker)
        return until is not None and time.monotonic() >= until

    def _until(self, worker: _Worker) -> float | None:
        """The monotonic seconds at which the worker is given up; None: never."""
        if not worker.ready:
            return worker.started + _START_LIMIT
        if self._time_limit is None or not worker.jobs:
            return None
        grace = _GRACE if len(worker.jobs) > 1 else 0.0
        return next(iter(worker.jobs.values())).since + self._time_limit * (1 + grace)

    def _replace(self, worker: _Worker, *, overdue: bool = False) -> list[Completed]:
        """End a worker that is lost or `overdue`, and start another in its place."""
        now = time.monotonic()
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        code = worker.process.exitcode
        if not worker.ready:
            self._lost_starts += 1
            if self._lost_starts >= _MAX_STARTS_LOST:
                raise LossmithError(
                    f"{_MAX_STARTS_LOST} workers in a row ended while starting (exit code {code});"
                    " is there enough memory? try fewer workers"
                )
        if self._setup is not None:
            self._pool[worker.number] = _start(worker.number, self._setup)
        ended = list(worker.jobs.values())
        detail = f"worker process ended with exit code {code}"
        if overdue and self._time_limit is not None:
            innocent = [job for job in ended if now - job.since < self._time_limit]
            self._queue.extendleft(reversed(innocent))  # ended for another's sake: once more, before all others
            return [
                Completed(job.number, None, Reason.TIME_LIMIT, detail, worker.number, now - job.since)
                for job in ended
                if job not in innocent
            ]
        return [
            Completed(
                job.number, None, Reason.WORKER_LOST, detail, worker.number, now - job.since, len(ended) - 1, code
            )
            for job in ended
        ]

    def _patience(self, deadline: float | None) -> float | None:
        """Seconds to sleep at most: until the deadline, or until the first worker is overdue."""
        times = [deadline, *(self._until(worker) for worker in self._pool)]
        known = [moment for moment in times if moment is not None]
        return max(0.0, min(known) - time.monotonic()) if known else None


def _start(number: int, setup: Setup) -> _Worker:
    with _translated(), _without_interrupts():
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=work, args=(theirs, setup), daemon=True, name=f"lossmith-{number}")
        process.start()
    theirs.close()  # so that the pipe ends when the worker does
    return _Worker(number, process, ours, time.monotonic())


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, which a terminal sends to all: this process decides what it means.

    One that comes meanwhile is not lost: it reaches this process at the end. So the signal is blocked, which processes
    inherit, and not ignored. multiprocessing unblocks it when it starts its resource tracker, so that comes first.
    Blocking is this thread's affair, and the system may give the signal to another (torch keeps some); Python's handler
    would then run here all the same, in the midst of starting. So the handler waits too.
    """
    resource_tracker.ensure_running()
    waiting: list[int] = []
    main = threading.current_thread() is threading.main_thread()  # no other may set handlers, nor runs them
    handler = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number)) if main else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if main:
            signal.signal(signal.SIGINT, handler)
        if waiting:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        raise LossmithError(
            f"cannot start workers: {error or type(error).__name__}; is there enough memory, and is TMPDIR a short path"
            " that can be written?"
        ) from error
