"""Cross-entropy and its nearest relatives; see `lossmith.functional`."""

from __future__ import annotations

from torch import Tensor

from lossmith.functional.call import call


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum(y log p): `torch.nn.functional.cross_entropy` itself, bit for bit.

    Args:
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    return call("cross_entropy", logits, target, weight, ignore_index, reduction, label_smoothing)


def label_smoothing(
    logits: Tensor,
    target: Tensor,
    *,
    smoothing: float = 0.1,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum(((1 - s) y + s / K) log p): cross-entropy to a target mixed with the uniform one.

    The same as `torch.nn.functional.cross_entropy` with its argument `label_smoothing`; here that argument smooths once
    more.

    Source: Szegedy et al. 2016, arXiv 1512.00567, section 7.

    Args:
        smoothing: s, in [0, 1); 0 is cross-entropy.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"smoothing": smoothing}
    return call("label_smoothing", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def sparse_label_smoothing(
    logits: Tensor,
    target: Tensor,
    *,
    smoothing: float = 0.1,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-(1 - s + s/K) log p_t - s (K-1)/K log((1 - p_t) / (K-1)): label smoothing that reads p_t alone.

    It equals label smoothing where the other classes share the rest evenly. The public code has + on the second term,
    which is another loss. Soft targets: the form per class, weighted by y.

    Source: Raymond et al. 2022, arXiv 2209.08907.

    Args:
        smoothing: s, in [0, 1); 0 is cross-entropy.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"smoothing": smoothing}
    return call("sparse_label_smoothing", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def focal(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-(1 - p_t)^gamma log p_t: less weight on what is already right.

    Soft targets: the form per class, -sum(y (1 - p)^gamma log p). Value and gradient are exact at saturation, for any
    gamma.

    Source: Lin et al. 2017, arXiv 1708.02002, equation 4.

    Args:
        gamma: at least 0; 0 is cross-entropy.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"gamma": gamma}
    return call("focal", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def poly1(
    logits: Tensor,
    target: Tensor,
    *,
    epsilon: float = 2.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum(y log p) + epsilon (1 - p_t), with p_t = sum(y p).

    Source: Leng et al. 2022, arXiv 2204.12511.

    Args:
        epsilon: at least -1, below which the loss rises towards p_t = 1; 0 is cross-entropy.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"epsilon": epsilon}
    return call("poly1", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def brier(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """sum((p - y)^2): the squared error on probabilities.

    Source: Brier 1950; Hui and Belkin 2020, arXiv 2006.07322.

    Args:
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    return call("brier", logits, target, weight, ignore_index, reduction, label_smoothing)
