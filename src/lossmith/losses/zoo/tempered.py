"""The softmax of temperature t >= 1, with heavier tails than the softmax that t = 1 is.

Source: Amid et al. 2019, arXiv 1906.03361: p = exp_t(z - l(z)), where exp_t(u) = [1 + (1 - t) u]^(1 / (1 - t)) and l(z)
is the one number that makes p sum to 1. For t > 1 it has no closed form.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Newton's steps. What they solve is concave and increasing, so that they rise to the root from below. Measured over 2
# to 100,000 classes, t from 1.0001 to 5 and logits up to +-1e4: at most 8 reach float64's accuracy.
_STEPS = 10


def log_tempered_softmax(logits: Tensor, dim: int, t: float) -> Tensor:
    """log p.

    Args:
        logits: float32 or float64, any shape, at least one class; -inf masks a class.
        dim: of the classes.
        t: in [1, 5]. Beyond, K^(t - 1) could overflow in float32.

    Returns:
        Shape and dtype of `logits`; finite (the least number of the dtype, or nearly, for a masked class). Derivatives
        of every order are exact: they are those of l(z) itself, not of the iteration.
    """
    least = torch.finfo(logits.dtype).min
    if t == 1:
        return torch.log_softmax(logits, dim).clamp(min=least)
    # l(z + c) = l(z) + c, so the largest logit can be taken as 0; its slope cancels out
    below = (logits - logits.detach().amax(dim, keepdim=True)).clamp(min=least / 16)
    shift = _Normaliser.apply(below, dim, t)
    return -torch.log1p((t - 1) * (shift - below)) / (t - 1)


class _Normaliser(torch.autograd.Function):
    """l(z), with the classes' dimension kept. Its gradient is p^t / sum(p^t), by differentiating sum(p) = 1."""

    @staticmethod
    def forward(ctx: Any, below: Tensor, dim: int, t: float) -> Tensor:
        rate = t - 1
        # Most need 3 steps. To look is to wait for a GPU, and a compiler cannot, so that there all steps are made.
        looks = below.device.type == "cpu" and not torch.compiler.is_compiling()
        enough = 16 * torch.finfo(below.dtype).eps
        shift = torch.zeros_like(below).amax(dim, keepdim=True)
        for _ in range(_STEPS):
            # sum(p)^(1-t) = 1, which is linear in l for equal logits, where sum(p) = 1 is far from it
            log_p = -torch.log1p(rate * (shift - below)) / rate
            total = torch.logsumexp(log_p, dim, keepdim=True)
            if looks and bool((total.abs() <= enough).all()):
                break
            slope = torch.exp(torch.logsumexp(t * log_p, dim, keepdim=True) - t * total)
            shift = shift - torch.expm1(-rate * total) / (rate * slope)
        ctx.save_for_backward(below, shift)
        ctx.dim, ctx.t = dim, t
        return shift

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        below, shift = ctx.saved_tensors  # with their history, so that the slope has a slope too
        log_p = -torch.log1p((ctx.t - 1) * (shift - below)) / (ctx.t - 1)
        return grads[0] * torch.softmax(ctx.t * log_p, ctx.dim), None, None
