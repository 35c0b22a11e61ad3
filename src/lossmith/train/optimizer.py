"""The optimizer of a task, for one network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from lossmith.train.task import OptimizerConfig


def build_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Torch's optimizer as the configuration says, at its peak learning rate; `fused/optimizer.py` is its twin."""
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.momentum > 0.0,
            weight_decay=config.weight_decay,
        )
    return torch.optim.Adam(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
