"""Which plans are measured: those that the task, the memory, the processor and the compiler allow for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch.nn import functional

from lossmith.bench.engine.data import timed
from lossmith.bench.engine.memory import available, peak_memory
from lossmith.bench.engine.pace import Window
from lossmith.bench.engine.plain import threads_of_torch
from lossmith.bench.engine.result import Memory
from lossmith.bench.losses import compiler_missing
from lossmith.train.batches import Seeds
from lossmith.train.data import Dataset
from lossmith.train.fused.network import FusionError
from lossmith.train.fused.stream import Stream
from lossmith.train.inputs import largest_size
from lossmith.train.plan import Plan
from lossmith.train.single import new_model
from lossmith.train.task import TaskConfig

SLOTS = (1, 4, 8, 16, 32)
QUICK_SLOTS = (8,)
_CPU = torch.device("cpu")
_MEMORY_SHARE = 0.7  # of what is available
_REDUCED_SLOTS = 8  # the most losses at once that are tried in bfloat16
_SLOW_BFLOAT16 = 1.5  # times float32; where a small step takes longer, nothing more is measured in it


@dataclass(frozen=True, slots=True)
class Options:
    """How thoroughly to measure."""

    quick: bool
    synthetic: bool

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

    @property
    def window(self) -> Window:
        return Window(0.2, warm=1, least=2) if self.quick else Window(1.0)

    @property
    def slots(self) -> tuple[int, ...]:
        return QUICK_SLOTS if self.quick else SLOTS


@dataclass(slots=True)
class Tried:
    """The plans to be measured, the memory that was measured for it, and what was left out and why."""

    plans: list[Plan] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def choose_plans(task: TaskConfig, dataset: Dataset, options: Options, cores: int) -> Tried:
    """The plans to be measured in one process and in `cores` at the same time.

    Raises:
        LossmithError: the task cannot be trained.
    """
    tried = Tried()
    _add_affordable(tried, [Plan("processes"), *_fused(task, dataset, options, tried.notes)], task, options, cores)
    cost = bfloat16_cost(task, dataset)
    if cost > _SLOW_BFLOAT16:
        tried.notes.append(f"bfloat16 is left out: a small step takes {cost:.1f} times as long as in float32 here")
    else:
        few = [plan for plan in tried.plans if plan.way == "fused" and plan.slots <= _REDUCED_SLOTS]
        tried.plans += [replace(plan, dtype="bfloat16") for plan in (tried.plans[0], *few[-1:])]
    if options.quick:
        tried.notes.append("nothing is compiled: --quick")
    elif missing := compiler_missing():
        tried.notes.append(missing)
    else:
        tried.plans.append(Plan("processes", compiled=True))
    if torch.cuda.is_available():
        tried.notes.append("the GPU is not measured, the processor alone")
    return tried


def bfloat16_cost(task: TaskConfig, dataset: Dataset) -> float:
    """How many times as long as in float32 a step of 8 images takes, on one thread."""
    short = timed(task)
    channels, _, _ = dataset.image_shape
    images_BCHW = torch.rand(
        8, channels, *largest_size(short, dataset.image_shape), generator=torch.Generator().manual_seed(0)
    )
    model = new_model(short, dataset, Seeds.of(0), _CPU)
    labels_B = torch.zeros(8, dtype=torch.int64)
    times: dict[bool, list[float]] = {False: [], True: []}
    with threads_of_torch(1):
        for _ in range(4):  # the first ones load code
            for reduced, found in times.items():
                began = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                    logits_BK = model(images_BCHW).float()
                functional.cross_entropy(logits_BK, labels_B).backward()
                found.append(time.perf_counter() - began)
    return min(times[True]) / min(times[False])


def plan_name(plan: Plan) -> str:
    """How a plan is called in the tables."""
    words = ["processes" if plan.way == "processes" else f"fused, K = {plan.slots}"]
    if plan.dtype != "float32":
        words.append(plan.dtype)
    if plan.compiled:
        words.append("compiled")
    return ", ".join(words)


def _fused(task: TaskConfig, dataset: Dataset, options: Options, notes: list[str]) -> Iterator[Plan]:
    try:
        Stream(task, dataset, 1, _CPU, torch.float32)
    except FusionError as error:
        notes.append(f"not fused: {error}")
        return
    yield from (Plan("fused", slots) for slots in options.slots)


def _add_affordable(tried: Tried, plans: list[Plan], task: TaskConfig, options: Options, cores: int) -> None:
    """Measure the memory of plans, in rising number of slots; add the first, and those that fit in all processes.

    Quickly, the last one's memory alone is measured.
    """
    room = _MEMORY_SHARE * available()
    each = 0.0  # MiB of a loss, as the last measurement says
    for plan in plans:
        if options.quick and plan != plans[-1]:
            tried.plans.append(plan)
            continue
        if each * plan.slots * cores > room:
            tried.notes.append(f"{plan.slots} losses at once would need more than this machine's memory")
            continue
        base, peak = peak_memory(task, plan, synthetic=options.synthetic)
        tried.memory.append(Memory(plan, base, peak))
        each = peak / plan.slots
        if tried.plans and (base + peak) * cores > room:
            tried.notes.append(f"{plan.slots} losses at once in {cores} processes would not fit in memory")
        else:
            tried.plans.append(plan)
