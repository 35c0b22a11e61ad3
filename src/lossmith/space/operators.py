"""The operators of the search space, as one table.

Source: arXiv 2403.08793, the unary and binary operators of the search space, with eps = 1e-7. One operator more,
`log`, is for formulas only: the exact logarithm, which the search never draws.

Every function takes float tensors of any (broadcastable) shape and returns their elementwise result. Derivatives are
analytic and built from differentiable torch operations, so that second derivatives work. Where a function has a kink,
the derivative there is the value that `torch.autograd` uses, except that `sqrt_abs` has 0 at 0 where autograd has NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

EPS = 1e-7


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of the table."""

    name: str
    arity: int  # 1 or 2
    function: Callable[..., Tensor]  # (x) or (a, b) -> value
    # (x, value) -> d value / dx, or (a, b, value) -> (d value / da, d value / db)
    derivative: Callable[..., Tensor | tuple[Tensor, Tensor]]
    latex: str  # template with {0} and {1} for the inputs' LaTeX
    symbol: str = ""  # infix symbol in formulas: + - * /; empty for a function call
    commutative: bool = False
    searched: bool = True  # drawn by the search by default (the method's 27 + 7)
    brackets: str = ""  # LaTeX: the inputs (a subset of "01") that want brackets where they are sums or products


def _i1_derivative(x: Tensor, value: Tensor) -> Tensor:
    at_zero = x == 0
    return torch.where(at_zero, 0.5, torch.special.i0(x) - value / torch.where(at_zero, 1.0, x))


def _i1e_derivative(x: Tensor, value: Tensor) -> Tensor:
    at_zero = x == 0
    # not value * (sign + 1 / x): 1 / x overflows for subnormal x
    slope = torch.special.i0e(x) - value * x.sign() - value / torch.where(at_zero, 1.0, x)
    return torch.where(at_zero, 0.5, slope)


def _sqrt_abs_derivative(x: Tensor, value: Tensor) -> Tensor:
    # 0 at 0: the two one-sided slopes are +-infinity, and softmax's own slope there is 0
    at_zero = value == 0
    return torch.where(at_zero, 0.0, x.sign() * 0.5 / torch.where(at_zero, 1.0, value))


def _maximum_derivative(a: Tensor, b: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    share = ((a > b).to(value.dtype) + (a >= b).to(value.dtype)) / 2  # a tie shares the slope evenly
    return share, 1 - share


def _minimum_derivative(a: Tensor, b: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    share = ((a < b).to(value.dtype) + (a <= b).to(value.dtype)) / 2
    return share, 1 - share


def _div_sqrt1p_sq_derivative(a: Tensor, b: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    root = torch.sqrt(1 + b * b)
    # value * b / root^2 in an order that does not overflow for large b
    return 1 / root, -(value / root) * (b / root)


def _log_abs_derivative(x: Tensor, value: Tensor) -> Tensor:
    return x.sign() / (x.abs() + EPS)


def _sigmoid_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * torch.sigmoid(-x)  # not s (1 - s): that rounds to 0 long before the slope does


_UNARY = (
    Operator("neg", 1, torch.neg, lambda x, f: torch.full_like(x, -1.0), "-{0}", brackets="0"),
    Operator(
        "log_abs",
        1,
        lambda x: torch.log(x.abs() + EPS),
        _log_abs_derivative,
        r"\ln\left(\left|{0}\right|+\epsilon\right)",
    ),
    Operator(
        "log10_abs",
        1,
        lambda x: torch.log10(x.abs() + EPS),
        lambda x, f: _log_abs_derivative(x, f) / math.log(10),
        r"\log_{{10}}\left(\left|{0}\right|+\epsilon\right)",
    ),
    Operator("exp", 1, torch.exp, lambda x, f: f, "e^{{{0}}}"),
    Operator("abs", 1, torch.abs, lambda x, f: x.sign(), r"\left|{0}\right|"),
    Operator("sigmoid", 1, torch.sigmoid, lambda x, f: _sigmoid_slope(x), r"\sigma\left({0}\right)"),
    Operator(
        "inv_one_plus_abs",
        1,
        lambda x: 1 / (1 + x.abs()),
        lambda x, f: -x.sign() * f * f,
        r"\frac{{1}}{{1+\left|{0}\right|}}",
    ),
    Operator(
        "softplus",
        1,
        lambda x: torch.log((1 + x.exp()).abs() + EPS),
        lambda x, f: torch.sigmoid(x - math.log1p(EPS)),
        r"\ln\left(1+e^{{{0}}}+\epsilon\right)",
    ),
    Operator(
        "erf",
        1,
        torch.erf,
        lambda x, f: 2 / math.sqrt(math.pi) * torch.exp(-x * x),
        r"\operatorname{{erf}}\left({0}\right)",
    ),
    Operator(
        "erfc",
        1,
        torch.erfc,
        lambda x, f: -2 / math.sqrt(math.pi) * torch.exp(-x * x),
        r"\operatorname{{erfc}}\left({0}\right)",
    ),
    Operator("sin", 1, torch.sin, lambda x, f: torch.cos(x), r"\sin\left({0}\right)"),
    Operator("sinh", 1, torch.sinh, lambda x, f: torch.cosh(x), r"\sinh\left({0}\right)"),
    Operator("asinh", 1, torch.asinh, lambda x, f: torch.rsqrt(1 + x * x), r"\operatorname{{asinh}}\left({0}\right)"),
    Operator("tanh", 1, torch.tanh, lambda x, f: 1 - f * f, r"\tanh\left({0}\right)"),
    Operator("atan", 1, torch.atan, lambda x, f: 1 / (1 + x * x), r"\arctan\left({0}\right)"),
    Operator("reciprocal", 1, lambda x: 1 / (x + EPS), lambda x, f: -f * f, r"\frac{{1}}{{{0}+\epsilon}}"),
    Operator("i0", 1, torch.special.i0, lambda x, f: torch.special.i1(x), r"I_0\left({0}\right)"),
    Operator(
        "i0e",
        1,
        torch.special.i0e,
        lambda x, f: torch.special.i1e(x) - x.sign() * f,
        r"e^{{-\left|{0}\right|}}I_0\left({0}\right)",
    ),
    Operator("i1", 1, torch.special.i1, _i1_derivative, r"I_1\left({0}\right)"),
    Operator("i1e", 1, torch.special.i1e, _i1e_derivative, r"e^{{-\left|{0}\right|}}I_1\left({0}\right)"),
    Operator("max0", 1, torch.relu, lambda x, f: (x > 0).to(x.dtype), r"\max\left({0},0\right)"),
    Operator("min0", 1, lambda x: x.clamp(max=0), lambda x, f: (x < 0).to(x.dtype), r"\min\left({0},0\right)"),
    Operator("square", 1, torch.square, lambda x, f: 2 * x, "{0}^2", brackets="0"),
    Operator("sqrt_abs", 1, lambda x: x.abs().sqrt(), _sqrt_abs_derivative, r"\sqrt{{\left|{0}\right|}}"),
    Operator(
        "softsign",
        1,
        lambda x: x / (1 + x.abs()),
        lambda x, f: torch.square(1 / (1 + x.abs())),
        r"\frac{{{0}}}{{1+\left|{0}\right|}}",
    ),
    Operator(
        "tanh_deriv",
        1,
        lambda x: 1 - torch.square(torch.tanh(x)),
        lambda x, f: -2 * torch.tanh(x) * f,
        r"\left(1-\tanh^2\left({0}\right)\right)",
    ),
    Operator(
        "sigmoid_deriv",
        1,
        lambda x: torch.sigmoid(x) * (1 - torch.sigmoid(x)),
        lambda x, f: f * (1 - 2 * torch.sigmoid(x)),
        r"\sigma'\left({0}\right)",
    ),
    Operator("log", 1, torch.log, lambda x, f: 1 / x, r"\ln\left({0}\right)", searched=False),
)

_BINARY = (
    Operator(
        "add", 2, torch.add, lambda a, b, f: (torch.ones_like(f), torch.ones_like(f)), "{0}+{1}", "+", commutative=True
    ),
    Operator(
        "sub",
        2,
        torch.sub,
        lambda a, b, f: (torch.ones_like(f), torch.full_like(f, -1.0)),
        "{0}-{1}",
        "-",
        brackets="1",
    ),
    Operator("mul", 2, torch.mul, lambda a, b, f: (b, a), r"{0} \cdot {1}", "*", commutative=True, brackets="01"),
    Operator("max", 2, torch.maximum, _maximum_derivative, r"\max\left({0},{1}\right)", commutative=True),
    Operator("min", 2, torch.minimum, _minimum_derivative, r"\min\left({0},{1}\right)", commutative=True),
    Operator(
        "div",
        2,
        lambda a, b: a / (b + EPS),
        lambda a, b, f: (1 / (b + EPS), -f / (b + EPS)),
        r"\frac{{{0}}}{{{1}+\epsilon}}",
        "/",
    ),
    Operator(
        "div_sqrt1p_sq",
        2,
        lambda a, b: a / torch.sqrt(1 + b * b),
        _div_sqrt1p_sq_derivative,
        r"\frac{{{0}}}{{\sqrt{{1+\left({1}\right)^2}}}}",
    ),
)


def _checked(operators: tuple[Operator, ...]) -> Mapping[str, Operator]:
    """The table by name, after checking each row's shapes and dtypes on a small grid (costs about a millisecond)."""
    x = torch.tensor([0.25, 0.5, 0.75])
    for operator in operators:
        inputs = (x,) * operator.arity
        value = operator.function(*inputs)
        slopes = operator.derivative(*inputs, value)
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        if len(slopes) != operator.arity or any(t.shape != x.shape or t.dtype != x.dtype for t in (value, *slopes)):
            raise AssertionError(f"operator table: '{operator.name}' does not keep the shape and dtype of its input")
    table = {operator.name: operator for operator in operators}
    if len(table) != len(operators):
        raise AssertionError("operator table: two operators share a name")
    return MappingProxyType(table)


OPERATORS: Mapping[str, Operator] = _checked(_UNARY + _BINARY)
UNARY: tuple[str, ...] = tuple(operator.name for operator in _UNARY if operator.searched)
BINARY: tuple[str, ...] = tuple(operator.name for operator in _BINARY if operator.searched)
