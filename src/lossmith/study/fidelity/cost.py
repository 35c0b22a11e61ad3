"""What a training costs, counted instead of timed: floating-point operations."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from lossmith.train.models import build_model
from lossmith.train.stages import stages
from lossmith.train.task import TaskConfig

_PASSES = 3  # a backward pass computes about twice what the forward pass does


def training_flops(task: TaskConfig, image_shape: tuple[int, int, int], classes: int) -> list[float]:
    """Floating-point operations of convolutions and matrix products in one step of training, for each stage.

    The pre-screen, augmentation and validation are not counted; two operations are a multiplication and an addition.

    Args:
        task: what is trained.
        image_shape: (channels, height, width) of the data.
        classes: of the data.

    Returns:
        A number for each stage of the task, in order.

    Raises:
        ConfigError: the model cannot be built.
    """
    draws = torch.Generator().manual_seed(0)
    model = build_model(
        task.model,
        in_channels=image_shape[0],
        num_classes=classes,
        generator=draws,
        dropout_generator=draws,
    ).eval()
    found: list[float] = []
    for stage in stages(task):
        size = image_shape[1:] if stage.size is None else (stage.size, stage.size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, image_shape[0], *size))
        found.append(float(_PASSES * task.batch_size * counter.get_total_flops()))
    return found


def flops_until(task: TaskConfig, by_stage: list[float], step: int) -> float:
    """Operations of the first `step` steps, `by_stage` being those of one step in each stage."""
    total = 0.0
    for stage, each in zip(stages(task), by_stage, strict=True):
        total += each * max(0, min(step, stage.last) - stage.first)
    return total
