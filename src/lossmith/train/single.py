"""Training one loss once on one task with one seed.

Only the loss differs between two calls with the same task, data and seed: initial weights, batches, augmentation draws
and dropout masks are the same, so their scores are compared in pairs. Nothing is read from or left in global state.

Legend of the tensor names: N images, B batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lossmith.errors import DataError, LossmithError
from lossmith.train.augment import augment
from lossmith.train.data import Dataset
from lossmith.train.metrics import Scores, accuracy, predict, scaled, score
from lossmith.train.models import build_model
from lossmith.train.result import EpochRecord, TrainingResult
from lossmith.train.schedule import learning_rates
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

Loss = Callable[[Tensor, Tensor], Tensor]  # logits float32 [B, K], labels int64 [B] -> scalar
ScoreSplit = Literal["validation", "test"]

_CPU = torch.device("cpu")
_LAYOUT = torch.channels_last  # one thread of a CPU: the convnet is 1.3 times as fast at 28x28, the same at 8x8


class TrainingStoppedError(LossmithError):
    """`should_stop` asked for the end: there is no result, and the caller knows why it asked."""


def train(
    task: TaskConfig,
    dataset: Dataset,
    loss: Loss,
    seed: int,
    *,
    score_split: ScoreSplit = "validation",
    on_epoch: Callable[[EpochRecord], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    device: torch.device = _CPU,
) -> TrainingResult:
    """Trains a new network with `loss` and scores it after the last step.

    Args:
        task: model, augmentation, optimizer, schedule and stopping rules; its `data` is not read, `dataset` is.
        dataset: the images. The test split is touched only where it is the score split, after the last step.
        loss: maps logits, float32 [B, K], and labels, int64 [B], to a scalar; any callable, any module.
        seed: everything random derives from it, >= 0.
        score_split: what the score is measured on. A search uses "validation"; "test" is for a final comparison.
        on_epoch: called with each epoch's record as soon as the epoch ends.
        should_stop: asked before every step.
        device: where to train. The weights and the order of the batches are the same on every device.

    Returns:
        The result; one that does not reach the last step says why and has no score.

    Raises:
        DataError: the images are too small for the task's augmentation.
        TrainingStoppedError: `should_stop` said yes.
    """
    started = time.perf_counter()
    _check_fit(task, dataset)
    weights_seed, order_seed, augment_seed, dropout_seed = np.random.SeedSequence(seed).spawn(4)
    channels, _, _ = dataset.image_shape
    model = build_model(
        task.model,
        in_channels=channels,
        num_classes=dataset.num_classes,
        generator=_generator(weights_seed, _CPU),
        dropout_generator=_generator(dropout_seed, device),
        dropout=task.dropout,
    )
    model.to(device).to(memory_format=_LAYOUT)  # pyright: ignore[reportCallIssue] - missing from the stub
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=task.optimizer.learning_rate,
        betas=task.optimizer.betas,
        eps=task.optimizer.eps,
        weight_decay=task.optimizer.weight_decay,
        fused=True,
    )
    rates = learning_rates(task.optimizer.learning_rate, task.steps, task.schedule)
    images_NCHW, labels_N = dataset.train.images.to(device), dataset.train.labels.to(device)
    order_TB = _batches(len(dataset.train), task.steps, task.batch_size, _generator(order_seed, _CPU)).to(device)
    augment_generator = _generator(augment_seed, device)

    curve: list[EpochRecord] = []
    validation_logits_NK = torch.empty(0)  # of the last epoch that ended

    def ended(reason: Reason, steps: int, scores: Scores | None = None) -> TrainingResult:
        return TrainingResult(
            reason=reason,
            score=scores.accuracy if scores else None,
            nll=scores.nll if scores else None,
            ece=scores.ece if scores else None,
            curve=tuple(curve),
            steps=steps,
            seconds=time.perf_counter() - started,
        )

    for first in range(0, task.steps, task.epoch_steps):
        last = min(first + task.epoch_steps, task.steps)
        loss_sum, correct = 0.0, torch.zeros((), dtype=torch.int64, device=device)
        for step in range(first, last):
            if should_stop is not None and should_stop():
                raise TrainingStoppedError(f"training was stopped after {step} of {task.steps} steps")
            target_B = labels_N.index_select(0, order_TB[step])
            batch_BCHW = augment(images_NCHW.index_select(0, order_TB[step]), task.augment, augment_generator)
            logits_BK = model(scaled(batch_BCHW, _LAYOUT))
            batch_loss = loss(logits_BK, target_B)
            value = batch_loss.item()
            if not math.isfinite(value):
                return ended(Reason.LOSS_NOT_FINITE, step)
            optimizer.zero_grad(set_to_none=True)
            batch_loss.backward()
            optimizer.param_groups[0]["lr"] = rates[step]
            optimizer.step()
            loss_sum += value
            correct += (logits_BK.detach().argmax(dim=1) == target_B).sum()

        if not _finite(model):
            return ended(Reason.WEIGHTS_NOT_FINITE, last)
        validation_logits_NK = predict(model, dataset.validation.images, device=device, memory_format=_LAYOUT)
        record = EpochRecord(
            epoch=len(curve) + 1,
            step=last,
            train_loss=loss_sum / (last - first),
            train_accuracy=int(correct) / ((last - first) * task.batch_size),
            validation_accuracy=accuracy(validation_logits_NK, dataset.validation.labels),
            seconds=time.perf_counter() - started,
        )
        curve.append(record)
        if on_epoch is not None:
            on_epoch(record)
        if any(
            record.epoch >= rule.from_epoch and record.train_accuracy < rule.min_train_accuracy
            for rule in task.stopping
        ):
            return ended(Reason.BELOW_THRESHOLD, last)

    if score_split == "validation":
        return ended(Reason.OK, task.steps, score(validation_logits_NK, dataset.validation.labels))
    test_logits_NK = predict(model, dataset.test.images, device=device, memory_format=_LAYOUT)
    return ended(Reason.OK, task.steps, score(test_logits_NK, dataset.test.labels))


def _check_fit(task: TaskConfig, dataset: Dataset) -> None:
    _, height, width = dataset.image_shape
    if task.augment.pad >= min(height, width):
        problem = f"augment.pad {task.augment.pad} can push the whole of a {width}x{height} image of {dataset.name} out"
        raise DataError(f"task '{task.name}': {problem}; make it smaller")


def _generator(seed: np.random.SeedSequence, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0]))


def _batches(count: int, steps: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """The images of every step, int64 [steps, batch_size]: permutations of 0..count-1, one after the other.

    A batch may span two permutations, so every image is used equally often and any batch size fits any data.
    """
    passes = math.ceil(steps * batch_size / count)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])
    return order[: steps * batch_size].view(steps, batch_size)


def _finite(model: nn.Module) -> bool:
    """Whether every weight and every running statistic is finite."""
    return all(bool(value.isfinite().all()) for value in model.state_dict().values())
