"""Wide residual networks: Zagoruyko and Komodakis, arXiv 1605.07146; the follow-up of the method transfers to 28-10."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lossmith.train.models.layers import GlobalAveragePool, Subsample, conv3x3


class WideBlock(nn.Module):
    """Two of (batch norm, ReLU, 3x3 convolution) with dropout before the second, added to what came in.

    Where the shape changes, what came in is first normalised, activated and mapped by a 1x1 convolution; that first
    batch norm and ReLU are then shared by both paths, as in the authors' program. Convolutions have no bias.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.activation1 = nn.ReLU()
        self.conv1 = conv3x3(in_channels, out_channels, stride, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.activation2 = nn.ReLU()
        self.dropout = dropout
        self.conv2 = conv3x3(out_channels, out_channels, bias=False)
        self.subsample = Subsample() if stride == 2 else nn.Identity()
        same = in_channels == out_channels and stride == 1
        self.shortcut = None if same else nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        activated_BCHW = self.activation1(self.norm1(features_BCHW))
        body_BCHW = self.activation2(self.norm2(self.conv1(activated_BCHW)))
        body_BCHW = self.conv2(self.dropout(body_BCHW))
        if self.shortcut is None:
            return body_BCHW + features_BCHW
        return body_BCHW + self.shortcut(self.subsample(activated_BCHW))


def wideresnet(
    in_channels: int,
    num_classes: int,
    dropout: Callable[[], nn.Module],
    generator: torch.Generator,
    *,
    depth: int = 28,
    widening: int = 10,
) -> nn.Module:
    """A 3x3 convolution of 16 channels, three groups of blocks, batch norm, ReLU, pool and a linear layer.

    The groups are 16, 32 and 64 times `widening` channels wide, and the second and third halve the size. 36,479,194
    parameters for 28-10 with 3 channels and 10 classes.

    Args:
        in_channels: of the images.
        num_classes: how many logits.
        dropout: makes the dropout layer of a block.
        generator: the weights' only source of randomness; a CPU generator.
        depth: how many convolutions, the 1x1 ones aside: 6 times the blocks of a group, plus 4.
        widening: the factor of the widths.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth {depth} is not 6 n + 4")
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        layers: list[nn.Module] = [conv3x3(in_channels, 16, bias=False)]
        width = 16
        for group in range(3):
            for block in range(blocks):
                out, stride = 16 * widening * 2**group, 2 if group > 0 and block == 0 else 1
                layers.append(WideBlock(width, out, stride, dropout()))
                width = out
        tail = (nn.BatchNorm2d(width), nn.ReLU(), GlobalAveragePool(), nn.Linear(width, num_classes))
        model = nn.Sequential(*layers, *tail)
    model.to_empty(device="cpu")
    _initialise(model, generator)
    return model


@torch.no_grad()
def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    """The authors': He's normal by the outputs for convolutions; uniform by the inputs and zero bias for the last."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            module.weight.normal_(0.0, math.sqrt(2.0 / fan_out), generator=generator)
        elif isinstance(module, nn.Linear):
            limit = 1.0 / math.sqrt(module.in_features)
            module.weight.uniform_(-limit, limit, generator=generator)
            module.bias.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # ones and zeros, running statistics included; draws nothing
