"""Mixup (Zhang et al. 2017, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899), each image its own draw.

Legend of the tensor names: B batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossmith.train.augment.boxes import inside
from lossmith.train.task import AugmentConfig


def mixed(
    images_BCHW: Tensor, labels_B: Tensor, config: AugmentConfig, generator: torch.Generator, *, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Each image mixed with another of its batch, and its target with the other's in the same shares.

    The others are the batch in a random order, so an image may meet itself. Mixup averages the two with a weight from
    Beta(alpha, alpha); CutMix replaces a box of the other's share, at any place and cut off at the border, and counts
    its pixels. Where both are asked for, each image draws one of them with probability 1/2.

    Args:
        images_BCHW: uint8, [B, C, H, W].
        labels_B: int64, [B].
        config: the two alphas, at least one of them over 0.
        generator: the only source of randomness, on the device of the images.
        num_classes: K.

    Returns:
        float32 [B, C, H, W] in 0..255, and float32 [B, K] whose rows sum to 1.
    """
    batch, _, height, width = images_BCHW.shape
    device = images_BCHW.device
    others_B = torch.rand(batch, generator=generator, device=device).argsort()
    if config.mixup > 0.0:
        share_B = symmetric_beta(config.mixup, batch, generator)
        weight_B1HW = share_B.view(-1, 1, 1, 1)
        if config.cutmix > 0.0:
            pasted_B = torch.rand(batch, generator=generator, device=device) < 0.5
            cut_share_B, kept_B1HW = _boxes(config.cutmix, batch, height, width, generator)
            share_B = torch.where(pasted_B, cut_share_B, share_B)
            weight_B1HW = torch.where(pasted_B.view(-1, 1, 1, 1), kept_B1HW, weight_B1HW)
    else:
        share_B, weight_B1HW = _boxes(config.cutmix, batch, height, width, generator)
    own = images_BCHW.float()
    images = torch.lerp(own.index_select(0, others_B), own, weight_B1HW)  # exact at weights 0 and 1
    targets_BK = (labels_B[:, None] == torch.arange(num_classes, device=device)).float()
    return images, torch.lerp(targets_BK.index_select(0, others_B), targets_BK, share_B[:, None])


def symmetric_beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Draws from Beta(alpha, alpha), float32 [count] in [0, 1], from two uniform numbers each.

    Student's t with 2 alpha degrees of freedom by Bailey's polar method (Mathematics of Computation 62, 1994), taken to
    Beta: exact for every alpha over 0, and unlike a quotient of Gamma draws it neither rejects nor underflows.
    """
    radius, angle = torch.rand(2, count, generator=generator, device=generator.device, dtype=torch.float64)
    squared_radius = torch.expm1(-torch.log1p(-radius) / alpha)
    cosine = torch.cos(2.0 * math.pi * angle)
    distance = torch.rsqrt(1.0 + 1.0 / (squared_radius * cosine.square()))
    return (0.5 + 0.5 * torch.copysign(distance, cosine)).float()


def _boxes(alpha: float, batch: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The share of its pixels that each image keeps, float32 [B], and which, float32 [B, 1, H, W] of 0 and 1.

    A box's sides are those of the image times sqrt(1 - draw), rounded down to even as in the paper's program.
    """
    device = generator.device
    scale_B = (1.0 - symmetric_beta(alpha, batch, generator)).sqrt()

    def span(size: int) -> tuple[Tensor, Tensor]:
        centre_B = torch.randint(size, (batch,), generator=generator, device=device)
        half_B = (size * scale_B).long() // 2
        return centre_B - half_B, centre_B + half_B

    kept_B1HW = 1.0 - inside(span(height), span(width), height, width).float()
    return kept_B1HW.mean(dim=(1, 2, 3)), kept_B1HW
