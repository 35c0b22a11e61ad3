"""The method's cheapest surrogate: three convolutions (arXiv 2403.08793)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from lossmith.train.models.layers import classifier, conv3x3, norm_swish


def convnet(in_channels: int, num_classes: int, dropout: nn.Module, generator: torch.Generator) -> nn.Module:
    """3x3 convolutions of 12, 24 (stride 2) and 48 (stride 2) channels, then pool, dropout and a linear layer.

    Batch norm and swish stand between the convolutions. 13,930 parameters for 3 channels and 10 classes.
    """

    def body() -> Iterator[nn.Module]:
        yield conv3x3(in_channels, 12)
        yield from norm_swish(12)
        yield conv3x3(12, 24, stride=2)
        yield from norm_swish(24)
        yield conv3x3(24, 48, stride=2)

    return classifier(body, 48, num_classes, dropout, generator)
