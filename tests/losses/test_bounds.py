"""The interval arithmetic that decides which expressions are guarded: it must never promise too much."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lossmith.losses.bounds import LIMIT, Interval, _slopes, _unary_value, may_overflow
from lossmith.losses.kernels import program
from lossmith.space.expression import Expression
from lossmith.space.genome import random_genome
from lossmith.space.integrity import check
from lossmith.space.operators import OPERATORS, UNARY

INTERVALS = [(0.0, 1.0), (-1.0, 0.5), (-3.0, -2.0), (2.0, 7.0), (-80.0, 80.0), (0.0, 0.0), (-1e-7, 0.0)]


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("ends", INTERVALS, ids=str)
def test_unary_intervals_hold_every_value_and_slope(name: str, ends: tuple[float, float]) -> None:
    x = torch.linspace(*ends, 1001, dtype=torch.float64)
    value = OPERATORS[name].function(x)
    slope = OPERATORS[name].derivative(x, value)
    assert isinstance(slope, torch.Tensor)
    bound = _unary_value(name, Interval(*ends))
    slack = 1e-5 * (1 + bound.most) if math.isfinite(bound.most) else 0.0
    finite = value[value.isfinite()]
    assert bound.low - slack <= finite.min()
    assert finite.max() <= bound.high + slack
    (steepest,) = _slopes(name, [Interval(*ends)], bound)
    assert slope[slope.isfinite()].abs().max() <= steepest * (1 + 1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-y * log(yhat)", False),
        ("y / yhat - log_abs(yhat)", False),
        ("exp(exp(exp(yhat))) * y", False),
        ("exp(exp(exp(exp(yhat)))) * y", True),
        ("1 / (yhat - y)", True),
        ("y / (1 + yhat)", False),
        ("tanh(exp(1 / yhat)) * y", True),
        ("log(1 - yhat) * y", False),  # a leaf, like log(yhat)
        ("log(0.9 - yhat) * y", True),
        ("log(1 + yhat) * y", False),
        ("square(square(1 / yhat)) * y", True),  # 1e28, but its slope is 4e35
        ("exp(-log(yhat)) * y", True),
        ("softsign(exp(1 / yhat)) * y", True),
        ("div_sqrt1p_sq(y, exp(1 / yhat))", True),
        ("max(y, min(yhat, 2)) - sin(i1e(yhat))", False),
    ],
)
def test_known_cases(text: str, expected: bool) -> None:
    assert may_overflow(Expression.from_text(text)) is expected


def test_unguarded_graphs_stay_below_the_limit() -> None:
    """No value and no slope of an unguarded accepted graph exceeds it, on a grid with its corners."""
    rng = np.random.default_rng(5)
    grid = torch.cat(
        (torch.tensor([0.0, 1e-45, 1e-38, 1e-30, 1e-7]), torch.linspace(0, 1, 30), torch.tensor([1 - 6e-8]))
    )
    y, p = (axis.flatten() for axis in torch.meshgrid(grid, grid, indexing="ij"))
    checked = 0
    while checked < 200:
        genome = random_genome(rng)
        if not check(genome).ok:
            continue
        expression = Expression.from_genome(genome)
        run = program(expression)
        if run.guarded:
            continue
        checked += 1
        values = expression.values(y, p, p.log())
        assert all(value.abs().max() < LIMIT for value in values), expression.text
        _, on_p, _, _, on_y = run.runner(y.dtype, target=True)(y, p, p.log(), None, p.device)
        assert torch.as_tensor(on_p).abs().max() < LIMIT, expression.text
        assert torch.as_tensor(on_y).abs().max() < LIMIT, expression.text
