"""The integrity check: is an expression a loss at all, and which way round?

Source: arXiv 2403.08793, integrity check on the two-class curve. The orientation (`flip`) is a property of the
expression's own curve and of nothing else (defect 1 of the published program: there it was inherited from the parent).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossmith.errors import CyclicGraphError
from lossmith.space.expression import PREDICTION, TARGET, Expression
from lossmith.space.genome import Genome
from lossmith.space.operators import EPS
from lossmith.verdict import Reason, Verdict

POINTS = 1_000  # of the grid t = linspace(eps, 1 - eps)
_HALF = range(490, 510)  # grid indices around p = 1/2 where an optimum is refused
_MAX_FLAT = 10  # steps of the curve that may be exactly flat
_MAX_TURNS = 2  # sign changes of the slope, counted around the circle


@dataclass(frozen=True, slots=True)
class Examination:
    """A verdict together with the curve it was taken from."""

    verdict: Verdict
    # Whether the verdict's orientation makes the curve fall where a person would see it rise (see `_backwards`).
    backwards: bool = False
    # float64 [1000]: the oriented two-class curve scaled to [0, 1]; None unless the verdict is ok
    phenotype: np.ndarray | None = None


def check(candidate: Expression | Genome) -> Verdict:
    """Whether the expression (or genome) can serve as a loss: `.ok`, `.flip`, and the reason if not."""
    return examine(candidate).verdict


def examine(candidate: Expression | Genome) -> Examination:
    """`check`, with the phenotype of an accepted candidate."""
    if isinstance(candidate, Genome):
        try:
            candidate = Expression.from_genome(candidate)
        except CyclicGraphError as error:
            return Examination(Verdict(Reason.CYCLIC, detail=str(error)))
    if not candidate.reads(TARGET):
        return Examination(Verdict(Reason.NO_TARGET))
    if not candidate.reads(PREDICTION):
        return Examination(Verdict(Reason.NO_PREDICTION))
    curve = two_class_curve(candidate)
    verdict = _judge(curve)
    if not verdict.ok:
        return Examination(verdict)
    return Examination(verdict, _backwards(curve), phenotype(curve, verdict.flip is True))


def phenotype(curve: np.ndarray, flip: bool) -> np.ndarray:
    """float64 [1000]: the two-class curve, oriented and scaled to [0, 1]; an infinity counts as the finite extreme."""
    finite = curve[np.isfinite(curve)].astype(np.float64)  # float64: the float32 curve's range may overflow
    oriented = np.clip(curve.astype(np.float64), finite.min(), finite.max()) * (-1 if flip else 1)
    return (oriented - oriented.min()) / (oriented.max() - oriented.min())


def two_class_curve(expression: Expression) -> np.ndarray:
    """float32 [1000]: the unflipped sum over two classes, yhat = (t, 1 - t), y = (0, 1), t = linspace(eps, 1 - eps).

    `K` is 2 here.
    """
    return expression.bind(2).evaluate(*_grid()).sum(0).numpy()


@functools.cache
def _grid() -> tuple[Tensor, Tensor]:
    """(y, yhat), both [2, 1000]."""
    t = torch.linspace(EPS, 1 - EPS, POINTS, device="cpu")  # it is kept, whatever the default device is now
    return torch.stack((torch.zeros_like(t), torch.ones_like(t))), torch.stack((t, 1 - t))


def _judge(curve: np.ndarray) -> Verdict:
    """The rules of the method. Low t is right: the true class has probability 1 - t.

    An infinity at an end of the grid alone is let pass, as in the published program: there a protected division can hit
    its pole exactly (y - yhat + eps at yhat = eps), beside which the curve is an ordinary one.
    """
    if np.isnan(curve).any() or not np.isfinite(curve[1:-1]).all():
        return Verdict(Reason.NOT_FINITE)
    if int(curve.argmin()) in _HALF or int(curve.argmax()) in _HALF:
        return Verdict(Reason.OPTIMUM_AT_HALF)
    signs = np.sign(np.diff(curve))
    if (signs == 0).sum() > _MAX_FLAT:
        return Verdict(Reason.FLAT)
    while (signs == 0).any():  # a flat step continues its left neighbour, around the circle
        signs = np.where(signs == 0, np.roll(signs, 1), signs)
    turns = int((signs != np.roll(signs, 1)).sum())
    if turns > _MAX_TURNS:
        return Verdict(Reason.MANY_TURNS)
    if turns == 0:
        return Verdict(Reason.OK, flip=bool(signs[0] < 0))
    # A curve that rises first is a hill and is turned over. The published program reads the direction from the second
    # step, after the one from t = eps where protected divisions jump; the reference values rest on that.
    return Verdict(Reason.OK, flip=bool(signs[1] > 0))


def _backwards(curve: np.ndarray) -> bool:
    """Whether an accepted curve is one jump at the first step and strictly monotone after it.

    Such a curve counts as a valley or a hill, since it turns once, and is oriented as one: the wrong way round for all
    but its first step, as in `sigmoid_deriv(yhat / max0(y))`. About 1.7% of the random graphs that the method accepts
    are such. `check` keeps the method's verdict; the search and `lossmith.loss` refuse them.
    """
    with np.errstate(invalid="ignore"):  # an infinity at an end
        signs = np.sign(np.diff(curve))
    return bool(signs[0] * signs[1] < 0 and (signs[1:] == signs[1]).all())
