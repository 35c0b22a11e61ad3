"""The rung that knows the number of classes: does the loss lead an untrained network to the true class at all?

The method's integrity check looks at two classes. With K of them an untrained network stands at p = 1 / K, and there
many a loss that is fine for two is flat or leads downwards.

`lossmith.losses.optimum` answers the same questions for any loss and more finely; a draft is two curves, which is ten
times as fast.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from lossmith.space.expression import Expression
from lossmith.space.fingerprint import slopes

# The optimum must lie above 1 / K by this factor. A small one: losses whose optimum is at 1.17 / K train, since the
# network may still tell the classes apart by small differences.
_MARGIN = 1.01
_REACH, _POINTS = 18.5, 371  # of the grid, in log-odds


def leads_to_the_true_class(expression: Expression, flip: bool, classes: int) -> bool:
    """Whether the loss falls with p_t at p_t = 1 / `classes`, and is least above it, the others sharing evenly."""
    sign = -1.0 if flip else 1.0
    # Of the K - 1 others each loses 1 / (K - 1) of what p_t gains.
    on_target, elsewhere = slopes(expression, torch.tensor([1 / classes], dtype=torch.float64)).tolist()
    if not sign * (on_target - elsewhere) < 0:  # NaN is a no
        return False
    p, rest, y = _grid(classes)
    on_target, elsewhere = expression.evaluate(y, torch.cat((p, rest))).chunk(2)
    value = sign * (on_target + (classes - 1) * elsewhere)
    return float(p[int(value.nan_to_num(torch.inf, torch.inf, -torch.inf).argmin())]) > _MARGIN / classes


@functools.lru_cache(maxsize=8)
def _grid(classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """(p_t [G], what each other class has [G], y [2 G]: 1 for the first, 0 for the second); float64."""
    odds = torch.linspace(-_REACH, _REACH, _POINTS, dtype=torch.float64)
    p = odds.sigmoid()
    return p, (-odds).sigmoid() / (classes - 1), torch.cat((torch.ones_like(p), torch.zeros_like(p)))
