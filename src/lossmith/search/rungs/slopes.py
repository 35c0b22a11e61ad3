"""The micro-task's tables: the slopes of many losses, from which each slot's gradient is read on its own.

Slots whose losses differ run through the same few operations (`lossmith.losses.tables`), and a slot's gradient depends
on its own table alone. Between points d = p * df/dp is linear; the micro-task needs no more. The slopes come from the
fingerprint's forward mode, at a sixth of the time that a symbolic program takes to be made.

Legend: S slots (losses), N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.losses import tables
from lossmith.losses.tables import CurveTables, Grid, mean_gradient
from lossmith.space.expression import Expression
from lossmith.space.fingerprint import slopes

_GRID = Grid(-24.0, 24.0, 1_537)  # p from 4e-11 to 1 - 4e-11


class SlopeTables:
    """The slopes of up to S losses over hard labels."""

    def __init__(self, losses: Sequence[tuple[Expression, bool]], slots: int) -> None:
        """`losses` are (expression, flip); the slots that they leave empty have the gradient 0."""
        self._tables = CurveTables(slots, _GRID)
        for slot, (expression, flip) in enumerate(losses):
            self._tables.fill(slot, _table(expression, flip))

    def gradient(self, logits_SNC: Tensor, others_NC: Tensor) -> Tensor:
        """The gradient of every slot's mean loss with respect to its logits.

        Args:
            logits_SNC: float32.
            others_NC: of `others`.

        Returns:
            float32 [S, N, C]; NaN throughout an example at whose outputs the loss or its slope is not finite.
        """
        place = self._tables.place(logits_SNC, others_NC)
        return mean_gradient(self._tables.read(place), place.p)


def others(labels_N: Tensor, classes: int) -> Tensor:
    """int32 [N, C]: which of the two tables each element reads, as `SlopeTables.gradient` takes it."""
    return tables.elsewhere(labels_N, classes, _GRID)


def _table(expression: Expression, flip: bool) -> Tensor:
    """float32 [2 * P]: d of f(1, p), then of f(0, p), oriented; NaN where the loss is not finite in float32."""
    p = _GRID.odds().sigmoid()
    both = torch.cat((p, p))
    value = expression.evaluate(torch.cat((torch.ones_like(p), torch.zeros_like(p))), both)
    d = (both * slopes(expression, p)).to(torch.float32) * (-1.0 if flip else 1.0)
    return torch.where(value.to(torch.float32).isfinite(), d, torch.nan)
