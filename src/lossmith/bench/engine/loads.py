"""What is timed: the ways of training, and what the machine can do at most."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from lossmith.bench.engine.data import timed, whole
from lossmith.bench.engine.pace import Pace
from lossmith.errors import LossmithError
from lossmith.train.batches import Seeds
from lossmith.train.data import Dataset
from lossmith.train.engine import Job, run
from lossmith.train.fused.stream import Stream
from lossmith.train.inputs import at_size, scaled
from lossmith.train.metrics import accuracy, predict
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.train.single import LAYOUT, TrainingStoppedError, new_model, train
from lossmith.train.task import TaskConfig

_CPU = torch.device("cpu")


class Load(Protocol):
    """Plain data; `run` does one iteration after the other until `pace`, asked before each, says that it is enough."""

    def run(self, task: TaskConfig, dataset: Dataset, pace: Pace) -> object:
        """Gives what is to be known besides the times of `pace`, mostly None; it must pickle."""
        ...


@dataclass(frozen=True, slots=True)
class Training:
    """Steps of cross-entropy as the plan says; an iteration is a step of `plan.slots` candidates."""

    plan: Plan

    def run(self, task: TaskConfig, dataset: Dataset, pace: Pace) -> None:
        train_steps(timed(task), dataset, self.plan, nn.CrossEntropyLoss(), pace)


class Steps(Protocol):
    """Asked before every step whether it is the end."""

    def __call__(self) -> bool: ...


def train_steps(task: TaskConfig, dataset: Dataset, plan: Plan, loss: nn.Module, should_stop: Steps) -> None:
    """Train `plan.slots` candidates with one loss until `should_stop`, anew where a training ends before."""
    if plan.way == "fused":
        stream = Stream(task, dataset, plan.slots, _CPU, torch.float32, bfloat16=plan.dtype == "bfloat16")
        jobs = (Job(number, loss, 0) for number in itertools.count())
        while True:
            stream.fill(lambda: next(jobs))
            if should_stop():
                return
            for _, result in stream.step():
                if isinstance(result, Exception):
                    raise result
    with contextlib.suppress(TrainingStoppedError):
        while True:
            train(
                task,
                dataset,
                loss,
                0,
                should_stop=should_stop,
                bfloat16=plan.dtype == "bfloat16",
                compiled=plan.compiled,
            )


@dataclass(frozen=True, slots=True)
class Evaluations:
    """An iteration is `plan.slots` whole evaluations of cross-entropy, none of which ends early."""

    plan: Plan

    def run(self, task: TaskConfig, dataset: Dataset, pace: Pace) -> None:
        while not pace():
            jobs = iter([Job(number, nn.CrossEntropyLoss(), 0) for number in range(self.plan.slots)])
            for _, result in run(whole(task), dataset, lambda jobs=jobs: next(jobs, None), self.plan):
                if not isinstance(result, TrainingResult) or not result.reason.ok:
                    why = str(result) if isinstance(result, Exception) else result.reason.value
                    raise LossmithError(f"bench: cross-entropy does not train on task '{task.name}': {why}")


@dataclass(frozen=True, slots=True)
class Scoring:
    """An iteration is the scoring of one candidate on the validation split, as at the end of an epoch."""

    def run(self, task: TaskConfig, dataset: Dataset, pace: Pace) -> None:
        first = timed(task)
        model = new_model(first, dataset, Seeds.of(0), _CPU)
        model.to(memory_format=LAYOUT)  # pyright: ignore[reportCallIssue] - missing from the stub

        def prepare(images: Tensor) -> Tensor:
            return scaled(at_size(images, first.resize), first.scaling, memory_format=LAYOUT)

        while not pace():
            accuracy(predict(model, dataset.validation, prepare), dataset.validation.labels)


@dataclass(frozen=True, slots=True)
class Product:
    """An iteration is a product of two square float32 matrices: 2 `size`^3 floating-point operations."""

    size: int

    @property
    def amount(self) -> int:
        return 2 * self.size**3

    def run(self, task: TaskConfig, dataset: Dataset, pace: Pace) -> None:
        source = torch.Generator().manual_seed(0)
        a, b = (torch.rand(self.size, self.size, generator=source) for _ in range(2))
        out = torch.empty_like(a)
        while not pace():
            torch.mm(a, b, out=out)


@dataclass(frozen=True, slots=True)
class Triad:
    """An iteration is a = b + 3 c over float32 arrays of `length`: 12 bytes an element are moved.

    As STREAM counts (McCalpin, 1995): that a is read before it is written does not count.
    """

    length: int

    @property
    def amount(self) -> int:
        return 12 * self.length

    def run(self, task: TaskConfig, dataset: Dataset, pace: Pace) -> None:
        a, b, c = (torch.ones(self.length) for _ in range(3))
        while not pace():
            torch.add(b, c, alpha=3.0, out=a)
