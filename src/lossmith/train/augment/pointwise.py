"""Operations that map each grey level to another: tables of 256 entries, for each image and channel its own.

Each equals Pillow's operation of the name exactly, with Pillow's rounding.

Legend of the tensor names: B batch, C channels, H rows, W columns; 256 grey levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256
_RED, _GREEN, _BLUE = 19595, 38470, 7471  # ITU-R 601-2 luma, out of 65,536


def looked_up(images_BCHW: Tensor, tables_BC256: Tensor) -> Tensor:
    """Each uint8 level replaced by the entry of its image's and channel's table, uint8 [B, C, 256]."""
    batch, channels, height, width = images_BCHW.shape
    offsets_BC1 = _first_entries(batch, channels, images_BCHW.device)
    index = images_BCHW.flatten(2).to(torch.int32) + offsets_BC1  # int32: index_select is 3 times as fast as gather
    return tables_BC256.reshape(-1).index_select(0, index.view(-1)).view(batch, channels, height, width)


def invert_table() -> Tensor:
    """255 - x, uint8 [256]; this and the next four tables are made on the CPU."""
    return _levels().flip(0).to(torch.uint8)


def posterize_table(bits: int) -> Tensor:
    """The highest `bits` bits of each level, 0 to 8, the others 0; uint8 [256]. Pillow refuses 0 bits."""
    return (_levels() >> (8 - bits) << (8 - bits)).to(torch.uint8)


def solarize_table(threshold: int) -> Tensor:
    """Levels from `threshold` on inverted, uint8 [256]; none where it is 256 or more."""
    levels = _levels()
    return torch.where(levels < threshold, levels, 255 - levels).to(torch.uint8)


def solarize_add_table(addition: int) -> Tensor:
    """Levels under 128 raised by `addition`, at most to 255; uint8 [256]."""
    levels = _levels()
    return torch.where(levels < 128, (levels + addition).clamp(0, 255), levels).to(torch.uint8)


def brightness_table(factor: float) -> Tensor:
    """Levels times `factor`, uint8 [256]."""
    return blended(torch.zeros(LEVELS), _levels().float(), factor)


def contrast_tables(images_BCHW: Tensor, factor: float) -> Tensor:
    """Levels moved away from the mean grey level of the image by `factor`, uint8 [B, C, 256]."""
    batch, channels, height, width = images_BCHW.shape
    pixels = height * width
    total_B = grey(images_BCHW).flatten(1).sum(dim=1, dtype=torch.int64)
    mean_B = (2 * total_B + pixels).div(2 * pixels, rounding_mode="floor").float()
    levels = torch.arange(LEVELS, device=images_BCHW.device, dtype=torch.float32)
    return blended(mean_B[:, None], levels, factor)[:, None, :].expand(batch, channels, LEVELS)


def auto_contrast_tables(images_BCHW: Tensor) -> Tensor:
    """Each channel stretched to 0..255, uint8 [B, C, 256]; a channel of one level is left as it is."""
    levels = torch.arange(LEVELS, device=images_BCHW.device)
    low_BC1, high_BC1 = (extreme.long()[:, :, None] for extreme in images_BCHW.flatten(2).aminmax(dim=2))
    span_BC1 = high_BC1 - low_BC1
    divisor_BC1 = span_BC1.clamp_min(1).double()  # in float64, like Pillow's
    scale_BC1 = torch.full_like(divisor_BC1, 255.0) / divisor_BC1  # `255.0 / tensor` rounds twice
    stretched_BC256 = (levels * scale_BC1 - low_BC1 * scale_BC1).clamp(0.0, 255.0).long()
    return torch.where(span_BC1 > 0, stretched_BC256, levels).to(torch.uint8)


def equalize_tables(images_BCHW: Tensor) -> Tensor:
    """Each channel's histogram made as even as a table can, uint8 [B, C, 256]."""
    batch, channels, height, width = images_BCHW.shape
    device = images_BCHW.device
    index = (images_BCHW.flatten(2).to(torch.int32) + _first_entries(batch, channels, device)).view(-1).long()
    one = torch.ones((), dtype=torch.int64, device=device).expand(index.shape)
    histogram_BC256 = torch.zeros(batch * channels * LEVELS, dtype=torch.int64, device=device)
    histogram_BC256 = histogram_BC256.scatter_add_(0, index, one).view(batch, channels, LEVELS)
    levels = torch.arange(LEVELS, device=device)
    highest_BC1 = images_BCHW.flatten(2).amax(dim=2, keepdim=True).long()
    of_highest_BC1 = histogram_BC256.gather(2, highest_BC1)
    step_BC1 = (height * width - of_highest_BC1).div(255, rounding_mode="floor")
    below_BC256 = histogram_BC256.cumsum(2) - histogram_BC256
    divisor_BC1 = step_BC1.clamp_min(1)
    even_BC256 = (below_BC256 + step_BC1.div(2, rounding_mode="floor")).div(divisor_BC1, rounding_mode="floor")
    return torch.where(step_BC1 > 0, even_BC256.clamp_max(255), levels).to(torch.uint8)


def grey(images_BCHW: Tensor) -> Tensor:
    """The luma of uint8 [B, 3, H, W], int32 [B, 1, H, W] in 0..255; a grey image's own levels."""
    levels = images_BCHW.to(torch.int32)
    if images_BCHW.shape[1] == 1:
        return levels
    red, green, blue = levels.split(1, dim=1)
    return (red * _RED + green * _GREEN + blue * _BLUE + 0x8000) >> 16


def blended(plain: Tensor, levels: Tensor, factor: float) -> Tensor:
    """plain + factor * (levels - plain), within 0..255 and without its fraction: uint8 of two float32 tensors."""
    return (plain + (levels - plain) * factor).clamp_(0.0, 255.0).to(torch.uint8)


def _levels() -> Tensor:
    return torch.arange(LEVELS)


def _first_entries(batch: int, channels: int, device: torch.device) -> Tensor:
    """Where in all tables, one after the other, each table begins: int32 [B, C, 1]."""
    return torch.arange(0, batch * channels * LEVELS, LEVELS, dtype=torch.int32, device=device).view(batch, channels, 1)
