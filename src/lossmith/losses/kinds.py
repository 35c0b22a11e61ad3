"""The three ways to compute a loss: analytic kernel, a function of the example, and torch's own cross-entropy."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from lossmith.errors import LossmithError
from lossmith.losses.contract import SummedLoss
from lossmith.losses.kernels import Program, class_sum, label_sum, program
from lossmith.losses.module import Loss
from lossmith.space.expression import CLASSES, Expression


class ExpressionLoss(SummedLoss):
    """A loss that is an expression, on the analytic kernel. `K` is the number of classes of the logits."""

    expression: Expression

    def __init__(self, name: str, formula: str, latex: str, *, expression: Expression, **arguments: Any) -> None:
        super().__init__(name, formula, latex, expression=expression, **arguments)
        self._program = None if expression.reads(CLASSES) else program(expression)
        self._compiled = False
        self._bound: dict[int, Program] = {}  # by number of classes, where the expression reads `K`
        # a program that is not made yet may be guarded
        self.guarded = self._program is None or self._program.guarded

    def class_sum(
        self, logits: Tensor, y: Tensor, weight: Tensor | None, dim: int, *, each: bool, divisor: int
    ) -> Tensor:
        run, compiled = self._run(logits, dim), self._compiled
        return class_sum(logits, y, weight, run, dim=dim, each=each, divisor=divisor, compiled=compiled)

    def label_sum(
        self,
        logits: Tensor,
        index: Tensor,
        high: float,
        low: float,
        weight: Tensor | None,
        dim: int,
        *,
        each: bool,
        divisor: int,
    ) -> Tensor:
        run, compiled = self._run(logits, dim), self._compiled
        return label_sum(logits, index, high, low, weight, run, dim=dim, each=each, divisor=divisor, compiled=compiled)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Let torch's compiler make one kernel of the values and their gradient; needs a C++ compiler on a CPU.

        Unlike `nn.Module.compile`, which compiles the forward pass and with it the automatic differentiation, it takes
        no arguments, and compiles once for all sizes of batch. Worth it for many classes; see docs/losses.md.
        """
        if args or kwargs:
            raise LossmithError(f"loss '{self.name}': compile() takes no arguments; torch.compile(loss, ...) does")
        self._compiled = True

    def _run(self, logits: Tensor, dim: int) -> Program:
        """The program for this number of classes."""
        if self._program is not None:
            return self._program
        classes = operator.index(logits.shape[dim])  # a compiler of dynamic shapes fixes it here
        self._bind(classes)
        return self._bound[classes]

    def curve(self, y: Tensor, p: Tensor, classes: int) -> Tensor:
        return self.expression.bind(classes).evaluate(y, p, p.log())

    def _bind(self, classes: int) -> None:
        if classes not in self._bound:
            self._bound[classes] = program(self.expression.bind(classes))

    # What `torch.compiler.assume_constant_result` sets; that decorator imports the compiler, which takes longer than
    # all of torch. The compiler then calls `_bind` while it traces, instead of tracing how a program is made.
    _bind._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


class ExampleLoss(SummedLoss):
    """A loss that no sum over classes can say: a function of the whole example.

    The contract is cross-entropy's, with one difference. A term of a class is not there to be weighted, so `weight`
    weighs the example: by weight[label], and by sum(y * weight) where the target is soft or smoothed. For hard labels
    that is what `F.cross_entropy` does.
    """

    guarded = True  # nothing is known of the function's gradients

    def __init__(
        self, name: str, formula: str, latex: str, *, function: Callable[..., Tensor], **arguments: Any
    ) -> None:
        """`function` must be picklable: (logits, y, dim) -> one value per example, as in `zoo.examples`."""
        super().__init__(name, formula, latex, **arguments)
        self._function = function

    def class_sum(
        self, logits: Tensor, y: Tensor, weight: Tensor | None, dim: int, *, each: bool, divisor: int
    ) -> Tensor:
        value = self._function(logits, y, dim)
        if weight is not None:
            value = value * (y * weight).sum(dim)
        value = value if each else value.sum()
        return value if divisor == 1 else value / divisor

    def curve(self, y: Tensor, p: Tensor, classes: int) -> Tensor:
        """Raises LossmithError: there is none."""
        raise LossmithError(f"loss '{self.name}' is a function of the whole example: it has no curve of one class")


class CrossEntropyLoss(Loss):
    """Cross-entropy, to a target that is smoothed by `smoothing` and then by `label_smoothing`; torch computes it."""

    def __init__(self, name: str, formula: str, latex: str, *, smoothing: float = 0.0, **arguments: Any) -> None:
        super().__init__(name, formula, latex, **arguments)
        self._smoothing = smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """As `Loss.forward`."""
        return F.cross_entropy(
            logits,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=1 - (1 - self._smoothing) * (1 - self.label_smoothing)
            if self._smoothing
            else self.label_smoothing,
        )

    def curve(self, y: Tensor, p: Tensor, classes: int) -> Tensor:
        return -((1 - self._smoothing) * y + self._smoothing / classes) * p.log()
