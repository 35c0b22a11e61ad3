"""The optimizers of `train/optimizer.py` for K slots, each with its own number of steps and learning rate.

Legend: K slots, P parameters of one slot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.train.task import OptimizerConfig


class FusedOptimizer:
    """Changes parameters [K, P] in place; a row is one slot's, and never touches another."""

    def __init__(self, config: OptimizerConfig, parameters: Tensor) -> None:
        self._config = config
        self._parameters = parameters
        self._steps = [0] * parameters.shape[0]
        self._first = torch.zeros_like(parameters)  # Adam's mean of gradients, or the momentum
        self._second = torch.zeros_like(parameters) if config.name == "adam" else None  # Adam's mean of squares

    def reset(self, slot: int) -> None:
        """Begin anew in `slot`."""
        self._steps[slot] = 0
        self._first[slot].zero_()
        if self._second is not None:
            self._second[slot].zero_()

    def move(self, source: int, target: int) -> None:
        """Put the state of slot `source` in the place of `target`."""
        self._steps[target] = self._steps[source]
        self._first[target].copy_(self._first[source])
        if self._second is not None:
            self._second[target].copy_(self._second[source])

    def step(self, gradient: Tensor, rates: Sequence[float]) -> None:
        """One step of the first len(rates) slots with their learning rates; `gradient`, [len(rates), P], is used up."""
        active = len(rates)
        parameters, first = self._parameters[:active], self._first[:active]
        if self._config.weight_decay:
            gradient.add_(parameters, alpha=self._config.weight_decay)
        for slot in range(active):
            self._steps[slot] += 1
        if self._second is None:
            momentum = self._config.momentum
            first.mul_(momentum).add_(gradient)
            update = gradient.add_(first, alpha=momentum)  # Nesterov's
            parameters.addcmul_(update, self._column([-rate for rate in rates]))
            return
        beta1, beta2 = self._config.betas
        second = self._second[:active]
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        steps = self._steps[:active]
        corrections = self._column([1 / math.sqrt(1 - beta2**step) for step in steps])
        sizes = self._column([-rate / (1 - beta1**step) for rate, step in zip(rates, steps, strict=True)])
        spread = torch.sqrt(second, out=gradient).mul_(corrections).add_(self._config.eps)
        parameters.addcmul_(torch.div(first, spread, out=gradient), sizes)

    def _column(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=self._parameters.dtype, device=self._parameters.device).unsqueeze(1)
