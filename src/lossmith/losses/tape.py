"""Straight-line programs of elementwise operations, collected by calling torch functions with symbols for tensors.

A `Symbol` answers to arithmetic and to the torch functions that the operator table uses. Each call becomes a `Step` of
its `Tape`, simplified on the way: constants are folded, equal steps are one, and what nothing needs is left out.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

# What a program reads: the target, the probability p, and two logarithms that are known without the detour through p,
# log p and log(1 - p).
LEAVES = ("y", "p", "log_p", "log_rest")

Operand = int | float  # the number of an earlier step, or a constant


class Step(NamedTuple):
    """One operation."""

    operation: str  # a name of `OPERATIONS`, or of `LEAVES`
    operands: tuple[Operand, ...]


def _cast(condition: Tensor, like: Tensor) -> Tensor:
    return condition.to(like.dtype)


def _limit_product(a: Tensor, b: Tensor) -> Tensor:
    """a * b with 0 * infinity = 0, its limit where a saturated function meets an overflow."""
    return torch.nan_to_num(a * b, nan=0.0, posinf=torch.inf, neginf=-torch.inf)


def _unless_nan(value: Tensor, slope: Tensor) -> Tensor:
    """The slope, or NaN where the value is NaN: the limit must not make a NaN loss look trainable."""
    return torch.where(value.isnan(), value, slope)


OPERATIONS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "add": torch.add,
        "sub": torch.sub,
        "mul": torch.mul,
        "div": torch.div,
        "addmul": torch.addcmul,  # a + b * c
        "submul": functools.partial(torch.addcmul, value=-1),  # a - b * c
        "neg": torch.neg,
        "reciprocal": torch.reciprocal,
        "abs": torch.abs,
        "sign": torch.sign,
        "exp": torch.exp,
        "log": torch.log,
        "log10": torch.log10,
        "sqrt": torch.sqrt,
        "rsqrt": torch.rsqrt,
        "square": torch.square,
        "sin": torch.sin,
        "cos": torch.cos,
        "sinh": torch.sinh,
        "cosh": torch.cosh,
        "asinh": torch.asinh,
        "tanh": torch.tanh,
        "atan": torch.atan,
        "sigmoid": torch.sigmoid,
        "erf": torch.erf,
        "erfc": torch.erfc,
        "i0": torch.special.i0,
        "i0e": torch.special.i0e,
        "i1": torch.special.i1,
        "i1e": torch.special.i1e,
        "relu": torch.relu,
        "maximum": torch.maximum,
        "minimum": torch.minimum,
        "gt": torch.gt,
        "ge": torch.ge,
        "lt": torch.lt,
        "le": torch.le,
        "eq": torch.eq,
        "cast": _cast,  # of a comparison, to the dtype of the second operand
        "where": torch.where,
        "limit_product": _limit_product,
        "unless_nan": _unless_nan,
    }
)
_NAMES = {function: name for name, function in OPERATIONS.items()}


class Symbol:
    """An operand that torch functions and arithmetic can be applied to."""

    __slots__ = ("ref", "tape")
    __hash__ = object.__hash__

    def __init__(self, tape: Tape, ref: Operand) -> None:
        self.tape = tape
        self.ref = ref

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Symbol:
        tape = next(a.tape for a in args if isinstance(a, cls))
        if function is torch.full_like:
            return tape.constant(args[1])
        if function is torch.ones_like:
            return tape.constant(1.0)
        if kwargs or function not in _NAMES:
            raise NotImplementedError(f"no symbolic form of {function} with {kwargs or {}}")
        return tape.apply(_NAMES[function], *args)

    def is_number(self, number: float) -> bool:
        return isinstance(self.ref, float) and self.ref == number

    @property
    def dtype(self) -> Symbol:
        return self  # of `condition.to(x.dtype)`: the operand whose dtype is meant

    def to(self, like: Symbol) -> Symbol:
        return self.tape.apply("cast", self, like)

    def clamp(self, *, max: float) -> Symbol:  # noqa: A002 - as in torch
        return self.tape.apply("minimum", self, max)

    def abs(self) -> Symbol:
        return self.tape.apply("abs", self)

    def sign(self) -> Symbol:
        return self.tape.apply("sign", self)

    def exp(self) -> Symbol:
        return self.tape.apply("exp", self)

    def sqrt(self) -> Symbol:
        return self.tape.apply("sqrt", self)

    def __neg__(self) -> Symbol:
        return self.tape.apply("neg", self)

    def __add__(self, other: Any) -> Symbol:
        return self.tape.apply("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Symbol:
        return self.tape.apply("sub", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return self.tape.apply("sub", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return self.tape.apply("mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Symbol:
        return self.tape.apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self.tape.apply("div", other, self)

    def __gt__(self, other: Any) -> Symbol:
        return self.tape.apply("gt", self, other)

    def __ge__(self, other: Any) -> Symbol:
        return self.tape.apply("ge", self, other)

    def __lt__(self, other: Any) -> Symbol:
        return self.tape.apply("lt", self, other)

    def __le__(self, other: Any) -> Symbol:
        return self.tape.apply("le", self, other)

    # The operator table compares tensors with ==, elementwise; object's signature promises a bool instead.
    def __eq__(self, other: object) -> Symbol:  # type: ignore[override] - as torch.Tensor's own
        return self.tape.apply("eq", self, other)


class Tape:
    """Collects steps; equal ones become one, and what is simple is simplified."""

    def __init__(self, dtype: torch.dtype, *, careful: bool) -> None:
        self.dtype = dtype
        self.careful = careful  # infinities may occur, so 0 * x is not 0
        self._steps: list[Step] = []
        self._known: dict[tuple[Any, ...], int] = {}

    def symbol(self, x: Any) -> Symbol:
        return x if isinstance(x, Symbol) else self.constant(x)

    def constant(self, value: float) -> Symbol:
        return Symbol(self, torch.tensor(float(value), dtype=self.dtype, device="cpu").item())

    def leaf(self, name: str) -> Symbol:
        return self._step(Step(name, ()))

    def product(self, a: Symbol, b: Symbol) -> Symbol:
        """A factor of the chain rule."""
        plain = any(isinstance(s.ref, float) and math.isfinite(s.ref) and s.ref for s in (a, b))
        return self.apply("limit_product", a, b) if self.careful and not plain else a * b

    def unless_nan(self, value: Symbol, slope: Symbol) -> Symbol:
        constant = isinstance(value.ref, float) or isinstance(slope.ref, float)
        return slope if constant else self.apply("unless_nan", value, slope)

    def apply(self, operation: str, *inputs: Any) -> Symbol:
        operands = tuple(x.ref if isinstance(x, Symbol) else self.constant(x).ref for x in inputs)
        if operation == "cast" and isinstance(operands[0], float):
            return self.constant(operands[0])
        if operation == "where" and isinstance(operands[0], float):
            return self._symbol(operands[1] if operands[0] else operands[2])
        if all(isinstance(x, float) for x in operands):
            folded = OPERATIONS[operation](*(torch.tensor(x, dtype=self.dtype, device="cpu") for x in operands))
            return self.constant(float(folded.item()))
        return self._simplified(operation, operands) or self._step(Step(operation, operands))

    def _simplified(self, operation: str, operands: tuple[Operand, ...]) -> Symbol | None:
        """An equal operand or shorter step, or None."""
        a, b = operands[0], operands[-1]
        match operation:
            case "abs" if self._of(a, "p") is not None:
                return self._symbol(a)
            case "sign" if self._of(a, "p") is not None:  # but at 0, where the slope is multiplied by p
                return self.constant(1.0)
            case "neg" if (inner := self._of(a, "neg")) is not None:
                return self._symbol(inner[0])
            case "neg" if (inner := self._of(a, "sub")) is not None:
                return self.apply("sub", *map(self._symbol, reversed(inner)))
            case "add" | "sub":
                return self._simplified_sum(operation, a, b)
            case "mul" | "limit_product":
                return self._simplified_product(operation, a, b)
            case "div":
                if b == 1.0 and isinstance(b, float):
                    return self._symbol(a)
                if a == 1.0 and isinstance(a, float):
                    return self._step(Step("reciprocal", (b,)))
                if a == -1.0 and isinstance(a, float):
                    return -self._step(Step("reciprocal", (b,)))
                if (inner := self._of(a, "neg")) is not None:
                    return -self.apply("div", self._symbol(inner[0]), self._symbol(b))
        return None

    def _simplified_sum(self, operation: str, a: Operand, b: Operand) -> Symbol | None:
        if isinstance(b, float) and b == 0.0:
            return self._symbol(a)
        if isinstance(a, float) and a == 0.0:
            return self._symbol(b) if operation == "add" else -self._symbol(b)
        if (inner := self._of(b, "neg")) is not None:  # a + -x, a - -x
            return self.apply("sub" if operation == "add" else "add", self._symbol(a), self._symbol(inner[0]))
        if operation == "add" and (inner := self._of(a, "neg")) is not None:
            return self.apply("sub", self._symbol(b), self._symbol(inner[0]))
        return None

    def _simplified_product(self, operation: str, a: Operand, b: Operand) -> Symbol | None:
        for x, other in ((a, b), (b, a)):
            if isinstance(x, float):
                if x == 1.0:
                    return self._symbol(other)
                if x == -1.0:
                    return -self._symbol(other)
                if x == 0.0 and not self.careful:
                    return self.constant(0.0)
            if (inner := self._of(x, "neg")) is not None:
                return -self.apply(operation, self._symbol(inner[0]), self._symbol(other))
            if not self.careful and (inner := self._of(x, "reciprocal")) is not None:
                return self.apply("div", self._symbol(other), self._symbol(inner[0]))
        return None

    def _of(self, operand: Operand, operation: str) -> tuple[Operand, ...] | None:
        """The operands of the step that `operand` is, where it is one of `operation`."""
        if isinstance(operand, float) or self._steps[operand].operation != operation:
            return None
        return self._steps[operand].operands

    def _symbol(self, operand: Operand) -> Symbol:
        return Symbol(self, operand)

    def _step(self, step: Step) -> Symbol:
        key = (step.operation, *((type(operand), operand) for operand in step.operands))  # step 2 is not the number 2.0
        if key not in self._known:
            self._known[key] = len(self._steps)
            self._steps.append(step)
        return Symbol(self, self._known[key])

    def finish(self, results: Sequence[Symbol]) -> tuple[tuple[Step, ...], list[Operand]]:
        """The steps that the results need, renumbered, and the operands that hold the results.

        A product that one sum alone reads becomes part of it.
        """
        outputs = [result.ref for result in results]
        steps = dict(enumerate(self._steps))
        uses = _uses(steps, outputs)
        if not self.careful:
            for index in sorted(uses):
                step = steps[index]
                for place in (1, 0) if step.operation == "add" else (1,):
                    joined = step.operands[place] if step.operation in ("add", "sub") else 0.0
                    if isinstance(joined, int) and steps[joined].operation == "mul" and uses[joined] == 1:
                        name = "addmul" if step.operation == "add" else "submul"
                        steps[index] = Step(name, (step.operands[1 - place], *steps[joined].operands))
                        break
            uses = _uses(steps, outputs)
        new = {old: place for place, old in enumerate(sorted(uses))}

        def renamed(operand: Operand) -> Operand:
            return operand if isinstance(operand, float) else new[operand]

        kept = tuple(Step(steps[old].operation, tuple(map(renamed, steps[old].operands))) for old in new)
        return kept, [renamed(output) for output in outputs]


def _uses(steps: Mapping[int, Step], outputs: Sequence[Operand]) -> Counter[int]:
    """How often each step that the outputs reach is read."""
    uses: Counter[int] = Counter()
    waiting = [operand for operand in outputs if isinstance(operand, int)]
    while waiting:
        index = waiting.pop()
        uses[index] += 1
        if uses[index] == 1:
            waiting.extend(operand for operand in steps[index].operands if isinstance(operand, int))
    return uses
