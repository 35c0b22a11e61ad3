"""Are two losses the same function? A fingerprint of the two curves' derivatives.

Over hard labels a loss is two curves, f1(p) = f(1, p) at the target class and f0(p) = f(0, p) at every other, and its
gradient in the logits is p * (g - sum(g * p)) with g the curve's derivative. So two losses train alike where their
(f1', f0') agree up to

    a positive factor         which only rescales the gradient, and Adam's steps hardly see it
    a constant added to both  which the softmax cancels: it adds c to g and c to sum(g * p)

Any rewriting of a loss, a multiple of it, or `+ c * yhat` has the fingerprint of the loss; its orientation counts.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from lossmith.space.expression import PREDICTION, Expression
from lossmith.space.operators import OPERATORS

POINTS = 64  # of each curve
# Fingerprints that differ by no more at every point are one. Among 5,000 random losses, 1e-6 and 1e-4 find the same
# duplicates but for 11 of 2,780: rounding, and the operators' epsilon, end below this, and other functions begin above.
TOLERANCE = 1e-5
_REACH = 10.0  # in log-odds: p from 4.5e-5 to 1 - 4.5e-5
_MIDDLE = 3.0  # in log-odds: scale and constant are taken from p in 0.05..0.95, where no curve dwarfs the rest
_INFINITE, _UNDEFINED = 1e3, 2e3  # what stands in a fingerprint for an infinity (with its sign) and for NaN


def fingerprint(expression: Expression, flip: bool) -> np.ndarray:
    """What identifies the loss as a function, by `same` or in `Fingerprints`.

    At each point the derivative in log-odds, p (1 - p) f', less the constant, over the scale, compressed by asinh: so
    differences count absolutely where the curve is of ordinary size, and relatively where it is large.

    Args:
        expression: in y and yhat.
        flip: whether the loss is -1 times the expression.

    Returns:
        float64 [2 * POINTS], finite: f1, then f0.
    """
    p, weight, middle = _grid()
    slope = slopes(expression, p).numpy() * (-1.0 if flip else 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        usable = np.isfinite(slope)
        for part in (usable & middle, usable):  # a loss that is flat in the middle has its shape elsewhere
            if not part.any():
                break
            # both follow the derivative under a factor and a constant; the median and the root, unlike the mean and
            # the square, are not ruled by the largest value
            centre = np.median(slope[part])
            change = weight * (slope - centre)
            scale = np.square(np.sqrt(np.abs(change[part])).mean())
            if scale > 1e-12 * np.abs(weight * slope)[part].max():
                return _finite(np.arcsinh(change / scale))
    return _finite(np.where(usable, 0.0, slope))  # no gradient at all, wherever it is defined


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values, nan=_UNDEFINED, posinf=_INFINITE, neginf=-_INFINITE)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two fingerprints are of one function."""
    return bool((np.abs(one - other) <= TOLERANCE).all())


def slopes(expression: Expression, p: Tensor) -> Tensor:
    """The derivatives of the two curves, from the operators' own derivatives (forward mode).

    Args:
        expression: in y and yhat.
        p: [G], float64, in (0, 1).

    Returns:
        float64 [2 * G]: d f(1, p) / dp, then d f(0, p) / dp, unflipped. May hold NaN and infinities.
    """
    y = torch.cat((torch.ones_like(p), torch.zeros_like(p)))
    yhat = torch.cat((p, p))
    values = expression.values(y, yhat)
    changes: list[Tensor | None] = []  # of each node with yhat; None where there is none
    for node, value in zip(expression.nodes, values, strict=True):
        change = torch.ones_like(yhat) if node.operator == PREDICTION else None
        if any(changes[i] is not None for i in node.inputs):
            # broadcast: some derivatives take the shape of one input only, and constants have none
            inputs = [values[i].expand_as(yhat) for i in node.inputs]
            found = OPERATORS[node.operator].derivative(*inputs, value.expand_as(yhat))
            for source, local in zip(node.inputs, found if isinstance(found, tuple) else (found,), strict=True):
                inner = changes[source]
                if inner is not None:
                    term = torch.where(inner == 0, 0.0, local * inner)  # 0 * infinity is 0, as in the kernel
                    change = term if change is None else change + term
        changes.append(change)
    last = changes[-1]
    return torch.zeros_like(yhat) if last is None else last


class Fingerprints:
    """Every fingerprint seen; whether one is among them takes the same time for ten as for a hundred thousand.

    Two that are equal but for rounding can fall on two sides of any border, so no rounded value serves as a key.
    Instead each is projected onto one fixed direction, and the line is cut into cells as wide as the tolerance can
    shift a projection: what is the same lies in the same cell or the next one.
    """

    def __init__(self) -> None:
        self._cells: dict[int, list[np.ndarray]] = defaultdict(list)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, found: np.ndarray) -> bool:
        cell = _cell(found)
        return any(same(found, other) for near in (cell - 1, cell, cell + 1) for other in self._cells.get(near, ()))

    def add(self, found: np.ndarray) -> None:
        self._cells[_cell(found)].append(found)
        self._count += 1


def _cell(found: np.ndarray) -> int:
    direction = _direction()
    width = 1.01 * TOLERANCE * float(np.abs(direction).sum())  # 1.01: for the rounding of the projection itself
    return math.floor(float(direction @ found) / width)


@functools.cache
def _direction() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(2 * POINTS)


@functools.cache
def _grid() -> tuple[Tensor, np.ndarray, np.ndarray]:
    """(p float64 [POINTS], its p (1 - p) twice over, which points are in the middle twice over)."""
    # not symmetric about 0, so that no point is 1/2 or another number at which maxima and minima like to meet
    odds = torch.linspace(-_REACH, _REACH, POINTS, dtype=torch.float64) + 0.0123
    p = odds.sigmoid()
    weight = (p * (-odds).sigmoid()).numpy()
    middle = (odds.abs() < _MIDDLE).numpy()
    return p, np.concatenate((weight, weight)), np.concatenate((middle, middle))
