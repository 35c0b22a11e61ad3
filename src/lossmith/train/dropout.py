"""Dropout that draws from its own generator, so that training neither reads nor moves torch's global one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """In training, sets each value to 0 with a probability, and scales the others up to keep the mean.

    Args:
        probability: in [0, 1).
        generator: where the masks come from; on the device of the inputs.

    Raises:
        ValueError: the probability is not in [0, 1).
    """

    def __init__(self, probability: float, generator: torch.Generator) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"dropout probability {probability} is not in [0, 1)")
        self.probability = probability
        self.generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return inputs
        keep = 1.0 - self.probability
        mask = torch.empty_like(inputs, requires_grad=False).bernoulli_(keep, generator=self.generator)
        return inputs * mask.mul_(1.0 / keep)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"
