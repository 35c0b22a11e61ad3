from __future__ import annotations

import math

import pytest
import torch

from lossmith.space.operators import BINARY, OPERATORS, UNARY

# away from 0, where some have a kink, and of both signs where the domain has both
POINTS = torch.tensor([-3.0, -1.5, -0.4, 0.3, 0.9, 2.5], dtype=torch.float64)


def test_the_table_holds_the_operators_of_the_method() -> None:
    assert len(UNARY) == 27
    assert len(BINARY) == 7
    assert "log" not in UNARY


@pytest.mark.parametrize("name", [name for name, operator in OPERATORS.items() if operator.arity == 1])
def test_unary_derivatives_equal_autograd(name: str) -> None:
    operator = OPERATORS[name]
    x = (POINTS.abs() if name == "log" else POINTS).clone().requires_grad_()
    value = operator.function(x)
    (expected,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(operator.derivative(x, value), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", BINARY)
def test_binary_derivatives_equal_autograd(name: str) -> None:
    a, b = (t.clone().requires_grad_() for t in (POINTS, POINTS.roll(2)))
    value = OPERATORS[name].function(a, b)
    expected = torch.autograd.grad(value.sum(), (a, b))
    for slope, want in zip(OPERATORS[name].derivative(a, b, value), expected, strict=True):
        torch.testing.assert_close(slope, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["max", "min"])
def test_a_tie_shares_the_slope_as_autograd_does(name: str) -> None:
    a = torch.tensor([0.5], requires_grad=True)
    value = OPERATORS[name].function(a, a.detach())
    (expected,) = torch.autograd.grad(value, a)
    torch.testing.assert_close(OPERATORS[name].derivative(a, a, value)[0], expected)


@pytest.mark.parametrize(("name", "slope"), [("i1", 0.5), ("i1e", 0.5), ("sqrt_abs", 0.0), ("abs", 0.0)])
def test_slopes_at_zero_are_finite(name: str, slope: float) -> None:
    zero = torch.zeros(1)
    operator = OPERATORS[name]
    found = operator.derivative(zero, operator.function(zero))
    assert isinstance(found, torch.Tensor)
    assert found.item() == slope


@pytest.mark.parametrize(
    ("name", "x", "value"),
    [
        ("log_abs", -math.e, 1.0),
        ("log10_abs", 100.0, 2.0),
        ("inv_one_plus_abs", -3.0, 0.25),
        ("softplus", 0.0, math.log(2)),
        ("reciprocal", 4.0, 0.25),
        ("reciprocal", 0.0, 1e7),
        ("softsign", -3.0, -0.75),
        ("sqrt_abs", -9.0, 3.0),
        ("tanh_deriv", 0.0, 1.0),
        ("sigmoid_deriv", 0.0, 0.25),
        ("i0", 0.0, 1.0),
        ("max0", -2.0, 0.0),
        ("min0", -2.0, -2.0),
    ],
)
def test_values(name: str, x: float, value: float) -> None:
    assert OPERATORS[name].function(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(value, rel=1e-6)


def test_division_is_protected() -> None:
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    assert OPERATORS["div"].function(one, zero).item() == pytest.approx(1e7)
    assert OPERATORS["div_sqrt1p_sq"].function(one, 3 * one).item() == pytest.approx(1 / math.sqrt(10))
