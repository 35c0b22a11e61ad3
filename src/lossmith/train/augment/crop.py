"""Random changes of a batch of images, each image with its own draw, without a loop over images.

Legend of the tensor names: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lossmith.train.task import AugmentConfig


def augment(images_BCHW: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """The batch, changed as `config` says; the very same tensor where it asks for nothing.

    Args:
        images_BCHW: any dtype, [B, C, H, W]; it is not changed.
        config: what to do.
        generator: the only source of randomness, on the device of the images.

    Returns:
        [B, C, H, W], the same dtype and device.
    """
    if config.pad > 0:
        images_BCHW = _pad_and_crop(images_BCHW, config.pad, generator)
    if config.flip:
        images_BCHW = _flip(images_BCHW, generator)
    return images_BCHW


def _pad_and_crop(images_BCHW: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Each image shifted by -pad..pad in both directions, uniformly, with zeros where it left."""
    batch, channels, height, width = images_BCHW.shape
    device = images_BCHW.device
    padded = functional.pad(images_BCHW, (pad, pad, pad, pad))
    offsets_2B = torch.randint(2 * pad + 1, (2, batch), generator=generator, device=device)
    rows_BH = offsets_2B[0, :, None] + torch.arange(height, device=device)
    columns_BW = offsets_2B[1, :, None] + torch.arange(width, device=device)
    positions_BHW = rows_BH[:, :, None] * (width + 2 * pad) + columns_BW[:, None, :]
    index = positions_BHW.view(batch, 1, height * width).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, index).view(batch, channels, height, width)


def _flip(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    draws = torch.rand(images_BCHW.shape[0], generator=generator, device=images_BCHW.device)
    return torch.where(draws.view(-1, 1, 1, 1) < 0.5, images_BCHW.flip(3), images_BCHW)
