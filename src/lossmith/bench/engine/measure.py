"""Measuring the engine: all ways in turns, several rounds, medians."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from lossmith.bench.engine.cost import bytes_per_step, flops_per_step
from lossmith.bench.engine.crew import Crew
from lossmith.bench.engine.data import timed, whole
from lossmith.bench.engine.limits import Limits, measure_limits
from lossmith.bench.engine.loads import Evaluations, Scoring, Training
from lossmith.bench.engine.machine import busy_share, machine_name
from lossmith.bench.engine.pace import Pace, Window, joint_rate
from lossmith.bench.engine.plain import plain_evaluation, plain_times
from lossmith.bench.engine.plans import Options, choose_plans, plan_name
from lossmith.bench.engine.result import EngineResult, Share, Way
from lossmith.bench.engine.searching import seconds_per_candidate
from lossmith.bench.engine.shares import Shares
from lossmith.bench.losses import EVOLVED
from lossmith.train.data import Dataset
from lossmith.train.plan import Plan
from lossmith.train.task import TaskConfig

LOSSES = ("cross_entropy", EVOLVED[1])  # whose shares are told
_LONGEST_STEP = 6.0  # seconds; losses at once that need longer are not tried
_LONGEST_EVALUATION = 20.0  # seconds; one that needs longer is not measured as a whole


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
        self._compile_seconds: float | None = None

    def run(self) -> EngineResult:
        busy = busy_share()
        if self._task.stages:
            stages = len(self._task.stages)
            self._notes.append(f"only the first of the task's {stages} stages is measured, so evaluations are not")
        if self._task.prescreen is not None:
            self._notes.append("the task's pre-screen is not measured")
        self._status("counting operations")
        flops, moved = flops_per_step(self._task, self._dataset), bytes_per_step(self._task, self._dataset)
        self._status("memory, and what else can be tried")
        tried = choose_plans(self._task, self._dataset, self._options, self._cores)
        self._notes += tried.notes
        with Crew(self._cores, self._task, self._dataset) as crew:
            variants = [*self._plain(), *self._variants(tried.plans)]
            limits = self._rounds(crew, variants)
            self._status("scoring")
            scoring = 1.0 / crew.measure(Scoring(), self._options.window, self._cores).rate * self._cores
            ways = self._ways(variants, limits, flops, moved, scoring)
            whole_machine = (way for way in ways if way.plan is not None and way.processes == self._cores)
            best = max(whole_machine, key=lambda way: way.rate)
            shares = self._shares(crew, best, scoring)
            plain, measured = self._evaluations(crew, ways[0], best)
        self._status("the search")
        initial, children = (16, 8) if self._options.quick else (128, 64)
        channels, height, width = self._dataset.image_shape
        return EngineResult(
            task=self._task.name,
            data=f"{self._dataset.name}, {channels}x{height}x{width}, {self._dataset.num_classes} classes",
            synthetic=self._options.synthetic,
            machine=machine_name(),
            busy=busy,
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
            memory=tuple(tried.memory),
            compile_seconds=self._compile_seconds,
            notes=tuple(self._notes),
        )

    # -- what is measured --------------------------------------------------------------------------------------------

    def _plain(self) -> list[_Variant]:
        counts = (self._cores, 1) if self._cores > 1 else (1,)
        return [_Variant(f"plain, {_words(count, 'thread')}", None, 1, count) for count in counts]

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
            place = f"round {number} of {self._options.rounds}"
            for variant in list(variants):
                self._status(f"{place}: {variant.name}, {_words(variant.processes, 'process')}")
                if variant.plan is not None and self._too_long(variant.plan, variants):
                    variants.remove(variant)
                    continue
                variant.rates.append(self._rate(crew, variant))
            for count in counts:
                self._status(f"{place}: limits of {_words(count, 'process')}")
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
                    evaluations_per_hour=None if self._task.stages else 3600.0 / seconds,
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
            self._status("shares of the time")
            extras = crew.measure(Shares(best.plan, loss), self._options.window, best.processes).extras
            parts = {part: statistics.mean(extra[part] for extra in extras) for part in extras[0]}
            parts["scoring"] = scoring_of_step
            total = sum(parts.values())
            shares.append(Share(loss, 1e3 * total, {part: seconds / total for part, seconds in parts.items()}))
        return tuple(shares)

    def _evaluations(self, crew: Crew, plain: Way, best: Way) -> tuple[float | None, float | None]:
        """Seconds of a whole evaluation in plain PyTorch, and those per hour of the best way, where not too long."""
        if plain.evaluations_per_hour is None or best.evaluations_per_hour is None or best.plan is None:
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


def _words(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "es" if what.endswith("s") else "s")
