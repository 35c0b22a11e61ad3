"""K different losses over [K, N, C] logits in one call, for a population that is trained at once.

The losses' symbolic programs are laid side by side, and steps of the same operation that are ready at the same time are
done together, whoever they belong to: 64 losses cost some hundred torch calls, not 64 times twenty. Every slot's values
stand in rows of their own, so what one slot computes, NaN and infinity included, never touches another's, and does not
depend on which others there are. Exchanging one slot's loss orders the steps anew and compiles nothing.

All is computed in the dtype of the logits. A loss alone is computed in float64 where it may overflow float32, so beside
a pole the two differ by float32's rounding.

Legend: K slots (losses), N examples, C classes, M = N * C.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.errors import LossmithError
from lossmith.losses.kernels import log_softmax
from lossmith.losses.kinds import ExpressionLoss
from lossmith.losses.module import Loss
from lossmith.losses.symbolic import Slopes, differentiate
from lossmith.losses.tape import OPERATIONS, Operand

# Results stand in rows of numbers, comparisons as 0 and 1 too.
_OPERATIONS = {
    **OPERATIONS,
    "cast": lambda condition, like: condition,
    "where": lambda condition, a, b: torch.where(condition != 0, a, b),
}
_IN_PLACE = OPERATIONS.keys() - {"cast", "where", "relu", "limit_product", "unless_nan"}  # take an argument `out`

_LEAVES = {"p": 0, "log_p": 1, "y": 2}  # blocks of K rows at the start of the values


@dataclass(frozen=True, slots=True)
class _Group:
    """Steps of one operation that are done at once."""

    operation: str
    first: int  # row of the first result; the others follow
    count: int
    # for each operand, the rows it is read from (a slice where they follow one another), or numbers, [count, 1]
    operands: tuple[slice | Tensor, ...]
    numbers: tuple[bool, ...]


class Population:
    """K losses, each over its own [N, C] slice of [K, N, C] logits."""

    def __init__(self, losses: Sequence[Loss], *, classes: int) -> None:
        """
        Args:
            losses: with reduction "mean"; their class weights, `ignore_index` and label smoothing must be at the
                defaults. Any kind of loss works; expressions are the fast ones.
            classes: C.

        Raises:
            LossmithError: no losses, or one with another reduction, class weights, label smoothing or an `ignore_index`
                that is a class.
        """
        if not losses:
            raise LossmithError("a population needs at least one loss")
        self.classes = classes
        self._losses: list[Loss] = []
        self._programs: dict[torch.dtype, list[Slopes | None]] = {}
        self._plans: dict[tuple[torch.dtype, torch.device], _Plan] = {}
        for loss in losses:
            _check(loss)
            self._losses.append(loss)

    def __len__(self) -> int:
        return len(self._losses)

    def replace(self, slot: int, loss: Loss) -> None:
        """Put another loss in `slot`; the others are not touched.

        Raises:
            LossmithError: as the constructor.
        """
        _check(loss)
        self._losses[slot] = loss
        for dtype, programs in self._programs.items():
            programs[slot] = _program(loss, self.classes, dtype)
        self._plans.clear()

    def value_and_gradient(self, logits_KNC: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of every slot, and its gradient.

        Args:
            logits_KNC: float32 or float64.
            labels: int64, [N] for all slots or [K, N]; or probabilities, dtype of the logits, [N, C] or [K, N, C].

        Returns:
            ([K] mean over N of each slot's loss, [K, N, C] its gradient with respect to the logits).

        Raises:
            LossmithError: the shapes or dtypes do not fit.
        """
        logits_KNC, labels = logits_KNC.detach(), labels.detach()
        self._check_shapes(logits_KNC, labels)
        slots, examples, classes = logits_KNC.shape
        if labels.dtype == torch.int64:
            y = torch.zeros((*labels.shape, classes), dtype=logits_KNC.dtype, device=logits_KNC.device)
            y.scatter_(-1, labels.unsqueeze(-1), 1.0)
        else:
            y = labels
        key = (logits_KNC.dtype, logits_KNC.device)
        if key not in self._plans:
            flips = [loss.flip for loss in self._losses]
            self._plans[key] = _Plan(self._slopes(logits_KNC.dtype), flips, *key)
        plan = self._plans[key]
        value_KM, d_KM, p_KNC = plan.run(logits_KNC, y)
        gradient = d_KM.view(slots, examples, classes)
        sums = gradient.sum(2, keepdim=True)
        gradient = torch.addcmul(gradient, p_KNC, sums, value=-1)
        gradient *= plan.signs.view(-1, 1, 1) / examples
        values = value_KM.sum(1) * plan.signs / examples
        for slot, slopes in enumerate(self._slopes(logits_KNC.dtype)):
            if slopes is None:
                own = labels if labels.dim() + (labels.dtype == torch.int64) == 2 else labels[slot]
                with torch.inference_mode(mode=False), torch.enable_grad():  # whatever the caller's mode is
                    logits = logits_KNC[slot].clone().requires_grad_()
                    value = self._losses[slot](logits, own.clone())
                    own_gradient = torch.autograd.grad(value, logits)[0]
                values[slot] = value.detach()
                gradient[slot] = own_gradient
        return values, gradient

    def _slopes(self, dtype: torch.dtype) -> list[Slopes | None]:
        if dtype not in self._programs:
            self._programs[dtype] = [_program(loss, self.classes, dtype) for loss in self._losses]
        return self._programs[dtype]

    def _check_shapes(self, logits: Tensor, labels: Tensor) -> None:
        fits = (
            logits.dim() == 3
            and logits.shape[0] == len(self)
            and logits.shape[2] == self.classes
            and logits.dtype in (torch.float32, torch.float64)
        )
        shapes = [logits.shape[1:], logits.shape] if labels.dtype == logits.dtype else []
        if labels.dtype == torch.int64:
            shapes = [logits.shape[1:2], logits.shape[:2]]
        if not fits or labels.shape not in shapes:
            raise LossmithError(
                f"population of {len(self)} losses for {self.classes} classes: logits {tuple(logits.shape)}"
                f" {logits.dtype} and labels {tuple(labels.shape)} {labels.dtype} do not fit"
            )


def _check(loss: Loss) -> None:
    if loss.reduction != "mean" or loss.weight is not None or loss.label_smoothing or loss.ignore_index >= 0:
        raise LossmithError(
            f"loss '{loss.name}': a population takes losses of reduction 'mean', without class weights, label smoothing"
            " and ignored classes"
        )


def _program(loss: Loss, classes: int, dtype: torch.dtype) -> Slopes | None:
    """The steps of a loss; None where it is not a sum of curves, or reads log(1 - p), and so is computed by itself."""
    if not isinstance(loss, ExpressionLoss):
        return None
    slopes = differentiate(loss.expression.bind(classes), dtype, joined=True)
    return None if slopes.reads("log_rest") else slopes


def _schedule(
    programs: Sequence[Slopes | None],
) -> Iterator[tuple[tuple[str, tuple[bool, ...]], list[tuple[int, int]]]]:
    """The steps of all programs in few groups of one operation, each after those that it reads.

    Yields:
        ((operation, which operands are numbers), [(slot, step), ...]).

    The fewest groups would be a shortest common supersequence, which is hard to find. Taking always the operation
    that the most steps wait for, and among equals the one with the longest way to go, comes near.
    """
    missing: dict[tuple[int, int], int] = {}  # the inputs that are not ready yet
    readers: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    ready: dict[tuple[str, tuple[bool, ...]], list[tuple[int, int]]] = defaultdict(list)
    done: list[tuple[int, int]] = []  # leaves

    def kind(slot: int, index: int) -> tuple[str, tuple[bool, ...]]:
        step = steps[slot][index]
        return step.operation, tuple(isinstance(operand, float) for operand in step.operands)

    steps = [program.steps if program else () for program in programs]
    left = [dict[int, int]() for _ in steps]  # the longest way from each step to the end of its program
    for slot, own in enumerate(steps):
        for index in range(len(own) - 1, -1, -1):
            for i in {operand for operand in own[index].operands if isinstance(operand, int)}:
                readers[slot, i].append((slot, index))
                left[slot][i] = max(left[slot].get(i, 0), 1 + left[slot].get(index, 0))
            missing[slot, index] = len({operand for operand in own[index].operands if isinstance(operand, int)})
            if own[index].operation in _LEAVES:
                done.append((slot, index))
    while True:
        for member in done:
            for reader in readers[member]:
                missing[reader] -= 1
                if not missing[reader]:
                    ready[kind(*reader)].append(reader)
        if not ready:
            return
        chosen = max(ready, key=lambda key: (sum(1 + left[slot].get(i, 0) for slot, i in ready[key]), key))
        done = sorted(ready.pop(chosen))
        yield chosen, done


class _Plan:
    """The order in which the steps of all slots are done, for one dtype and device."""

    def __init__(
        self, programs: Sequence[Slopes | None], flips: Sequence[bool], dtype: torch.dtype, device: torch.device
    ) -> None:
        self._dtype = dtype
        self._device = device
        slots = len(programs)
        self._leaves = {step.operation for program in programs if program for step in program.steps} & _LEAVES.keys()
        rows = {
            (slot, index): _LEAVES[operation] * slots + slot
            for slot, program in enumerate(programs)
            for index, (operation, _) in enumerate(program.steps if program else ())
            if operation in _LEAVES
        }
        first = len(_LEAVES) * slots
        self._groups: list[_Group] = []
        for (operation, numbers), members in _schedule(programs):
            for place, member in enumerate(members):
                rows[member] = first + place
            operands: list[slice | Tensor] = []
            for place, number in enumerate(numbers):
                chosen = [self._step(programs, slot, index, place) for slot, index in members]
                if number:
                    operands.append(torch.tensor(chosen, dtype=dtype, device=device).unsqueeze(1))
                else:
                    found = [rows[slot, int(i)] for (slot, _), i in zip(members, chosen, strict=True)]
                    operands.append(self._rows(found))
            self._groups.append(_Group(operation, first, len(members), tuple(operands), numbers))
            first += len(members)
        self._height = first
        self._value = self._result(programs, rows, [program.value if program else 0.0 for program in programs])
        self._slope = self._result(programs, rows, [program.on_log_p if program else 0.0 for program in programs])
        self.signs = torch.tensor([-1.0 if flip else 1.0 for flip in flips], dtype=dtype, device=device)

    @staticmethod
    def _step(programs: Sequence[Slopes | None], slot: int, index: int, place: int) -> Operand:
        program = programs[slot]
        if program is None:
            raise AssertionError("a slot without a program has no steps")
        return program.steps[index].operands[place]

    def _rows(self, rows: list[int]) -> slice | Tensor:
        if rows == list(range(rows[0], rows[0] + len(rows))):
            return slice(rows[0], rows[0] + len(rows))
        return torch.tensor(rows, device=self._device)

    def _result(
        self, programs: Sequence[Slopes | None], rows: dict[tuple[int, int], int], results: list[Operand]
    ) -> tuple[slice | Tensor, Tensor | None, Tensor | None]:
        """(rows to read, the slots whose result is a number, those numbers)."""
        found = [0 if isinstance(result, float) else rows[slot, result] for slot, result in enumerate(results)]
        numbers = [slot for slot, result in enumerate(results) if isinstance(result, float)]
        if not numbers:
            return self._rows(found), None, None
        values = torch.tensor([results[slot] for slot in numbers], dtype=self._dtype, device=self._device)
        return self._rows(found), torch.tensor(numbers, device=self._device), values.unsqueeze(1)

    def run(self, logits_KNC: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(f of every slot [K, M], its slope in log p [K, M], p [K, N, C])."""
        slots = logits_KNC.shape[0]
        values = torch.empty((self._height, logits_KNC[0].numel()), dtype=self._dtype, device=self._device)

        def block(leaf: str) -> Tensor:
            first = _LEAVES[leaf] * slots
            return values[first : first + slots].view(logits_KNC.shape)

        # always p = exp(log p), which may round otherwise than softmax: no slot may depend on what another one reads
        p, log_p = block("p"), block("log_p")
        log_p.copy_(log_softmax(logits_KNC, 2))
        torch.exp(log_p, out=p)
        if "y" in self._leaves:
            block("y").copy_(y)
        for group in self._groups:
            inputs = [
                operand if number and isinstance(operand, Tensor) else _read(values, operand)
                for operand, number in zip(group.operands, group.numbers, strict=True)
            ]
            result = values[group.first : group.first + group.count]
            if group.operation in _IN_PLACE:
                OPERATIONS[group.operation](*inputs, out=result)
            else:
                result.copy_(_OPERATIONS[group.operation](*inputs))
        return self._read_result(values, self._value), self._read_result(values, self._slope), p

    @staticmethod
    def _read_result(values: Tensor, source: tuple[slice | Tensor, Tensor | None, Tensor | None]) -> Tensor:
        rows, slots, numbers = source
        if slots is None or numbers is None:
            return _read(values, rows)
        found = values[rows].clone() if isinstance(rows, slice) else values.index_select(0, rows)
        found[slots] = numbers.expand(-1, found.shape[1])
        return found


def _read(values: Tensor, rows: slice | Tensor) -> Tensor:
    return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)
