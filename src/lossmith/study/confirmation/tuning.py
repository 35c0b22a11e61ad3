"""Tuning: each loss tries the same settings with the same seeds on validation images, and keeps the best of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossmith.errors import RunError
from lossmith.ledger import EvaluationRow
from lossmith.study.confirmation.cells import Setting, settings
from lossmith.study.confirmation.registration import RegisteredCell, RegisteredLoss, Registration
from lossmith.study.trainings import Training, Trainings


@dataclass(frozen=True, slots=True)
class Tried:
    """One loss at one setting."""

    setting: Setting
    rows: list[EvaluationRow]  # by tuning seed

    @property
    def values(self) -> list[float | None]:
        return [row.score for row in self.rows]

    @property
    def mean(self) -> float | None:
        """Of the seeds with which it trained; None where there is none."""
        present = [value for value in self.values if value is not None]
        return statistics.fmean(present) if present else None

    @property
    def rank(self) -> tuple[float, ...]:
        """The least is chosen: trained with the most seeds, then the highest mean, then nearest to the task's own rate,
        then the least weight decay."""
        trained = sum(value is not None for value in self.values)
        mean = self.mean if self.mean is not None else 0.0
        return -trained, -mean, abs(math.log(self.setting.factor)), self.setting.weight_decay


@dataclass(frozen=True, slots=True)
class Tuned:
    """One loss in one cell: what was tried, in the order of the grid, and which was chosen."""

    tried: list[Tried]
    chosen: int

    @property
    def setting(self) -> Setting:
        return self.tried[self.chosen].setting

    @property
    def edges(self) -> list[str]:
        """The sides of the grid at which the choice lies, where it has a middle: a wider one may hold a better."""
        factors = {each.setting.factor for each in self.tried}
        found = []
        if len(factors) > 2 and self.setting.factor == min(factors):
            found.append("lowest learning rate")
        if len(factors) > 2 and self.setting.factor == max(factors):
            found.append("highest learning rate")
        return found

    def content(self) -> dict[str, Any]:
        grid = [
            {
                "learning_rate": each.setting.learning_rate,
                "weight_decay": each.setting.weight_decay,
                "mean": each.mean,
                "values": each.values,
                "evaluations": [row.id for row in each.rows],
                "task_id": each.setting.task.task_id,
            }
            for each in self.tried
        ]
        return {"grid": grid, "chosen": self.chosen}


Tuning = Mapping[str, Mapping[str, Tuned]]  # cell name -> loss key -> what was tuned


def tune(registration: Registration, trainings: Trainings) -> Tuning:
    """Train every loss at every setting with every tuning seed, on the validation images, and choose.

    Raises:
        StoppedError, LossmithError: see `Trainings.run`.
    """
    grids = {cell.name: settings(cell, registration.tuning) for cell in registration.cells}
    wanted = [
        Training(loss.row, setting.task.task_id, seed, "validation")
        for cell in registration.cells
        for setting in grids[cell.name]  # the losses of one task are trained together
        for seed in registration.tuning.seeds
        for loss in registration.losses
    ]
    found = trainings.run(wanted)
    rows = {(key.loss, key.task, key.seed): row for key, row in found.items()}

    def tuned(cell: RegisteredCell, loss: RegisteredLoss) -> Tuned:
        tried = [
            Tried(setting, [rows[loss.key, setting.task.task_id, seed] for seed in registration.tuning.seeds])
            for setting in grids[cell.name]
        ]
        return Tuned(tried, min(range(len(tried)), key=lambda place: tried[place].rank))

    tuning = {cell.name: {loss.key: tuned(cell, loss) for loss in registration.losses} for cell in registration.cells}
    require_equal(tuning, registration)
    return tuning


def require_equal(tuning: Tuning, registration: Registration) -> None:
    """Refuse to go on where a loss was tuned with another budget than the registered one.

    Raises:
        RunError: see above.
    """
    for cell in registration.cells:
        grid = [(one.learning_rate, one.weight_decay) for one in settings(cell, registration.tuning)]
        for loss in registration.losses:
            tried = tuning.get(cell.name, {})[loss.key].tried if loss.key in tuning.get(cell.name, {}) else []
            own = [(each.setting.learning_rate, each.setting.weight_decay) for each in tried]
            seeds = [tuple(row.key.seed for row in each.rows) for each in tried]
            if own != grid or any(each != registration.tuning.seeds for each in seeds):
                raise RunError(
                    f"unequal tuning: in cell '{cell.name}', '{loss.label}' was tuned with {_budget(seeds)}, but"
                    f" {len(grid)} settings of {len(registration.tuning.seeds)} seeds are registered for every loss"
                )


def _budget(seeds: Sequence[Sequence[int]]) -> str:
    return f"{len(seeds)} settings and {sum(map(len, seeds))} trainings"
