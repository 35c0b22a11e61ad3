"""Color and Sharpness: what mixes the channels or the neighbours of a pixel. Equal to Pillow's, rounding included.

Legend of the tensor names: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.train.augment.pointwise import blended, grey


def color(images_BCHW: Tensor, factor: float) -> Tensor:
    """Each pixel moved away from its grey by `factor`, uint8 [B, C, H, W]; a grey image as it is."""
    return blended(grey(images_BCHW).float(), images_BCHW.float(), factor)


def sharpness(images_BCHW: Tensor, factor: float) -> Tensor:
    """Each pixel moved away from the mean around it by `factor`, uint8 [B, C, H, W].

    The mean is over 3 x 3 pixels with weight 5 at the centre and 1 around it. Pixels of the border stay.
    """
    levels = images_BCHW.to(torch.int16)
    across = levels[..., :-2] + levels[..., 1:-1] + levels[..., 2:]
    centre = levels[..., 1:-1, 1:-1]
    weighted = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :] + 4 * centre
    smooth = (weighted.float() + 6.5).div_(13.0).floor_()  # to the nearest: a sum of integers is never at the half
    result = images_BCHW.clone()
    result[..., 1:-1, 1:-1] = blended(smooth, centre.float(), factor)
    return result
