"""The contract of `torch.nn.CrossEntropyLoss` for any curve f(y, p): targets, weights, reductions, dtypes.

What `F.cross_entropy` refuses is found by looking at shapes and dtypes alone (and by the scatter that builds one-hot
targets, for wrong labels); then `F.cross_entropy` is called on the same arguments, so that it raises its own error.
"""

from __future__ import annotations

from typing import NoReturn

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from lossmith.errors import LossmithError
from lossmith.losses.gradients import LONG, transformed
from lossmith.losses.kernels import one_hot
from lossmith.losses.module import Loss

_HALVES = (torch.float16, torch.bfloat16)


class SummedLoss(Loss):
    """A loss whose `class_sum` is its own; the rest is as in cross-entropy."""

    # Whether a gradient may be infinite or NaN for finite logits, so that an ignored label must be kept from it.
    guarded = False

    def class_sum(
        self, logits: Tensor, y: Tensor, weight: Tensor | None, dim: int, *, each: bool, divisor: int
    ) -> Tensor:
        """sum over classes of weight_c * f(y_c, p_c), before `flip`, divided by `divisor`.

        Args:
            logits: float32 or float64, any shape.
            y: target probabilities, shape and dtype of `logits`.
            weight: of a shape that broadcasts to `logits`, or None.
            dim: of the classes.
            each: True for one value per example, False for their sum.
            divisor: of the result; negative where the loss is flipped, 0 in a mean of no examples (NaN).
        """
        raise NotImplementedError

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
        """`class_sum` where y is `high` at the class `index` and `low` elsewhere.

        Args:
            index: int64, the shape of `logits` with 1 at `dim`.

        Raises:
            RuntimeError: an index that is no class, on the CPU.
        """
        y = one_hot(logits, index, high, low, dim)
        return self.class_sum(logits, y, weight, dim, each=each, divisor=divisor)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """As `Loss.forward`."""
        if target.shape == logits.shape:
            return self._of_probabilities(logits, target)
        return self._of_indices(logits, target)

    def _of_probabilities(self, logits: Tensor, target: Tensor) -> Tensor:
        weight = self._buffers["weight"]  # `self.weight` goes through nn.Module, at the price of an operation
        dim = 1 if logits.dim() > 1 else 0
        result = logits.dtype
        if not (result == target.dtype == torch.float32 and weight is None and logits.dim() and self.ignore_index < 0):
            if not (
                logits.dim()
                and target.is_floating_point()
                and logits.is_floating_point()
                and self.ignore_index < 0
                and self._weight_fits(logits, dim)
            ):
                self._refuse(logits, target)
            result = torch.promote_types(result, target.dtype)
            if weight is not None:
                result = torch.promote_types(result, weight.dtype)
            result = _autocast(result, logits)
            compute = torch.float32 if result in _HALVES else result
            logits, target = logits.to(compute), target.to(compute)
        if self.label_smoothing > 0:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[dim]
        examples = logits.numel() // max(logits.shape[dim], 1) if self.reduction == "mean" else 1
        each, divisor = self.reduction == "none", -examples if self.flip else examples
        value = self.class_sum(logits, target, self._broadcast_weight(logits, dim), dim, each=each, divisor=divisor)
        return value if value.dtype == result else value.to(result)

    def _of_indices(self, logits: Tensor, target: Tensor) -> Tensor:
        dim = 1 if logits.dim() > 1 else 0
        if logits.dim() == 1 and target.shape == (1,) and self.label_smoothing == 0:
            target = target[0]  # F.cross_entropy takes one label for one example either way
        result = _autocast(logits.dtype, logits)
        weight = self.weight
        if not (
            logits.dim()
            and target.shape == logits.shape[:dim] + logits.shape[dim + 1 :]
            and target.dtype in (torch.int64, torch.uint8)
            and logits.is_floating_point()
            and self._weight_fits(logits, dim)
            and (weight is None or _autocast(weight.dtype, logits) == result)
        ):
            self._refuse(logits, target)
        wide = logits.to(torch.float32) if result in _HALVES else logits.to(result)
        value = self._labelled(wide, logits, target, dim)
        return value if value.dtype == result else value.to(result)

    def _labelled(self, wide: Tensor, logits: Tensor, target: Tensor, dim: int) -> Tensor:
        """The loss of class indices; `wide` are the logits in the dtype that is computed in."""
        classes = logits.shape[dim]
        mean, weight = self.reduction == "mean", self._buffers["weight"]
        index = target if target.dtype == torch.int64 else target.long()
        # On the CPU, every label is checked where it is used. So where `ignore_index` is no class, a loss that can be
        # computed proves that no label is ignored, and the masks are saved. Elsewhere a wrong index ends the process,
        # under torch.func it passes, and a long batch is too dear to be computed in vain.
        checked = logits.device.type == "cpu" and not torch.compiler.is_compiling() and not transformed()
        if checked and not 0 <= self.ignore_index < classes and (wide.numel() <= LONG or _all_classes(index, classes)):
            examples = target.numel() if mean and weight is None else 1
            try:
                value = self._of_labels(wide, index, dim, examples, each=self.reduction == "none")
            except RuntimeError:
                if _all_classes(index, classes):
                    raise  # an ignored label or a wrong one is told apart below; this is neither
            else:
                return value / self._label_weight(target, None, wide.dtype) if mean and weight is not None else value
        ignored = index == self.ignore_index  # as int64: a uint8 156 must not equal -100
        if self.guarded:
            wide = wide.masked_fill(ignored.unsqueeze(dim), 0.0)
        try:
            value = self._of_labels(wide, index.masked_fill(ignored, 0), dim, 1, each=True)
        except RuntimeError:
            if logits.device.type == "cpu" and not bool(((index >= 0) & (index < classes) | ignored).all()):
                self._refuse(logits, target)
            raise
        value = value.masked_fill(ignored, 0.0)
        if self.reduction == "none":
            return value
        return value.sum() / self._label_weight(target, ignored, wide.dtype) if mean else value.sum()

    def _of_labels(self, wide: Tensor, index: Tensor, dim: int, examples: int, *, each: bool) -> Tensor:
        """`label_sum`, oriented and divided by `examples`, with smoothed targets and the class weights in place."""
        low = self.label_smoothing / max(wide.shape[dim], 1)
        high = 1 - self.label_smoothing + low
        weight, divisor = self._broadcast_weight(wide, dim), -examples if self.flip else examples
        return self.label_sum(wide, index.unsqueeze(dim), high, low, weight, dim, each=each, divisor=divisor)

    def _broadcast_weight(self, logits: Tensor, dim: int) -> Tensor | None:
        weight = self._buffers["weight"]
        if weight is None:
            return None
        if weight.requires_grad:
            raise LossmithError(f"loss '{self.name}': class weights that require a gradient are not supported")
        return weight.to(logits.dtype).view([-1 if axis == dim else 1 for axis in range(logits.dim())])

    def _label_weight(self, target: Tensor, ignored: Tensor | None, dtype: torch.dtype) -> Tensor:
        """What "mean" divides by: the weight of the labels that are not ignored."""
        weight = self.weight
        if weight is None:
            return (target.long() != self.ignore_index).sum()
        index = target.long() if ignored is None else target.long().masked_fill(ignored, 0)
        weights = weight.to(dtype)[index]
        return weights.sum() if ignored is None else weights.masked_fill(ignored, 0.0).sum()

    def _weight_fits(self, logits: Tensor, dim: int) -> bool:
        weight = self.weight
        return weight is None or (weight.dim() == 1 and weight.shape[0] == logits.shape[dim])

    def _refuse(self, logits: Tensor, target: Tensor) -> NoReturn:
        """Raises the error of `F.cross_entropy` for these arguments."""
        F.cross_entropy(
            logits,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
        raise LossmithError(
            f"loss '{self.name}': logits {tuple(logits.shape)} {logits.dtype} and target {tuple(target.shape)}"
            f" {target.dtype} do not fit together"
        )


def _all_classes(index: Tensor, classes: int) -> bool:
    """Whether every label is a class."""
    if not index.numel():
        return True
    least, most = torch.aminmax(index)
    return bool(least >= 0) and bool(most < classes)


def _autocast(dtype: torch.dtype, like: Tensor) -> torch.dtype:
    """The dtype that `F.cross_entropy` casts an input to: autocast runs it in float32, and leaves float64 alone."""
    if dtype in _HALVES and torch.is_autocast_enabled(like.device.type):
        return torch.float32
    return dtype
