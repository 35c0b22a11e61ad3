"""Evaluations: one loss trained once on one task with one seed, looked up in the ledger before anything is run."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lossmith.errors import LossmithError
from lossmith.execution.base import Completed, Executor
from lossmith.ledger import EvaluationKey, EvaluationRow, Ledger, LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO as PUBLISHED
from lossmith.space.expression import Expression
from lossmith.train.data import Dataset, load_dataset
from lossmith.train.engine import train
from lossmith.train.result import TrainingResult
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

Split = Literal["validation", "test"]
ZOO = "zoo:"  # starts the key of a loss of the zoo
_MAX_LOST = 3  # workers that one evaluation may lose before it is recorded as failed
_MAX_ERRORS = 3  # unexpected errors in a row that are taken for the machine's or the program's fault, not the losses'


def expression_row(expression: Expression, flip: bool) -> LossRow:
    """How the ledger names an expression's loss."""
    return LossRow(expression.key, expression.text, flip)


def zoo_row(name: str) -> LossRow:
    """How the ledger names a loss of the zoo, with its default parameters."""
    return LossRow(f"{ZOO}{name}", name, None)


def published_row(loss: Loss) -> LossRow | None:
    """How the ledger names a loss, where it is of the zoo with its default parameters."""
    if loss.name in PUBLISHED and loss.settings == PUBLISHED[loss.name].settle({}):
        return zoo_row(loss.name)
    return None


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """What a worker is sent: plain data."""

    loss: LossRow
    task: str  # task_id
    seed: int
    split: Split


@dataclass(frozen=True)
class EvaluationSetup:
    """What each worker is sent once: the tasks and their data."""

    tasks: dict[str, TaskConfig]  # by task_id
    datasets: dict[str, str]  # task_id -> key of `data`
    data: dict[str, bytes]  # pickled by this process, so that no shared memory is needed
    checksums: dict[str, str]  # task_id -> checksum of its data
    classes: dict[str, int]  # task_id -> number of classes

    def __call__(self) -> Callable[[EvaluationJob], TrainingResult]:
        data = {key: pickle.loads(content) for key, content in self.data.items()}  # noqa: S301 - our own, of `prepare`

        def evaluate(job: EvaluationJob) -> TrainingResult:
            source = job.loss
            zoo = source.key.startswith(ZOO)
            loss = (
                build_loss(source.formula)
                if zoo
                else build_loss(Expression.from_text(source.formula), flip=source.flip)
            )
            dataset = data[self.datasets[job.task]]
            return train(self.tasks[job.task], dataset, loss, job.seed, score_split=job.split)

        return evaluate


def prepare(tasks: Iterable[TaskConfig]) -> EvaluationSetup:
    """Load the data of `tasks`, once where they share it.

    Raises:
        DataError: the data is missing, damaged, or does not fit.
    """
    loaded: dict[str, Dataset] = {}
    configs: dict[str, TaskConfig] = {}
    datasets: dict[str, str] = {}
    for task in tasks:
        source = task.data.digest()
        if source not in loaded:
            loaded[source] = load_dataset(task.data)
        configs[task.task_id] = task
        datasets[task.task_id] = source
    checksums = {task: loaded[source].checksum for task, source in datasets.items()}
    classes = {task: loaded[source].num_classes for task, source in datasets.items()}
    pickled = {key: pickle.dumps(data) for key, data in loaded.items()}
    return EvaluationSetup(configs, datasets, pickled, checksums, classes)


def register(setup: EvaluationSetup, ledger: Ledger) -> None:
    """Note the tasks of a setup in the ledger.

    Raises:
        RunError: a task's data is not what the run began with.
    """
    for key, task in setup.tasks.items():
        ledger.add_task(key, task.name, task.model_dump(mode="json"), setup.checksums[key])


@dataclass(frozen=True, slots=True)
class Answer:
    """An evaluation that was requested."""

    ticket: int
    row: EvaluationRow
    reused: bool  # it was in the ledger, or was running already, when it was requested


class Evaluations:
    """Requests for evaluations, answered from the ledger where it has them, by the executor where it has not."""

    def __init__(self, ledger: Ledger, executor: Executor) -> None:
        self._ledger = ledger
        self._executor = executor
        self._answered: list[Answer] = []
        self._tickets: dict[EvaluationKey, list[int]] = defaultdict(list)  # of the evaluations that run
        self._jobs: dict[int, EvaluationJob] = {}
        self._lost: dict[EvaluationKey, int] = defaultdict(int)
        self._errors = 0  # in a row
        self._held: list[Completed] = []  # errors that are not recorded yet
        self._next_job = 0

    def request(self, ticket: int, loss: LossRow, task: str, seed: int, split: Split = "validation") -> None:
        """Ask for an evaluation; `wait` gives it back under `ticket`."""
        key = EvaluationKey(loss.key, task, seed, split)
        if key in self._tickets:
            self._tickets[key].append(ticket)
        elif (row := self._ledger.find(key)) is not None:
            self._answered.append(Answer(ticket, row, reused=True))
        else:
            self._tickets[key].append(ticket)
            self._submit(EvaluationJob(loss, task, seed, split))

    def wait(self, timeout: float | None = None) -> list[Answer]:
        """The answers that are new, each recorded in the ledger; waits for one, up to `timeout` seconds.

        Raises:
            LossmithError: several evaluations in a row raised an unexpected error. An error is not recorded while
                others still run, so most of them are run again once the fault is mended and the work resumed.
        """
        for completed in self._executor.wait(0.0 if self._answered else timeout):
            self._record(completed)
        answered, self._answered = self._answered, []
        return answered

    def _submit(self, job: EvaluationJob) -> None:
        self._jobs[self._next_job] = job
        self._executor.submit(self._next_job, job)
        self._next_job += 1

    def _record(self, completed: Completed) -> None:
        job = self._jobs[completed.job]
        if completed.reason is Reason.WORKER_LOST:
            key = _key(job)
            self._lost[key] += 1
            if self._lost[key] < _MAX_LOST:  # likelier the machine's doing than the loss's
                del self._jobs[completed.job]
                self._submit(job)
                return
        self._errors = self._errors + 1 if completed.reason is Reason.ERROR else 0
        self._held.append(completed)
        if self._errors:
            if self._errors >= _MAX_ERRORS:
                what = completed.detail.strip().rpartition("\n")[2]
                raise LossmithError(f"{_MAX_ERRORS} evaluations in a row failed with an unexpected error: {what}")
            if len(self._held) < len(self._jobs):
                return  # the evaluations that still run will tell whether errors are the rule
        ended, self._held = self._held, []
        for each in ended:
            job = self._jobs.pop(each.job)
            row = self._ledger.add_evaluation(job.loss, _key(job), worker=each.worker, **_values(each))
            first, *others = self._tickets.pop(_key(job))
            self._answered += [Answer(first, row, reused=False), *(Answer(other, row, reused=True) for other in others)]


def _key(job: EvaluationJob) -> EvaluationKey:
    return EvaluationKey(job.loss.key, job.task, job.seed, job.split)


def _values(completed: Completed) -> dict[str, Any]:
    """The columns of a finished evaluation."""
    if not isinstance(completed.result, TrainingResult):
        return {"reason": completed.reason, "detail": completed.detail, "seconds": completed.seconds}
    result = completed.result
    return {
        "reason": result.reason,
        "score": result.score,
        "nll": result.nll,
        "ece": result.ece,
        "steps": result.steps,
        "seconds": result.seconds,
        "curve": [asdict(record) for record in result.curve],
    }
