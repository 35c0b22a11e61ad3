"""Rotation, shears and translations by nearest neighbour.

A pixel of the result takes the pixel of the image in which its centre falls under an affine map (x', y') = (a x + b y +
c, d x + e y + f); pixels are unit squares and the upper left corner of the image is (0, 0). The arithmetic is Pillow's,
in 16 fractional bits, so that results are the same on every device.

Legend of the tensor names: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossmith.train.augment.gather import at_positions

Affine = tuple[float, float, float, float, float, float]  # a, b, c, d, e, f, from the result to the image

IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_FRACTION = 16  # bits


def rotation(degrees: float, height: int, width: int) -> Affine:
    """Counterclockwise about the centre of the image."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2.0, height / 2.0
    return (cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y)


def shear_x(slope: float) -> Affine:
    """Rows moved to the left by `slope` times their distance from the top; negative: to the right."""
    return (1.0, slope, 0.0, 0.0, 1.0, 0.0)


def shear_y(slope: float) -> Affine:
    """Columns moved up by `slope` times their distance from the left; negative: down."""
    return (1.0, 0.0, 0.0, slope, 1.0, 0.0)


def translation_x(pixels: float, width: int) -> Affine:
    """Moved to the left by `pixels`; negative: to the right."""
    return (1.0, 0.0, _bounded(pixels, width), 0.0, 1.0, 0.0)


def translation_y(pixels: float, height: int) -> Affine:
    """Moved up by `pixels`; negative: down."""
    return (1.0, 0.0, 0.0, 0.0, 1.0, _bounded(pixels, height))


def fixed_point(affine: Affine) -> list[int]:
    """The six numbers in units of 2**-16, c and f those of the first pixel's centre."""
    a, b, c, d, e, f = affine
    numbers = (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)
    return [math.floor(number * 2**_FRACTION + 0.5) for number in numbers]


def warped(images_BCHW: Tensor, affines_B6: Tensor, fill: int) -> Tensor:
    """Each image under its own map, `fill` where a pixel comes from outside.

    Args:
        images_BCHW: uint8 [B, C, H, W].
        affines_B6: int32 [B, 6], from `fixed_point`.
        fill: a level, 0..255.
    """
    batch, channels, height, width = images_BCHW.shape
    device = images_BCHW.device
    rows_H = torch.arange(height, dtype=torch.int32, device=device)
    columns_W = torch.arange(width, dtype=torch.int32, device=device)

    def coordinates(per_column_B: Tensor, per_row_B: Tensor, first_B: Tensor) -> Tensor:
        of_row_BH1 = (first_B[:, None] + per_row_B[:, None] * rows_H)[:, :, None]
        return (of_row_BH1 + (per_column_B[:, None] * columns_W)[:, None, :]) >> _FRACTION

    a, b, c, d, e, f = affines_B6.unbind(1)
    x_BHW, y_BHW = coordinates(a, b, c), coordinates(d, e, f)
    pixels = height * width
    # -1, all bits set, outside, else 0; integers, because torch's kernels for bool take several times as long on a CPU
    outside_BHW = (x_BHW | (width - 1 - x_BHW) | y_BHW | (height - 1 - y_BHW)) >> 31
    positions_BHW = ((y_BHW * width + x_BHW) & ~outside_BHW) | (outside_BHW & pixels)
    filled = torch.full((batch, channels, pixels + 1), fill, dtype=images_BCHW.dtype, device=device)
    filled[:, :, :pixels] = images_BCHW.flatten(2)  # and a last pixel for all that comes from outside
    return at_positions(filled, positions_BHW.view(batch, pixels)).view(batch, channels, height, width)


def _bounded(pixels: float, size: int) -> float:
    """At most a pixel more than the whole image, so that no distance is too large for the integers."""
    return min(max(pixels, -size - 1.0), size + 1.0)
