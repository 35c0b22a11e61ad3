"""K losses over [K, N, C] logits from tables: approximate, and the same few operations whatever the losses are.

A loss over hard labels is two curves of p, so its gradient is known from their slopes on a grid. A call is one softmax,
one look-up and one interpolation for all slots together; exchanging a loss fills one row of the table, so a captured
CUDA graph or a compiled training step stays valid. `lossmith.losses.population` computes the same exactly.

The grid is even in log(p / (1 - p)), where curves of logarithms and of 1 / (p + eps) are smooth. The slope is tabulated
as d = p * df/dp = df / d(log p), which stays of one size where df/dp does not.

Error: linear interpolation, with h = 1/64 at most h^2 / 8 = 3e-5 of the curve's second derivative in that scale; more
in the one cell that holds a kink or a pole. Below p = 4e-18 the last entry stands for all.

Legend: K slots (losses), N examples, C classes, G cells of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.errors import LossmithError
from lossmith.losses.kinds import ExpressionLoss
from lossmith.losses.module import Loss
from lossmith.losses.program import program

_LOW, _HIGH = -40.0, 17.0  # of log(p / (1 - p)); float32 rounds p to 1 from 16.6 on
_CELLS_PER_UNIT = 64
_CELLS = int((_HIGH - _LOW) * _CELLS_PER_UNIT)


class TabulatedPopulation:
    """K losses, each over its own [N, C] slice of [K, N, C] logits, interpolated in tables; float32, hard labels."""

    def __init__(self, losses: Sequence[Loss], *, classes: int, device: torch.device | None = None) -> None:
        """
        Args:
            losses: expressions, with reduction "mean" and without class weights; their label smoothing counts.
            classes: C.
            device: of the logits; the CPU if None.

        Raises:
            LossmithError: a loss that is no expression, or has another reduction or class weights.
        """
        self.classes = classes
        # [K, 2 * G]: in each row the cells of the curve of the other classes, then those of the target's curve
        shape = (len(losses), 2 * _CELLS)
        self._slopes = torch.zeros(shape, device=device)  # d at the left end of each cell
        self._rises = torch.zeros(shape, device=device)  # its change over the cell
        self._values = torch.zeros(shape, device=device)  # f, likewise
        self._value_rises = torch.zeros(shape, device=device)
        for slot, loss in enumerate(losses):
            self.replace(slot, loss)

    def __len__(self) -> int:
        return self._slopes.shape[0]

    def replace(self, slot: int, loss: Loss) -> None:
        """Put another loss in `slot`, in place.

        Raises:
            LossmithError: as the constructor.
        """
        plain = loss.reduction == "mean" and loss.weight is None and loss.ignore_index < 0
        if not isinstance(loss, ExpressionLoss) or not plain:
            raise LossmithError(
                f"loss '{loss.name}': a table takes expressions of reduction 'mean', without class weights and ignored"
                " classes"
            )
        x = torch.linspace(_LOW, _HIGH, _CELLS + 1, dtype=torch.float64, device="cpu")
        log_p, log_rest = torch.nn.functional.logsigmoid(x), torch.nn.functional.logsigmoid(-x)
        p = log_p.exp()
        low = loss.label_smoothing / self.classes
        sign = -1.0 if loss.flip else 1.0
        run = program(loss.expression.bind(self.classes))
        for place, y in enumerate((low, 1 - loss.label_smoothing + low)):
            value, on_p, on_log_p, on_log_rest, _ = run.runner(torch.float64, y=y)(None, p, log_p, log_rest, p.device)
            d = on_log_p + on_p * p - on_log_rest * (log_p - log_rest).exp()
            cells = slice(place * _CELLS, (place + 1) * _CELLS)
            for found, starts, rises in (
                (d, self._slopes, self._rises),
                (value, self._values, self._value_rises),
            ):
                entries = sign * (torch.zeros_like(p) + found)
                starts[slot, cells] = entries[:-1].to(starts.device)
                rises[slot, cells] = entries.diff().to(rises.device)

    def value_and_gradient(self, logits_KNC: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of every slot, and its gradient.

        Args:
            logits_KNC: float32.
            labels: int64, [N] for all slots or [K, N].

        Returns:
            ([K] mean over N of each slot's loss, [K, N, C] its gradient with respect to the logits).

        Raises:
            LossmithError: the shapes or dtypes do not fit.
        """
        index_KM, share_KM, p_KNC = self._cells(logits_KNC, labels)
        value_KM = torch.addcmul(self._values.gather(1, index_KM), self._value_rises.gather(1, index_KM), share_KM)
        return value_KM.sum(1) / logits_KNC.shape[1], self._gradient(index_KM, share_KM, p_KNC)

    def gradient(self, logits_KNC: Tensor, labels: Tensor) -> Tensor:
        """The second part of `value_and_gradient` alone, which is all that training needs."""
        return self._gradient(*self._cells(logits_KNC, labels))

    def _cells(self, logits_KNC: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(the cell of every element [K, M], where in the cell it lies, in [0, 1], p [K, N, C])."""
        slots, examples, classes = logits_KNC.shape if logits_KNC.dim() == 3 else (0, 0, 0)
        fits = (slots, classes) == (len(self), self.classes) and logits_KNC.dtype == torch.float32
        if not fits or labels.dtype != torch.int64 or labels.shape not in ((examples,), (slots, examples)):
            raise LossmithError(
                f"table of {len(self)} losses for {self.classes} classes: logits {tuple(logits_KNC.shape)}"
                f" {logits_KNC.dtype} and labels {tuple(labels.shape)} {labels.dtype} do not fit"
            )
        p_KNC = torch.softmax(logits_KNC.detach(), 2)
        place = torch.logit(p_KNC).sub_(_LOW).mul_(_CELLS_PER_UNIT)
        place.clamp_(0.0, _CELLS - 0.001)
        cell = place.nan_to_num(nan=0.0).long()  # NaN logits get any cell: their share of it makes the result NaN
        share = place.sub_(cell)
        cell.scatter_add_(2, labels.expand(slots, -1).unsqueeze(2), cell.new_full((slots, examples, 1), _CELLS))
        return cell.view(slots, -1), share.view(slots, -1), p_KNC

    def _gradient(self, index_KM: Tensor, share_KM: Tensor, p_KNC: Tensor) -> Tensor:
        d_KM = torch.addcmul(self._slopes.gather(1, index_KM), self._rises.gather(1, index_KM), share_KM)
        d_KNC = d_KM.view(p_KNC.shape)
        return torch.addcmul(d_KNC, p_KNC, d_KNC.sum(2, keepdim=True), value=-1).div_(p_KNC.shape[1])
