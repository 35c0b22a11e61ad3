"""Measuring the engine: all ways in turns, several rounds, medians."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch.nn import functional

from lossmith.bench.engine.cost import bytes_per_step, flops_per_step
from lossmith.bench.engine.crew import Crew
from lossmith.bench.engine.data import timed, whole
from lossmith.bench.engine.limits import Limits, measure_limits
from lossmith.bench.engine.loads import Evaluations, Scoring, Training
from lossmith.bench.engine.memory import available, peak_memory
from lossmith.bench.engine.pace import Pace, Window, joint_rate
from lossmith.bench.engine.plain import plain_evaluation, plain_times, threads_of_torch
from lossmith.bench.engine.result import EngineResult, Memory, Share, Way
from lossmith.bench.engine.searching import seconds_per_candidate
from lossmith.bench.engine.shares import Shares
from lossmith.bench.losses import EVOLVED, compiler_missing
from lossmith.train.batches import Seeds
from lossmith.train.data import Dataset
from lossmith.train.fused.network import FusionError
from lossmith.train.fused.stream import Stream
from lossmith.train.inputs import largest_size
from lossmith.train.plan import Plan
from lossmith.train.single import new_model
from lossmith.train.task import TaskConfig

SLOTS = (1, 4, 8, 16, 32)
QUICK_SLOTS = (1, 8)
PLAIN = "plain PyTorch"
LOSSES = ("cross_entropy", EVOLVED[1])  # whose shares are told
_CPU = torch.device("cpu")
_LONGEST_STEP = 6.0  # seconds; losses at once that need longer are not tried
_LONGEST_EVALUATION = 20.0  # seconds; one that needs longer is not measured as a whole
_MEMORY_SHARE = 0.7  # of what is available
_SLOW_BFLOAT16 = 1.5  # times float32; where a small step takes longer, the rest is not measured


@dataclass(frozen=True, slots=True)
class Options:
    """How thoroughly."""

    quick: bool
    synthetic: bool

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

    @property
    def window(self) -> Window:
        return Window(0.2, 1, 2) if self.quick else Window(1.0)

    @property
    def slots(self) -> tuple[int, ...]:
        return QUICK_SLOTS if self.quick else SLOTS


@dataclass(slots=True)
class _Variant:
    """A way of training that takes part in the rounds."""

    name: str
    plan: Plan | None
    processes: int
    threads: int = 1
    rates: list[float] = field(default_factory=list)


def measure(task: TaskConfig, dataset: Dataset, options: Options, status: Callable[[str], None]) -> EngineResult:
    """Everything that `lossmith bench engine` tells.

    Args:
        task: what is trained.
        dataset: its images, or random ones of their shape.
        options: how thoroughly.
        status: told what is measured next.

    Raises:
        LossmithError: the task cannot be trained, or a process that measures failed.
    """
    return _Bench(task, dataset, options, status).run()


class _Bench:
    def __init__(self, task: TaskConfig, dataset: Dataset, options: Options, status: Callable[[str], None]) -> None:
        self._task, self._dataset, self._options, self._status = task, dataset, options, status
        self._cores = len(os.sched_getaffinity(0))
        self._notes: list[str] = []
        self._memory: list[Memory] = []
        self._compile_seconds: float | None = None

    def run(self) -> EngineResult:
        if self._task.stages:
            self._notes.append(f"only the first of the task's {len(self._task.stages)} stages is measured")
        if self._task.prescreen is not None:
            self._notes.append("the task's pre-screen is not measured")
        self._status("counting operations")
        flops, moved = flops_per_step(self._task, self._dataset), bytes_per_step(self._task, self._dataset)
        plans = [Plan("processes"), *self._fusable()]
        self._status("memory")
        plans = self._affordable(plans)
        plans += self._more_plans(plans)
        with Crew(self._cores, self._task, self._dataset) as crew:
            variants = [*self._plain(), *self._variants(plans)]
            limits = self._rounds(crew, variants)
            self._status("scoring")
            scoring = 1.0 / crew.measure(Scoring(), self._options.window, self._cores).rate * self._cores
            ways = self._ways(variants, limits, flops, moved, scoring)
            best = max((way for way in ways if way.plan is not None), key=lambda way: way.rate)
            shares = self._shares(crew, best, scoring)
            plain, measured = self._evaluations(crew, ways[0], best)
        self._status("the search")
        initial, children = (32, 16) if self._options.quick else (128, 64)
        channels, height, width = self._dataset.image_shape
        return EngineResult(
            task=self._task.name,
            data=f"{self._dataset.name}, {channels}x{height}x{width}, {self._dataset.num_classes} classes",
            synthetic=self._options.synthetic,
            machine=_machine(),
            cores=self._cores,
            torch=torch.__version__,
            flops_per_step=flops,
            bytes_per_step=moved,
            limits=limits,
            ways=ways,
            best=best,
            evaluation_steps=self._task.steps,
            scoring_seconds=scoring,
            plain_evaluation=plain,
            best_evaluations_per_hour=measured,
            shares=shares,
            search_seconds=seconds_per_candidate(self._dataset.num_classes, initial=initial, children=children),
            memory=tuple(self._memory),
            compile_seconds=self._compile_seconds,
            notes=tuple(self._notes),
        )

    # -- what is measured --------------------------------------------------------------------------------------------

    def _fusable(self) -> Iterator[Plan]:
        try:
            Stream(timed(self._task), self._dataset, 1, _CPU, torch.float32)
        except FusionError as error:
            self._notes.append(f"not fused: {error}")
            return
        yield from (Plan("fused", slots) for slots in self._options.slots)

    def _affordable(self, plans: list[Plan]) -> list[Plan]:
        """The plans that the memory allows for in every core's process; what each takes is noted."""
        kept: list[Plan] = []
        room = _MEMORY_SHARE * available()
        each = 0.0  # MiB of a loss, as the last measurement says
        for plan in plans:
            if each * plan.slots * self._cores > room:
                self._notes.append(f"{plan.slots} losses at once would need more than this machine's memory")
                continue
            base, peak = peak_memory(self._task, plan, synthetic=self._options.synthetic)
            self._memory.append(Memory(plan, base, peak))
            each = peak / plan.slots
            if (base + peak) * self._cores > room:
                self._notes.append(f"{plan.slots} losses at once in {self._cores} processes would not fit into memory")
                continue
            kept.append(plan)
        return kept

    def _more_plans(self, plans: list[Plan]) -> list[Plan]:
        """bfloat16 where it is no waste of time, and compilation where there is a compiler."""
        more: list[Plan] = []
        self._status("bfloat16")
        cost = self._bfloat16_cost()
        if cost > _SLOW_BFLOAT16:
            self._notes.append(f"bfloat16 is left out: a small step takes {cost:.1f} times as long as in float32 here")
        else:
            largest = max((plan.slots for plan in plans if plan.way == "fused" and plan.slots <= 8), default=0)
            more += [replace(plan, dtype="bfloat16") for plan in plans if plan.slots == largest or plan == plans[0]]
        if self._options.quick:
            self._notes.append("nothing is compiled: --quick")
        elif missing := compiler_missing():
            self._notes.append(missing)
        else:
            more.append(Plan("processes", compiled=True))
        return more

    def _bfloat16_cost(self) -> float:
        """How many times as long as in float32 a step of 8 images takes, on one thread."""
        task = timed(self._task)
        channels, _, _ = self._dataset.image_shape
        images_BCHW = torch.rand(8, channels, *largest_size(task, self._dataset.image_shape))
        model = new_model(task, self._dataset, Seeds.of(0), _CPU)
        labels_B = torch.zeros(8, dtype=torch.int64)
        times: dict[bool, list[float]] = {False: [], True: []}
        with threads_of_torch(1):
            for _ in range(3):
                for reduced, found in times.items():
                    began = time.perf_counter()
                    with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                        logits_BK = model(images_BCHW).float()
                    functional.cross_entropy(logits_BK, labels_B).backward()
                    found.append(time.perf_counter() - began)
        return min(times[True]) / min(times[False])

    def _plain(self) -> list[_Variant]:
        everything = _Variant(PLAIN, None, 1, self._cores)
        return [everything, _Variant(PLAIN, None, 1)] if self._cores > 1 else [everything]

    def _variants(self, plans: list[Plan]) -> Iterator[_Variant]:
        for plan in plans:
            yield _Variant(plan_name(plan), plan, 1)
            if self._cores > 1:
                yield _Variant(plan_name(plan), plan, self._cores)

    # -- rounds ------------------------------------------------------------------------------------------------------

    def _rounds(self, crew: Crew, variants: list[_Variant]) -> tuple[Limits, ...]:
        """Every variant in turn, round after round; the variants take their rates."""
        counts = (1, self._cores) if self._cores > 1 else (1,)
        limits: dict[int, Limits] = {}
        for number in range(1, self._options.rounds + 1):
            for variant in list(variants):
                self._status(f"round {number} of {self._options.rounds}: {variant.name}, {_how_many(variant)}")
                if variant.plan is not None and self._too_long(variant.plan, variants):
                    variants.remove(variant)
                    continue
                variant.rates.append(self._rate(crew, variant))
            for count in counts:
                self._status(f"round {number} of {self._options.rounds}: limits of {_words(count, 'process')}")
                found = measure_limits(crew, self._options.window, count)
                limits[count] = found.better(limits[count]) if count in limits else found
        return tuple(limits[count] for count in counts)

    def _too_long(self, plan: Plan, variants: list[_Variant]) -> bool:
        """Whether a step of all losses at once would take too long, as a smaller number of them tells."""
        known = [v for v in variants if v.plan is not None and v.plan.way == plan.way and v.processes == 1 and v.rates]
        if plan.slots == 1 or not known:
            return False
        seconds = plan.slots / known[-1].rates[0]
        if seconds <= _LONGEST_STEP:
            return False
        note = f"{plan.slots} losses at once are left out: a step would take {seconds:.0f} seconds"
        if note not in self._notes:
            self._notes.append(note)
        return True

    def _rate(self, crew: Crew, variant: _Variant) -> float:
        """Candidate-steps per second."""
        window = self._options.window
        if variant.plan is None:
            return joint_rate([plain_times(timed(self._task), self._dataset, Pace(window), variant.threads)])
        found = crew.measure(Training(variant.plan), window, variant.processes)
        rate = found.rate * variant.plan.slots
        if variant.plan.compiled and self._compile_seconds is None:
            self._compile_seconds = found.first - variant.processes / found.rate
        return rate

    # -- what follows from it ----------------------------------------------------------------------------------------

    def _ways(
        self, variants: list[_Variant], limits: tuple[Limits, ...], flops: int, moved: int, scoring: float
    ) -> tuple[Way, ...]:
        by_count = {found.processes: found for found in limits}
        reference = statistics.median(variants[0].rates)
        ways: list[Way] = []
        for variant in variants:
            rate = statistics.median(variant.rates)
            threads = variant.processes * variant.threads
            # plain PyTorch scores with all its threads: as many times as fast, which is the best that it could do
            seconds = self._task.steps / rate + self._task.epochs * scoring / threads
            ways.append(
                Way(
                    name=variant.name,
                    plan=variant.plan,
                    processes=variant.processes,
                    threads=variant.threads,
                    rate=rate,
                    rounds=tuple(variant.rates),
                    ratio=rate / reference,
                    evaluations_per_hour=3600.0 / seconds,
                    arithmetic=rate * flops / by_count[threads].arithmetic,
                    bandwidth=rate * moved / by_count[threads].bandwidth,
                )
            )
        return tuple(ways)

    def _shares(self, crew: Crew, best: Way, scoring: float) -> tuple[Share, ...]:
        if best.plan is None:
            raise AssertionError("the best is one of the engine's")
        shares: list[Share] = []
        scoring_of_step = scoring * self._task.epochs / self._task.steps
        for loss in LOSSES:
            self._status(f"shares of the time: {loss}")
            extras = crew.measure(Shares(best.plan, loss), self._options.window, best.processes).extras
            parts = {part: statistics.mean(extra[part] for extra in extras) for part in extras[0]}
            parts["scoring"] = scoring_of_step
            total = sum(parts.values())
            shares.append(Share(loss, 1e3 * total, {part: seconds / total for part, seconds in parts.items()}))
        return tuple(shares)

    def _evaluations(self, crew: Crew, plain: Way, best: Way) -> tuple[float | None, float | None]:
        """Seconds of a whole evaluation in plain PyTorch, and those per hour of the best way, where not too long."""
        if self._task.stages or best.plan is None:
            return None, None
        alone = measured = None
        if 3600.0 / plain.evaluations_per_hour < _LONGEST_EVALUATION:
            self._status("a whole evaluation in plain PyTorch")
            alone = plain_evaluation(whole(self._task), self._dataset, plain.threads)
        at_once = best.processes * best.plan.slots
        if at_once * 3600.0 / best.evaluations_per_hour < _LONGEST_EVALUATION:
            self._status("whole evaluations the fastest way")
            once = Window(0.0, warm=0, least=1, until_all=False)
            measured = 3600.0 * best.plan.slots * crew.measure(Evaluations(best.plan), once, best.processes).rate
        return alone, measured


def plan_name(plan: Plan) -> str:
    """How a plan is called in the tables."""
    words = ["processes" if plan.way == "processes" else f"fused, K = {plan.slots}"]
    if plan.dtype != "float32":
        words.append(plan.dtype)
    if plan.compiled:
        words.append("compiled")
    return ", ".join(words)


def _how_many(variant: _Variant) -> str:
    return _words(variant.processes, "process") if variant.plan is not None else _words(variant.threads, "thread")


def _words(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "es" if what.endswith("s") else "s")


def _machine() -> str:
    """The processor's name and what torch uses of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.machine())}, {torch.backends.cpu.get_cpu_capability()}"
