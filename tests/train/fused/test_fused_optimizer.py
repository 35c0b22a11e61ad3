"""K optimizers in one: each slot has torch's steps, counted from when it began."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lossmith.train.fused.optimizer import FusedOptimizer
from lossmith.train.optimizer import build_optimizer
from lossmith.train.task import OptimizerConfig

CONFIGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adam with decay": {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    "adam without momentum": {"betas": (0.0, 0.9)},
    "sgd": {"name": "sgd", "weight_decay": 0.1},
    "sgd without momentum": {"name": "sgd", "momentum": 0.0},
}
SIZE = 37


class _Slot:
    """What torch does with one slot's parameters."""

    def __init__(self, config: OptimizerConfig, values: torch.Tensor) -> None:
        self.parameter = nn.Parameter(values.clone())
        self.optimizer = build_optimizer(config, [self.parameter])

    def step(self, gradient: torch.Tensor, rate: float) -> None:
        self.parameter.grad = gradient.clone()
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_slots_begin_move_and_end_at_different_steps(changes: dict[str, Any]) -> None:
    config = OptimizerConfig(**changes)
    generator = torch.Generator().manual_seed(0)

    def random() -> torch.Tensor:
        return torch.randn(SIZE, generator=generator, dtype=torch.float64)

    rows = torch.zeros(3, SIZE, dtype=torch.float64)
    fused = FusedOptimizer(config, rows)
    slots: list[_Slot] = []

    def begin() -> None:
        values = random()
        rows[len(slots)] = values
        fused.reset(len(slots))
        slots.append(_Slot(config, values))

    def leave(place: int) -> None:
        last = len(slots) - 1
        if place != last:
            rows[place] = rows[last]
            fused.move(last, place)
        slots[place] = slots[last]
        slots.pop()

    def step(count: int) -> None:
        for _ in range(count):
            gradients = [random() for _ in slots]
            rates = [0.1 / (1 + place) for place in range(len(slots))]
            fused.step(torch.stack(gradients), rates)
            for slot, gradient, rate in zip(slots, gradients, rates, strict=True):
                slot.step(gradient, rate)
        for place, slot in enumerate(slots):
            torch.testing.assert_close(rows[place], slot.parameter.detach(), rtol=1e-12, atol=1e-12)

    begin()
    begin()
    step(3)
    begin()
    step(2)
    leave(0)
    step(2)
    begin()
    step(3)
    leave(2)
    leave(0)
    step(1)


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_a_slot_of_nan_stays_by_itself(changes: dict[str, Any]) -> None:
    found: list[torch.Tensor] = []
    for spoilt in (0.0, float("nan"), float("inf")):
        rows = torch.linspace(-1, 1, 3 * SIZE).view(3, SIZE).clone()
        fused = FusedOptimizer(OptimizerConfig(**changes), rows)
        for seed in range(4):
            gradient = torch.randn(3, SIZE, generator=torch.Generator().manual_seed(seed))
            gradient[1] += spoilt
            fused.step(gradient, [0.1, 0.1, 0.2])
        found.append(rows[[0, 2]].clone())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert found[0].isfinite().all()
