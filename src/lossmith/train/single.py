"""Training one loss once on one task with one seed: the plain way, which works for every model.

Only the loss differs between two calls with the same task, data and seed: initial weights, batches, augmentation draws
and dropout masks are the same, so their scores are compared in pairs. Nothing is read from or left in global state.

Legend of the tensor names: B batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from lossmith.errors import DataError, LossmithError
from lossmith.train.batches import Batches, Images, Seeds, generator
from lossmith.train.course import Course
from lossmith.train.data import Dataset
from lossmith.train.inputs import at_size, scaled, smallest_size
from lossmith.train.metrics import Scores, accuracy, predict, score
from lossmith.train.models import build_model, set_dropout
from lossmith.train.optimizer import build_optimizer
from lossmith.train.randomness import GlobalRandomness, kept
from lossmith.train.result import EpochRecord, TrainingResult
from lossmith.train.schedule import learning_rates
from lossmith.train.stages import prescreen_task
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

# logits float32 [B, K], and labels int64 [B] (or probabilities float32 [B, K] where the task mixes images) -> scalar
Loss = Callable[[Tensor, Tensor], Tensor]
ScoreSplit = Literal["validation", "test"]

_CPU = torch.device("cpu")
LAYOUT = torch.channels_last  # one thread of a CPU: the convnet is 1.3 times as fast at 28x28, the same at 8x8


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
    bfloat16: bool = False,
    compiled: bool = False,
    dtype: torch.dtype = torch.float32,
) -> TrainingResult:
    """Trains a new network with `loss` and scores it after the last step.

    Args:
        task: model, augmentation, optimizer, schedule and stopping rules; its `data` is not read, `dataset` is.
        dataset: the images. The test split is touched only where it is the score split, after the last step.
        loss: maps logits, float32 [B, K], and labels, int64 [B], to a scalar; any callable, any module. Where the task
            mixes images (`augment.mixup`, `augment.cutmix`) it is given probabilities, float32 [B, K], instead.
        seed: everything random derives from it, >= 0.
        score_split: what the score is measured on. A search uses "validation"; "test" is for a final comparison.
        on_epoch: called with each epoch's record as soon as the epoch ends.
        should_stop: asked before every step.
        device: where to train. The weights and the order of the batches are the same on every device.
        bfloat16: run the network's forward and backward pass under autocast; weights and losses stay in `dtype`.
        compiled: run the network through torch.compile.
        dtype: of weights and inputs; float64 is for checks.

    Returns:
        The result; one that does not reach the last step says why and has no score. A task's pre-screen comes first: a
        loss that fails it gets the result of the pre-screen.

    Raises:
        DataError: the images are too small for the task's augmentation.
        ConfigError: the task's model cannot be built; see `build_model`.
        TrainingStoppedError: `should_stop` said yes.
    """
    check_fit(task, dataset)
    first = prescreen_task(task)
    if first is not None:  # too short to be worth compiling
        failed = train(
            first, dataset, loss, seed, should_stop=should_stop, device=device, bfloat16=bfloat16, dtype=dtype
        )
        if not failed.reason.ok:
            return failed
    course = Course(task)
    seeds = Seeds.of(seed)
    rates = learning_rates(task.optimizer.learning_rate, task.steps, task.schedule)
    batches = Batches(task, dataset, Images(dataset.train, device), seed)

    with kept(device):
        GlobalRandomness(seeds, device).enter()
        model = new_model(task, dataset, seeds, device).to(device=device, dtype=dtype)
        model.to(memory_format=LAYOUT)  # pyright: ignore[reportCallIssue] - missing from the stub
        network = _network(model, device, bfloat16=bfloat16, compiled=compiled)
        optimizer = build_optimizer(task.optimizer, model.parameters())

        def prepare(images: Tensor) -> Tensor:
            sized = at_size(images.to(device), course.stage.size)
            return scaled(sized, task.scaling, dtype=dtype, memory_format=LAYOUT)

        def scores() -> Scores:
            if score_split == "validation":
                return score(validation_logits_NK, dataset.validation.labels)
            return score(predict(network, dataset.test, prepare), dataset.test.labels)

        correct = torch.zeros((), dtype=torch.int64, device=device)
        while True:
            if should_stop is not None and should_stop():
                raise TrainingStoppedError(f"training was stopped after {course.step} of {task.steps} steps")
            images_BCHW, target = batches.next(course.stage)
            logits_BK = network(scaled(images_BCHW, task.scaling, dtype=dtype, memory_format=LAYOUT))
            correct += right(logits_BK.detach(), target)
            batch_loss = loss_of(loss, logits_BK, target if target.dtype == torch.int64 else target.to(dtype))
            value = batch_loss.item()
            if not math.isfinite(value):
                return course.ended(Reason.LOSS_NOT_FINITE)
            optimizer.zero_grad(set_to_none=True)
            backward(batch_loss, model)
            optimizer.param_groups[0]["lr"] = rates[course.step]
            optimizer.step()
            if not course.stepped(value):
                continue

            if not _finite(model):
                return course.ended(Reason.WEIGHTS_NOT_FINITE)
            validation_logits_NK = predict(network, dataset.validation, prepare)
            record = course.epoch_ended(int(correct), accuracy(validation_logits_NK, dataset.validation.labels))
            correct.zero_()
            if on_epoch is not None:
                on_epoch(record)
            if course.hopeless():
                return course.ended(Reason.BELOW_THRESHOLD)
            if course.done:
                return course.ended(Reason.OK, scores())
            stage = course.next_stage()
            if stage is not None and stage.dropout is not None:
                set_dropout(model, stage.dropout)


def new_model(task: TaskConfig, dataset: Dataset, seeds: Seeds, device: torch.device) -> nn.Module:
    """The task's network as its training begins, on the CPU; its dropout draws on `device`."""
    channels, _, _ = dataset.image_shape
    model = build_model(
        task.model,
        in_channels=channels,
        num_classes=dataset.num_classes,
        generator=generator(seeds.weights),
        dropout_generator=generator(seeds.dropout, device),
        dropout=task.stages[0].dropout if task.stages and task.stages[0].dropout is not None else task.dropout,
        weights=task.weights,
    )
    return model.train()


def loss_of(loss: Loss, logits_BK: Tensor, target: Tensor) -> Tensor:
    """What `loss` gives, checked: one floating-point number.

    Raises:
        TypeError: it is no tensor, or not of real floating point.
        ValueError: it is not one number, or the loss changed what it was given.
    """
    before = logits_BK._version, target._version
    value = loss(logits_BK, target)
    if (logits_BK._version, target._version) != before:
        raise ValueError("the loss changes its logits or targets in place: let it work on copies")
    if not isinstance(value, Tensor):
        raise TypeError(f"the loss gave {type(value).__name__}, expected a tensor of one number")
    if value.numel() != 1:
        raise ValueError(f"the loss gave a tensor {list(value.shape)}, expected one number: take the mean")
    if not value.is_floating_point():
        raise TypeError(f"the loss gave a tensor of {value.dtype}, expected floating point")
    return value


def unused_logits() -> ValueError:
    """The error of a loss without a gradient."""
    return ValueError("the loss has no gradient: it does not depend on the logits, or takes them out of the graph")


def right(logits_BK: Tensor, target: Tensor) -> Tensor:
    """How many images are classified as their target, int64 [..., B], or likeliest target, [..., B, K]: int64 [...]."""
    label_B = target if target.dtype == torch.int64 else target.argmax(dim=-1)
    return (logits_BK.argmax(dim=-1) == label_B).sum(dim=-1)


def check_fit(task: TaskConfig, dataset: Dataset) -> None:
    """Refuse images that the task's augmentation would push out.

    Raises:
        DataError: the padding is as large as the images.
    """
    height, width = smallest_size(task, dataset.image_shape)
    if task.augment.pad >= min(height, width):
        problem = f"augment.pad {task.augment.pad} can push the whole of a {width}x{height} image of {dataset.name} out"
        raise DataError(f"task '{task.name}': {problem}; make it smaller")


def backward(batch_loss: Tensor, model: nn.Module) -> None:
    """The gradients of the model's parameters, where they have none yet.

    Raises:
        ValueError: none of them gets one.
    """
    if batch_loss.requires_grad:
        batch_loss.backward()
    if all(parameter.grad is None for parameter in model.parameters()):
        raise unused_logits()


def _network(model: nn.Module, device: torch.device, *, bfloat16: bool, compiled: bool) -> nn.Module:
    """`model` as it is run: its forward pass compiled, or under autocast with float32 logits, where asked for."""
    if not bfloat16 and not compiled:
        return model
    return _Autocast(model, device, bfloat16=bfloat16, compiled=compiled)


class _Autocast(nn.Module):
    """A network that is run compiled, or in bfloat16 with float32 logits; it has no weights of its own."""

    def __init__(self, model: nn.Module, device: torch.device, *, bfloat16: bool, compiled: bool) -> None:
        super().__init__()
        self.model = model
        self._run = torch.compile(model, dynamic=False) if compiled else model
        self._device, self._bfloat16 = device.type, bfloat16

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        if not self._bfloat16:
            return self._run(inputs_BCHW)
        with torch.autocast(self._device, torch.bfloat16):
            return self._run(inputs_BCHW).float()


def _finite(model: nn.Module) -> bool:
    """Whether every weight and every running statistic is finite."""
    return all(bool(value.isfinite().all()) for value in model.state_dict().values())
