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

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """As `Loss.forward`."""
        if target.shape == logits.shape:
            return self._of_probabilities(logits, target)
        return self._of_indices(logits, target)

    def _of_probabilities(self, logits: Tensor, target: Tensor) -> Tensor:
        weight = self.weight
        dim = 1 if logits.dim() > 1 else 0
        if not (
            logits.dim()
            and target.is_floating_point()
            and logits.is_floating_point()
            and self.ignore_index < 0
            and self._weight_fits(logits, dim)
        ):
            self._refuse(logits, target)
        result = logits.dtype
        if not (result == target.dtype == torch.float32 and (weight is None or weight.dtype == result)):
            result = torch.promote_types(result, target.dtype)
            if weight is not None:
                result = torch.promote_types(result, weight.dtype)
            result = _autocast(result, logits)
            compute = torch.float32 if result in _HALVES else result
            logits, target = logits.to(compute), target.to(compute)
        if self.label_smoothing > 0:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[dim]
        examples = logits.numel() // max(logits.shape[dim], 1) if self.reduction == "mean" else 1
        value = self._weighted_sum(logits, target, dim, examples, each=self.reduction == "none")
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
        y, ignored = self._one_hot(wide, logits, target, dim)
        if ignored is not None and self.guarded:
            wide = wide.masked_fill(ignored.unsqueeze(dim), 0.0)
        mean = self.reduction == "mean"
        if ignored is None:
            counted = mean and weight is None
            examples = target.numel() if counted else 1
            value = self._weighted_sum(wide, y, dim, examples, each=self.reduction == "none")
            mean = mean and not counted
        else:
            value = self._weighted_sum(wide, y, dim, 1, each=True).masked_fill(ignored, 0.0)
            value = value if self.reduction == "none" else value.sum()
        if mean:
            value = value / self._label_weight(target, ignored, wide.dtype)
        return value if value.dtype == result else value.to(result)

    def _weighted_sum(self, logits: Tensor, y: Tensor, dim: int, examples: int, *, each: bool) -> Tensor:
        """`class_sum`, oriented and divided by `examples`, with the class weights in place."""
        weight = self.weight
        if weight is not None:
            weight = weight.to(logits.dtype).view([-1 if axis == dim else 1 for axis in range(logits.dim())])
        return self.class_sum(logits, y, weight, dim, each=each, divisor=-examples if self.flip else examples)

    def _one_hot(self, wide: Tensor, logits: Tensor, target: Tensor, dim: int) -> tuple[Tensor, Tensor | None]:
        """(smoothed one-hot targets in the shape and dtype of `wide`, where labels are ignored or None if nowhere)."""
        classes = logits.shape[dim]
        low = self.label_smoothing / max(classes, 1)
        high = 1 - self.label_smoothing + low
        index = target if target.dtype == torch.int64 else target.long()
        # On the CPU, scatter checks every label. So where `ignore_index` is no class, a scatter that succeeds proves
        # that no label is ignored, and the masks are saved. On other devices a wrong index would end the process.
        if logits.device.type == "cpu" and not torch.compiler.is_compiling() and not 0 <= self.ignore_index < classes:
            try:
                return torch.full_like(wide, low).scatter_(dim, index.unsqueeze(dim), high), None
            except RuntimeError:
                pass  # an ignored label, or a wrong one: told apart below
        ignored = index == self.ignore_index  # as int64: a uint8 156 must not equal -100
        index = index.masked_fill(ignored, 0)
        try:
            return torch.full_like(wide, low).scatter_(dim, index.unsqueeze(dim), high), ignored
        except RuntimeError:
            self._refuse(logits, target)

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


def _autocast(dtype: torch.dtype, like: Tensor) -> torch.dtype:
    """The dtype that `F.cross_entropy` casts an input to: autocast runs it in float32, and leaves float64 alone."""
    if dtype in _HALVES and torch.is_autocast_enabled(like.device.type):
        return torch.float32
    return dtype
