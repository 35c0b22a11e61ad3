"""The stages of a task's training, with what each has of its own filled in."""

from __future__ import annotations

from dataclasses import dataclass

from lossmith.train.task import StopRule, TaskConfig


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training at one image size."""

    first: int  # its first step, from 0
    last: int  # one after its last step
    size: int | None  # pixels square; None: as the data has them
    dropout: float | None  # None: the model's own
    magnitude: float | None  # of RandAugment; None: the task's


def stages(task: TaskConfig) -> tuple[Stage, ...]:
    """The stages in order; a task without any is one."""
    if not task.stages:
        return (Stage(0, task.steps, task.resize, task.dropout, None),)
    found: list[Stage] = []
    first = 0
    for stage in task.stages:
        size = stage.resize if stage.resize is not None else task.resize
        dropout = stage.dropout if stage.dropout is not None else task.dropout
        found.append(Stage(first, first + stage.steps, size, dropout, stage.magnitude))
        first += stage.steps
    return tuple(found)


def prescreen_task(task: TaskConfig) -> TaskConfig | None:
    """The short plain training that a task begins with, as a task of its own; None where it has none.

    Its stopping rule is at its last epoch.
    """
    pre = task.prescreen
    if pre is None:
        return None
    schedule = task.schedule.model_copy(update={"total_steps": pre.total_steps})
    plain = TaskConfig(
        name=f"{task.name}: pre-screen",
        model=pre.model,
        dropout=pre.dropout,
        data=task.data,
        steps=pre.steps,
        batch_size=pre.batch_size,
        epoch_steps=task.epoch_steps,
        optimizer=task.optimizer,
        schedule=schedule,
    )
    rule = StopRule(from_epoch=plain.epochs, min_train_accuracy=pre.min_train_accuracy)
    return plain.model_copy(update={"stopping": (rule,)})
