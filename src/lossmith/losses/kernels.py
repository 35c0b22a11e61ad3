"""The analytic path of a loss that is an expression: values and gradients in one pass, nothing but the slope saved.

With p = softmax(z) and l = sum over classes of f(y_c, p_c), the gradient with respect to the logits is

    dl / dz = d - p * sum(d),        d = df / d(log p) = p * df/dp        (the design's p * (g - sum(g * p)))

so the forward pass walks the expression once forwards for f and once backwards for d, and keeps one tensor of the
logits' shape. `log(yhat)` reads log-softmax and adds its adjoint to d directly, without the detour p * (1 / p).

Double backward rebuilds the same quantities from the saved logits with differentiable operations.

Where values or gradients are not finite, for finite logits:
- at a pole: a denominator that is 0 for some y, yhat in [0, 1], as in `1 / (yhat - y)`;
- where a value overflows float32: `exp`, `sinh`, `i0`, `i1` and `softplus` beyond about 88, as in `exp(1 / yhat)`;
- where a class whose logit is -inf has a target above 0: the largest number of the dtype stands for infinity;
- where `log(x)` meets x = 0 for any x but yhat itself: `log(1 - yhat)` at saturation. `log_abs` has no such place.
A saturated function outside an overflow is no such place: the chain rule takes 0 * infinity as 0 there, its limit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossmith.losses.bounds import may_overflow
from lossmith.space.expression import CONSTANT, PREDICTION, TARGET, Expression
from lossmith.space.operators import EPS, OPERATORS

# An adjoint is a plain number as long as only these linear operators lie between it and the root.
Adjoint = Tensor | float
_LINEAR: dict[str, tuple[float, ...]] = {"neg": (-1.0,), "add": (1.0, 1.0), "sub": (1.0, -1.0)}

# The table's derivative of `div` makes both slopes, and mostly one is wanted (in `y / yhat` the second): three
# operations instead of six on a loss that the search draws often. The same numbers, one slope each.
_PARTIAL: dict[str, tuple[Callable[..., Tensor], ...]] = {
    "div": (lambda a, b, f: 1 / (b + EPS), lambda a, b, f: -f / (b + EPS))
}


@dataclass(frozen=True, slots=True)
class _Step:
    """One operator that is not constant."""

    index: int  # of the node
    inputs: tuple[int, ...]
    function: Callable[..., Tensor]
    derivative: Callable[..., Tensor | tuple[Tensor, Tensor]]
    linear: tuple[float, ...] | None  # the derivative, where it is constant
    partial: tuple[Callable[..., Tensor], ...] | None  # the derivative, where each slope can be had alone

    def local_slopes(self, values: list[Tensor], wanted: list[bool]) -> Iterator[tuple[int, Adjoint]]:
        """(input, d value / d input) for each input that is wanted."""
        if self.linear is not None:
            yield from ((i, slope) for i, slope in zip(self.inputs, self.linear, strict=True) if wanted[i])
            return
        arguments = [values[i] for i in self.inputs]
        if self.partial is not None:
            for i, slope in zip(self.inputs, self.partial, strict=True):
                if wanted[i]:
                    yield i, slope(*arguments, values[self.index])
            return
        found = self.derivative(*arguments, values[self.index])
        slopes = found if isinstance(found, tuple) else (found,)
        yield from ((i, slope) for i, slope in zip(self.inputs, slopes, strict=True) if wanted[i])


class Program:
    """An expression made ready to run: constants folded, leaves found, the reverse pass planned."""

    def __init__(self, expression: Expression) -> None:
        self.expression = expression
        self.guarded = may_overflow(expression)
        nodes = expression.nodes
        on_target, on_prediction = [False] * len(nodes), [False] * len(nodes)
        steps: list[_Step] = []
        self._target = self._prediction = self._log_prediction = -1
        for index, node in enumerate(nodes):
            on_target[index] = node.operator == TARGET or any(on_target[i] for i in node.inputs)
            on_prediction[index] = node.operator == PREDICTION or any(on_prediction[i] for i in node.inputs)
            match node.operator:
                case "y":
                    self._target = index
                case "yhat":
                    self._prediction = index
                case "log" if nodes[node.inputs[0]].operator == PREDICTION:
                    self._log_prediction = index
                case name if on_target[index] or on_prediction[index]:
                    row = OPERATORS[name]
                    steps.append(
                        _Step(index, node.inputs, row.function, row.derivative, _LINEAR.get(name), _PARTIAL.get(name))
                    )
        self.reads_log = self._log_prediction >= 0  # whether log-softmax is needed
        self._steps = tuple(steps)
        self._reversed = self._steps[::-1]
        self._on_prediction = on_prediction
        self._on_either = [a or b for a, b in zip(on_target, on_prediction, strict=True)]
        # Each constant in the precision it is used in, so that folding changes no bit of the result. They are tensors
        # of no dimension on the CPU, which torch takes as scalars beside tensors on any device.
        self._constants = {dtype: self._fold(dtype) for dtype in (torch.float32, torch.float64)}
        self._numbers = {
            dtype: {index: value.item() for index, value in folded.items()} for dtype, folded in self._constants.items()
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return program, (self.expression,)  # the operator table's functions cannot be pickled

    def _fold(self, dtype: torch.dtype) -> dict[int, Tensor]:
        folded: dict[int, Tensor] = {}
        for index, node in enumerate(self.expression.nodes):
            if node.operator == CONSTANT:
                folded[index] = torch.tensor(node.value, dtype=dtype)
            elif node.inputs and not self._on_either[index]:
                folded[index] = OPERATORS[node.operator].function(*(folded[i] for i in node.inputs))
        return folded

    def values(self, y: Tensor, p: Tensor, log_p: Tensor | None) -> list[Tensor]:
        """The value of every node, as `Expression.values`; arguments of one shape and dtype (float32 or float64)."""
        values: list[Any] = [None] * len(self.expression.nodes)
        if torch.compiler.is_compiling():  # a captured CPU scalar would be an input of the compiled graph
            for index, number in self._numbers[p.dtype].items():
                values[index] = torch.full((), number, dtype=p.dtype, device=p.device)
        else:
            for index, value in self._constants[p.dtype].items():
                values[index] = value
        for index, leaf in ((self._target, y), (self._prediction, p), (self._log_prediction, log_p)):
            if index >= 0:
                values[index] = leaf
        for step in self._steps:
            values[step.index] = step.function(*[values[i] for i in step.inputs])
        if values[-1].dim() == 0:  # a constant expression, which only an explicit flip lets through
            values[-1] = values[-1].to(p.device).expand_as(p)
        return values

    def slopes(self, values: list[Tensor], p: Tensor, *, target: bool) -> tuple[Tensor, Tensor | None]:
        """The reverse pass.

        Args:
            values: of every node, from `values`.
            p: softmax outputs.
            target: whether the slope in y is wanted.

        Returns:
            (df / d log p, df / dy or None), each of the shape of `p`, differentiable where grad mode is on.
        """
        adjoints: list[Adjoint | None] = [None] * len(values)
        adjoints[-1] = 1.0
        wanted = self._on_either if target else self._on_prediction
        product = _guarded_product if self.guarded else _product
        for step in self._reversed:
            adjoint = adjoints[step.index]
            if adjoint is None:
                continue
            for source, slope in step.local_slopes(values, wanted):
                change = product(adjoint, slope)
                known = adjoints[source]
                adjoints[source] = change if known is None else known + change
        on_p = adjoints[self._prediction] if self._prediction >= 0 else None
        on_log_p = adjoints[self._log_prediction] if self.reads_log else None
        d: Adjoint = 0.0 if on_log_p is None else on_log_p
        if on_p is not None:
            d = product(on_p, p) if on_log_p is None else d + product(on_p, p)
        on_y = adjoints[self._target] if target and self._target >= 0 else None
        slope_p, slope_y = _full(d, p), None if not target else _full(0.0 if on_y is None else on_y, p)
        if self.guarded:  # the guard must not make a NaN loss look trainable
            slope_p = torch.where(values[-1].isnan(), values[-1], slope_p)
        return slope_p, slope_y


def _product(adjoint: Adjoint, slope: Adjoint) -> Adjoint:
    if isinstance(adjoint, float):
        if adjoint == 1.0:
            return slope
        if adjoint == -1.0:
            return -slope
    return adjoint * slope


def _guarded_product(adjoint: Adjoint, slope: Adjoint) -> Adjoint:
    """`_product` with 0 * infinity = 0."""
    if isinstance(adjoint, Tensor) and isinstance(slope, Tensor):
        return torch.nan_to_num(adjoint * slope, nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    return _product(adjoint, slope)


def _full(adjoint: Adjoint, like: Tensor) -> Tensor:
    """`adjoint` as a tensor of the shape of `like`."""
    if isinstance(adjoint, Tensor) and adjoint.shape == like.shape:
        return adjoint
    return torch.zeros_like(like) + adjoint


@functools.lru_cache(maxsize=1024)
def program(expression: Expression) -> Program:
    """The program of an expression, made once."""
    return Program(expression)


def class_sum(
    logits: Tensor, y: Tensor, weight: Tensor | None, run: Program, *, dim: int, each: bool, divisor: int = 1
) -> Tensor:
    """sum over classes of weight_c * f(y_c, softmax(logits)_c), unflipped, divided by `divisor`.

    Args:
        logits: float32 or float64, any shape.
        y: target probabilities, shape and dtype of `logits`.
        weight: of the classes, of a shape that broadcasts to `logits`, or None.
        run: the expression f.
        dim: of the classes.
        each: True for one value per example (the shape of `logits` without `dim`), False for their sum (no dimension).
        divisor: any integer; part of this function because a division outside costs a node of the autograd graph.

    Returns:
        Dtype of `logits`; differentiable, also twice, with respect to `logits` and `y`.
    """
    if torch.is_grad_enabled() and (logits.requires_grad or y.requires_grad):
        return _ClassSum.apply(logits, y, weight, run, dim, each, divisor)  # pyright: ignore[reportReturnType] - torch's stub
    values, _ = _values(logits, y, run, dim)
    return weighted_sum(values[-1], weight, dim, each, divisor)


def _values(logits: Tensor, y: Tensor, run: Program, dim: int) -> tuple[list[Tensor], Tensor]:
    p = torch.softmax(logits, dim)
    log_p = log_softmax(logits, dim) if run.reads_log else None
    return run.values(y, p, log_p), p


def log_softmax(logits: Tensor, dim: int) -> Tensor:
    """log-softmax, but a class that is masked by a logit of -inf has the least finite number, since 0 * -inf is NaN."""
    return torch.log_softmax(logits, dim).clamp(min=torch.finfo(logits.dtype).min)


def weighted_sum(value: Tensor, weight: Tensor | None, dim: int, each: bool, divisor: int) -> Tensor:
    """The reduction of `class_sum`, given f at every class."""
    if weight is not None:
        value = value * weight
    value = value.sum(dim) if each else value.sum()
    return value if divisor == 1 else value / divisor


def _gradients(
    values: list[Tensor], p: Tensor, weight: Tensor | None, run: Program, dim: int, target: bool
) -> tuple[Tensor, Tensor | None]:
    """(dl / d logits, dl / dy or None) of each example's sum over classes."""
    d, on_y = run.slopes(values, p, target=target)
    if weight is not None:
        d = d * weight
        on_y = None if on_y is None else on_y * weight
    return torch.addcmul(d, p, d.sum(dim, keepdim=True), value=-1), on_y


class _ClassSum(torch.autograd.Function):
    """`class_sum` with its gradient made in the forward pass, where the values are at hand and needed nowhere else."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, y: Tensor, weight: Tensor | None, run: Program, dim: int, each: bool, divisor: int
    ) -> Tensor:
        values, p = _values(logits, y, run, dim)
        target = ctx.needs_input_grad[1]
        on_logits, on_y = _gradients(values, p, weight, run, dim, target)
        ctx.save_for_backward(on_logits, on_y, logits, y, weight)
        ctx.run, ctx.dim, ctx.each, ctx.divisor, ctx.target = run, dim, each, divisor, target
        return weighted_sum(values[-1], weight, dim, each, divisor)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        on_logits, on_y, logits, y, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the saved slopes know nothing of where they came from
            values, p = _values(logits, y, ctx.run, ctx.dim)
            on_logits, on_y = _gradients(values, p, weight, ctx.run, ctx.dim, ctx.target)
        grad = grads[0] if ctx.divisor == 1 else grads[0] / ctx.divisor
        if ctx.each:
            grad = grad.unsqueeze(ctx.dim)
        return grad * on_logits, None if on_y is None else grad * on_y, None, None, None, None, None
