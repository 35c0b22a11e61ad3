"""Can the chain rule meet an infinity? Interval arithmetic over an expression, once, before it is ever computed.

Where a saturated outer function meets an inner one that overflows, the chain rule multiplies 0 by infinity, and a
gradient whose limit is 0 becomes NaN: `tanh(exp(1 / yhat))` at yhat = 0. Guarding every product costs time at every
step, and most expressions cannot overflow at all. So each node gets an interval that holds its values for y and yhat
in [0, 1], each product of slopes an upper bound, and only an expression that can exceed `LIMIT` is guarded.

The bounds are safe, not tight: inputs of a node are treated as independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from lossmith.space.expression import CONSTANT, PREDICTION, TARGET, Expression, Node
from lossmith.space.operators import EPS, OPERATORS

LIMIT = 1e30  # float32 ends at 3.4e38; the rest is margin for rounding, class weights and sums over a batch
_LEAST = 1e-30  # a divisor below this may round to 0
_LEAST_LOG = -1e5  # log-softmax of logits within +-1e4 is above -2e4

# monotone, so that the ends of the input's interval give the ends of the output's
_MONOTONE = frozenset(
    "neg exp sigmoid softplus erf erfc sinh asinh tanh atan i1 max0 min0 log".split()  # noqa: SIM905 - a list of names
)
# even, and monotone in |x|
_EVEN = frozenset("abs inv_one_plus_abs square sqrt_abs log_abs log10_abs i0 i0e tanh_deriv sigmoid_deriv".split())  # noqa: SIM905


class Interval(NamedTuple):
    """low <= every value <= high; the ends may be infinite."""

    low: float
    high: float

    @property
    def most(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    @property
    def least(self) -> float:
        """The smallest magnitude; 0 where the interval holds 0."""
        return 0.0 if self.low <= 0 <= self.high else min(abs(self.low), abs(self.high))

    def shifted(self, by: float) -> Interval:
        return Interval(self.low + by, self.high + by)


_EVERYTHING = Interval(-math.inf, math.inf)
_UNIT = Interval(0.0, 1.0 + 1e-6)  # a softmax output may round above 1


def may_overflow(expression: Expression) -> bool:
    """Whether a value or a slope of the expression may exceed `LIMIT` for y, yhat in [0, 1] and logits within +-1e4."""
    nodes = expression.nodes
    values: list[Interval] = []
    for index in range(len(nodes)):
        values.append(_value(nodes, index, [values[i] for i in nodes[index].inputs]))
    slopes = [0.0] * len(nodes)  # of the root with respect to each node, an upper bound of the magnitude
    slopes[-1] = 1.0
    for index in range(len(nodes) - 1, -1, -1):
        node = nodes[index]
        if not node.inputs or exact_log(nodes, index):
            continue
        local = _slopes(node.operator, [values[i] for i in node.inputs], values[index])
        for source, slope in zip(node.inputs, local, strict=True):
            slopes[source] += slopes[index] * slope
    return not all(bound < LIMIT for bound in (*slopes, *(value.most for value in values)))  # NaN counts as too large


def exact_log(nodes: Sequence[Node], index: int) -> str:
    """The leaf that a node is, where it is log(yhat) or log(1 - yhat); else the empty text."""
    node = nodes[index]
    if node.operator != "log":
        return ""
    inner = nodes[node.inputs[0]]
    if inner.operator == PREDICTION:
        return "log_p"
    if inner.operator == "sub":
        one, p = (nodes[i] for i in inner.inputs)
        if one.operator == CONSTANT and one.value == 1.0 and p.operator == PREDICTION:
            return "log_rest"
    return ""


def _value(nodes: Sequence[Node], index: int, inputs: list[Interval]) -> Interval:
    """An interval that holds every value of a node."""
    node = nodes[index]
    name = node.operator
    if name == CONSTANT:
        return Interval(node.value, node.value)
    if name in (TARGET, PREDICTION):
        return _UNIT
    if exact_log(nodes, index):
        return Interval(_LEAST_LOG, 0.0)
    if len(inputs) == 1:
        return _unary_value(name, inputs[0])
    return _binary_value(name, *inputs)


def _unary_value(name: str, x: Interval) -> Interval:
    if name in _MONOTONE:
        return _hull(_at(name, x.low, x.high))
    if name in _EVEN:
        return _hull(_at(name, x.least, x.most))
    if name == "reciprocal":
        divisor = x.shifted(EPS)
        return _EVERYTHING if divisor.least < _LEAST else _hull([1 / divisor.low, 1 / divisor.high])
    # sin, i1e and softsign stay within [-1, 1], except that sin and softsign of infinity are NaN
    return Interval(-1.0, 1.0) if name in ("sin", "i1e", "softsign") and x.most < LIMIT else _EVERYTHING


def _at(name: str, *x: float) -> list[float]:
    """The operator's values, in float32, on the CPU whatever the default device is."""
    return OPERATORS[name].function(torch.tensor(x, dtype=torch.float32, device="cpu")).tolist()


def _binary_value(name: str, a: Interval, b: Interval) -> Interval:
    match name:
        case "add":
            return _hull([a.low + b.low, a.high + b.high])
        case "sub":
            return _hull([a.low - b.high, a.high - b.low])
        case "mul":
            return _hull([s * t for s in a for t in b])
        case "max":
            return _hull([max(a.low, b.low), max(a.high, b.high)])
        case "min":
            return _hull([min(a.low, b.low), min(a.high, b.high)])
        case "div":
            divisor = b.shifted(EPS)
            return _EVERYTHING if divisor.least < _LEAST else _hull([s / t for s in a for t in divisor])
        case "div_sqrt1p_sq" if b.most < LIMIT:
            return Interval(-a.most, a.most)
        case _:
            return _EVERYTHING


def _hull(ends: list[float]) -> Interval:
    return _EVERYTHING if any(math.isnan(end) for end in ends) else Interval(min(ends), max(ends))


def _slopes(name: str, inputs: list[Interval], value: Interval) -> list[float]:
    """An upper bound of each partial derivative's magnitude."""
    if not all(x.most < LIMIT for x in inputs):
        return [math.inf] * len(inputs)  # some derivatives are NaN at infinity, where their limit is finite
    x = inputs[0]
    match name:
        case "exp":
            return [value.most]
        case "sinh" | "i0" | "i1":
            return [math.exp(min(x.most, 700.0))]  # cosh, I0 and I1 are all below it
        case "square":
            return [2 * x.most]
        case "sqrt_abs":
            return [0.5e23]  # 0.5 / sqrt of the smallest float32 above 0; 0 itself has slope 0
        case "log_abs" | "log10_abs":
            return [1 / (x.least + EPS)]
        case "log":
            return [1 / x.low if x.low > _LEAST else math.inf]
        case "reciprocal":
            return [value.most * value.most]
        case "mul":
            return [inputs[1].most, x.most]
        case "div":
            least = inputs[1].shifted(EPS).least
            return [1 / least, x.most / least / least] if least > _LEAST else [math.inf, math.inf]
        case "div_sqrt1p_sq":
            return [1.0, x.most]
        case _:
            return [2.0] * len(inputs)  # the steepest of the rest is erf with 1.13
