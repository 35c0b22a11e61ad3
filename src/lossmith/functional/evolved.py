"""Losses that a search found; see `lossmith.functional`."""

from __future__ import annotations

from torch import Tensor

from lossmith.functional.call import call


def baikal(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum(log(p + d) - y / (p + d)) with d = 1e-7.

    Least far below p_t = 1 where there are many classes: at 0.32 for 10, at 0.10 for 100. Summed over the classes, as
    in the paper's program. Its slope in the logits reaches 2.5e6, beyond float16.

    Source: Gonzalez and Miikkulainen 2019, arXiv 1905.11528.

    Args:
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    return call("baikal", logits, target, weight, ignore_index, reduction, label_smoothing)


def taylorglo(
    logits: Tensor,
    target: Tensor,
    *,
    a0: float = 8.2896,
    a1: float = 0.2415,
    a2: float = 7.8726,
    a3: float = 8.9666,
    a4: float = 2.0184,
    a5: float = 7.0513,
    cp: float = 7.5216,
    cy: float = -10.9408,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum(a0 v + a1 v^2 + a2 v^3 + a3 u v + a4 u v^2 + a5 u^2 v), with v = p - cp and u = y - cy.

    The defaults are those of `taylorglo_mnist`. Nothing checks that other parameters make a loss.

    Source: Gonzalez and Miikkulainen 2020, arXiv 2002.00059.

    Args:
        a0, a1, a2, a3, a4, a5, cp, cy: any numbers.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"a0": a0, "a1": a1, "a2": a2, "a3": a3, "a4": a4, "a5": a5, "cp": cp, "cy": cy}
    return call("taylorglo", logits, target, weight, ignore_index, reduction, label_smoothing, given)


def taylorglo_mnist(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """`taylorglo` with the parameters called MNIST.

    cp = 7.5216, cy = -10.9408, a = (8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513). Least at p_t = 0.53 for 10
    classes.

    Source: Gonzalez and Miikkulainen 2020, arXiv 2002.00059; cognizant-ai-labs/TaylorGLO, experiments/oneShot.

    Args:
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    return call("taylorglo_mnist", logits, target, weight, ignore_index, reduction, label_smoothing)


def taylorglo_oldlossga(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """`taylorglo` with the parameters called OldLossga.

    cp = 1.4872, cy = 0.8439, a = (1.5742, -1.4446, 2.3616, -0.6632, -2.8569, -1.1313). Least at p_t = 0.45 for 10
    classes.

    Source: Gonzalez and Miikkulainen 2020, arXiv 2002.00059; cognizant-ai-labs/TaylorGLO, experiments/oneShot.

    Args:
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    return call("taylorglo_oldlossga", logits, target, weight, ignore_index, reduction, label_smoothing)


def ngl(
    logits: Tensor,
    target: Tensor,
    *,
    a: float = 2.4092,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The mean over the classes of exp(a - p - p y) - cos(cos(sin p)).

    Least at p_t = 0.39 for 10 classes. A public TensorFlow port applies a sigmoid after softmax, which is another loss.

    Source: Akhmedova and Körber 2024, arXiv 2404.12948.

    Args:
        a: any number.
        logits, target, weight, ignore_index, reduction, label_smoothing: see `lossmith.functional`.
    """
    given = {"a": a}
    return call("ngl", logits, target, weight, ignore_index, reduction, label_smoothing, given)
