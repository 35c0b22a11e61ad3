"""Parts of the files that are exported for PyTorch. This module is read as text; as it stands it is cross-entropy."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

EPS = 1e-7  # keeps divisors and the arguments of logarithms away from 0
NEWTON_STEPS = 12  # reach float64's accuracy for up to 100,000 classes and temperatures up to 5


def class_terms(logits: Tensor, y: Tensor) -> Tensor:
    """f(y, yhat) of every class, for yhat = softmax(logits); the classes are the last dimension."""
    log_yhat = log_softmax(logits)
    return -y * log_yhat


def whole_example(logits: Tensor, y: Tensor) -> Tensor:
    """The loss of every example; the classes are the last dimension."""
    return -(y * log_softmax(logits)).sum(-1)


def example_losses(logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """One value per example: the weighted sum over the classes."""
    terms = class_terms(logits, y)
    return terms.sum(-1) if weight is None else (terms * weight).sum(-1)


def whole_example_losses(logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """One value per example. It is no sum over classes, so the weight is that of its target."""
    value = whole_example(logits, y)
    return value if weight is None else value * (y * weight).sum(-1)


def log_softmax(logits: Tensor) -> Tensor:
    """log(softmax(logits)); a class masked by a logit of -inf gets the least finite number, since 0 * -inf is NaN."""
    return F.log_softmax(logits, -1).clamp(min=torch.finfo(logits.dtype).min)


def sqrt_abs(x: Tensor) -> Tensor:
    """The square root of |x|, with slope 0 at 0, where plain differentiation gives NaN."""
    at_zero = x == 0
    return torch.where(at_zero, 0.0, torch.sqrt(torch.abs(torch.where(at_zero, 1.0, x))))


def sigmoid_slope(x: Tensor) -> Tensor:
    """The derivative of the sigmoid; s * (1 - s) would round to 0 long before it."""
    return torch.sigmoid(x) * torch.sigmoid(-x)


def log_one_minus(log_yhat: Tensor) -> Tensor:
    """log(1 - yhat), exact also where one class takes nearly everything: there from what the other classes have."""
    top = torch.zeros_like(log_yhat, dtype=torch.bool).scatter_(-1, log_yhat.argmax(-1, keepdim=True), True)
    others = torch.logsumexp(log_yhat.masked_fill(top, -torch.inf), -1, keepdim=True)
    return torch.where(top, others, torch.log1p(-torch.exp(log_yhat.masked_fill(top, -1.0))))


class _Guard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return torch.nan_to_num(grads[0], nan=0.0, posinf=torch.inf, neginf=-torch.inf)


def guard(x: Tensor) -> Tensor:
    """x; but its gradient is 0 where 0 * infinity made it NaN: the limit where a flat function follows an overflow."""
    guarded: Any = _Guard.apply(x)
    return guarded


def normalised_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """sum(y log yhat) / sum(log yhat), where the lower sum leaves out a class that is masked by a logit of -inf."""
    log_yhat = log_softmax(logits)
    return (y * log_yhat).sum(-1) / log_yhat.masked_fill(logits == -torch.inf, 0.0).sum(-1)


def nce_rce(logits: Tensor, y: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha NCE + beta RCE, with RCE = -sum(yhat log clamp(y, 1e-4, 1))."""
    reverse = -(F.softmax(logits, -1) * torch.log(y.clamp(1e-4, 1.0))).sum(-1)
    return alpha * normalised_cross_entropy(logits, y) + beta * reverse


def nce_mae(logits: Tensor, y: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha NCE + beta MAE, with MAE = 1 - sum(y yhat)."""
    return alpha * normalised_cross_entropy(logits, y) + beta * (1 - (y * F.softmax(logits, -1)).sum(-1))


def bi_tempered(logits: Tensor, y: Tensor, t1: float, t2: float) -> Tensor:
    """sum(y (log_t1 y - log_t1 yhat) - (y^(2 - t1) - yhat^(2 - t1)) / (2 - t1)), yhat the softmax of temperature t2."""
    log_yhat = log_tempered_softmax(logits, t2)
    log_y = torch.log(y.clamp(min=1e-37))
    matching = y * (log_tempered(log_y, t1) - log_tempered(log_yhat, t1))
    return (matching - (y * torch.exp((1 - t1) * log_y) - torch.exp((2 - t1) * log_yhat)) / (2 - t1)).sum(-1)


def log_tempered(log_u: Tensor, t: float) -> Tensor:
    """log_t u = (u^(1 - t) - 1) / (1 - t), of log u."""
    return log_u if t == 1 else torch.expm1((1 - t) * log_u) / (1 - t)


def log_tempered_softmax(logits: Tensor, t: float) -> Tensor:
    """log of the softmax of temperature t >= 1: exp_t(z - l(z)), where l(z) makes the sum 1, by Newton's method."""
    if t == 1:
        return log_softmax(logits)
    # l(z + c) = l(z) + c, so the largest logit can be taken as 0
    below = (logits - logits.detach().amax(-1, keepdim=True)).clamp(min=torch.finfo(logits.dtype).min / 16)
    shift = torch.zeros_like(below[..., :1])
    for _ in range(NEWTON_STEPS):
        shift = newton_step(below.detach(), shift, t)
    shift = newton_step(below, shift, t)  # from the solution: its gradient is the solution's
    return -torch.log1p((t - 1) * (shift - below)) / (t - 1)


def newton_step(below: Tensor, shift: Tensor, t: float) -> Tensor:
    """A better `shift`, by solving sum(p)^(1 - t) = 1, which is nearly linear in it."""
    log_p = -torch.log1p((t - 1) * (shift - below)) / (t - 1)
    total = torch.logsumexp(log_p, -1, keepdim=True)
    slope = torch.exp(torch.logsumexp(t * log_p, -1, keepdim=True) - t * total)
    return shift - torch.expm1((1 - t) * total) / ((t - 1) * slope)


def loss_function(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The loss of a batch, with the arguments and shapes of torch.nn.functional.cross_entropy.

    Args:
        logits: [C], [N, C] or [N, C, d1, ...], floating point; computed in float32, or float64 where one is given.
        target: class indices, the shape of `logits` without C; or probabilities, the shape of `logits`.
        weight: [C], of the classes.
        ignore_index: the label that counts for nothing.
        reduction: "none" (one value per example), "mean" or "sum". For class indices, "mean" divides by the sum of
            weight[target] over the labels that count.
        label_smoothing: in [0, 1], the share of the target that is spread evenly over the classes.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', found {reduction!r}")
    dim = 1 if logits.dim() > 1 else 0
    soft = target.shape == logits.shape
    if not soft and target.shape != logits.shape[:dim] + logits.shape[dim + 1 :]:
        raise ValueError(f"target of shape {tuple(target.shape)} does not fit logits of {tuple(logits.shape)}")
    if target.is_floating_point() != soft:
        raise ValueError(f"expected integer class indices, or probabilities shaped like logits; found {target.dtype}")
    if soft and ignore_index >= 0:
        raise ValueError("ignore_index is a label; it cannot be used with probabilities")

    dtype = torch.promote_types(logits.dtype, target.dtype) if soft else logits.dtype
    if weight is not None:
        dtype = torch.promote_types(dtype, weight.dtype)
    compute = torch.promote_types(dtype, torch.float32)
    if torch.is_autocast_enabled(logits.device.type):
        dtype = compute  # as torch's own losses
    logits = logits.to(compute).movedim(dim, -1)
    weight = None if weight is None else weight.to(compute)
    ignored = None
    if soft:
        y = target.to(compute).movedim(dim, -1)
        counted = torch.ones_like(y[..., 0])
    else:
        index = target.long()
        ignored = index == ignore_index
        index = index.masked_fill(ignored, 0)
        y = F.one_hot(index, logits.shape[-1]).to(compute)
        counted = torch.ones_like(y[..., 0]) if weight is None else weight[index]
        counted = counted.masked_fill(ignored, 0.0)
        # even logits, so that no infinity of an ignored example makes the gradient NaN
        logits = logits.masked_fill(ignored.unsqueeze(-1), 0.0)
    y = y * (1 - label_smoothing) + label_smoothing / logits.shape[-1]

    value = example_losses(logits, y, weight)
    if ignored is not None:
        value = value.masked_fill(ignored, 0.0)
    if reduction == "mean":
        value = value.sum() / counted.sum()
    elif reduction == "sum":
        value = value.sum()
    return value.to(dtype)


class LossModule(nn.Module):
    """`loss_function` as a module, called like torch.nn.CrossEntropyLoss."""

    weight: Tensor | None

    def __init__(
        self,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return loss_function(
            logits,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
