"""The plain changes: a random crop after zero padding, a random horizontal flip.

Legend of the tensor names: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lossmith.train.augment.gather import at_positions


def pad_and_crop(images_BCHW: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Each image shifted by -pad..pad in both directions, uniformly, with zeros where it left."""
    batch, channels, height, width = images_BCHW.shape
    device = images_BCHW.device
    padded = functional.pad(images_BCHW, (pad, pad, pad, pad))
    offsets_2B = torch.randint(2 * pad + 1, (2, batch), generator=generator, device=device)
    rows_BH = offsets_2B[0, :, None] + torch.arange(height, device=device)
    columns_BW = offsets_2B[1, :, None] + torch.arange(width, device=device)
    positions_BHW = rows_BH.int()[:, :, None] * (width + 2 * pad) + columns_BW.int()[:, None, :]
    return at_positions(padded.flatten(2), positions_BHW.view(batch, -1)).view(batch, channels, height, width)


def flip(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    batch = images_BCHW.shape[0]
    mirrored_B = torch.rand(batch, generator=generator, device=images_BCHW.device) < 0.5
    sources_B = torch.arange(batch, device=images_BCHW.device) + batch * mirrored_B
    return torch.cat([images_BCHW, images_BCHW.flip(3)]).index_select(0, sources_B)  # `where` takes 5 times as long
