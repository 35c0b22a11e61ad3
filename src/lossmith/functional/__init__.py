"""The published losses as functions, called like `torch.nn.functional.cross_entropy`.

    from lossmith import functional as LF

    value = LF.focal(logits, target, gamma=1.5)

Each gives the numbers of `lossmith.loss(name, ...)`, bit for bit, which is made once for given parameters and kept. All
of them take

    logits: [C], [N, C] or [N, C, d1, ...], floating point.
    target: class indices, the shape of `logits` without C, int64 or uint8; or probabilities, the shape of `logits`.
    weight: [C], of the classes, floating point; or None.
    ignore_index: the label that counts for nothing.
    reduction: "mean", "sum" or "none".
    label_smoothing: in [0, 1]; mixes the target with the uniform one, before anything else.

and return a scalar, or with reduction "none" one value per example, in the dtype that `F.cross_entropy` returns. p is
softmax(logits), y the target distribution, p_t the probability of the true class, and K the number of classes; sums run
over the classes.

They raise LossmithError for a parameter that is out of its range, and what `F.cross_entropy` raises for logits and
targets that do not fit.
"""

from __future__ import annotations

from lossmith.functional.evolved import (
    baikal,
    ngl,
    taylorglo,
    taylorglo_mnist,
    taylorglo_oldlossga,
)
from lossmith.functional.likelihood import (
    brier,
    cross_entropy,
    focal,
    label_smoothing,
    poly1,
    sparse_label_smoothing,
)
from lossmith.functional.robust import (
    bi_tempered,
    generalised_cross_entropy,
    mae,
    nce_mae,
    nce_rce,
    normalised_cross_entropy,
    symmetric_cross_entropy,
)

__all__ = [
    "baikal",
    "bi_tempered",
    "brier",
    "cross_entropy",
    "focal",
    "generalised_cross_entropy",
    "label_smoothing",
    "mae",
    "nce_mae",
    "nce_rce",
    "ngl",
    "normalised_cross_entropy",
    "poly1",
    "sparse_label_smoothing",
    "symmetric_cross_entropy",
    "taylorglo",
    "taylorglo_mnist",
    "taylorglo_oldlossga",
]
