"""A stream of trainings that differ only in loss and seed, each result as soon as it is there.

Two ways behind one interface: one loss after the other (`single.py`), for any model; or K at once as one network
(`fused/`). Which of them a machine should take, `plan.py` measures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from lossmith.errors import ConfigError, DataError
from lossmith.train.data import Dataset
from lossmith.train.fused.stream import Stream, train_fused
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.train.single import Loss, ScoreSplit, train
from lossmith.train.stages import prescreen_task
from lossmith.train.task import TaskConfig

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Job:
    """One loss to be trained once."""

    number: int  # by which its result is known
    loss: Loss  # see `single.train`
    seed: int  # everything random derives from it, >= 0
    split: ScoreSplit = "validation"  # what it is scored on


Take = Callable[[], Job | None]  # the next job; None where there is none right now
Result = TrainingResult | Exception


def run(
    task: TaskConfig, dataset: Dataset, take: Take, plan: Plan, *, device: torch.device = _CPU
) -> Iterator[tuple[int, Result]]:
    """Train jobs on one task, `plan.slots` at once.

    Args:
        task: what the losses are trained on.
        dataset: its images.
        take: asked for a job whenever a slot is free.
        plan: how to train; a job's result depends on the plan's way, dtype and compilation, not on its slots.
        device: where to train.

    Yields:
        (the job's number, its result), as each job ends. An error that a job's loss raises is its result, and the
        others go on. It ends when nothing is in training and `take` gives None.

    Raises:
        DataError: the images are too small for the task's augmentation.
        ConfigError: the model cannot be built, or not fused.
    """
    if plan.way == "processes":
        yield from _one_by_one(task, dataset, take, plan, device)
        return
    first = prescreen_task(task)
    if first is None:
        yield from train_fused(
            task,
            dataset,
            take,
            plan.slots,
            device=device,
            bfloat16=plan.dtype == "bfloat16",
            compiled=plan.compiled,
        )
        return
    yield from _screened(task, first, dataset, take, plan, device)


def _one_by_one(
    task: TaskConfig, dataset: Dataset, take: Take, plan: Plan, device: torch.device
) -> Iterator[tuple[int, Result]]:
    while (job := take()) is not None:
        try:
            result: Result = train(
                task,
                dataset,
                job.loss,
                job.seed,
                score_split=job.split,
                device=device,
                bfloat16=plan.dtype == "bfloat16",
                compiled=plan.compiled,
            )
        except (ConfigError, DataError):
            raise  # of the task, not of the loss
        except Exception as error:  # the loss is a user's: whatever it raises is its result
            result = error
        yield job.number, result


def _screened(
    task: TaskConfig, first: TaskConfig, dataset: Dataset, take: Take, plan: Plan, device: torch.device
) -> Iterator[tuple[int, Result]]:
    """As `run`, the jobs through the pre-screen `first` and, those that pass it, through the task."""
    training, screening = (
        Stream(each, dataset, plan.slots, device, torch.float32, bfloat16=plan.dtype == "bfloat16", compiled=compiled)
        for each, compiled in ((task, plan.compiled), (first, False))  # the pre-screen is too short to be worth it
    )
    jobs: dict[int, Job] = {}  # in the pre-screen
    passed: deque[Job] = deque()
    failed: list[tuple[int, Result]] = []

    def noted() -> Job | None:
        if (job := take()) is not None:
            jobs[job.number] = job
        return job

    def next_passed() -> Job | None:
        while not passed:
            screening.fill(noted)
            if not screening.slots:
                return None
            for number, result in screening.step():
                job = jobs.pop(number)
                if isinstance(result, TrainingResult) and result.reason.ok:
                    passed.append(job)
                else:
                    failed.append((number, result))
        return passed.popleft()

    while True:
        training.fill(next_passed)
        if failed:
            yield from failed
            failed.clear()
            continue  # whoever is told of them may have more jobs
        if not training.slots:
            return
        yield from training.step()
