"""`Loss`: any function of (y_c, p_c) summed over the classes, with the contract of `torch.nn.CrossEntropyLoss`.

Shapes, as there: logits [C], [N, C] or [N, C, d1, ...]; target either class indices (logits' shape without C; int64 or
uint8) or class probabilities (logits' shape, floating point).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lossmith.errors import LossmithError, nearest
from lossmith.space.expression import Expression

if TYPE_CHECKING:
    from lossmith.losses.card import LossCard

REDUCTIONS = ("none", "mean", "sum")


class Loss(nn.Module):
    """A drop-in module for `torch.nn.CrossEntropyLoss`; made by `lossmith.loss`.

    With y' = (1 - label_smoothing) y + label_smoothing / C and the oriented curve f,

        l_n = sum over classes c of weight[c] * f(y'_c, softmax(logits)_c)

    `reduction="none"` gives l_n (0 where the label is `ignore_index`), "sum" their sum, and "mean" that sum divided,
    for class indices, by the sum of weight[target] over labels that are not ignored (NaN where there are none), and
    for probabilities by the number of examples, as `F.cross_entropy` does.

    Computed in float32 (float64 where logits, target or weight are) and returned in the dtype that `F.cross_entropy`
    returns, with autocast and without. What `F.cross_entropy` refuses is refused with its own error.

    `name`, `formula` (for people), `expression` (None where the formula language cannot say it) and `flip` (whether
    the loss is -1 times the expression) tell what the loss is; `settings` holds a zoo loss's own parameters, and
    `provenance` what a run wrote of it into its `best.json`.
    """

    __constants__ = ["ignore_index", "label_smoothing", "reduction"]  # noqa: RUF012 - as in nn.CrossEntropyLoss
    weight: Tensor | None

    def __init__(
        self,
        name: str,
        formula: str,
        latex: str,
        *,
        expression: Expression | None = None,
        flip: bool = False,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        """`latex` is of the oriented curve; the other arguments are as in `lossmith.loss`.

        Raises:
            LossmithError: an unknown reduction, or `label_smoothing` outside [0, 1].
        """
        super().__init__()
        if reduction not in REDUCTIONS:
            hint = nearest(str(reduction), REDUCTIONS)
            raise LossmithError(f"unknown reduction {reduction!r:.80}{hint}; use {', '.join(REDUCTIONS)}")
        if not 0 <= label_smoothing <= 1:
            raise LossmithError(f"label_smoothing must be in [0, 1], found {label_smoothing}")
        self.name = name
        self.formula = formula
        self.expression = expression
        self.flip = flip
        self.settings: Mapping[str, float] = {}
        self.provenance: Mapping[str, Any] = {}
        self.ignore_index = int(ignore_index)
        self.reduction = reduction
        self.label_smoothing = float(label_smoothing)
        self._latex = latex
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch: a scalar, or with reduction "none" one value per example.

        Args:
            logits: [C], [N, C] or [N, C, d1, ...], floating point.
            target: class indices, the shape of `logits` without C, int64 or uint8; or probabilities, the shape of
                `logits`, floating point.

        Raises:
            Exception: what `F.cross_entropy` raises for these arguments: RuntimeError, ValueError, IndexError.
        """
        raise NotImplementedError

    def curve(self, y: Tensor, p: Tensor, classes: int) -> Tensor:
        """f(y, p) elementwise, before `flip`; all of one shape, for a problem of `classes` classes."""
        raise NotImplementedError

    # -- for people ------------------------------------------------------------------------------------------------

    def curves(self, p: Tensor, *, classes: int = 10) -> tuple[Tensor, Tensor]:
        """The two curves that the loss is, for hard labels (with `label_smoothing` applied).

        Args:
            p: probabilities in (0, 1), any shape, float32 or float64.
            classes: C, which label smoothing depends on.

        Returns:
            (f1, f0): the oriented value at the target class, and at any other class, where its probability is `p`;
            shape and dtype of `p`. May hold NaN or infinities where the formula does, also at p = 0 and p = 1.

        Raises:
            LossmithError: `p` is not float32 or float64, or `classes` is below 2.
        """
        if p.dtype not in (torch.float32, torch.float64):
            raise LossmithError(f"curves: p must be float32 or float64, found {p.dtype}")
        if classes < 2:
            raise LossmithError(f"curves: a classifier has at least 2 classes, found {classes}")
        low = self.label_smoothing / classes
        at_target, elsewhere = (
            self.curve(torch.full_like(p, y), p, classes) for y in (1 - self.label_smoothing + low, low)
        )
        return (-at_target, -elsewhere) if self.flip else (at_target, elsewhere)

    def card(self, *, classes: Sequence[int] = (2, 10, 100, 1000)) -> LossCard:
        """What a user must know of the loss before training with it; see `lossmith.losses.card`.

        Args:
            classes: the numbers of classes to look at, each from 2 to 10,000.

        Raises:
            LossmithError: a number of classes is out of range or given twice, or there are none or too many.
        """
        from lossmith.losses.card import card  # noqa: PLC0415 - it reads losses

        return card(self, classes=classes)

    def export(self, to: str) -> str:
        """Source for other programs, without Lossmith; see `lossmith.losses.export`.

        Args:
            to: "torch", "keras", "jax", "latex" or "json".

        Raises:
            LossmithError: another `to`, or the loss has class weights.
        """
        from lossmith.losses.export import export  # noqa: PLC0415 - it reads losses

        return export(self, to=to)

    def to_latex(self) -> str:
        """The oriented curve f(y, yhat) in LaTeX, without the sum over classes."""
        return self._latex

    def _repr_latex_(self) -> str:
        return f"${self.to_latex()}$"

    def extra_repr(self) -> str:
        shown: list[tuple[str, Any, Any]] = [
            ("ignore_index", self.ignore_index, -100),
            ("reduction", self.reduction, "mean"),
            ("label_smoothing", self.label_smoothing, 0.0),
        ]
        title = self.formula if self.name == self.formula else f"{self.name}: {self.formula}"
        parts = [title, *(f"{key}={value!r}" for key, value, default in shown if value != default)]
        weight = self.weight
        return ", ".join(parts if weight is None else [*parts, f"weight={list(weight.shape)}"])
