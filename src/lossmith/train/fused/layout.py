"""How K slots' activations stand in memory.

To the network they are [B, K * C, H, W]: the slots side by side, as channels. On a CPU the batch is the innermost
dimension in memory, (K, C, H, W, B) or (K, C, B): then a channel is one contiguous row, so that statistics, scales and
patches are read in long runs, and every slot's numbers stand apart from all others'.

Legend: K slots, B batch, C channels, H W rows and columns.
"""

from __future__ import annotations

import torch
from torch import Tensor


def batch_innermost(device: torch.device) -> bool:
    """Whether the batch is the innermost dimension in memory; where it is not, torch's own layers do the work."""
    return device.type == "cpu"


def rows_of(x: Tensor) -> Tensor:
    """[B, K * C, H, W] as the dense tensor [K * C, H, W, B]; no copy where it stands so in memory already."""
    return x.permute(1, 2, 3, 0).contiguous()


def images_of(rows: Tensor) -> Tensor:
    """The inverse of `rows_of`, without a copy."""
    return rows.permute(3, 0, 1, 2)
