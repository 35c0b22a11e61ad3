"""Rectangles of an image, each image its own.

Masks are uint8, because torch's kernels for bool, `where` and `masked_fill` among them, take about ten times as long on
a CPU.

Legend of the tensor names: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

Range = tuple[Tensor, Tensor]  # integer [B] each: the first position, and the one after the last


def inside(rows: Range, columns: Range, height: int, width: int) -> Tensor:
    """1 where a pixel lies in its image's rectangle, else 0: uint8 [B, 1, H, W]. A rectangle may go over the border."""
    return _between(rows, height)[:, None, :, None] * _between(columns, width)[:, None, None, :]


def filled(images_BCHW: Tensor, inside_B1HW: Tensor, level: int) -> Tensor:
    """uint8 images with `level`, 0..255, where the mask is 1."""
    outside_B1HW = inside_B1HW - 1  # 255 where the mask is 0
    return (images_BCHW & outside_B1HW) | (~outside_B1HW & level)


def _between(bounds: Range, size: int) -> Tensor:
    first_B, end_B = bounds
    positions = torch.arange(size, device=first_B.device)
    return ((positions >= first_B[:, None]) & (positions < end_B[:, None])).view(torch.uint8)
