"""The three ways to compute a loss: analytic kernel, automatic differentiation, and torch's own cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from lossmith.losses.contract import SummedLoss
from lossmith.losses.kernels import class_sum, log_softmax, program, weighted_sum
from lossmith.losses.module import Loss
from lossmith.space.expression import Expression


class ExpressionLoss(SummedLoss):
    """A loss that is an expression, on the analytic kernel."""

    def __init__(self, name: str, formula: str, latex: str, *, expression: Expression, **arguments: Any) -> None:
        super().__init__(name, formula, latex, expression=expression, **arguments)
        self._program = program(expression)
        self.guarded = self._program.guarded

    def class_sum(
        self, logits: Tensor, y: Tensor, weight: Tensor | None, dim: int, *, each: bool, divisor: int
    ) -> Tensor:
        return class_sum(logits, y, weight, self._program, dim=dim, each=each, divisor=divisor)

    def curve(self, y: Tensor, p: Tensor, classes: int) -> Tensor:
        return self._program.expression.evaluate(y, p, p.log())


class CurveLoss(SummedLoss):
    """A loss that is a differentiable function of (y, log p)."""

    def __init__(
        self, name: str, formula: str, latex: str, *, function: Callable[..., Tensor], **arguments: Any
    ) -> None:
        """`function` must be picklable: (y, log_p) -> values of the same shape, as in `lossmith.losses.zoo`."""
        super().__init__(name, formula, latex, **arguments)
        self._function = function

    def class_sum(
        self, logits: Tensor, y: Tensor, weight: Tensor | None, dim: int, *, each: bool, divisor: int
    ) -> Tensor:
        value = self._function(y, log_softmax(logits, dim))
        return weighted_sum(value, weight, dim, each, divisor)

    def curve(self, y: Tensor, p: Tensor, classes: int) -> Tensor:
        return self._function(y, p.log())


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
