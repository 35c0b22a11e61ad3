"""Floating-point operations against counting by hand."""

from __future__ import annotations

import pytest

from lossmith.study.fidelity.cost import flops_until, training_flops
from lossmith.train.task import load_task


def test_the_convnet_by_hand() -> None:
    task = load_task({"base": "digits", "steps": 100, "batch_size": 64}, "test")
    # 3x3 convolutions: 1 -> 12 at 8x8, 12 -> 24 at 4x4, 24 -> 48 at 2x2; then 48 -> 10
    products = 9 * (1 * 12 * 64 + 12 * 24 * 16 + 24 * 48 * 4) + 48 * 10
    (step,) = training_flops(task, (1, 8, 8), 10)
    assert step == 3 * 64 * 2 * products
    assert flops_until(task, [step], 40) == 40 * step


def test_stages_have_costs_of_their_own() -> None:
    values = {"base": "digits", "steps": 70, "stages": [{"steps": 30, "resize": 8}, {"steps": 40, "resize": 16}]}
    task = load_task(values, "test")
    small, large = training_flops(task, (1, 8, 8), 10)
    assert large / small == pytest.approx(4, rel=0.02)
    assert flops_until(task, [small, large], 20) == 20 * small
    assert flops_until(task, [small, large], 50) == 30 * small + 20 * large
    assert flops_until(task, [small, large], 70) == 30 * small + 40 * large
