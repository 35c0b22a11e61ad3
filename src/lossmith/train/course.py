"""The course of one training: its epochs, its curve, and what ends it. The same for every way of training."""

from __future__ import annotations

import time
from collections.abc import Callable

from lossmith.train.metrics import Scores
from lossmith.train.result import EpochRecord, TrainingResult
from lossmith.train.stages import Stage, stages
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason


class Course:
    """Where one training is.

    An epoch is `epoch_steps` steps of one stage; the last of a stage may be shorter. `clock` gives seconds.
    """

    def __init__(self, task: TaskConfig, clock: Callable[[], float] = time.perf_counter) -> None:
        self._task = task
        self._clock = clock
        self._stages = stages(task)
        self._place = 0  # of the present stage
        self._epochs = 0  # of the present stage that ended
        self._first = 0  # step at which the present epoch began
        self._loss_sum = 0.0
        self._started = clock()
        self._curve: list[EpochRecord] = []
        self.step = 0  # optimizer steps done

    @property
    def stage(self) -> Stage:
        return self._stages[self._place]

    @property
    def done(self) -> bool:
        return self.step == self._task.steps

    def stepped(self, loss: float) -> bool:
        """Count a step with the loss it had; whether it was the last of its epoch."""
        self.step += 1
        self._loss_sum += loss
        return self.step == self.stage.last or self.step - self._first == self._task.epoch_steps

    def epoch_ended(self, correct: int, validation_accuracy: float) -> EpochRecord:
        """Note the epoch that ended: `correct` training images of it were classified rightly as it trained."""
        steps = self.step - self._first
        record = EpochRecord(
            epoch=len(self._curve) + 1,
            step=self.step,
            train_loss=self._loss_sum / steps,
            train_accuracy=correct / (steps * self._task.batch_size),
            validation_accuracy=validation_accuracy,
            seconds=self._clock() - self._started,
        )
        self._curve.append(record)
        self._epochs += 1
        self._first, self._loss_sum = self.step, 0.0
        return record

    def hopeless(self) -> bool:
        """Whether a stopping rule ends training after the epoch that was noted last."""
        accuracy = self._curve[-1].train_accuracy
        rules = self._task.stopping
        return any(self._epochs >= rule.from_epoch and accuracy < rule.min_train_accuracy for rule in rules)

    def next_stage(self) -> Stage | None:
        """The stage that begins now, after an epoch; None where the present one goes on, or was the last."""
        if self.step != self.stage.last or self.done:
            return None
        self._place += 1
        self._epochs = 0
        return self.stage

    def ended(self, reason: Reason, scores: Scores | None = None) -> TrainingResult:
        return TrainingResult(
            reason=reason,
            score=scores.accuracy if scores else None,
            nll=scores.nll if scores else None,
            ece=scores.ece if scores else None,
            curve=tuple(self._curve),
            steps=self.step,
            seconds=self._clock() - self._started,
        )
