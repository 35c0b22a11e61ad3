"""The analytic gradients: against finite differences and against `torch.autograd`, first and second order."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from helpers import accepted_expressions
from lossmith import loss
from lossmith.losses.bounds import may_overflow
from lossmith.losses.kernels import class_sum, program
from lossmith.space.expression import CONSTANT, PREDICTION, TARGET, Expression
from lossmith.space.operators import EPS, OPERATORS

GRAPHS = 200
MARGIN = 1e-3
_KINK_AT_ZERO = frozenset(
    {"abs", "log_abs", "log10_abs", "inv_one_plus_abs", "max0", "min0", "sqrt_abs", "softsign", "i0e", "i1e"}
)


@functools.cache
def accepted() -> tuple[Expression, ...]:
    """The first accepted graphs of a fixed stream."""
    return tuple(accepted_expressions(GRAPHS, seed=20240313))


def point(seed: int, shape: tuple[int, int] = (2, 3)) -> tuple[Tensor, Tensor, Tensor]:
    """(logits, soft targets, weights), float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.softmax(torch.randn(shape, generator=generator, dtype=torch.float64), 1).requires_grad_()
    weight = torch.rand(shape[1], generator=generator, dtype=torch.float64) + 0.5
    return logits, target, weight


def analytic(expression: Expression, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    return class_sum(logits, target, weight, program(expression), dim=1, each=True)


def automatic(expression: Expression, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    value = expression.evaluate(target, torch.softmax(logits, 1), torch.log_softmax(logits, 1))
    return (value if weight is None else value * weight).sum(1)


def smooth_near(expression: Expression, logits: Tensor, target: Tensor) -> bool:
    """Whether finite differences mean something: no kink and no pole within `MARGIN`, and no steep or wild stretch.

    An element whose distance from a kink is exactly 0 at a random point keeps it (`x - x`), so it is none of the loss.
    """
    p = torch.softmax(logits, 1).detach()
    values = expression.values(target.detach(), p, torch.log_softmax(logits, 1).detach())
    for node, value in zip(expression.nodes, values, strict=True):
        if node.operator in (TARGET, PREDICTION, CONSTANT):
            continue
        inputs = [values[i] for i in node.inputs]
        distance = None
        if node.operator in _KINK_AT_ZERO:
            distance = inputs[0]
        elif node.operator in ("max", "min"):
            distance = inputs[0] - inputs[1]
        elif node.operator in ("reciprocal", "div"):
            distance = inputs[-1] + EPS
        if distance is not None and (distance[distance != 0].abs() < MARGIN).any():
            return False
        if value.abs().max() > 1e6 or not value.isfinite().all():
            return False
    return True


OPERATOR_LOSSES = {
    name: f"y * {name}(yhat + y)" if operator.arity == 1 else f"{name}(y + yhat, 1 + yhat * y) * yhat"
    for name, operator in OPERATORS.items()
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator(name: str) -> None:
    logits, target, weight = point(7)
    for text in (OPERATOR_LOSSES[name], OPERATOR_LOSSES[name].replace("yhat", "(yhat - 0.9)")):
        if name == "log" and "0.9" in text:
            continue  # not defined below 0
        expression = Expression.from_text(text)
        assert smooth_near(expression, logits, target)
        function = functools.partial(analytic, expression)
        assert torch.autograd.gradcheck(function, (logits, target, weight))
        assert torch.autograd.gradgradcheck(function, (logits, target, weight))


@pytest.mark.parametrize(
    "text", ["-y * log(yhat)", "log(yhat) * yhat", "square(log(yhat)) - y * exp(log(yhat))", "-log(yhat)"]
)
def test_log_of_the_prediction(text: str) -> None:
    logits, target, weight = point(8)
    function = functools.partial(analytic, Expression.from_text(text))
    assert torch.autograd.gradcheck(function, (logits, target, weight))
    assert torch.autograd.gradgradcheck(function, (logits, target, weight))


def test_random_graphs_against_finite_differences() -> None:
    unchecked = []
    for number, expression in enumerate(accepted()):
        for seed in range(100):
            logits, target, _ = point(1000 * number + seed)
            if smooth_near(expression, logits, target):
                break
        else:
            unchecked.append(expression.text)
            continue
        assert torch.autograd.gradcheck(
            functools.partial(analytic, expression), (logits, target), rtol=1e-3, atol=1e-5
        ), expression.text
    assert unchecked == []


def test_random_graphs_against_autograd() -> None:
    """Torch's own derivatives, also at hard labels, where kinks lie, and of second order."""
    for number, expression in enumerate(accepted()):
        logits, soft, weight = point(number, (4, 5))
        hard = torch.nn.functional.one_hot(torch.tensor([0, 4, 2, 1]), 5).double()
        for target in (soft, hard):
            leaves = (logits, target) if target.requires_grad else (logits,)
            ours = analytic(expression, logits, target, weight)
            theirs = automatic(expression, logits, target, weight)
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
            first = [torch.autograd.grad(value.sum(), leaves, create_graph=True) for value in (ours, theirs)]
            close(first[0], first[1], expression)
            mixed = [sum((gradient.sin().sum() for gradient in gradients), torch.zeros(())) for gradients in first]
            second = [torch.autograd.grad(value, leaves, materialize_grads=True) for value in mixed]
            close(second[0], second[1], expression)


def close(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], expression: Expression) -> None:
    """Equal up to rounding, relative to the largest entry: entries may be small differences of large numbers.

    Autograd has NaN where `sqrt_abs` meets 0 (the operator table has 0), and where a saturated function meets an
    overflow (the analytic path takes 0 * infinity as 0): there is nothing to compare with.
    """
    for a, b in zip(ours, theirs, strict=True):
        known = b.detach().isfinite()
        assert known.all() or "sqrt_abs" in expression.text or may_overflow(expression), expression.text
        expected, found = b.detach()[known], a.detach()[known]
        scale = max([1.0, *expected.abs().flatten().tolist()])
        assert torch.allclose(found, expected, rtol=1e-7, atol=1e-7 * scale), expression.text


def test_module_gradients_of_second_order() -> None:
    """Through the whole module: mean, smoothing, weights, class indices."""
    logits, _, weight = point(3, (4, 5))
    target = torch.tensor([0, 4, -100, 1])
    for name in ("-y * log(yhat)", "y * log(yhat)", "baikal", "focal", "poly1", "exp(yhat * y) * square(yhat - y)"):
        module = loss(name, weight=weight, label_smoothing=0.1, flip=None)
        assert torch.autograd.gradcheck(lambda z, m=module: m(z, target), logits)
        assert torch.autograd.gradgradcheck(lambda z, m=module: m(z, target), logits)


def test_gradient_of_the_target_alone() -> None:
    logits, target, _ = point(4)
    module = loss("baikal")
    value = module(logits.detach(), target)
    (gradient,) = torch.autograd.grad(value, target)
    torch.testing.assert_close(gradient, 1 / (torch.softmax(logits.detach(), 1) + 1e-7) / 2)


def test_no_graph_without_need() -> None:
    module = loss("-y * log(yhat)")
    logits = torch.randn(3, 4, requires_grad=True)
    with torch.no_grad():
        assert not module(logits, torch.tensor([0, 1, 2])).requires_grad
    assert not module(logits.detach(), torch.tensor([0, 1, 2])).requires_grad


@pytest.mark.parametrize("text", ["y", "2", "y * y + 1"])
def test_expressions_without_prediction_have_gradient_zero(text: str) -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    value = loss(text, flip=False)(logits, torch.tensor([0, 1, 2]))
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient == 0).all()
    assert value == {"y": 1.0, "2": 8.0, "y * y + 1": 5.0}[text]


def test_values_equal_the_expressions() -> None:
    """Folding, sharing and joining steps changes nothing but the rounding."""
    for number, expression in enumerate(accepted()):
        logits, target, _ = point(number)
        for dtype in (torch.float32, torch.float64):
            z, y = logits.detach().to(dtype), target.detach().to(dtype)
            ours, theirs = analytic(expression, z, y), automatic(expression, z, y)
            precision = 1e-4 if dtype == torch.float32 else 1e-12
            torch.testing.assert_close(ours, theirs, rtol=precision, atol=precision * float(theirs.abs().max()))
