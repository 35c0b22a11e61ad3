"""The analytic path of a loss that is an expression: values and gradients in one pass, without an autograd tape.

With p = softmax(z) and l = sum over classes of f(y_c, p_c), the gradient with respect to the logits is

    dl / dz = p * (g - sum(g * p)),        g = df / dp

for what f reads through p; slopes through log p and log(1 - p) go straight to the logits, without the detour p * (1/p).

Two forms of one computation:
- soft targets: f and its slopes at every class;
- hard labels: f is two curves, f(high, .) at the target and f(low, .) at the other classes, each a shorter program.
  Often the second is 0, and the loss costs what cross-entropy does.

On the CPU, long batches go through in pieces that stay in its cache; the gradient alone is as large as the logits.
Kept for the backward pass are that gradient and, for a second derivative alone, references to logits, targets and
weights: double backward rebuilds the same quantities from them with differentiable operations.

Where values or gradients are not finite, for finite logits:
- at a pole: a denominator that is 0 for some y, yhat in [0, 1], as in `1 / (yhat - y)`;
- where a value overflows float32: `exp`, `sinh`, `i0`, `i1` and `softplus` beyond about 88, as in `exp(1 / yhat)`;
- where a class whose logit is -inf has a target above 0: the largest number of the dtype stands for infinity;
- where `log(x)` meets x = 0 for an x other than `yhat` and `1 - yhat`. `log_abs` has no such place.
A saturated function outside an overflow is no such place: the chain rule takes 0 * infinity as 0 there, its limit.

Legend: N examples, C classes, on dimension `dim`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossmith.losses import triton_kernel
from lossmith.losses.gradients import LONG, Curves, is_class, log_softmax, transformed
from lossmith.losses.program import Program, program

__all__ = ["Program", "class_sum", "label_sum", "log_softmax", "one_hot", "program"]

_PIECE = LONG  # elements that are computed at once: their temporaries fit in a core's cache


def class_sum(
    logits: Tensor,
    y: Tensor,
    weight: Tensor | None,
    run: Program,
    *,
    dim: int,
    each: bool,
    divisor: int = 1,
    compiled: bool = False,
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
        compiled: whether the values with their gradient are computed by torch's compiler, which takes seconds once.

    Returns:
        Dtype of `logits`; differentiable, also twice, with respect to `logits` and `y`.
    """
    if torch.compiler.is_compiling() and divisor != 1:  # where it may be a symbol, no argument of an autograd function
        return class_sum(logits, y, weight, run, dim=dim, each=each) / divisor
    work = _work_for(run, dim, each, divisor, compiled)
    if torch.is_grad_enabled() and (logits.requires_grad or y.requires_grad):
        if transformed():
            return work.reduced(work.curves.values(logits, y, weight))
        return _ClassSum.apply(logits, y, weight, work)  # pyright: ignore[reportReturnType] - torch's stub
    return work.in_pieces(logits, y, None, weight)[0]


def label_sum(
    logits: Tensor,
    index: Tensor,
    high: float,
    low: float,
    weight: Tensor | None,
    run: Program,
    *,
    dim: int,
    each: bool,
    divisor: int = 1,
    compiled: bool = False,
) -> Tensor:
    """`class_sum` where y is `high` at the class `index` and `low` at every other.

    Args:
        index: int64, the shape of `logits` with 1 at `dim`; each in [0, C).
        high, low: target probabilities.
        logits, weight, run, dim, each, divisor, compiled: see `class_sum`.

    Raises:
        RuntimeError: an index outside [0, C), on the CPU.
    """
    work = _work_for(run, dim, each, divisor, compiled)
    needs_gradient = torch.is_grad_enabled() and logits.requires_grad
    if (
        torch.compiler.is_compiling()
        or transformed()
        or not (
            (needs_gradient and triton_kernel.usable(run, logits, dim)) or work.curves.suits(logits, high, low, weight)
        )
    ):
        y = one_hot(logits, index, high, low, dim)
        return class_sum(logits, y, weight, run, dim=dim, each=each, divisor=divisor, compiled=compiled)
    if needs_gradient:
        return _LabelSum.apply(logits, index, (high, low), weight, work)  # pyright: ignore[reportReturnType]
    return work.in_pieces(logits, index, (high, low), weight)[0]


def _divided(x: Tensor, divisor: int) -> Tensor:
    if divisor == 1:
        return x
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and divisor:
        return x * _inverse(divisor, x.dtype)  # a tensor is a faster operand than a number
    return x / divisor


@functools.lru_cache(maxsize=64)
def _inverse(divisor: int, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(mode=False):  # it outlives the caller's mode, and autograd may have to save it
        return torch.tensor(1 / divisor, dtype=dtype, device="cpu")


def _work_for(run: Program, dim: int, each: bool, divisor: int, compiled: bool) -> _Work:
    if torch.compiler.is_compiling():  # a compiler cannot look into a cache
        return _Work(Curves(run, dim), each, divisor, compiled)
    return _kept_work(run, dim, each, divisor, compiled)


@functools.lru_cache(maxsize=256)
def _kept_work(run: Program, dim: int, each: bool, divisor: int, compiled: bool) -> _Work:
    return _Work(Curves(run, dim), each, divisor, compiled)


@functools.lru_cache(maxsize=256)
def _compiled(
    curves: Curves, targets: tuple[float, float] | None, each: bool
) -> Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]:
    """(logits, y or labels, weight) -> (the sum, its gradient), by torch's compiler, for any size of batch."""

    def evaluate(logits: Tensor, y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        if targets is None:
            value, on_logits, _ = curves.gradients(logits, y, weight, target=False)
        else:
            value, on_logits = curves.of_labels(logits, y, targets, weight, slopes=True)
        if on_logits is None:
            raise AssertionError("slopes were asked for")
        return value.sum(curves.dim) if each else value.sum(), on_logits

    evaluate.__code__ = evaluate.__code__.replace()  # the compiler allows eight versions of one code object
    return torch.compile(evaluate, dynamic=True, fullgraph=True)


def one_hot(logits: Tensor, index: Tensor, high: float, low: float, dim: int) -> Tensor:
    """Targets of the shape and dtype of `logits`: `high` at the class `index`, `low` elsewhere."""
    if torch.compiler.is_compiling() or transformed():  # a comparison can be fused with what reads it
        return torch.where(is_class(logits, index, dim), high, low).to(logits.dtype)
    return torch.full_like(logits, low).scatter_(dim, index, high)


@dataclass(frozen=True, slots=True)
class _Work:
    """One loss, and how a batch of it is reduced."""

    curves: Curves
    each: bool
    divisor: int
    compiled: bool

    def reduced(self, value: Tensor) -> Tensor:
        """f at every class, summed up."""
        return _divided(self._summed(value), self.divisor)

    def _summed(self, value: Tensor) -> Tensor:
        return value.sum(self.curves.dim) if self.each else value.sum()

    def in_pieces(
        self,
        logits: Tensor,
        y: Tensor,
        targets: tuple[float, float] | None,
        weight: Tensor | None,
        *,
        slopes: bool = False,
        target: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(the loss, its gradient in the logits, that in y); `y` holds labels where `targets` says what they mean."""
        # where torch's compiler is at work, it makes the kernel of what follows
        whole = slopes and not target and not torch.compiler.is_compiling()
        if whole and triton_kernel.usable(self.curves.run, logits, self.curves.dim):
            value, on_logits = triton_kernel.evaluate(self.curves.run, logits, y, targets, weight)
            return _divided(value if self.each else value.sum(), self.divisor), on_logits, None

        def piece(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
            if targets is not None:
                value, on_logits = self.curves.of_labels(logits, y, targets, weight, slopes=slopes)
                return value, on_logits, None
            if slopes:
                return self.curves.gradients(logits, y, weight, target=target)
            return self.curves.values(logits, y, weight), None, None

        if self.compiled and whole:
            if targets is not None and y.device.type == "cpu" and y.numel():
                least, most = torch.aminmax(y)
                if least < 0 or most >= logits.shape[self.curves.dim]:  # inside compiled threads it ends the process
                    raise RuntimeError("index out of bounds")
            self.curves.prepare(logits, targets)
            value, on_logits = _compiled(self.curves, targets, self.each)(logits, y, weight)
            return _divided(value, self.divisor), on_logits, None
        rows = _rows(logits, self.curves.dim)
        if rows is None:
            value, on_logits, on_y = piece(logits, y)
            return self.reduced(value), on_logits, on_y
        on_logits = torch.empty_like(logits) if slopes else None
        on_y = torch.empty_like(y) if target else None
        sums: list[Tensor] = []
        for start in range(0, logits.shape[0], rows):
            part = slice(start, start + rows)
            value, on_logits_part, on_y_part = piece(logits[part], y[part])
            sums.append(self._summed(value))
            for batch, found in ((on_logits, on_logits_part), (on_y, on_y_part)):
                if batch is not None and found is not None:
                    batch[part] = found
        value = torch.cat(sums) if self.each else torch.stack(sums).sum()
        return _divided(value, self.divisor), on_logits, on_y


def _rows(logits: Tensor, dim: int) -> int | None:
    """The examples in a piece; None where the batch is best computed at once."""
    if dim == 0 or logits.device.type != "cpu" or torch.compiler.is_compiling() or logits.numel() <= 2 * _PIECE:
        return None
    piece = _PIECE * torch.get_num_threads()  # torch gives no thread less than 32,768 elements
    return max(1, piece * logits.shape[0] // logits.numel()) if logits.numel() > piece else None


def _scaled(ctx: Any, grad: Tensor, slopes: Tensor | None) -> Tensor | None:
    work: _Work = ctx.work
    if slopes is None:
        return None
    grad = _divided(grad, work.divisor)
    return (grad.unsqueeze(work.curves.dim) if work.each else grad) * slopes


class _ClassSum(torch.autograd.Function):
    """`class_sum` with its gradient made in the forward pass, where the values are at hand and needed nowhere else."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, y: Tensor, weight: Tensor | None, work: _Work) -> Tensor:
        target = ctx.needs_input_grad[1]
        value, on_logits, on_y = work.in_pieces(logits, y, None, weight, slopes=True, target=target)
        ctx.save_for_backward(on_logits, on_y, logits, y, weight)
        ctx.work, ctx.target = work, target
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        on_logits, on_y, logits, y, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the saved slopes know nothing of where they came from
            _, on_logits, on_y = ctx.work.curves.gradients(logits, y, weight, target=ctx.target)
        return _scaled(ctx, grads[0], on_logits), _scaled(ctx, grads[0], on_y), None, None


class _LabelSum(torch.autograd.Function):
    """`label_sum`, likewise."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, index: Tensor, targets: tuple[float, float], weight: Tensor | None, work: _Work
    ) -> Tensor:
        value, on_logits, _ = work.in_pieces(logits, index, targets, weight, slopes=True)
        ctx.save_for_backward(on_logits, logits, index, weight)
        ctx.work, ctx.targets = work, targets
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        on_logits, logits, index, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            high, low = ctx.targets
            y = one_hot(logits, index, high, low, ctx.work.curves.dim)
            _, on_logits, _ = ctx.work.curves.gradients(logits, y, weight, target=False)
        return _scaled(ctx, grads[0], on_logits), None, None, None, None
