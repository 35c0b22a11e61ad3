"""Where a loss wants the probability of the true class, which depends on the number of classes.

Two classes tell little about many: summed over the classes, the other K - 1 weigh more with every one added. Baikal is
least at p_t = 0.71 for 2 classes, at 0.32 for 10 and at 0.03 for 1000. So the questions are put at "even" outputs: the
true class has probability p_t, the others share the rest evenly.

Everything goes through the module's own forward pass in float64, so it holds for every kind of loss. The class weights
and `ignore_index` of a loss are left out, its `label_smoothing` counts.

Legend: G points of a grid, C classes (K in the text).
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from lossmith.errors import LossmithError
from lossmith.losses.module import Loss

_REACH = 18.5  # in log-odds: p_t from 1e-8 to 1 - 1e-8
_POINTS = 371  # a tenth apart in log-odds: even in the middle, dense in both tails
_FINER = 33  # points of each refinement, which narrows the place 16 times
_ROUNDS = 4
_EQUAL = 1e-12  # of the loss's range: less is rounding, and the larger p_t counts as the lower point
_CHUNK = 1 << 19  # logits at once, so that the temporary tensors of a loss stay small
_TINY = 1e-300


def even_logits(p: Tensor, classes: int) -> Tensor:
    """Logits whose softmax is `p` at class 0 and (1 - p) / (K - 1) at every other.

    Args:
        p: [G], in [0, 1]; 0 and 1 stand for numbers so close to them that float64 can't tell.
        classes: K, at least 2.

    Returns:
        float64 [G, K]; 0 at every class but the first.

    Raises:
        LossmithError: `classes` is below 2.
    """
    _check(classes)
    p = p.to(torch.float64)
    odds = p.clamp(min=_TINY).log() - torch.log1p(-p).clamp(min=math.log(_TINY))
    logits = torch.zeros(p.shape[0], classes, dtype=torch.float64, device=p.device)
    logits[:, 0] = odds + math.log(classes - 1)
    return logits


def even_loss(loss: Loss, p: Tensor, classes: int) -> Tensor:
    """The loss of one example of class 0 at the outputs of `even_logits`.

    Args:
        loss: any.
        p: [G], in [0, 1].
        classes: K, at least 2.

    Returns:
        float64 [G]; NaN or infinite where the loss is.

    Raises:
        LossmithError: `classes` is below 2.
    """
    _check(classes)
    each = per_example(loss)
    values: list[Tensor] = []
    with torch.no_grad():
        for part in p.split(max(1, _CHUNK // classes)):
            labels = torch.zeros(len(part), dtype=torch.int64, device=part.device)
            values.append(each(even_logits(part, classes), labels))
    return torch.cat(values) if values else torch.empty(0, dtype=torch.float64)


def optimum(loss: Loss, classes: int) -> float:
    """The p_t at which the loss is least, where the other classes share the rest evenly.

    Found on a grid of 371 points from 1e-8 to 1 - 1e-8, even in log-odds, and refined to 4 digits. A second, equally
    deep valley that is narrower than the grid would be missed.

    Args:
        loss: any.
        classes: K, at least 2.

    Returns:
        In (0, 1]; 1.0 where the loss is least at the upper end of the grid (or flat from its least point up to there),
        NaN where it is finite nowhere.

    Raises:
        LossmithError: `classes` is below 2.
    """
    odds = torch.linspace(-_REACH, _REACH, _POINTS, dtype=torch.float64)
    value = even_loss(loss, odds.sigmoid(), classes)
    finite = value[value.isfinite()]
    if not len(finite):
        return math.nan
    equal = _EQUAL * max(abs(float(finite.min())), abs(float(finite[-1])), 1e-3)
    for _ in range(_ROUNDS):
        value = torch.where(value.isnan(), torch.inf, value)
        lowest = torch.nonzero(value <= value.min() + equal)[:, 0]
        if int(lowest[-1]) == _POINTS - 1 == len(odds) - 1:
            return 1.0
        place = int(value.argmin())
        low, high = odds[max(place - 1, 0)], odds[min(place + 1, len(odds) - 1)]
        odds = torch.linspace(float(low), float(high), _FINER, dtype=torch.float64)
        value = even_loss(loss, odds.sigmoid(), classes)
    return float(odds[int(torch.where(value.isnan(), torch.inf, value).argmin())].sigmoid())


def descent(loss: Loss, classes: int) -> float:
    """The slope of the loss in p_t at p_t = 1 / K, where an untrained network stands.

    Args:
        loss: any.
        classes: K, at least 2.

    Returns:
        d loss / d p_t, the other classes sharing the rest evenly. Negative is good: the first steps of training raise
        the true class. May be 0, NaN or infinite.

    Raises:
        LossmithError: `classes` is below 2.
    """
    _check(classes)
    with torch.enable_grad():
        logits = torch.zeros(1, classes, dtype=torch.float64, requires_grad=True)
        value = per_example(loss)(logits, torch.zeros(1, dtype=torch.int64)).sum()
        slope = torch.autograd.grad(value, logits)[0] if value.requires_grad else torch.zeros_like(logits)
    # the first logit alone moves the others evenly, and d p / d z = p (1 - p)
    return float(slope[0, 0]) * classes * classes / (classes - 1)


def per_example(loss: Loss) -> Loss:
    """The loss with one value per example, without class weights, and with no label ignored."""
    each = copy.copy(loss)  # shares what it does not change; the module's dictionary of buffers is copied below
    each.__dict__["_buffers"] = dict(loss._buffers)
    each.weight = None
    each.reduction = "none"
    each.ignore_index = -100
    return each


def _check(classes: int) -> None:
    if classes < 2:
        raise LossmithError(f"a classifier has at least 2 classes, found {classes}")
