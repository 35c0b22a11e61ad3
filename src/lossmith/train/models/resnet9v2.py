"""The method's second surrogate: a small residual network with pre-activation (arXiv 2403.08793)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossmith.train.models.layers import Subsample, classifier, conv3x3, norm_swish


class PreActivationBlock(nn.Module):
    """Three of (batch norm, swish, 3x3 convolution), the first with stride 2, plus a 1x1 convolution around them.

    Maps [B, in_channels, H, W] to [B, out_channels, ceil(H/2), ceil(W/2)]. The convolution around sees every second
    row and column, which is a 1x1 convolution of stride 2.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *norm_swish(in_channels),
            conv3x3(in_channels, out_channels, stride=2),
            *norm_swish(out_channels),
            conv3x3(out_channels, out_channels),
            *norm_swish(out_channels),
            conv3x3(out_channels, out_channels),
        )
        self.subsample = Subsample()
        self.skip = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return self.body(features_BCHW) + self.skip(self.subsample(features_BCHW))


def resnet9v2(in_channels: int, num_classes: int, dropout: nn.Module, generator: torch.Generator) -> nn.Module:
    """A 3x3 convolution of 8 channels, blocks of 16 and 32, then pool, dropout and a linear layer.

    30,426 parameters for 3 channels and 10 classes.
    """

    def body() -> tuple[nn.Module, ...]:
        return conv3x3(in_channels, 8), PreActivationBlock(8, 16), PreActivationBlock(16, 32)

    return classifier(body, 32, num_classes, dropout, generator)
