"""The optimizers, against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lossmith.train.optimizer import build_optimizer
from lossmith.train.task import OptimizerConfig

GRADIENTS = [torch.tensor([0.5, -2.0], dtype=torch.float64) * (step + 1) for step in range(3)]
START = torch.tensor([1.0, -3.0], dtype=torch.float64)


def after(**changes: Any) -> torch.Tensor:
    parameter = nn.Parameter(START.clone())
    optimizer = build_optimizer(OptimizerConfig(**changes), [parameter])
    for gradient in GRADIENTS:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def test_adam() -> None:
    value, first, second = START.clone(), torch.zeros(2).double(), torch.zeros(2).double()
    for step, given in enumerate(GRADIENTS, 1):
        gradient = given + 0.1 * value  # decay is added to the gradient
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        value -= 0.05 * (first / (1 - 0.8**step)) / ((second / (1 - 0.9**step)).sqrt() + 1e-3)
    found = after(learning_rate=0.05, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1)
    torch.testing.assert_close(found, value)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_has_nesterovs_momentum(momentum: float) -> None:
    value, speed = START.clone(), torch.zeros(2).double()
    for given in GRADIENTS:
        gradient = given + 0.1 * value
        speed = momentum * speed + gradient
        value -= 0.05 * (gradient + momentum * speed)
    found = after(name="sgd", learning_rate=0.05, momentum=momentum, weight_decay=0.1)
    torch.testing.assert_close(found, value)
