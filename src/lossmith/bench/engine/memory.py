"""How much memory a process needs that trains K losses at once. Linux alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from torch import nn

from lossmith.bench.engine.data import images_of, timed
from lossmith.bench.engine.plain import threads_of_torch
from lossmith.errors import LossmithError
from lossmith.train.engine import Job, run
from lossmith.train.memory import keep_memory
from lossmith.train.plan import Plan
from lossmith.train.task import TaskConfig

_STEPS = 3
_PROGRAM = "from lossmith.bench.engine.memory import measure_here; measure_here()"


def peak_memory(task: TaskConfig, plan: Plan, *, synthetic: bool) -> tuple[float, float]:
    """MiB of a fresh process: after its imports, with the data loaded, and the most that training took above that.

    It trains a few steps and scores, as a worker does.

    Raises:
        LossmithError: the process failed.
    """
    wanted = {"task": task.model_dump(mode="json"), "slots": plan.slots, "way": plan.way, "synthetic": synthetic}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _PROGRAM], input=json.dumps(wanted), capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2] or f"it ended with exit code {done.returncode}"
        raise LossmithError(f"bench: the process that measures memory failed: {why}")
    base, peak = json.loads(done.stdout.strip().rpartition("\n")[2])
    return base, peak - base


def measure_here() -> None:
    """What the process that `peak_memory` starts does: prints [MiB before, MiB at the peak]."""
    wanted = json.loads(sys.stdin.read())
    keep_memory()
    task = TaskConfig.model_validate(wanted["task"])
    dataset = images_of(task, synthetic=wanted["synthetic"])
    short = timed(task).model_copy(update={"steps": _STEPS, "epoch_steps": _STEPS})
    jobs = iter([Job(number, nn.CrossEntropyLoss(), 0) for number in range(wanted["slots"])])
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is in use
    before = _mebibytes("VmRSS")
    with threads_of_torch(1):
        for _, result in run(short, dataset, lambda: next(jobs, None), Plan(wanted["way"], wanted["slots"])):
            if isinstance(result, Exception):
                raise result
    print(json.dumps([before, _mebibytes("VmHWM")]))


def available() -> float:
    """MiB that programs can still take without swapping."""
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _mebibytes(name: str) -> float:
    return _field(Path("/proc/self/status"), name)


def _field(path: Path, name: str) -> float:
    lines = path.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
