"""Everything that an `AugmentConfig` asks for, applied to one batch.

Legend of the tensor names: B batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.train.augment.crop import flip, pad_and_crop
from lossmith.train.augment.cutout import cutout
from lossmith.train.augment.mixing import mixed
from lossmith.train.augment.randaugment import randaugment
from lossmith.train.task import AugmentConfig


def augment(
    images_BCHW: Tensor, labels_B: Tensor, config: AugmentConfig, generator: torch.Generator, *, num_classes: int
) -> tuple[Tensor, Tensor]:
    """The batch, changed as `config` says in the order of its fields, and its targets.

    What is not asked for draws nothing, and where nothing is asked for the very same tensors come back.

    Args:
        images_BCHW: uint8, [B, C, H, W], C is 1 or 3; it is not changed.
        labels_B: int64, [B], in 0..K-1.
        config: what to do.
        generator: the only source of randomness, on the device of the images.
        num_classes: K.

    Returns:
        The images, uint8 [B, C, H, W], and the labels as they were. Where `config.mixes`, images float32 in 0..255 and
        targets float32 [B, K], the probability of each class.
    """
    if config.pad > 0:
        images_BCHW = pad_and_crop(images_BCHW, config.pad, generator)
    if config.flip:
        images_BCHW = flip(images_BCHW, generator)
    if config.randaugment is not None:
        images_BCHW = randaugment(images_BCHW, config.randaugment, generator)
    if config.cutout > 0:
        images_BCHW = cutout(images_BCHW, config.cutout, generator)
    if config.mixes:
        return mixed(images_BCHW, labels_B, config, generator, num_classes=num_classes)
    return images_BCHW, labels_B
