"""What a worker does with evaluations: it trains as many at once as the plan of their task says.

All the jobs that a worker trains at once are of one task. What comes of another is kept aside until the present ones
have ended, and no further one of the present task is taken meanwhile.
"""

from __future__ import annotations

import gc
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from lossmith.execution.base import Inbox, Server
from lossmith.ledger import LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.losses.module import Loss
from lossmith.space.expression import Expression
from lossmith.train.data import Dataset
from lossmith.train.engine import Job, run
from lossmith.train.memory import keep_memory
from lossmith.train.plan import Plan
from lossmith.train.task import TaskConfig

Split = Literal["validation", "test"]
ZOO = "zoo:"  # starts the key of a loss of the zoo
Engine = Callable[..., Iterator[tuple[int, Any]]]  # as `lossmith.train.engine.run`

# how torch and the libraries below it say that there is no memory, besides MemoryError and torch.OutOfMemoryError
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "ALLOC_FAILED",  # cuDNN, cuBLAS
    "could not create a primitive",  # oneDNN
)


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """What a worker is sent: plain data."""

    loss: LossRow
    task: str  # task_id
    seed: int
    split: Split
    slots: int = 1  # losses that are trained at once where this one is; the result doesn't depend on it


@dataclass(frozen=True, slots=True)
class FailedTogether:
    """A job that ended because of a failure for which another one, or their number, may be to blame."""

    detail: str  # the error's text
    out_of_memory: bool
    own: bool  # it was raised by this job's own step, not by what all have in common


@dataclass(frozen=True)
class EvaluationSetup:
    """What each worker is sent once: the tasks, their data, and how they are trained."""

    tasks: dict[str, TaskConfig]  # by task_id
    datasets: dict[str, str]  # task_id -> key of `data`
    data: dict[str, bytes]  # pickled by this process, so that no shared memory is needed
    checksums: dict[str, str]  # task_id -> checksum of its data
    classes: dict[str, int]  # task_id -> number of classes
    plans: Mapping[str, Plan] = field(default_factory=dict)  # task_id -> plan; `lossmith.search.plans` makes them
    engine: Engine = run

    def dataset(self, task: str) -> Dataset:
        """The data of a task, unpacked."""
        return pickle.loads(self.data[self.datasets[task]])  # noqa: S301 - our own, of `prepare`

    @property
    def slots(self) -> int:
        """The most losses that a worker trains at once."""
        return max(plan.slots for plan in self.plans.values())

    def __call__(self) -> Server:
        keep_memory()
        return _Evaluator(self)


class _Evaluator:
    """The server of one worker."""

    def __init__(self, setup: EvaluationSetup) -> None:
        self._setup = setup
        unpacked = {key: setup.dataset(task) for task, key in setup.datasets.items()}
        self._data = {task: unpacked[key] for task, key in setup.datasets.items()}
        self._aside: tuple[int, EvaluationJob] | None = None

    def __call__(self, inbox: Inbox) -> Iterator[tuple[int, Any]]:
        while True:
            if self._aside is None:
                self._aside = inbox.wait()
            yield from self._train(self._aside[1], inbox)

    def _train(self, first: EvaluationJob, inbox: Inbox) -> Iterator[tuple[int, Any]]:
        """Train jobs of one task, of which `first` is the first, until one of another task has come."""
        held: set[int] = set()

        def take() -> Job | None:
            # where nothing is in training, it waits here, so that the engine keeps what it has built
            arrived = self._aside or (inbox.take() if held else inbox.wait())
            self._aside = None
            if arrived is None:
                return None
            number, job = arrived
            if (job.task, job.slots) != (first.task, first.slots):
                self._aside = arrived
                return None
            held.add(number)
            return Job(number, _loss(job.loss), job.seed, job.split)

        plan = replace(self._setup.plans[first.task], slots=first.slots)
        fault: FailedTogether | None = None
        try:
            for number, outcome in self._setup.engine(
                self._setup.tasks[first.task], self._data[first.task], take, plan, device=training_device()
            ):
                held.remove(number)
                memory = first.slots > 1 and isinstance(outcome, BaseException) and is_out_of_memory(outcome)
                yield number, FailedTogether(_text(outcome), out_of_memory=True, own=True) if memory else outcome
        except Exception as error:  # of whatever kind: it belongs to none of the jobs alone
            if first.slots == 1:
                raise  # the executor tells it of the one job that there is
            fault = FailedTogether(_text(error), is_out_of_memory(error), own=False)
        if fault is not None:  # outside of the handler, whose error holds on to what the engine had built
            _free_memory()
        elif held:
            raise RuntimeError("the engine ended without an answer")
        for number in sorted(held):
            yield number, fault


def training_device() -> torch.device:
    """Where losses are trained: on a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, of the machine or of its GPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


def _loss(row: LossRow) -> Loss | Callable[[Tensor, Tensor], Tensor]:
    """The loss that the ledger names; one that cannot be built fails as one that raises does."""
    try:
        if row.key.startswith(ZOO):
            return build_loss(row.formula)
        return build_loss(Expression.from_text(row.formula), flip=row.flip)
    except Exception as error:  # of whatever kind: it is the loss's result
        reason = error

        def refused(logits: Tensor, target: Tensor) -> Tensor:
            raise reason

        return refused


def _free_memory() -> None:
    """Give back what a failed training had allocated."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-6))
