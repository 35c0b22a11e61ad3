"""Losses that wrong labels harm less; see `lossmith.functional`."""

from __future__ import annotations

from torch import Tensor

from lossmith.functional.call import call


def generalised_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    q: float = 0.7,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """(1 - p_t^q) / q: between cross-entropy (q towards 0) and `mae` (q = 1).

    Soft targets: the form per class, weighted by y.

    Source: Zhang and Sabuncu 2018, arXiv 1805.07836.

    Args:
        q: in (0, 1].
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"q": q}
    return call("generalised_cross_entropy", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def symmetric_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-alpha sum(y log p) - beta sum(p log max(y, 1e-4)): cross-entropy and its reverse.

    The defaults are the paper's for CIFAR-10.

    Source: Wang et al. 2019, arXiv 1908.06112.

    Args:
        alpha: of cross-entropy, at least 0.
        beta: of the reverse, at least 0.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"alpha": alpha, "beta": beta}
    return call("symmetric_cross_entropy", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def normalised_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """sum(y log p) / sum(log p), in (0, 1).

    `weight` weighs the example. A class masked by a logit of -inf is left out of the lower sum.

    Source: Ma et al. 2020, arXiv 2006.13554.

    Args:
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    return call("normalised_cross_entropy", logits, target, weight, ignore_index, reduction, label_smoothing)


def nce_rce(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """alpha NCE + beta RCE: an active passive loss, with RCE = -sum(p log max(y, 1e-4)).

    NCE is `normalised_cross_entropy`. `weight` weighs the example.

    Source: Ma et al. 2020, arXiv 2006.13554.

    Args:
        alpha: of NCE, at least 0.
        beta: of RCE, at least 0.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"alpha": alpha, "beta": beta}
    return call("nce_rce", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def nce_mae(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """alpha NCE + beta MAE: an active passive loss, with MAE = 1 - sum(y p).

    NCE is `normalised_cross_entropy`. `weight` weighs the example.

    Source: Ma et al. 2020, arXiv 2006.13554.

    Args:
        alpha: of NCE, at least 0.
        beta: of MAE, at least 0.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"alpha": alpha, "beta": beta}
    return call("nce_mae", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def bi_tempered(
    logits: Tensor,
    target: Tensor,
    *,
    t1: float = 0.8,
    t2: float = 1.2,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """sum(y (log_t1 y - log_t1 p) - (y^(2-t1) - p^(2-t1)) / (2-t1)), p the softmax of temperature t2.

    log_t u = (u^(1-t) - 1) / (1 - t). With t1 = t2 = 1 it is cross-entropy, less the entropy of y for a soft target.
    `weight` weighs the example.

    Source: Amid et al. 2019, arXiv 1906.03361.

    Args:
        t1: in [0, 1]; below 1 the loss of one example is bounded.
        t2: in [1, 5]; above 1 the softmax has heavier tails.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"t1": t1, "t2": t2}
    return call("bi_tempered", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def mae(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """1 - p_t, with p_t = sum(y p): half of sum(|p - y|) for hard labels.

    Source: Ghosh et al. 2017, arXiv 1712.09482; Ma et al. 2020, arXiv 2006.13554.

    Args:
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    return call("mae", logits, target, weight, ignore_index, reduction, label_smoothing)
