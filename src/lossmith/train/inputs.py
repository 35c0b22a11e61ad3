"""What a network is given: uint8 images, resized and scaled to floating point."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.train.augment import resized
from lossmith.train.task import TaskConfig


def scaled(
    images: Tensor, scaling: str, *, dtype: torch.dtype = torch.float32, memory_format: torch.memory_format
) -> Tensor:
    """Images [B, C, H, W] with values in 0..255, of any dtype, as the network's inputs.

    Args:
        images: uint8, or floating point where mixing made them so.
        scaling: "unit" gives x / 255, in [0, 1]; "centred" gives (x - 127.5) / 128.
        dtype: of the result.
        memory_format: of the result.
    """
    values = images.to(dtype, memory_format=memory_format, copy=True)
    return values.div_(255.0) if scaling == "unit" else values.sub_(127.5).div_(128.0)


def at_size(images: Tensor, size: int | None) -> Tensor:
    """uint8 images [B, C, H, W], made `size` pixels square; None, or that size already: as they are."""
    return images if size is None or tuple(images.shape[2:]) == (size, size) else resized(images, size)


def largest_size(task: TaskConfig, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width of the largest images that the task trains on."""
    return max(_sizes(task, image_shape))


def smallest_size(task: TaskConfig, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width of the images that the task trains on where they are smallest."""
    return min(_sizes(task, image_shape), key=min)


def _sizes(task: TaskConfig, image_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    _, height, width = image_shape
    sizes = [stage.resize or task.resize for stage in task.stages] or [task.resize]
    return [(size, size) if size else (height, width) for size in sizes]
