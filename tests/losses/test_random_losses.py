"""Thousands of random losses: gradients against autograd in float64, and no NaN at saturation in float32.

The slow form prints what was checked and what was left out: `pytest tests/losses/test_random_losses.py -m slow -s`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from helpers import accepted_expressions
from lossmith import loss
from lossmith.losses.bounds import may_overflow
from lossmith.losses.kernels import class_sum, label_sum, program
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import CONSTANT, PREDICTION, TARGET, Expression
from lossmith.space.operators import OPERATORS

SEED = 1
FEW, MANY = 200, 5_000
GREATEST = torch.finfo(torch.float32).max
SATURATED = torch.tensor(
    [
        [1e4, -1e4, 0.0, 5e3],
        [-1e4, 1e4, 1e4, -1e4],
        [1e4, 1e4, 1e4, 1e4],
        [1e4, -1e4, -1e4, -1e4],
        [0.0, 0.0, -1e4, -1e4],
        [17.0, 0.0, -1.0, -40.0],  # probabilities that float32 holds as 1, 0, and in between
        [90.0, 0.0, 3.0, -5.0],  # below the smallest normal float32, here and in the next two
        [300.0, 100.0, 200.0, 0.0],
        [20.0, 0.0, -20.0, 100.0],
        [1e4, 9980.0, 9900.0, 9890.0],  # differences that the size of the logits rounds
    ]
)
# every row with every label
LOGITS = SATURATED.repeat_interleave(4, 0)
LABELS = torch.arange(4).repeat(len(SATURATED))


# -- the reference: autograd over the formula, with the operator table's slope where autograd has none --


def sqrt_abs(x: Tensor) -> Tensor:
    """Slope 0 at 0, as the operator table has it; autograd of `x.abs().sqrt()` has NaN there."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x).abs().sqrt())


def formula(expression: Expression, y: Tensor, p: Tensor, log_p: Tensor) -> tuple[Tensor, bool]:
    """(f at every class, whether a `sqrt_abs` meets 0)."""
    values: list[Tensor] = []
    kink = False
    for node in expression.nodes:
        inputs = [values[i] for i in node.inputs]
        if node.operator == CONSTANT:
            value = torch.full_like(p, node.value)
        elif node.operator in (TARGET, PREDICTION):
            value = y if node.operator == TARGET else p
        elif node.operator == "log" and expression.nodes[node.inputs[0]].operator == PREDICTION:
            value = log_p
        elif node.operator == "sqrt_abs":
            kink = kink or bool((inputs[0] == 0).any())
            value = sqrt_abs(inputs[0])
        else:
            value = OPERATORS[node.operator].function(*inputs)
        values.append(value)
    return values[-1], kink


def reference(expression: Expression, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, bool]:
    """(one value per example, its gradient, whether a `sqrt_abs` meets 0)."""
    leaf = logits.detach().double().requires_grad_()
    value, kink = formula(expression, y.double(), torch.softmax(leaf, 1), torch.log_softmax(leaf, 1))
    value = value.sum(1)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0], kink


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(1, labels.unsqueeze(1), 1.0)


def both_ways(expression: Expression, logits: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(way, one value per example, its gradient) by the curves of hard labels, and as a soft target."""
    run = program(expression)
    for way in ("labels", "targets"):
        leaf = logits.detach().clone().requires_grad_()
        value = (
            label_sum(leaf, labels.unsqueeze(1), 1.0, 0.0, None, run, dim=1, each=True)
            if way == "labels"
            else class_sum(leaf, one_hot(labels, logits), None, run, dim=1, each=True)
        )
        yield way, value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


# -- gradients --


def check_gradients(count: int) -> Counter[str]:
    generator = torch.Generator().manual_seed(SEED)
    found: Counter[str] = Counter()
    kinks: dict[str, str] = {}
    worst = 0.0
    expressions = accepted_expressions(count, seed=SEED)
    for expression in expressions:
        logits = 2 * torch.randn((6, 5), generator=generator, dtype=torch.float64)
        labels = torch.randint(5, (6,), generator=generator)
        _, expected, kink = reference(expression, logits, one_hot(labels, logits))
        known = expected.isfinite().all(1)
        if kink:
            kinks[expression.text] = "sqrt_abs meets 0: compared with slope 0 there, where autograd may have NaN"
        if not known.all():  # autograd multiplies 0 by an infinity
            assert may_overflow(expression), expression.text
            kinks[expression.text] = "overflow: examples where autograd has no finite gradient are left out"
        for way, _, gradient in both_ways(expression, logits, labels):
            assert gradient.isfinite().all(), expression.text
            if known.any():
                scale = float(expected[known].abs().max())
                error = float((gradient - expected)[known].abs().max())
                assert error <= 1e-6 * scale, (expression.text, way, error, scale)
                worst = max(worst, error / scale if scale else 0.0)
        found["whole" if known.all() else "in part" if known.any() else "left out"] += 1
    print(
        f"\n{count} accepted graphs, {len(set(expressions))} different: gradients of {dict(found)}; worst {worst:.1e}"
    )
    for reason, number in Counter(kinks.values()).items():
        print(f"- {reason}: {number} graphs")
        print("".join(f"    {text}\n" for text, other in kinks.items() if other == reason), end="")
    return found


def test_gradients_of_random_losses() -> None:
    found = check_gradients(FEW)
    assert found["whole"] > 0.98 * FEW


@pytest.mark.slow
def test_gradients_of_thousands_of_random_losses() -> None:
    found = check_gradients(MANY)
    assert found["whole"] > 0.99 * MANY


# -- saturation --


def check_saturation(count: int) -> Counter[str]:
    found: Counter[str] = Counter()
    expressions = accepted_expressions(count, seed=SEED)
    for expression in expressions:
        expected, slope, _ = reference(expression, LOGITS, one_hot(LABELS, LOGITS.double()))
        (_, _, limit), _ = both_ways(expression, LOGITS.double(), LABELS)  # has limits where autograd has NaN
        exact = torch.where(slope.isfinite(), slope, limit)
        of_value = expected.isfinite() & (expected.abs() < GREATEST)
        of_slope = of_value & (exact.isfinite() & (exact.abs() < GREATEST)).all(1)
        for way, value, gradient in both_ways(expression, LOGITS, LABELS):
            assert value[of_value].isfinite().all(), (expression.text, way)
            assert gradient[of_slope].isfinite().all(), (expression.text, way)
        found["rows"] += len(LOGITS)
        found["value beyond float32 or not defined"] += int((~of_value).sum())
        found["gradient beyond float32"] += int((of_value & ~of_slope).sum())
        found["autograd has no gradient in float64"] += int((of_value & ~slope.isfinite().all(1)).sum())
        found["graphs with all rows"] += bool(of_slope.all())
        found["computed in float64"] += may_overflow(expression)
    print(f"\n{count} accepted graphs, {len(set(expressions))} different, logits within +-1e4: {dict(found)}")
    return found


def test_saturation_of_random_losses() -> None:
    found = check_saturation(FEW)
    assert found["graphs with all rows"] > 0.98 * FEW


@pytest.mark.slow
def test_saturation_of_thousands_of_random_losses() -> None:
    found = check_saturation(MANY)
    assert found["graphs with all rows"] > 0.99 * MANY


# -- the zoo --


def outcome(module: Loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    value = module(leaf, target)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


@pytest.mark.parametrize("name", ZOO)
def test_gradients_of_the_zoo(name: str) -> None:
    generator = torch.Generator().manual_seed(SEED)
    module = loss(name, reduction="none")
    for _ in range(5):
        logits = 2 * torch.randn((6, 5), generator=generator, dtype=torch.float64)
        labels = torch.randint(5, (6,), generator=generator)
        y = one_hot(labels, logits)
        _, gradient = outcome(module, logits, labels)
        if module.expression is not None:
            _, expected, _ = reference(module.expression.bind(5), logits, y)
            assert float((gradient - expected).abs().max()) <= 1e-6 * float(expected.abs().max())
        leaf = logits.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda z, labels=labels: module(z, labels), leaf)


@pytest.mark.parametrize("name", ZOO)
def test_saturation_of_the_zoo(name: str) -> None:
    """Finite in float32, and what float64 finds, up to the rounding of p."""
    module = loss(name, reduction="none")
    value, gradient = outcome(module, LOGITS, LABELS)
    expected, slope = outcome(module, LOGITS.double(), LABELS)
    assert expected.isfinite().all()
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-4)
    # TaylorGLO's gradient is a difference of slopes of some thousands
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=1e-3)
