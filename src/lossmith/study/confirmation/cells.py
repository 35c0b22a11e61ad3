"""Cells: a data set with a model and an augmentation, and what tuning makes of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lossmith.settings import validate
from lossmith.study.confirmation.registration import RegisteredCell, RegisteredTuning
from lossmith.train.task import DataConfig, TaskConfig

FOLD = 2  # the validation images of tuning; a search has those of fold 0, an elimination those of fold 1
_DIGITS = 6  # of a learning rate: a factor's rounding must not tell one task from another


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the tuning grid in one cell."""

    learning_rate: float
    weight_decay: float
    factor: float  # of the cell's own learning rate
    task: TaskConfig  # with a task_id of its own


def registered_cell(task: TaskConfig) -> RegisteredCell:
    """A cell on the confirmation's validation fold."""
    own = task.model_copy(update={"data": task.data.model_copy(update={"validation_fold": FOLD})})
    return RegisteredCell(
        name=task.name,
        dataset=dataset_name(task.data),
        model=task.model,
        augmentation=augmentation_words(task),
        task=own,
    )


def settings(cell: RegisteredCell, tuning: RegisteredTuning) -> list[Setting]:
    """The grid of a cell: learning rates, and for each of them the weight decays.

    Raises:
        ConfigError: a learning rate is outside of what a task can have.
    """
    found = []
    for factor in tuning.learning_rates:
        rate = float(f"{cell.task.optimizer.learning_rate * factor:.{_DIGITS}g}")
        for decay in tuning.weight_decays:
            values = cell.task.model_dump(mode="json")
            values["optimizer"] |= {"learning_rate": rate, "weight_decay": decay}
            where = f"cell '{cell.name}' at {factor:g} times its learning rate"
            found.append(Setting(rate, decay, factor, validate(TaskConfig, values, where)))
    return found


def dataset_name(data: DataConfig) -> str:
    """The name of a data set: its source, with the last part of its path where the source can be any."""
    if data.source in ("npz", "folder", "huggingface") and data.path is not None:
        return f"{data.source}:{Path(data.path).name}"
    return data.source


def augmentation_words(task: TaskConfig) -> str:
    """The augmentation of a task in a few words; "none" where there is none."""
    augment = task.augment
    parts = []
    if augment.pad:
        parts.append(f"pad {augment.pad}")
    if augment.flip:
        parts.append("flip")
    if augment.randaugment is not None:
        magnitudes = [stage.magnitude for stage in task.stages if stage.magnitude is not None]
        strength = " to ".join(f"{each:g}" for each in (min(magnitudes), max(magnitudes))) if magnitudes else ""
        parts.append(f"RandAugment {strength or f'{augment.randaugment.magnitude:g}'}")
    if augment.cutout:
        parts.append(f"cutout {augment.cutout}")
    if augment.mixup:
        parts.append(f"mixup {augment.mixup:g}")
    if augment.cutmix:
        parts.append(f"cutmix {augment.cutmix:g}")
    return ", ".join(parts) or "none"
