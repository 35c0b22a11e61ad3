"""Evaluations: one loss trained once on one task with one seed, looked up in the ledger before anything is run."""

from __future__ import annotations

import pickle
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from lossmith.errors import LossmithError
from lossmith.execution.base import Completed, Executor
from lossmith.ledger import EvaluationKey, EvaluationRow, Ledger, LossRow
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO as PUBLISHED
from lossmith.search.serving import ZOO, EvaluationJob, EvaluationSetup, FailedTogether, Split
from lossmith.space.expression import Expression
from lossmith.train.data import Dataset, keep_splits, load_dataset
from lossmith.train.inputs import largest_size
from lossmith.train.models import try_model
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

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


def prepare(
    tasks: Iterable[TaskConfig],
    *,
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> EvaluationSetup:
    """Load the data of `tasks`, once where they share it, and try their models where those are not Lossmith's own.

    `progress` is told of the loading (see `load_dataset`), `notice` what a user should read.

    Raises:
        DataError: the data is missing, damaged, or does not fit.
        ConfigError: a model cannot be built, or doesn't fit the data.
    """
    loaded: dict[str, Dataset] = {}
    configs: dict[str, TaskConfig] = {}
    datasets: dict[str, str] = {}
    for task in tasks:
        source = task.data.digest()
        if source not in loaded:
            loaded[source] = load_dataset(task.data, progress=progress, notice=notice)
        configs[task.task_id] = task
        datasets[task.task_id] = source
        for note in _tried(task, loaded[source]):
            if notice is not None:
                notice(note)
    checksums = {task: loaded[source].checksum for task, source in datasets.items()}
    classes = {task: loaded[source].num_classes for task, source in datasets.items()}
    pickled = {key: pickle.dumps(data) for key, data in loaded.items()}
    return EvaluationSetup(configs, datasets, pickled, checksums, classes)


def _tried(task: TaskConfig, dataset: Dataset) -> tuple[str, ...]:
    """What is worth knowing of a model that may not fit: a user's, or one with weights from elsewhere."""
    if ":" not in task.model and task.weights is None:
        return ()
    shape = (dataset.image_shape[0], *largest_size(task, dataset.image_shape))
    return try_model(
        task.model, image_shape=shape, num_classes=dataset.num_classes, dropout=task.dropout, weights=task.weights
    )


def register(setup: EvaluationSetup, ledger: Ledger) -> None:
    """Note the tasks of a setup in the ledger, and their splits beside it.

    Raises:
        RunError: a task's data or splits are not what the run began with.
    """
    for key, task in setup.tasks.items():
        plan = asdict(setup.plans[key]) if key in setup.plans else None
        ledger.add_task(key, task.name, task.model_dump(mode="json"), setup.checksums[key], plan)
        keep_splits(setup.dataset(key), ledger.directory / f"splits-{key}.npz", task.name)


@dataclass(frozen=True, slots=True)
class Answer:
    """An evaluation that was requested."""

    ticket: int
    row: EvaluationRow
    reused: bool  # it was in the ledger, or was running already, when it was requested


class Evaluations:
    """Requests for evaluations, answered from the ledger where it has them, by the executor where it has not.

    Several are trained at once in one worker. Where that fails as a whole, none of them is blamed: those that may be
    to blame are run again, each in a worker of its own, and where memory was short, fewer at once from then on.
    """

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        plans: Mapping[str, Plan] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`plans` are of the tasks, by task_id; `say` is given what a person should know, a line at a time."""
        self._ledger = ledger
        self._executor = executor
        self._plans = dict(plans or {})
        self._say = say
        self._answered: list[Answer] = []
        self._tickets: dict[EvaluationKey, list[int]] = defaultdict(list)  # of the evaluations that run
        self._jobs: dict[int, EvaluationJob] = {}
        self._lost: dict[EvaluationKey, int] = defaultdict(int)  # workers that it alone can have ended
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
            self._submit(EvaluationJob(loss, task, seed, split, self._slots(task)))

    def wait(self, timeout: float | None = None) -> list[Answer]:
        """The answers that are new, each recorded in the ledger; waits for one, up to `timeout` seconds.

        Raises:
            LossmithError: several evaluations in a row raised an unexpected error. An error is not recorded while
                others still run, so most of them are run again once the fault is mended and the work resumed.
        """
        again: list[EvaluationJob] = []
        for completed in self._executor.wait(0.0 if self._answered else timeout):
            job = self._once_more(completed)
            if job is None:
                self._record(completed)
            else:
                del self._jobs[completed.job]
                again.append(job)
        if again:  # before those that wait, which may have to be fewer at once, too
            again += [self._jobs.pop(number) for number in self._executor.recall()]
            for job in again:
                self._submit(replace(job, slots=min(job.slots, self._slots(job.task))))
        answered, self._answered = self._answered, []
        return answered

    def _slots(self, task: str) -> int:
        return self._plans[task].slots if task in self._plans else 1

    def _submit(self, job: EvaluationJob) -> None:
        self._jobs[self._next_job] = job
        self._executor.submit(self._next_job, job, (job.task, job.slots), job.slots)
        self._next_job += 1

    def _once_more(self, completed: Completed) -> EvaluationJob | None:
        """How a job that ended is to be run again; None where what it ended with is its own."""
        job, result = self._jobs[completed.job], completed.result
        if isinstance(result, FailedTogether):
            if result.out_of_memory:
                self._halve(job, "out of memory")
                if not result.own:
                    return replace(job, slots=self._slots(job.task))
            return replace(job, slots=1)
        if completed.reason is not Reason.WORKER_LOST:
            return None
        if completed.beside == 0:  # likelier the machine's doing than the loss's, the first times
            self._lost[_key(job)] += 1
            if self._lost[_key(job)] == _MAX_LOST:
                return None
        if completed.exit_code == -signal.SIGKILL and job.slots > 1:
            self._halve(job, "a process was killed, maybe for want of memory,")
        return replace(job, slots=1)

    def _halve(self, job: EvaluationJob, why: str) -> None:
        """From now on, train half as many losses of the job's task at once as when it failed."""
        slots = job.slots // 2
        if slots >= self._slots(job.task):
            return  # others that failed with it were here before
        plan = self._plans[job.task] = replace(self._plans[job.task], slots=slots)
        self._ledger.set_plan(job.task, asdict(plan))
        self._say(f"{why} with {job.slots} losses at once in a process; going on with {slots}")

    def _record(self, completed: Completed) -> None:
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
