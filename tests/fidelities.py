"""Fidelity studies that train nothing, for tests: each training has the curve that a function says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy import stats

from eliminations import loss_rows
from lossmith.ledger import Ledger
from lossmith.search.evaluation import prepare
from lossmith.search.seeds import Purpose, stage_seeds
from lossmith.search.serving import EvaluationJob
from lossmith.study.fidelity.config import FidelityConfig, fidelity_of
from lossmith.study.fidelity.fidelity import fidelity
from lossmith.study.fidelity.losses import RankedLoss
from lossmith.study.trainings import Trainings
from lossmith.train.plan import Plan
from lossmith.train.result import EpochRecord, TrainingResult
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason
from scripted import Scripted

# of (the loss's number, the task's name, the seed's number): validation accuracy after each epoch of 20 steps; where
# there are fewer than the task has, the training ended there, below its threshold
Curve = Callable[[int, str, int], Sequence[float]]
SECONDS = 0.5  # of an epoch


def scipy_tau(a: Any, b: Any) -> float:
    """Kendall's tau-b as scipy computes it; its types say less than it gives."""
    result: Any = stats.kendalltau(a, b)
    return float(result.statistic)


def scipy_rho(a: Any, b: Any) -> float:
    """Spearman's rank correlation as scipy computes it."""
    result: Any = stats.spearmanr(a, b)
    return float(result.statistic)


def losses(count: int, seed: int = 0) -> list[RankedLoss]:
    return [RankedLoss(f"loss {place}", row, "random") for place, row in enumerate(loss_rows(count, seed))]


def settings(*surrogates: str, **changes: Any) -> FidelityConfig:
    """An expensive task of four epochs, and surrogates of two with these names."""

    def task(steps: int, epoch: int = 20) -> dict[str, Any]:
        return {"base": "digits", "steps": steps, "epoch_steps": epoch, "stopping": []}

    # a surrogate's batch size makes it another task
    others = [{"name": name, "task": {**task(40), "batch_size": 32 + place}} for place, name in enumerate(surrogates)]
    values = {"name": "test", "expensive": {"task": task(80), "seeds": 4}, "surrogates": others, "resamples": 300}
    return fidelity_of({**values, **changes}, "test")


class ImaginedCurves(Scripted):
    """Each evaluation has the curve that a function says."""

    def __init__(self, config: FidelityConfig, ranked: Sequence[RankedLoss], curve: Curve) -> None:
        super().__init__(lambda job, task: None)
        self._curve = curve
        self._losses = {each.loss.key: place for place, each in enumerate(ranked)}
        seeds = stage_seeds(config.seed, Purpose.FIDELITY, config.expensive.seeds)
        self._seeds = {seed: place for place, seed in enumerate(seeds)}
        self.trained: list[tuple[int, str, int]] = []

    def result(self, job: EvaluationJob, task: TaskConfig) -> TrainingResult:
        assert job.split == "validation"
        what = self._losses[job.loss.key], task.name, self._seeds[job.seed]
        self.trained.append(what)
        points = list(self._curve(*what))
        records = tuple(
            EpochRecord(place, 20 * place, 1.0, 0.5, accuracy, SECONDS * place)
            for place, accuracy in enumerate(points, start=1)
        )
        whole = len(points) == task.epochs
        reason = Reason.OK if whole else Reason.BELOW_THRESHOLD
        score = points[-1] if whole else None
        return TrainingResult(reason, score, None, None, records, 20 * len(points), SECONDS * len(points))


def run(
    directory: Path,
    config: FidelityConfig,
    ranked: Sequence[RankedLoss],
    curve: Curve,
    *,
    stop_after: int | None = None,
) -> tuple[dict[str, Any], ImaginedCurves]:
    """A study in `directory`, from the start or from where it was; `stop_after` so many trainings it stops.

    Raises:
        StoppedError: it was stopped.
    """
    executor = ImaginedCurves(config, ranked, curve)
    setup = prepare([config.expensive.task, *(each.task for each in config.surrogates)])
    setup = replace(setup, plans=dict.fromkeys(setup.tasks, Plan("processes")))
    exists = (directory / "ledger.sqlite").exists()
    with Ledger.open(directory) if exists else Ledger.create(directory, {"name": "test"}) as ledger:
        ledger.begin_session("test", 1, {}, time.monotonic())
        trainings = Trainings(
            ledger,
            setup,
            executor,
            should_stop=lambda: stop_after is not None and len(executor.trained) >= stop_after,
        )
        return fidelity(ledger, config, setup, ranked, trainings), executor
