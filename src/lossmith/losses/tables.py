"""Many losses at once, from tables: approximate, and the same few operations whatever the losses are.

A loss over hard labels is two curves of p, so its gradient is known from their slopes on a grid: with p = softmax(z) it
is d - p * sum(d), d = p * df/dp. `CurveTables` holds two curves for each slot and reads them by linear interpolation;
`TabulatedPopulation` is what a training uses, and the search's micro-task (`search.rungs`) has tables of its own.
Exchanging a loss fills one row of the table, so a captured CUDA graph or a compiled training step stays valid.
`lossmith.losses.population` computes the same exactly.

The grid is even in log(p / (1 - p)), where curves of logarithms and of 1 / (p + eps) are smooth. Tabulated is d, which
stays of one size where df/dp does not.

Error: with a step h at most h^2 / 8 of the curve's second derivative in that scale (3e-5 at 1/64); more in the one cell
that holds a kink or a pole. Beyond the grid its last entry stands for all.

Legend: K slots (losses), N examples, C classes, P points of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.errors import LossmithError
from lossmith.losses.kinds import ExpressionLoss
from lossmith.losses.module import Loss
from lossmith.losses.program import program

_NEAR_ONE = 1 - 2**-24  # the largest float32 below 1


@dataclass(frozen=True, slots=True)
class Grid:
    """Points at even distances in log(p / (1 - p))."""

    low: float
    high: float
    points: int

    @property
    def step(self) -> float:
        return (self.high - self.low) / (self.points - 1)

    def odds(self) -> Tensor:
        """float64 [P], on the CPU whatever the default device."""
        return torch.linspace(self.low, self.high, self.points, dtype=torch.float64, device="cpu")


class Place(NamedTuple):
    """Where in the tables the elements of a batch stand."""

    entry: Tensor  # int32 [K * N * C], of the entry below
    share: Tensor  # float32 [K * N * C], of the way to the next entry; NaN where the logit is
    p: Tensor  # float32 [K, N, C]


class CurveTables:
    """float32 tables of K slots: the target's curve, then that of the other classes. Empty slots are 0."""

    def __init__(self, slots: int, grid: Grid, *, device: torch.device | None = None) -> None:
        self._grid = grid
        self._values = torch.zeros(slots, 2 * grid.points, device=device)
        self._changes = torch.zeros_like(self._values)  # to the next point

    def fill(self, slot: int, both: Tensor) -> None:
        """Put the entries of one slot, [2 * P], in place."""
        self._values[slot] = both
        self._changes[slot, :-1] = both.diff().to(self._changes.device)

    def place(self, logits_KNC: Tensor, elsewhere: Tensor) -> Place:
        """Where to read; `elsewhere` is of `elsewhere`."""
        points = self._grid.points
        log_p = torch.log_softmax(logits_KNC, 2)
        p = log_p.exp()
        odds = log_p.sub_(torch.log1p(-p.clamp(max=_NEAR_ONE)))
        place = odds.sub_(self._grid.low).div_(self._grid.step).clamp_(0.0, points - 1.001)
        start = torch.arange(len(logits_KNC), dtype=torch.int32, device=p.device).view(-1, 1, 1) * (2 * points)
        index = place.nan_to_num(0.0).to(torch.int32).add_(elsewhere).add_(start)
        return Place(index.view(-1), place.frac_().view(-1), p)

    def read(self, place: Place) -> Tensor:
        """float32 [K, N, C]: the curves at a place."""
        low = self._values.view(-1).index_select(0, place.entry)
        return low.addcmul_(self._changes.view(-1).index_select(0, place.entry), place.share).view_as(place.p)


def elsewhere(labels: Tensor, classes: int, grid: Grid) -> Tensor:
    """int32 [..., C]: which of the two tables each element reads, for labels int64 [...]."""
    return (torch.nn.functional.one_hot(labels, classes) == 0).to(torch.int32) * grid.points


def mean_gradient(d_KNC: Tensor, p_KNC: Tensor) -> Tensor:
    """The gradient of every slot's mean loss in its logits, from its slopes d, which it overwrites."""
    return d_KNC.addcmul_(p_KNC, d_KNC.sum(2, keepdim=True), value=-1.0).div_(p_KNC.shape[1])


class TabulatedPopulation:
    """K losses, each over its own [N, C] slice of [K, N, C] logits, interpolated in tables; float32, hard labels."""

    GRID = Grid(-40.0, 17.0, 57 * 64 + 1)  # p from 4e-18; float32 rounds p to 1 from 16.6 on

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
        self._slots = len(losses)
        self._slopes = CurveTables(len(losses), self.GRID, device=device)
        self._values = CurveTables(len(losses), self.GRID, device=device)
        for slot, loss in enumerate(losses):
            self.replace(slot, loss)

    def __len__(self) -> int:
        return self._slots

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
        odds = self.GRID.odds()
        log_p, log_rest = torch.nn.functional.logsigmoid(odds), torch.nn.functional.logsigmoid(-odds)
        p = log_p.exp()
        low = loss.label_smoothing / self.classes
        run = program(loss.expression.bind(self.classes))
        slopes: list[Tensor] = []
        values: list[Tensor] = []
        for y in (1 - loss.label_smoothing + low, low):
            value, on_p, on_log_p, on_log_rest, _ = run.runner(torch.float64, y=y)(None, p, log_p, log_rest, p.device)
            slopes.append(torch.zeros_like(p) + on_log_p + on_p * p - on_log_rest * (log_p - log_rest).exp())
            values.append(torch.zeros_like(p) + value)
        sign = -1.0 if loss.flip else 1.0
        self._slopes.fill(slot, (sign * torch.cat(slopes)).float())
        self._values.fill(slot, (sign * torch.cat(values)).float())

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
        place = self._place(logits_KNC, labels)
        values = self._values.read(place).sum((1, 2)) / logits_KNC.shape[1]
        return values, mean_gradient(self._slopes.read(place), place.p)

    def gradient(self, logits_KNC: Tensor, labels: Tensor) -> Tensor:
        """The second part of `value_and_gradient` alone, which is all that training needs."""
        place = self._place(logits_KNC, labels)
        return mean_gradient(self._slopes.read(place), place.p)

    def _place(self, logits_KNC: Tensor, labels: Tensor) -> Place:
        fits = logits_KNC.dim() == 3 and logits_KNC.dtype == torch.float32 and labels.dtype == torch.int64
        slots, examples, classes = logits_KNC.shape if fits else (0, 0, 0)
        if not fits or (slots, classes) != (self._slots, self.classes) or labels.shape not in (
            (examples,), (slots, examples),
        ):  # fmt: skip
            raise LossmithError(
                f"table of {self._slots} losses for {self.classes} classes: logits {tuple(logits_KNC.shape)}"
                f" {logits_KNC.dtype} and labels {tuple(labels.shape)} {labels.dtype} do not fit"
            )
        return self._slopes.place(logits_KNC.detach(), elsewhere(labels, classes, self.GRID))
