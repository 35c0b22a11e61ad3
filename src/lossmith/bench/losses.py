"""What losses cost: `lossmith bench losses`.

Times are of forward and backward together, as ratios to `F.cross_entropy` with probabilities as targets, whose targets
the losses get too. The variants take turns in one run, and the median of many rounds is taken, since machines are
noisy. Memory and import times are measured in processes of their own.
"""

from __future__ import annotations

import functools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from lossmith.errors import LossmithError
from lossmith.losses.build import loss as build_loss
from lossmith.losses.kinds import ExpressionLoss
from lossmith.losses.population import Population
from lossmith.losses.tables import TabulatedPopulation
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import Expression
from lossmith.space.genome import random_genome
from lossmith.space.integrity import examine

# The longest among the best of searches on digits (preset `digits`, seed 0, with rungs and without).
EVOLVED = (
    "tanh_deriv(i1(y)) + reciprocal(yhat + tanh_deriv(i1(y)))",
    "yhat + erfc(abs(y)) + yhat / (yhat + erfc(abs(y)))",
    "max(abs(yhat), exp(yhat) * div_sqrt1p_sq(exp(yhat), y))",
)
SMALL, LARGE, HUGE = (128, 10), (1024, 1000), (4096, 1000)
SLOTS = 64  # of the population
_LONGEST = 5


@dataclass(frozen=True, slots=True)
class Timing:
    """The cost of one variant, forward and backward."""

    name: str
    seconds: float  # median
    ratio: float  # to the reference, in the same run
    like: float | None = None  # to F.cross_entropy with targets of the same kind; None where there are no targets


@dataclass(frozen=True, slots=True)
class Memory:
    """The most memory that forward and backward take beside logits and targets, of a process of its own."""

    name: str
    mebibytes: float


def longest() -> list[str]:
    """The losses of the zoo (at their defaults) and of `EVOLVED` whose expressions have the most operators.

    Without those that torch itself computes.
    """
    modules = ((name, build_loss(name)) for name in (*ZOO, *EVOLVED))
    found = {loss.expression: name for name, loss in modules if isinstance(loss, ExpressionLoss)}
    sized = {name: sum(bool(node.inputs) for node in expression.nodes) for expression, name in found.items()}
    return sorted(sized, key=lambda name: -sized[name])[:_LONGEST]


def compiler_missing() -> str:
    """Why torch's compiler cannot be used here, or the empty text."""
    candidates = [os.environ.get("CXX", ""), "g++", "clang++"]
    if any(candidate and shutil.which(candidate) for candidate in candidates):
        return ""
    return "no C++ compiler (g++ or clang++) is installed, so nothing is compiled"


def time_losses(
    names: list[str], shape: tuple[int, int], *, rounds: int, compiled: bool, threads: int, device: str = "cpu"
) -> list[Timing]:
    """The cost of losses beside cross-entropy.

    Args:
        names: what `lossmith.loss` takes.
        shape: (examples, classes).
        rounds: how often each variant is timed.
        compiled: whether each loss is timed after `compile()`, too.
        threads: of the CPU.
        device: "cpu" or "cuda".
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator).to(device).requires_grad_()
    soft = torch.randn(shape, generator=generator).softmax(1).to(device)
    hard = torch.randint(shape[1], shape[:1], generator=generator).to(device)
    variants: dict[str, Callable[[], Tensor]] = {
        "F.cross_entropy": functools.partial(F.cross_entropy, logits, soft),
        "F.cross_entropy, class indices": functools.partial(F.cross_entropy, logits, hard),
    }
    for name in names:
        modules = {"": build_loss(name)}
        if compiled:
            modules[", compiled"] = build_loss(name)
            modules[", compiled"].compile()
        for suffix, module in modules.items():
            variants[name + suffix] = functools.partial(module, logits, soft)
            variants[f"{name}, class indices{suffix}"] = functools.partial(module, logits, hard)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        times: dict[str, list[float]] = {name: [] for name in variants}
        for number in range(rounds + 2):
            for name, variant in variants.items():
                elapsed = _seconds(variant, logits)
                if number >= 2:  # the first rounds compile and warm up
                    times[name].append(elapsed)
    finally:
        torch.set_num_threads(before)
    medians = {name: statistics.median(found) for name, found in times.items()}
    soft, hard = medians["F.cross_entropy"], medians["F.cross_entropy, class indices"]
    return [
        Timing(name, median, median / soft, median / (hard if "class indices" in name else soft))
        for name, median in medians.items()
    ]


def _seconds(variant: Callable[[], Tensor], logits: Tensor) -> float:
    if logits.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    variant().backward()
    if logits.is_cuda:
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - began
    logits.grad = None
    return elapsed


def time_population(*, rounds: int) -> list[Timing]:
    """`SLOTS` random accepted losses over [SLOTS, 128, 10] in one call, as ratios to one of them over [128, 10]."""
    examples, classes = SMALL
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((SLOTS, examples, classes), generator=generator)
    labels = torch.randint(classes, (examples,), generator=generator)
    losses = [build_loss(expression) for expression in _random_expressions(SLOTS)]
    exact, table = Population(losses, classes=classes), TabulatedPopulation(losses, classes=classes)
    single = logits[0].clone().requires_grad_()
    times: dict[str, list[float]] = {"one loss": [], "exact": [], "tables": [], "tables, gradient alone": []}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(rounds + 2):
            began = time.perf_counter()
            for loss in losses:
                loss(single, labels).backward()
                single.grad = None
            times["one loss"].append((time.perf_counter() - began) / SLOTS)
            for name, call in (
                ("exact", exact.value_and_gradient),
                ("tables", table.value_and_gradient),
                ("tables, gradient alone", table.gradient),
            ):
                began = time.perf_counter()
                call(logits, labels)
                times[name].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    medians = {name: statistics.median(found[2:]) for name, found in times.items()}
    return [Timing(name, median, median / medians["one loss"]) for name, median in medians.items()]


def _random_expressions(count: int) -> list[Expression]:
    """The first accepted random graphs of a fixed stream."""
    rng = np.random.default_rng(0)

    def accepted() -> Iterator[Expression]:
        while True:
            genome = random_genome(rng)
            examined = examine(genome)
            if examined.verdict.ok and not examined.backwards:
                yield Expression.from_genome(genome)

    stream = accepted()
    return [next(stream) for _ in range(count)]


def measure_memory(names: list[str], *, compiled: bool) -> list[Memory]:
    """The peak memory of forward and backward at `HUGE`, soft targets; Linux alone.

    Raises:
        LossmithError: a process that measures failed.
    """
    found = [Memory("F.cross_entropy", _memory("", compiled=False))]
    for name in names:
        found.append(Memory(name, _memory(name, compiled=False)))
        if compiled:
            found.append(Memory(f"{name}, compiled", _memory(name, compiled=True)))
    return found


# VmHWM is the process's peak; writing 5 to clear_refs sets it back to what is in use. A small batch comes first, so
# that code that is loaded at first use is not counted.
_MEASURE = """
import sys, torch
name, compiled, examples, classes = sys.argv[1], sys.argv[2] == "True", int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
if name:
    import lossmith
    loss = lossmith.loss(name)
    if compiled:
        loss.compile()
else:
    loss = torch.nn.CrossEntropyLoss()
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
target = torch.randn(examples, classes).softmax(1)
logits = torch.randn(examples, classes, requires_grad=True)
few = torch.randn(8, classes, requires_grad=True)
loss(few, target[:8]).backward()
with open("/proc/self/clear_refs", "w") as refs:
    refs.write("5")
before = peak()
loss(logits, target).backward()
print(peak() - before)
"""


def _memory(name: str, *, compiled: bool) -> float:
    return float(_python(_MEASURE, name, str(compiled), *map(str, HUGE)))


def import_times(*, rounds: int) -> list[Timing]:
    """The time to import torch and lossmith with its `loss`, each in a new process, as ratios to torch."""
    programs = {"import torch": "import torch", "import lossmith": "import lossmith; lossmith.loss"}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, text in programs.items():
            began = time.perf_counter()
            _python(text)
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(found) for name, found in times.items()}
    return [Timing(name, median, median / medians["import torch"]) for name, median in medians.items()]


def _python(text: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", text, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise LossmithError(f"bench: a measuring process failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    return done.stdout.strip()


def bandwidth_fraction(seconds: float, shape: tuple[int, int], *, soft: bool) -> float:
    """The share of this GPU's copy bandwidth that a loss reaches: logits, gradient and, if `soft`, targets, once."""
    rows, classes = shape
    source = torch.empty(64 * 1024 * 1024, device="cuda")
    target = torch.empty_like(source)
    times: list[float] = []
    for _ in range(20):
        torch.cuda.synchronize()
        began = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    peak = 2 * source.numel() * source.element_size() / statistics.median(times)
    return (3 if soft else 2) * rows * classes * 4 / seconds / peak
