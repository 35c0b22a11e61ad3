"""The two small networks of the method, with every weight drawn from a generator that is passed in.

Legend of the tensor names: B batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lossmith.train.dropout import Dropout
from lossmith.train.task import ModelName

DEFAULT_DROPOUT: dict[ModelName, float] = {"convnet": 0.1, "resnet9v2": 0.5}  # the method's

_BATCH_NORM_EPS = 1e-3  # Keras' default, as in the published program
_BATCH_NORM_MOMENTUM = 0.1  # Keras' would be 0.01: running statistics need 500 steps then, more than short tasks have


def build_model(
    name: ModelName,
    *,
    in_channels: int,
    num_classes: int,
    generator: torch.Generator,
    dropout_generator: torch.Generator,
    dropout: float | None = None,
) -> nn.Module:
    """A new network from images, float [B, in_channels, H, W] in [0, 1], to logits, float [B, num_classes].

    Args:
        name: which network.
        in_channels: 1 for grey images, 3 for colour.
        num_classes: how many logits, from the data set.
        generator: the weights' only source of randomness; a CPU generator.
        dropout_generator: the source of the dropout masks; on the device where the network will run.
        dropout: the probability before the last layer, in [0, 1); None for the network's own.

    Returns:
        The network on the CPU, in training mode. Torch's global generator is neither read nor moved.
    """
    probability = DEFAULT_DROPOUT[name] if dropout is None else dropout
    head_dropout = Dropout(probability, dropout_generator)
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        body, width = _BODIES[name](in_channels)
        model = nn.Sequential(*body, _GlobalAveragePool(), head_dropout, nn.Linear(width, num_classes))
    model.to_empty(device="cpu")
    _initialise(model, generator)
    return model


class _GlobalAveragePool(nn.Module):
    """The mean over the positions: [B, C, H, W] to [B, C]."""

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return features_BCHW.mean(dim=(2, 3))


class _PreActivationBlock(nn.Module):
    """Three of (batch norm, swish, 3x3 convolution), the first with stride 2, plus a 1x1 convolution around them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_norm_swish(in_channels),
            _conv3x3(in_channels, out_channels, stride=2),
            *_norm_swish(out_channels),
            _conv3x3(out_channels, out_channels),
            *_norm_swish(out_channels),
            _conv3x3(out_channels, out_channels),
        )
        self.skip = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return self.body(features_BCHW) + self.skip(features_BCHW)


def _convnet(in_channels: int) -> tuple[list[nn.Module], int]:
    """The layers before the pool, and the number of channels they end in."""
    body = [
        _conv3x3(in_channels, 12),
        *_norm_swish(12),
        _conv3x3(12, 24, stride=2),
        *_norm_swish(24),
        _conv3x3(24, 48, stride=2),
    ]
    return body, 48


def _resnet9v2(in_channels: int) -> tuple[list[nn.Module], int]:
    """The layers before the pool, and the number of channels they end in."""
    return [_conv3x3(in_channels, 8), _PreActivationBlock(8, 16), _PreActivationBlock(16, 32)], 32


_BODIES = {"convnet": _convnet, "resnet9v2": _resnet9v2}


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)


def _norm_swish(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels, eps=_BATCH_NORM_EPS, momentum=_BATCH_NORM_MOMENTUM), nn.SiLU()


@torch.no_grad()
def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Keras' defaults: Glorot uniform weights, zero biases; batch norm starts as the identity."""
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
