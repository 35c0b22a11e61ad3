"""Choosing the plan of a task by a short measurement on this machine, and remembering it.

Each way trains cross-entropy for a few steps on the task's own data, in this process, on one thread as in a worker. The
fused way takes more losses at once as long as that pays.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import statistics
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from lossmith.errors import LossmithError
from lossmith.files import cache_directory, write_atomically
from lossmith.train.batches import Seeds
from lossmith.train.data import Dataset
from lossmith.train.engine import Job
from lossmith.train.fused.network import FusionError
from lossmith.train.fused.stream import Stream
from lossmith.train.memory import keep_memory
from lossmith.train.plan import Plan
from lossmith.train.single import TrainingStoppedError, new_model, train
from lossmith.train.task import TaskConfig
from lossmith.train.threads import one_thread
from lossmith.version import __version__

SLOTS = (4, 8, 16)  # losses at once that are tried
GAIN = 1.1  # of candidate-steps per second, which is worth more losses at once, or another way
_SECONDS = 1.5  # of each measurement, about
_STEPS = 4  # at least

Way = Literal["auto", "processes", "fused"]
_PLAN = TypeAdapter(Plan)
_CPU = torch.device("cpu")


def choose(
    task: TaskConfig,
    dataset: Dataset,
    *,
    way: Way = "auto",
    slots: int | None = None,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    compiled: bool | Literal["auto"] = "auto",
    device: torch.device | None = None,
    memory: Path | None = None,
) -> Plan:
    """The plan of `task` on this machine.

    What is left to "auto" is measured where a measurement can tell, in seconds: the way, how many losses at once, and
    on a GPU whether it pays to compile them. "auto" trains in float32 and without compilation on a CPU, since bfloat16
    changes what is trained and compiling was never measured to pay there (docs/engine.md); on a GPU in bfloat16.

    Args:
        task: what is to be trained.
        dataset: its data.
        way, slots, dtype, compiled: what the user fixed; "auto" and None leave it to this function.
        device: where to train; None for a GPU where there is one.
        memory: the file in which choices are remembered; None: `plans.json` in Lossmith's cache directory. A file that
            cannot be read or written is no error: the choice is measured again.

    Raises:
        FusionError: `way` is "fused", and the task or its model cannot be.
        ConfigError, DataError: the task's model or data do not fit it.
    """
    where = device if device is not None else torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision: Literal["float32", "bfloat16"] = "float32"
    if dtype != "auto":
        precision = dtype
    elif where.type == "cuda":
        precision = "bfloat16"
    compile_it = compiled is True
    if way == "processes" or (way == "auto" and where.type == "cpu" and (compile_it or precision != "float32")):
        return Plan("processes", 1, precision, compile_it, "as configured")
    try:
        Stream(task, dataset, 1, where, torch.float32)  # asked each time, since a user's model may have changed
    except FusionError as error:
        if way == "fused":
            raise
        return Plan("processes", 1, precision, compile_it, why=str(error))
    tried = (False, True) if compiled == "auto" and where.type == "cuda" else (compile_it,)
    if way == "fused" and slots is not None and len(tried) == 1:
        return Plan("fused", slots, precision, compile_it, why="as configured")
    file = memory if memory is not None else cache_directory() / "plans.json"
    layers = str(new_model(task, dataset, Seeds.of(0), _CPU)) if ":" in task.model else ""
    key = _key(task.task_id, layers, dataset.image_shape, dataset.num_classes, str(where), way, slots, precision, tried)
    known = _read(file)
    if (stored := _stored(known.get(key))) is not None:
        return stored
    keep_memory()
    with one_thread():
        plan = _measured(task, dataset, way, slots, precision, where, tried)
    with contextlib.suppress(LossmithError, OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({**_read(file), key: asdict(plan)}, indent=1))
    return plan


def _measured(
    task: TaskConfig,
    dataset: Dataset,
    way: Way,
    slots: int | None,
    precision: Literal["float32", "bfloat16"],
    device: torch.device,
    compilation: tuple[bool, ...],
) -> Plan:
    """The best plan, of the first kind of `compilation`; then that plan with each other kind, where that pays."""
    bfloat16, compiled = precision == "bfloat16", compilation[0]
    alone = single_rate(task, dataset, device, bfloat16=bfloat16, compiled=compiled)
    best, rate, words = 1, alone, ""
    for count in SLOTS if slots is None else (slots,):
        try:
            found = fused_rate(task, dataset, count, device, bfloat16=bfloat16, compiled=compiled)
        except (MemoryError, torch.OutOfMemoryError):
            words = f"there is not enough memory for {count} losses at once"
            break
        words = f"{count} losses at once make {found / alone:.2f} times the steps per second of one (measured)"
        if found < rate * GAIN:
            break
        best, rate = count, found
    alone_is_best = best == 1 and way == "auto"
    if not alone_is_best:
        words = f"{best} losses at once make {rate / alone:.2f} times the steps per second of one (measured)"
    for other in compilation[1:]:
        if alone_is_best:
            found = single_rate(task, dataset, device, bfloat16=bfloat16, compiled=other)
        else:
            found = fused_rate(task, dataset, slots or best, device, bfloat16=bfloat16, compiled=other)
        words += f"; compiled {found / rate:.2f} times that"
        if found >= rate * GAIN:
            compiled, rate = other, found
    if alone_is_best:
        return Plan("processes", 1, precision, compiled, why=words)
    return Plan("fused", slots or best, precision, compiled, why=words)


def single_rate(
    task: TaskConfig, dataset: Dataset, device: torch.device, *, bfloat16: bool, compiled: bool = False
) -> float:
    """Steps per second of one loss trained plainly."""
    clock = _Clock()
    with contextlib.suppress(TrainingStoppedError):
        loss = nn.CrossEntropyLoss()
        train(
            _plain(task),
            dataset,
            loss,
            0,
            should_stop=clock.enough,
            device=device,
            bfloat16=bfloat16,
            compiled=compiled,
        )
    clock.enough()
    return clock.rate()


def fused_rate(
    task: TaskConfig,
    dataset: Dataset,
    slots: int,
    device: torch.device,
    *,
    bfloat16: bool,
    compiled: bool = False,
) -> float:
    """Steps per second, of all losses together, of `slots` losses trained at once.

    Raises:
        FusionError: the task, or its model, cannot be fused.
    """
    stream = Stream(_plain(task), dataset, slots, device, torch.float32, bfloat16=bfloat16, compiled=compiled)
    jobs = iter([Job(number, nn.CrossEntropyLoss(), 0) for number in range(slots)])
    stream.fill(lambda: next(jobs, None))
    clock = _Clock()
    while not clock.enough() and stream.slots:
        list(stream.step())
    return clock.rate() * slots


def _plain(task: TaskConfig) -> TaskConfig:
    """The task without what may end a training before it is measured."""
    return task.model_copy(update={"stopping": (), "prescreen": None})


class _Clock:
    """When steps began."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def enough(self) -> bool:
        """Note that a step begins; whether enough have been seen."""
        self._times.append(time.perf_counter())
        return len(self._times) > _STEPS and self._times[-1] - self._times[1] > _SECONDS

    def rate(self) -> float:
        """Steps per second, the median; the first step, which prepares much, is left out where there are others."""
        lengths = [later - earlier for earlier, later in pairwise(self._times)]
        return 1.0 / statistics.median(lengths[1:] or lengths)


def _key(*parts: object) -> str:
    """What a choice depends on, as a text."""
    machine = (platform.machine(), torch.backends.cpu.get_cpu_capability(), os.cpu_count(), torch.__version__)
    return hashlib.sha256(repr((*parts, machine, __version__)).encode()).hexdigest()[:16]


def _read(file: Path) -> dict[str, Any]:
    """What is remembered; nothing where the file is missing or no such file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _stored(values: object) -> Plan | None:
    try:
        return _PLAN.validate_python(values)
    except ValidationError:
        return None
