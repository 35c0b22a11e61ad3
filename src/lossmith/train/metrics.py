"""How well a classifier does on a split: accuracy, negative log-likelihood, calibration error.

Legend of the tensor names: N images, B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lossmith.train.data import Split

ECE_BINS = 15
_BATCH = 1000  # images scored at once; more gains nothing and takes memory


@dataclass(frozen=True, slots=True)
class Scores:
    """The quality of a network's predictions on a split."""

    accuracy: float  # in [0, 1]
    nll: float  # mean negative log-likelihood, natural logarithm, >= 0; NaN where a logit is not finite
    ece: float  # expected calibration error, 15 bins of equal width, in [0, 1]; NaN where a logit is not finite


def predict(model: nn.Module, split: Split, prepare: Callable[[Tensor], Tensor]) -> Tensor:
    """The logits, float32 [N, K] on the CPU, of all images of a split; the model's mode is as before afterwards.

    Args:
        model: the network, on the device of what `prepare` gives.
        split: the images.
        prepare: from uint8 [B, C, H, W] on the CPU to the network's inputs.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return torch.cat([model(prepare(batch)).float().cpu() for batch in split.chunks(_BATCH)])
    finally:
        model.train(was_training)


def accuracy(logits_NK: Tensor, labels_N: Tensor) -> float:
    """The fraction of images whose largest logit is at the label."""
    return int((logits_NK.argmax(dim=1) == labels_N).sum()) / labels_N.shape[0]


def score(logits_NK: Tensor, labels_N: Tensor) -> Scores:
    """All scores of the logits, [N, K], against the labels, int64 [N]; computed in float64."""
    log_probabilities_NK = functional.log_softmax(logits_NK.double(), dim=1)
    nll = functional.nll_loss(log_probabilities_NK, labels_N)
    return Scores(accuracy(logits_NK, labels_N), float(nll), _calibration_error(log_probabilities_NK.exp(), labels_N))


def _calibration_error(probabilities_NK: Tensor, labels_N: Tensor) -> float:
    """Mean |accuracy - confidence| over bins of the predicted class's probability, weighted by their counts."""
    confidence_N, predicted_N = probabilities_NK.max(dim=1)
    if not bool(torch.isfinite(confidence_N).all()):
        return float("nan")
    gap_N = (predicted_N == labels_N).double() - confidence_N
    bin_N = (confidence_N * ECE_BINS).ceil().long().sub_(1).clamp_(0, ECE_BINS - 1)  # bins are (low, high]
    gap_per_bin = torch.zeros(ECE_BINS, dtype=torch.float64).index_add_(0, bin_N, gap_N)
    return float(gap_per_bin.abs().sum()) / labels_N.shape[0]
