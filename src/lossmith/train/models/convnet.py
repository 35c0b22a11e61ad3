"""The method's cheapest surrogate: three convolutions (arXiv 2403.08793)."""

from __future__ import annotations

import torch
from torch import nn

from lossmith.train.models.layers import GlobalAveragePool, conv3x3, initialise_as_keras, norm_swish


def convnet(in_channels: int, num_classes: int, dropout: nn.Module, generator: torch.Generator) -> nn.Module:
    """3x3 convolutions of 12, 24 (stride 2) and 48 (stride 2) channels, then pool, dropout and a linear layer.

    Batch norm and swish stand between the convolutions. 13,930 parameters for 3 channels and 10 classes.
    """
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        model = nn.Sequential(
            conv3x3(in_channels, 12),
            *norm_swish(12),
            conv3x3(12, 24, stride=2),
            *norm_swish(24),
            conv3x3(24, 48, stride=2),
            GlobalAveragePool(),
            dropout,
            nn.Linear(48, num_classes),
        )
    model.to_empty(device="cpu")
    initialise_as_keras(model, generator)
    return model
