"""Symbolic slopes, against `Expression.evaluate` and torch's automatic differentiation, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from helpers import accepted_expressions, generators
from lossmith.losses.program import program
from lossmith.losses.symbolic import differentiate
from lossmith.losses.tape import Step
from lossmith.space.expression import Expression, ExpressionBuilder
from lossmith.space.operators import OPERATORS

P = torch.tensor([0.03, 0.2, 0.41, 0.77, 0.96], dtype=torch.float64)
Y = torch.tensor([0.0, 1.0, 0.05, 0.3, 0.955], dtype=torch.float64)
TARGETS = (0.0, 1.0, 0.05, 0.955)


def random_expression(rng: np.random.Generator) -> Expression:
    """Any expression, constants and logarithms of p and 1 - p among its operands."""
    builder = ExpressionBuilder()
    p, one = builder.leaf("yhat"), builder.constant(1.0)
    nodes = [builder.leaf("y"), p, builder.apply("log", p), builder.apply("log", builder.apply("sub", one, p))]
    nodes += [builder.constant(float(rng.choice([0.0, 1.0, -1.0, 2.0, 0.3])))]
    names = [name for name in OPERATORS if name != "log"]
    for _ in range(rng.integers(1, 7)):
        name = names[rng.integers(len(names))]
        nodes.append(builder.apply(name, *(int(rng.choice(nodes)) for _ in range(OPERATORS[name].arity))))
    return builder.build(nodes[-1])


def expected(expression: Expression, y: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(f, df/dp, df/dy) by autograd."""
    y, p = y.clone().requires_grad_(), p.clone().requires_grad_()
    value = expression.evaluate(y, p)
    if not value.requires_grad:
        return value, torch.zeros_like(p), torch.zeros_like(y)
    on_p, on_y = torch.autograd.grad(value.sum(), (p, y), materialize_grads=True)
    return value.detach(), on_p, on_y


def found(expression: Expression, y: Tensor, p: Tensor, *, fixed: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The same by the program; the slopes in log p and log(1 - p) turned into one in p."""
    runner = program(expression).runner(p.dtype, y=fixed, target=fixed is None)
    value, on_p, on_log_p, on_log_rest, on_y = runner(
        None if fixed is not None else y, p, p.log(), torch.log(1 - p), p.device
    )
    slope = on_p + on_log_p / p - on_log_rest / (1 - p)
    return torch.zeros_like(p) + value, torch.zeros_like(p) + slope, torch.zeros_like(p) + on_y


def well_posed(expression: Expression) -> bool:
    """Finite, and far from poles, kinks and cancellation: a shift of 1e-9 changes next to nothing."""
    values = expression.values(Y, P)
    if not all(value.isfinite().all() and value.abs().max() < 1e8 for value in values):
        return False
    here = expected(expression, Y, P)
    if not all(x.isfinite().all() for x in here):
        return False
    for shift in (1e-9, -1e-9):
        there = expected(expression, (Y + shift).clamp(0, 1), P + shift)
        for a, b in zip(here, there, strict=True):
            if not torch.allclose(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(a.abs().max()))):
                return False
    return True


def same(ours: Tensor, theirs: Tensor) -> None:
    scale = max([1.0, *theirs.abs().tolist()])
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8 * scale)


@settings(max_examples=300)
@given(generators())
def test_random_expressions(rng: np.random.Generator) -> None:
    expression = random_expression(rng)
    assume(well_posed(expression))
    for ours, theirs in zip(found(expression, Y, P), expected(expression, Y, P), strict=True):
        same(ours, theirs)


@settings(max_examples=200)
@given(generators(), st.sampled_from(TARGETS))
def test_a_curve_is_the_expression_at_one_target(rng: np.random.Generator, y: float) -> None:
    expression = random_expression(rng)
    fixed = torch.full_like(P, y)
    assume(well_posed(expression))
    values = expected(expression, fixed, P)
    assume(all(x.isfinite().all() for x in values))
    perturbed = expected(expression, fixed, P * (1 + 1e-12))
    ours = found(expression, fixed, P, fixed=y)
    for a, b, moved in zip(ours[:2], values[:2], perturbed[:2], strict=True):
        assume(torch.allclose(b, moved, rtol=1e-8, atol=1e-8))  # at this y there may be a pole or a kink
        same(a, b)


def test_accepted_graphs_have_the_same_curves() -> None:
    compared = 0
    for expression in accepted_expressions(100, seed=11):
        for y in TARGETS:
            fixed = torch.full_like(P, y)
            value, slope, _ = expected(expression, fixed, P)
            known = value.isfinite() & slope.isfinite() & (value.abs() < 1e8) & (slope.abs() < 1e8)
            for ours, theirs in zip(found(expression, fixed, P, fixed=y)[:2], (value, slope), strict=True):
                same(ours[known], theirs[known])
            compared += int(known.sum())
    assert compared > 0.95 * 100 * len(TARGETS) * len(P)


def test_cross_entropy_is_one_step() -> None:
    expression = Expression.from_text("-y * log(yhat)")
    at = differentiate(expression, torch.float32, y=1.0)
    assert at.steps == (Step("log_p", ()), Step("neg", (0,)))
    assert (at.value, at.on_p, at.on_log_p, at.on_log_rest, at.on_y) == (1, 0.0, -1.0, 0.0, 0.0)
    assert at.constant is None
    assert at.reads("log_p")
    assert not at.reads("p")
    elsewhere = differentiate(expression, torch.float32, y=0.0)
    assert elsewhere.steps == ()
    assert elsewhere.constant == 0.0


@pytest.mark.parametrize(
    ("text", "y", "constant"),
    [
        ("y * exp(yhat) + 3", 0.0, 3.0),
        ("y * exp(yhat) + 3", 1.0, None),
        ("max(y, 0.5)", None, None),
        ("max(y, 0.5)", 0.05, 0.5),
        ("yhat", 0.0, None),
    ],
)
def test_constant(text: str, y: float | None, constant: float | None) -> None:
    assert differentiate(Expression.from_text(text), torch.float64, y=y).constant == constant


def test_what_is_not_asked_for_is_zero() -> None:
    expression = Expression.from_text("y * square(yhat) - y * log(yhat) * log(1 - yhat)")
    for slopes in (False, True):
        for target in (False, True):
            made = differentiate(expression, torch.float64, slopes=slopes, target=target)
            for slope in (made.on_p, made.on_log_p, made.on_log_rest):
                assert isinstance(slope, int) is slopes
            assert isinstance(made.on_y, int) is target


def test_logarithms_are_leaves_of_their_own() -> None:
    made = differentiate(Expression.from_text("log(1 - yhat) - log(yhat) + yhat"), torch.float64)
    assert (made.on_p, made.on_log_p, made.on_log_rest) == (1.0, -1.0, 1.0)
    made = differentiate(Expression.from_text("log(1 - y) + log(0.5 + yhat)"), torch.float64)
    assert not made.reads("log_p")
    assert not made.reads("log_rest")


@pytest.mark.parametrize("text", ["y * square(yhat) - y * log(yhat)", "y / (yhat + 0.5)", "y * tanh(exp(1 / yhat))"])
def test_joined_slopes(text: str) -> None:
    """The slope through p as one in log p; a careful program always has it so."""
    expression = Expression.from_text(text)
    apart, joined = (differentiate(expression, torch.float64, joined=flag) for flag in (False, True))
    assert joined.on_p == 0.0
    careful = program(expression).guarded
    assert (apart.on_p == 0.0) is careful
    if careful:
        assert apart == joined


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("text", ["y * (tanh(-exp(1 / yhat)) + 1 / yhat)", "y * (1 / yhat - tanh(exp(1 / yhat)))"])
def test_saturation_outside_an_overflow_leaves_the_other_terms(text: str, dtype: torch.dtype) -> None:
    """0 * infinity is 0 in one term, and the slope of the other term stays: -p / (p + eps)^2."""
    p = torch.tensor([1e-4, 0.002, 0.009], dtype=dtype)
    runner = program(Expression.from_text(text)).runner(dtype, y=1.0)
    assert program(Expression.from_text(text)).guarded
    _, on_p, on_log_p, _, _ = runner(None, p, p.log(), None, p.device)
    assert on_p == 0.0
    torch.testing.assert_close(on_log_p, -p / (p + 1e-7).square())


def test_a_nan_value_has_a_nan_slope() -> None:
    runner = program(Expression.from_text("exp(1 / yhat) - exp(1 / yhat + y)")).runner(torch.float32)
    p = torch.tensor([0.0, 0.5])
    value, _, on_log_p, _, _ = runner(torch.ones(2), p, p.log(), None, p.device)
    assert value.isnan().tolist() == on_log_p.isnan().tolist() == [True, False]
