"""Cutout: a square of each image is blanked (DeVries and Taylor 2017, arXiv 1708.04552).

Legend of the tensor names: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.train.augment.boxes import filled, inside


def cutout(images_BCHW: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Each image with a square of `side` pixels set to 0.

    The square's centre is any pixel of the image, each as likely; what of the square lies outside is cut off, as in the
    paper. An odd side is kept (the authors' program makes it one pixel smaller).
    """
    batch, _, height, width = images_BCHW.shape
    device = images_BCHW.device
    top_B = torch.randint(height, (batch,), generator=generator, device=device) - side // 2
    left_B = torch.randint(width, (batch,), generator=generator, device=device) - side // 2
    square_B1HW = inside((top_B, top_B + side), (left_B, left_B + side), height, width)
    return filled(images_BCHW, square_B1HW, 0)
