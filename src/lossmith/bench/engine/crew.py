"""Processes that do the same at the same time: the search's own workers, one thread each."""

from __future__ import annotations

import multiprocessing
import pickle
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from lossmith.bench.engine.loads import Load
from lossmith.bench.engine.pace import Meeting, Pace, Window, joint_rate
from lossmith.errors import LossmithError
from lossmith.execution.base import Server, one_at_a_time
from lossmith.execution.local import LocalExecutor
from lossmith.train.data import Dataset
from lossmith.train.memory import keep_memory
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason


@dataclass(frozen=True, slots=True)
class _Measurement:
    load: Load
    window: Window
    members: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the members of a crew measured."""

    rate: float  # iterations per second, of all members together
    first: float  # seconds of the slowest member's first iteration
    extras: list[Any]  # what the loads gave besides


@dataclass(frozen=True, slots=True)
class _Setup:
    """What each process is sent once."""

    task: TaskConfig
    data: bytes
    meeting: Meeting

    def __call__(self) -> Server:
        keep_memory()  # as the workers of a search do
        dataset: Dataset = pickle.loads(self.data)  # noqa: S301 - our own, of `Crew`

        def measured(job: _Measurement) -> tuple[list[float], float, object]:
            pace = Pace(job.window, job.members, self.meeting)
            extra = job.load.run(self.task, dataset, pace)
            return pace.times, pace.first, extra

        return one_at_a_time(measured)


class Crew:
    """`size` processes that measure.

    Raises:
        LossmithError: they cannot start.
    """

    def __init__(self, size: int, task: TaskConfig, dataset: Dataset) -> None:
        self.size = size
        self._meeting = Meeting(multiprocessing.get_context("forkserver"))
        self._executor = LocalExecutor(size, ["lossmith.bench.engine.crew"])
        self._jobs = 0
        self._executor.begin(_Setup(task, pickle.dumps(dataset), self._meeting))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._executor.close()

    def measure(self, load: Load, window: Window, members: int) -> Found:
        """What the first `members` that are free do, all at the same time.

        Raises:
            LossmithError: one of them failed.
        """
        self._meeting.reset()
        for _ in range(members):
            self._executor.submit(self._jobs, _Measurement(load, window, members))
            self._jobs += 1
        results: list[tuple[list[float], float, object]] = []
        while len(results) < members:
            for end in self._executor.wait():
                if end.reason is not Reason.OK:
                    raise LossmithError(f"bench: {load} failed: {end.detail.strip().rpartition(chr(10))[2]}")
                results.append(end.result)
        times = [moments for moments, _, _ in results]
        return Found(joint_rate(times), max(first for _, first, _ in results), [extra for _, _, extra in results])
