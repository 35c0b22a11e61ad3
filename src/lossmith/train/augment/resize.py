"""Images of another size.

Legend of the tensor names: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def resized(images_BCHW: Tensor, size: int) -> Tensor:
    """Images made square by bilinear interpolation, uint8 [B, C, size, size]; the very same tensor where they are.

    Pixels are unit squares (half-pixel centres). To smaller sizes the filter widens with the scale (antialiasing), as
    Pillow's does. Levels are rounded to the nearest.

    Args:
        images_BCHW: uint8, [B, C, H, W].
        size: rows and columns of the result.
    """
    height, width = images_BCHW.shape[2:]
    if height == width == size:
        return images_BCHW
    antialias = size < max(height, width)  # to larger sizes it changes nothing and takes half as long again
    if images_BCHW.device.type == "cpu":  # torch's kernel for uint8, which computes in integers as Pillow's
        return interpolate(images_BCHW, size=(size, size), mode="bilinear", antialias=antialias)
    levels = interpolate(images_BCHW.float(), size=(size, size), mode="bilinear", antialias=antialias)
    return levels.round_().clamp_(0.0, 255.0).to(torch.uint8)
