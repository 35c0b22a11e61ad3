"""A loss as two curves, scaled so that different losses can be looked at side by side.

For hard labels a loss is f1(p) at the target class plus f0(p) at every other. Training sees no more of it than the
slopes f1' and f0', up to a positive factor (the learning rate's business) and up to one constant added to both: the
probabilities sum to 1, so c p added to both curves adds the constant c to the loss. `shape` takes all of that out; two
losses that train alike then look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lossmith.losses.module import Loss

LOW, HIGH = 0.01, 0.99  # between these the curves are scaled; many losses have a pole at 0 or 1
_POINTS = 199


@dataclass(frozen=True, slots=True)
class Shape:
    """The two curves of a loss, comparable with those of any other."""

    p: np.ndarray  # float64 [199], from LOW to HIGH
    target: np.ndarray  # float64 [199]: f1; 0 at p = HIGH; NaN where the loss is not finite
    others: np.ndarray  # float64 [199]: f0; 0 at p = LOW and at p = HIGH; likewise
    complete: bool  # whether both curves are finite throughout


def shape(loss: Loss) -> Shape:
    """The curves of `loss`, less what training does not see, scaled so that the taller of the two spans 1."""
    p = np.linspace(LOW, HIGH, _POINTS)
    target, others = (_finite(curve.detach().numpy()) for curve in loss.curves(torch.from_numpy(p)))
    (first, start), (last, end) = _ends(p, others)
    slope = (end - start) / (last - first) if last > first else 0.0
    target, others = target - slope * p, others - slope * p
    target, others = target - _ends(p, target)[1][1], others - _ends(p, others)[0][1]
    spans = [float(np.nanmax(c) - np.nanmin(c)) for c in (target, others) if not np.isnan(c).all()]
    scale = max(spans, default=0.0)
    # where nothing but rounding is left, the loss has no gradient: show it flat instead of magnified noise
    scale = scale if scale > 1e-12 * (1 + abs(slope)) else 1.0
    complete = not (np.isnan(target).any() or np.isnan(others).any())
    return Shape(p, target / scale, others / scale, complete)


def _finite(curve: np.ndarray) -> np.ndarray:
    # far below the largest float64, so that differences and sums stay finite
    return np.where(np.abs(curve) < 1e150, curve, np.nan)


def _ends(p: np.ndarray, curve: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """The first and the last finite point of a curve, as (p, value); zeros where there is none."""
    places = np.flatnonzero(~np.isnan(curve))
    if not len(places):
        return (0.0, 0.0), (0.0, 0.0)
    first, last = places[0], places[-1]
    return (float(p[first]), float(curve[first])), (float(p[last]), float(curve[last]))
