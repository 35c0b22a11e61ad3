"""An executor that trains nothing, and a command's work with it, for tests of what happens around training."""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Callable, Hashable

from rich.console import Console

from lossmith.commands.work import Work
from lossmith.execution.base import Completed, Setup
from lossmith.search.serving import EvaluationJob, EvaluationSetup
from lossmith.train.result import TrainingResult
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

Score = Callable[[EvaluationJob, TaskConfig], float | None]  # None: the training fails


class Scripted:
    """Each job ends at once, one after the other, with the score that `score` gives. After `stop_after` jobs it is
    interrupted, as by Ctrl-C."""

    workers = capacity = 2

    def __init__(self, score: Score, stop_after: int | None = None) -> None:
        self.jobs: list[EvaluationJob] = []  # all that ended, in their order
        self._score, self._stop_after = score, stop_after
        self._queue: list[tuple[int, EvaluationJob]] = []
        self._tasks: dict[str, TaskConfig] = {}

    def restrict(self, workers: int) -> None:
        raise AssertionError("nothing is trained on a GPU")

    def begin(self, setup: Setup, time_limit: float | None = None, slots: int = 1) -> None:
        assert isinstance(setup, EvaluationSetup)
        self._tasks = setup.tasks

    def submit(self, job: int, payload: EvaluationJob, group: Hashable = None, together: int | None = None) -> None:
        self._queue.append((job, payload))

    def recall(self) -> list[int]:
        raise AssertionError("nothing is lost")

    def wait(self, timeout: float | None = None) -> list[Completed]:
        if not self._queue:
            return []
        number, job = self._queue.pop(0)
        self.jobs.append(job)
        if len(self.jobs) == self._stop_after:
            signal.raise_signal(signal.SIGINT)
        result = self.result(job, self._tasks[job.task])
        return [Completed(number, result, Reason.OK, "", 0, result.seconds)]

    def result(self, job: EvaluationJob, task: TaskConfig) -> TrainingResult:
        """What a job gives."""
        score = self._score(job, task)
        if score is None:
            return TrainingResult(Reason.BELOW_THRESHOLD, None, None, None, (), 1, 0.1)
        return TrainingResult(Reason.OK, score, 1.0 - score, 0.1, (), 3, 0.5)

    def close(self) -> None: ...


def work_with(
    executor: Scripted,
    text: io.StringIO | None = None,
    another: Callable[[], Scripted] | None = None,
) -> Work:
    """A command's work with `executor`.

    Args:
        executor: of the first stage.
        text: takes what is printed on the console.
        another: makes the executors of further stages; without it there are none.
    """

    def next_one(workers: int) -> Scripted:
        assert another is not None
        return another()

    console = Console(width=200) if text is None else Console(file=text, width=1000)
    return Work(executor, time.monotonic(), console, None, next_one)
