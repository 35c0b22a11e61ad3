"""Many losses at once, from tables: each loss is two curves, so two tables of slopes are all that training needs.

With p = softmax(z), the gradient of a sum over classes of f(y_c, p_c) is d - p * sum(d), d = p * df/dp. The tables hold
d at p on a grid that is even in log-odds. So slots whose losses differ run through the same few operations, and a
slot's gradient depends on its own table alone. Between points d is linear; the micro-task needs no more.

Legend: S slots (losses), N examples, C classes, G points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.space.expression import Expression
from lossmith.space.fingerprint import slopes

_REACH = 24.0  # in log-odds: p from 4e-11 to 1 - 4e-11
_POINTS = 1_537
_STEP = 2 * _REACH / (_POINTS - 1)
_NEAR_ONE = 1 - 2**-24  # the largest float32 below 1


class SlopeTables:
    """The slopes of up to S losses over hard labels."""

    def __init__(self, losses: Sequence[tuple[Expression, bool]], slots: int) -> None:
        """`losses` are (expression, flip); the slots that they leave empty have the gradient 0."""
        values = torch.zeros(slots, 2 * _POINTS)
        for slot, (expression, flip) in enumerate(losses):
            values[slot] = _table(expression, flip)
        self._values = values.view(-1)
        self._changes = torch.cat((self._values[1:] - self._values[:-1], torch.zeros(1)))  # to the next point
        self._start = torch.arange(slots, dtype=torch.int32).view(-1, 1, 1) * (2 * _POINTS)

    def gradient(self, logits_SNC: Tensor, others_NC: Tensor) -> Tensor:
        """The gradient of every slot's mean loss with respect to its logits.

        Args:
            logits_SNC: float32.
            others_NC: of `others`.

        Returns:
            float32 [S, N, C]; NaN throughout an example at whose outputs the loss or its slope is not finite.
        """
        log_p = torch.log_softmax(logits_SNC, 2)
        p = log_p.exp()
        odds = log_p.sub_(torch.log1p(-p.clamp(max=_NEAR_ONE)))
        place = odds.add_(_REACH).div_(_STEP).clamp_(0.0, _POINTS - 1.001).nan_to_num_(0.0)
        index = place.to(torch.int32).add_(others_NC).add_(self._start).view(-1)
        low = self._values.index_select(0, index)
        d = low.addcmul_(self._changes.index_select(0, index), place.frac_().view(-1)).view_as(p)
        return d.addcmul_(p, d.sum(2, keepdim=True), value=-1.0).div_(logits_SNC.shape[1])


def others(labels_N: Tensor, classes: int) -> Tensor:
    """int32 [N, C]: which of the two tables each element reads, as `SlopeTables.gradient` takes it."""
    return (torch.nn.functional.one_hot(labels_N, classes) == 0).to(torch.int32) * _POINTS


def _table(expression: Expression, flip: bool) -> Tensor:
    """float32 [2 * G]: d of f(1, p), then of f(0, p), oriented; NaN where the loss is not finite in float32."""
    p = torch.linspace(-_REACH, _REACH, _POINTS, dtype=torch.float64).sigmoid()
    both = torch.cat((p, p))
    value = expression.evaluate(torch.cat((torch.ones_like(p), torch.zeros_like(p))), both)
    d = (both * slopes(expression, p)).to(torch.float32) * (-1.0 if flip else 1.0)
    return torch.where(value.to(torch.float32).isfinite(), d, torch.nan)
