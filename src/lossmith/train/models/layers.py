"""Layers that several networks share, and Keras' initial weights.

Legend of the tensor names: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_BATCH_NORM_EPS = 1e-3  # Keras' default, as in the published program
_BATCH_NORM_MOMENTUM = 0.1  # Keras' would be 0.01: running statistics need 500 steps then, more than short tasks have


class GlobalAveragePool(nn.Module):
    """The mean over the positions: [B, C, H, W] to [B, C]."""

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return features_BCHW.mean(dim=(2, 3))


class Subsample(nn.Module):
    """Every second row and column, from the first: [B, C, H, W] to [B, C, ceil(H/2), ceil(W/2)]. No parameters.

    Before a 1x1 convolution it stands for that convolution's stride of 2, which oneDNN differentiates slowly
    (`benchmarks/strided_skip.py`).
    """

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return _EverySecond.apply(features_BCHW)  # pyright: ignore[reportReturnType] - apply is not typed


class _EverySecond(torch.autograd.Function):
    """The slice [:, :, ::2, ::2] as a dense tensor; indexing would keep one gradient for each of its two steps."""

    @staticmethod
    def forward(ctx: Any, features_BCHW: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - torch declares *args
        last = features_BCHW.is_contiguous(memory_format=torch.channels_last)
        ctx.layout = torch.channels_last if last else torch.contiguous_format
        ctx.shape = features_BCHW.shape
        return features_BCHW[:, :, ::2, ::2].contiguous(memory_format=ctx.layout)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - torch declares *args
        spread = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=ctx.layout)
        spread.zero_()
        spread[:, :, ::2, ::2] = gradient
        return spread


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or halves it (rounding up) with stride 2."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias)


def norm_swish(channels: int) -> tuple[nn.Module, nn.Module]:
    """Batch normalisation with the method's constants, then x * sigmoid(x)."""
    return nn.BatchNorm2d(channels, eps=_BATCH_NORM_EPS, momentum=_BATCH_NORM_MOMENTUM), nn.SiLU()


def classifier(
    body: Callable[[], Iterable[nn.Module]],
    width: int,
    num_classes: int,
    dropout: nn.Module,
    generator: torch.Generator,
) -> nn.Module:
    """The layers that `body` makes, which end in `width` channels, then pool, dropout and a linear layer.

    With Keras' initial weights, from `generator`.
    """
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        model = nn.Sequential(*body(), GlobalAveragePool(), dropout, nn.Linear(width, num_classes))
    model.to_empty(device="cpu")
    initialise_as_keras(model, generator)
    return model


@torch.no_grad()
def initialise_as_keras(model: nn.Module, generator: torch.Generator) -> None:
    """Keras' defaults: Glorot uniform weights, zero biases; batch norm starts as the identity.

    Fills every convolution, linear layer and batch normalisation of `model`, in the order of `model.modules()`.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_out, fan_in = module.weight.shape[0], module.weight[0].numel()
            receptive = module.weight[0, 0].numel()
            limit = math.sqrt(6.0 / (fan_in + fan_out * receptive))
            module.weight.uniform_(-limit, limit, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # ones and zeros, running statistics included; draws nothing
