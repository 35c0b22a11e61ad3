"""Engines for tests of what surrounds an engine, in a module that worker processes can import."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from lossmith.search.serving import EvaluationSetup
from lossmith.train.engine import Job, run
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.train.task import TaskConfig, load_task
from lossmith.verdict import Reason

Outcomes = Iterator[tuple[int, Any]]

TASKS: dict[str, TaskConfig] = {"a": load_task("digits-screen", "a"), "b": load_task("digits", "b")}
FAIL, NO_MEMORY, SEGFAULT, KILL, KILL_ONCE, BREAK = range(100, 106)  # seeds, which say what becomes of a job
_STEPS = 3
_MEGABYTE = 2**20


def setup(
    plan: Plan, engine: Callable[..., Outcomes], dataset: Any = None, tasks: dict[str, TaskConfig] = TASKS
) -> EvaluationSetup:
    """Tasks that are trained alike, by one of the engines below."""
    return EvaluationSetup(
        tasks=tasks,
        datasets=dict.fromkeys(tasks, "data"),
        data={"data": pickle.dumps(dataset)},
        checksums=dict.fromkeys(tasks, "checksum"),
        classes=dict.fromkeys(tasks, 10),
        plans=dict.fromkeys(tasks, plan),
        engine=engine,
    )


def scripted(task: TaskConfig, dataset: Any, take: Callable[[], Job | None], plan: Plan, **_: object) -> Outcomes:
    """Trains nothing: each job ends after a few steps, as its seed says. Its `steps` are the most jobs at once.

    The data set is a file, which KILL_ONCE makes.
    """
    held: dict[int, tuple[Job, list[int]]] = {}  # by number: the job, and how many trained at once in each step
    while True:
        while len(held) < plan.slots and (job := take()) is not None:
            held[job.number] = job, []
        if not held:
            return
        for number, (job, together) in list(held.items()):
            together.append(len(held))
            if len(together) == _STEPS:
                del held[number]
                yield number, _outcome(job, max(together), dataset)
        time.sleep(0.002)


def _outcome(job: Job, together: int, marker: str) -> TrainingResult | Exception:
    ends = {SEGFAULT: signal.SIGSEGV, KILL: signal.SIGKILL}
    if job.seed == KILL_ONCE and not Path(marker).exists():
        Path(marker).touch()
        ends[KILL_ONCE] = signal.SIGKILL
    if job.seed in ends:
        os.kill(os.getpid(), ends[job.seed])
    if job.seed == BREAK:
        raise ValueError("broken")  # the engine's own end
    errors = {FAIL: ValueError("on purpose"), NO_MEMORY: MemoryError("on purpose")}
    return errors.get(job.seed) or TrainingResult(Reason.OK, job.seed / 1000, 1.0, 0.1, (), together, 0.0)


def greedy(task: TaskConfig, dataset: Any, take: Callable[[], Job | None], plan: Plan, **_: object) -> Outcomes:
    """As `scripted`, but there is memory for two at once and no more."""
    trained = 0

    def counted() -> Job | None:
        nonlocal trained
        job = take()
        trained += job is not None
        if trained > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return job

    for outcome in scripted(task, dataset, counted, plan):
        trained -= 1
        yield outcome


def limited(task: TaskConfig, dataset: Any, take: Callable[[], Job | None], plan: Plan, **kwargs: Any) -> Outcomes:
    """The real engine, in a process that may allocate 400 MB more than it has when it begins."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 400 * _MEGABYTE, hard))
    yield from run(task, dataset, take, plan, **kwargs)
