"""The published losses that are no sum over classes: functions of a whole example.

Every function takes

    logits, y: float32 or float64, of one shape, the classes along `dim`; `y` holds target probabilities
    dim: of the classes
    the parameters, keyword-only and checked by `ZooLoss.settle`

and gives one value per example: that shape without `dim`, that dtype, differentiable in `logits` and `y`, also twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.losses.zoo.tempered import log_tempered_softmax

_LEAST_TARGET = 1e-4  # RCE reads log(0) as log of this


def normalised_cross_entropy(logits: Tensor, y: Tensor, dim: int) -> Tensor:
    """sum(y log p) / sum(log p), in (0, 1); Ma et al. 2020, arXiv 2006.13554.

    A class that is masked by a logit of -inf is no class: the lower sum leaves it out.
    """
    log_p = torch.log_softmax(logits, dim).clamp(min=torch.finfo(logits.dtype).min)
    return (y * log_p).sum(dim) / log_p.masked_fill(logits == -torch.inf, 0.0).sum(dim)


def nce_rce(logits: Tensor, y: Tensor, dim: int, *, alpha: float, beta: float) -> Tensor:
    """alpha NCE + beta RCE with RCE = -sum(p log clamp(y, 1e-4, 1)); Ma et al. 2020, arXiv 2006.13554."""
    reverse = -(torch.softmax(logits, dim) * y.clamp(_LEAST_TARGET, 1.0).log()).sum(dim)
    return alpha * normalised_cross_entropy(logits, y, dim) + beta * reverse


def nce_mae(logits: Tensor, y: Tensor, dim: int, *, alpha: float, beta: float) -> Tensor:
    """alpha NCE + beta MAE with MAE = 1 - sum(y p); Ma et al. 2020, arXiv 2006.13554."""
    absolute = 1 - (y * torch.softmax(logits, dim)).sum(dim)
    return alpha * normalised_cross_entropy(logits, y, dim) + beta * absolute


def bi_tempered(logits: Tensor, y: Tensor, dim: int, *, t1: float, t2: float) -> Tensor:
    """sum(y (log_t1 y - log_t1 p) - (y^(2-t1) - p^(2-t1)) / (2-t1)), p the softmax of temperature t2.

    Source: Amid et al. 2019, arXiv 1906.03361, with log_t u = (u^(1-t) - 1) / (1 - t). t1 = t2 = 1 is the divergence of
    Kullback and Leibler: cross-entropy less the entropy of y, which is 0 for hard labels.
    """
    log_p = log_tempered_softmax(logits, dim, t2)
    log_y = y.clamp(min=torch.finfo(y.dtype).tiny).log()
    matching = y * (_tempered_log(log_y, t1) - _tempered_log(log_p, t1))
    return (matching - (y * torch.exp((1 - t1) * log_y) - torch.exp((2 - t1) * log_p)) / (2 - t1)).sum(dim)


def _tempered_log(log_u: Tensor, t: float) -> Tensor:
    """log_t(u) of log(u); through expm1, which does not cancel where t is close to 1."""
    return log_u if t == 1 else torch.expm1((1 - t) * log_u) / (1 - t)
