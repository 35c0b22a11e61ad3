"""How long a confirmation will take, from how long its sources took."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from lossmith.study.confirmation.registration import Registration
from lossmith.study.confirmation.sources import SourceRun
from lossmith.train.task import TaskConfig


def estimated_seconds(registration: Registration, sources: Sequence[SourceRun], workers: int) -> float | None:
    """Wall seconds of all trainings, about; None where a cell is like no task on which the sources trained.

    A step of a cell takes as long as a step of a task with the same model, images, batches and augmentation did there.
    """
    losses, cells = len(registration.losses), len(registration.cells)
    each = (registration.trainings.tuning + registration.trainings.testing) / (losses * cells)  # of a loss in a cell
    total = 0.0
    for cell in registration.cells:
        known = [
            used.step_seconds
            for source in sources
            for used in source.tasks
            if used.step_seconds > 0 and _cost(used.task) == _cost(cell.task)
        ]
        if not known:
            return None
        total += statistics.median(known) * cell.task.steps * each * losses
    return total / workers


def _cost(task: TaskConfig) -> tuple[Any, ...]:
    """What a step's duration depends on."""
    data = (task.data.source, task.data.image_size)
    return task.model, data, task.resize, task.batch_size, task.augment, tuple(stage.resize for stage in task.stages)
