"""The micro-task: can a loss train a small network on a small problem, in milliseconds?

The network has one hidden layer of ReLUs; the problem is a mixture of Gaussians, three to a class, with as many classes
as the task has. Many losses train at once, one in each slot, from the same weights on the same batches, by Adam.

A loss's score must not depend on what it happens to share a batch with, or a search would depend on how its drafts were
gathered. So every batch has the same number of slots, empty ones included, no operation mixes slots, and one thread
computes it: the score is the same number, bit for bit, in whichever slot and with whatever else it is computed.

What tells best whether a loss trains is not its accuracy but the classes that it learns worst. Most losses that fail do
not stand still: they learn some classes and give up the others, whose probability is then too small to pull. On a
problem as easy as this they still reach nine classes of ten, and on a real one two.

Legend: S slots (losses), N examples of a batch, D features, H hidden units, C classes, P weights of one network.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossmith.config import MicrotaskConfig
from lossmith.search.rungs.slopes import SlopeTables, others
from lossmith.space.expression import Expression
from lossmith.train.threads import one_thread

SLOTS = 32  # that train at once, where there are many
_FEATURES, _HIDDEN, _MODES = 16, 32, 3
_SPREAD = 2.0  # of the modes' centres, in standard deviations of a mode
_PER_CLASS = 3.2  # examples of a class in a batch
_BATCHES = 8  # different ones
_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8
_SEED = 0  # of the problem and the first weights: one for all searches, since the threshold was measured with it
_LARGEST_BATCH = 512


@dataclass(frozen=True, slots=True)
class Score:
    """What a loss reaches in the micro-task; in both, 1 is what cross-entropy reaches."""

    accuracy: float  # over all examples; 0 is chance
    worst: float  # over the fifth of the classes that it learns worst; 0 where it gives them up


class Microtask:
    """The micro-task for one number of classes."""

    def __init__(self, config: MicrotaskConfig, classes: int, slots: int = SLOTS) -> None:
        """`classes` is the task's, at least 2; `slots` losses train at once."""
        self._config = config
        self._classes = classes
        self._slots = slots
        # a multiple of 16, so that no slot ends in a vector's remainder
        self._batch = 16 * math.ceil(min(_PER_CLASS * classes, _LARGEST_BATCH) / 16)
        self._features_ND, self._labels_N = _mixture(classes, _BATCHES * self._batch)

    def scores(self, losses: Sequence[tuple[Expression, bool]]) -> list[Score]:
        """What each (expression, flip) reaches."""
        whole, worst = self._reference
        return [Score(_above(found, whole, self._classes), low / worst) for found, low in self._accuracies(losses)]

    def passes(self, losses: Sequence[tuple[Expression, bool]]) -> list[bool]:
        """Whether each learns every class, as far as cross-entropy does."""
        return [score.worst >= self._config.threshold for score in self.scores(losses)]

    @functools.cached_property
    def _reference(self) -> tuple[float, float]:
        return self._accuracies([(Expression.from_text("y*log_abs(yhat)"), True)])[0]

    def _accuracies(self, losses: Sequence[tuple[Expression, bool]]) -> list[tuple[float, float]]:
        """(over all examples, over the worst fifth of the classes) after the last step, on what was trained on."""
        found: list[tuple[float, float]] = []
        fifth = math.ceil(self._classes / 5)
        with one_thread(), torch.no_grad():
            for first in range(0, len(losses), self._slots):
                part = losses[first : first + self._slots]
                by_class_SC = self._train(SlopeTables(part, self._slots))[: len(part)]
                worst = by_class_SC.sort(1).values[:, :fifth].mean(1)
                found += zip(by_class_SC.mean(1).tolist(), worst.tolist(), strict=True)
        return found

    def _train(self, tables: SlopeTables) -> Tensor:
        """float64 [S, C]: the accuracy on the examples of each class; 0 where the weights are not finite."""
        weights = _weights(self._classes)  # [P]
        sizes = [part.numel() for part in _split(weights, self._classes)]
        theta_SP = weights.repeat(self._slots, 1)
        slope_SP, mean_SP, square_SP = (torch.zeros_like(theta_SP) for _ in range(3))
        batches = len(self._labels_N) // self._batch
        features = [x.expand(self._slots, -1, -1) for x in self._features_ND.split(self._batch)]
        elsewhere = others(self._labels_N, self._classes).split(self._batch)
        for step in range(1, self._config.steps + 1):
            x_SND = features[(step - 1) % batches]
            w1, b1, w2, b2 = _split(theta_SP, self._classes)
            hidden_SNH = torch.baddbmm(b1, x_SND, w1).clamp_(min=0.0)
            slope_SNC = tables.gradient(torch.baddbmm(b2, hidden_SNH, w2), elsewhere[(step - 1) % batches])
            back_SNH = torch.bmm(slope_SNC, w2.transpose(1, 2)).mul_(hidden_SNH.sign())
            parts = (
                torch.bmm(x_SND.transpose(1, 2), back_SNH),
                back_SNH.sum(1),
                torch.bmm(hidden_SNH.transpose(1, 2), slope_SNC),
                slope_SNC.sum(1),
            )
            flat = [part.reshape(self._slots, size) for part, size in zip(parts, sizes, strict=True)]
            torch.cat(flat, 1, out=slope_SP)
            mean_SP.lerp_(slope_SP, 1 - _BETA1)
            square_SP.mul_(_BETA2).addcmul_(slope_SP, slope_SP, value=1 - _BETA2)
            scale = math.sqrt(1 - _BETA2**step)
            rate = self._config.learning_rate * scale / (1 - _BETA1**step)
            theta_SP.addcdiv_(mean_SP, square_SP.sqrt().add_(_EPS * scale), value=-rate)
        w1, b1, w2, b2 = _split(theta_SP, self._classes)
        hidden_SNH = torch.baddbmm(b1, self._features_ND.expand(self._slots, -1, -1), w1).clamp_(min=0.0)
        logits_SNC = torch.baddbmm(b2, hidden_SNH, w2)
        right_SN = (logits_SNC.argmax(2) == self._labels_N).double()
        each_NC = torch.nn.functional.one_hot(self._labels_N, self._classes).double()
        finite = theta_SP.isfinite().all(1, keepdim=True)
        return torch.where(finite, right_SN @ each_NC / each_NC.sum(0), 0.0)


def _above(accuracy: float, reference: float, classes: int) -> float:
    return (accuracy - 1 / classes) / (reference - 1 / classes)


def _mixture(classes: int, count: int) -> tuple[Tensor, Tensor]:
    """(features float32 [count, D] of mean 0 and deviation 1, labels int64 [count], the classes in turn)."""
    rng = np.random.default_rng(_SEED)
    centres = _SPREAD * rng.standard_normal((classes, _MODES, _FEATURES))
    labels = np.arange(count) % classes
    modes = np.arange(count) // classes % _MODES
    features = centres[labels, modes] + rng.standard_normal((count, _FEATURES))
    features = (features - features.mean(0)) / features.std(0)
    return torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)


def _weights(classes: int) -> Tensor:
    """float32 [P]: the weights at the start, as `_split` takes them apart."""
    rng = np.random.default_rng(_SEED + 1)
    first = rng.standard_normal((_FEATURES, _HIDDEN)) * math.sqrt(2 / _FEATURES)
    second = rng.standard_normal((_HIDDEN, classes)) * math.sqrt(1 / _HIDDEN)
    parts = (first.ravel(), np.zeros(_HIDDEN), second.ravel(), np.zeros(classes))
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))


def _split(theta: Tensor, classes: int) -> list[Tensor]:
    """Views of [S, P] (or [P], as one slot): weights [S, D, H], bias [S, 1, H], weights [S, H, C], bias [S, 1, C]."""
    theta = theta.view(-1, theta.shape[-1])
    shapes = ((_FEATURES, _HIDDEN), (1, _HIDDEN), (_HIDDEN, classes), (1, classes))
    parts = theta.split([rows * columns for rows, columns in shapes], 1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
