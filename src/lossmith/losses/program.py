"""A symbolic loss made ready for torch: straight-line programs of an expression, made once and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lossmith.losses.bounds import may_overflow
from lossmith.losses.symbolic import Slopes, differentiate
from lossmith.losses.tape import LEAVES, OPERATIONS, Operand
from lossmith.space.expression import Expression

_MOST = 64  # runners of one expression that are kept


class Runner:
    """One `Slopes`, run step by step."""

    def __init__(self, slopes: Slopes, dtype: torch.dtype) -> None:
        self.slopes = slopes
        self.dtype = dtype
        self.constant = slopes.constant
        self.reads = {leaf: slopes.reads(leaf) for leaf in LEAVES}
        steps = slopes.steps
        self._numbers: list[float] = []
        self._leaves = [(LEAVES.index(step.operation), i) for i, step in enumerate(steps) if step.operation in LEAVES]
        results = (slopes.value, slopes.on_p, slopes.on_log_p, slopes.on_log_rest, slopes.on_y)
        last_use = {slot: i for i, step in enumerate(steps) for slot in step.operands if isinstance(slot, int)}
        kept = {slot for slot in results if isinstance(slot, int)}
        dead: dict[int, list[int]] = {}
        for slot, i in last_use.items():
            if slot not in kept:
                dead.setdefault(i, []).append(slot)
        # (function, slot of the result, slots of the operands, slots that nothing reads any more)
        self._steps: list[tuple[Callable[..., Tensor], int, tuple[int, ...], tuple[int, ...]]] = [
            (OPERATIONS[step.operation], i, tuple(map(self._slot, step.operands)), tuple(dead.get(i, ())))
            for i, step in enumerate(steps)
            if step.operation not in LEAVES
        ]
        self._results = results
        # Constants stand after the steps' results. Tensors without dimension are faster operands than Python numbers.
        self._template: dict[torch.device, list[Any]] = {torch.device("cpu"): self._lasting(torch.device("cpu"))}

    def _slot(self, operand: Operand) -> int:
        if isinstance(operand, int):
            return operand
        if operand not in self._numbers:
            self._numbers.append(operand)
        return len(self.slopes.steps) + self._numbers.index(operand)

    def _prepared(self, device: torch.device) -> list[Any]:
        constants = [torch.full((), number, dtype=self.dtype, device=device) for number in self._numbers]
        return [None] * len(self.slopes.steps) + constants

    def _lasting(self, device: torch.device) -> list[Any]:
        with torch.inference_mode(mode=False):  # they outlive the caller's mode, and autograd may have to save them
            return self._prepared(device)

    def __call__(
        self, y: Tensor | None, p: Tensor | None, log_p: Tensor | None, log_rest: Tensor | None, device: torch.device
    ) -> list[Any]:
        """[f, on_p, on_log_p, on_log_rest, on_y], a number where it is one, else of the leaves' shape."""
        if torch.compiler.is_compiling():  # a constant made outside would be an input of the compiled graph
            values = self._prepared(device)
        else:
            if device not in self._template:
                self._template[device] = self._lasting(device)
            values = self._template[device].copy()
        leaves = (y, p, log_p, log_rest)
        for leaf, slot in self._leaves:
            values[slot] = leaves[leaf]
        for function, slot, operands, dead in self._steps:
            values[slot] = function(*[values[i] for i in operands])
            for i in dead:
                values[i] = None
        return [result if isinstance(result, float) else values[result] for result in self._results]


class Program:
    """The runners of one expression, each made when first wanted."""

    def __init__(self, expression: Expression) -> None:
        self.expression = expression
        self.guarded = may_overflow(expression)
        self._runners: dict[tuple[torch.dtype, float | None, bool, bool], Runner] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return program, (self.expression,)

    def runner(
        self, dtype: torch.dtype, *, y: float | None = None, slopes: bool = True, target: bool = False
    ) -> Runner:
        """The runner of f (without slopes, or with them, or with that in y too), or of its curve at one `y`."""
        key = (dtype, y, slopes, target)
        if torch.compiler.is_compiling():
            self._prepare()
        elif key not in self._runners:
            if len(self._runners) >= _MOST:  # label smoothing that changes at every step
                self._runners = {known: found for known, found in self._runners.items() if known[1] is None}
            return self._make(*key)
        return self._runners[key]

    def _make(self, dtype: torch.dtype, y: float | None, slopes: bool, target: bool) -> Runner:
        made = Runner(differentiate(self.expression, dtype, y=y, slopes=slopes, target=target), dtype)
        self._runners[dtype, y, slopes, target] = made
        return made

    def _prepare(self) -> None:
        """Make what a compiler may want while it traces; runners of curves are made before."""
        for dtype in (torch.float32, torch.float64):
            for slopes, target in ((True, False), (True, True), (False, False)):
                if (dtype, None, slopes, target) not in self._runners:
                    self._make(dtype, None, slopes, target)

    # What `torch.compiler.assume_constant_result` sets; that decorator imports the compiler, which takes longer than
    # all of torch. The compiler then calls `_prepare` while it traces, instead of tracing how a runner is made.
    _prepare._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


@functools.lru_cache(maxsize=1024)
def program(expression: Expression) -> Program:
    """The program of an expression, made once."""
    return Program(expression)
