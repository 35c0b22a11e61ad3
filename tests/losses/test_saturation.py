"""Logits of +-1e4, where softmax is exactly 0 or 1 and naive gradients are NaN."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from helpers import accepted_expressions
from lossmith import loss
from lossmith.losses.bounds import may_overflow
from lossmith.losses.kernels import class_sum, program
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import Expression

LOGITS = torch.tensor(
    [
        [1e4, -1e4, 0.0, 5e3],
        [-1e4, 1e4, 1e4, -1e4],
        [1e4, 1e4, 1e4, 1e4],
        [0.0, 0.0, -1e4, -1e4],
        [17.0, 0.0, -1.0, -40.0],  # probabilities that float32 holds as 1, 0, and in between
        [90.0, 0.0, 3.0, -5.0],  # probabilities below the smallest normal float32, here and in the next two
        [300.0, 100.0, 200.0, 0.0],
        [20.0, 0.0, -20.0, 100.0],
    ]
)
LABELS = torch.tensor([0, 0, 3, 2, 1, 0, 1, 3])  # right, wrong and hopelessly wrong ones
GRAPHS = 300


def outcome(expression: Expression, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    value = class_sum(leaf, target.to(leaf.dtype), None, program(expression), dim=1, each=True)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def test_random_graphs() -> None:
    """Finite in float32 and float64, value and gradient, wherever the value is finite in float64.

    In float64 these points are as saturated, but nothing that is finite in exact arithmetic overflows there within the
    search's four hidden nodes, short of values that float32 could not hold.
    """
    hard = F.one_hot(LABELS, 4)
    saturated = guarded = 0
    for expression in accepted_expressions(GRAPHS, seed=7):
        for target in (hard, 0.9 * hard + 0.025):
            precise, precise_gradient = outcome(expression, LOGITS.double(), target)
            value, gradient = outcome(expression, LOGITS, target)
            expected = precise.abs() < torch.finfo(torch.float32).max
            assert value[expected].isfinite().all(), expression.text
            assert gradient[expected].isfinite().all(), expression.text
            assert precise_gradient[expected].isfinite().all(), expression.text
            saturated += int(expected.sum())
        guarded += may_overflow(expression)
    assert saturated > 0.98 * GRAPHS * 2 * len(LOGITS)
    assert 0 < guarded < GRAPHS / 4  # the guard is rare, and exercised here


@pytest.mark.parametrize(
    "text",
    [
        "tanh(exp(1 / yhat)) * y",
        "y * sigmoid(exp(exp(1 / yhat)))",
        "y * atan(square(square(square(reciprocal(yhat)))))",
        "y * erf(i0(100 * (1 - yhat)))",
        "min(y + yhat, exp(100 + yhat)) * yhat",
        "y * inv_one_plus_abs(sinh(1000 * (1 - yhat)))",
    ],
)
def test_saturated_outside_overflowing(text: str) -> None:
    """0 * infinity in the chain rule is 0, its limit."""
    expression = Expression.from_text(text)
    assert program(expression).guarded
    value, gradient = outcome(expression, LOGITS, F.one_hot(LABELS, 4))
    assert value.isfinite().all()
    assert gradient.isfinite().all()


def test_i1e_of_subnormal_probabilities() -> None:
    _, gradient = outcome(Expression.from_text("y * i1e(yhat)"), LOGITS[5:6], torch.tensor([[0, 1, 0, 0]]))
    assert gradient.isfinite().all()


def test_where_losses_are_not_finite() -> None:
    """The documented places: they must show as such, not as a gradient of 0 beside a NaN."""
    hard = F.one_hot(LABELS, 4)
    for text in ("log(yhat - 1) * y", "exp(1 / yhat) * y", "1 / (yhat - y - 1e-7)"):
        value, _ = outcome(Expression.from_text(text), LOGITS, hard)
        assert not value.isfinite().all(), text
    value, gradient = outcome(Expression.from_text("(exp(1 / yhat) - exp(1 / yhat + y)) * y"), LOGITS, hard)
    assert value.isnan().any()
    assert gradient[value.isnan()].isnan().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", [*ZOO, "-y * log(yhat)", "-y * log_abs(yhat)"])
def test_zoo(name: str, smoothing: float, dtype: torch.dtype) -> None:
    logits = LOGITS.to(dtype).requires_grad_()
    value = loss(name, label_smoothing=smoothing, reduction="none")(logits, LABELS)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    if name == "baikal" and dtype == torch.float16:  # 1e7 where the label is wrong, as its docstring says
        assert value[2].isfinite()
        return
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.3, 0.5, 0.99, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_focal_trap(gamma: float, dtype: torch.dtype) -> None:
    """Finite at saturation for every gamma, first and second order, and the right limit: 0 where the label is right."""
    logits = LOGITS.to(dtype).requires_grad_()
    value = loss("focal", gamma=gamma, reduction="sum")(logits, LABELS)
    (gradient,) = torch.autograd.grad(value, logits, create_graph=True)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient[0].abs().max() == 0
    (second,) = torch.autograd.grad(gradient.square().sum(), logits)
    assert second.isfinite().all()
