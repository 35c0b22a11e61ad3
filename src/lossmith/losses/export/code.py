"""From an expression to the lines of a function: the terms f(y, yhat) in a framework's source text.

The text is made of the parsed expression and the table `SOURCES` alone; no text of a user gets into it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch

from lossmith.losses.bounds import exact_log, may_overflow
from lossmith.losses.export.sources import ANY, ATOM, COSINE, EXACT_DIVISION, SIGN, SOURCES, UNSIGNED, Source
from lossmith.space.expression import CLASSES, CONSTANT, PREDICTION, TARGET, Expression
from lossmith.space.operators import EPS, OPERATORS

_WIDEST = 40  # characters of an intermediate result that stays inside the line that reads it
_LINEAR = frozenset(("neg", "add", "sub"))  # their slopes are 1 or -1 and need no guard
_PLAIN = frozenset(("neg", "add", "sub", "mul", "div", "reciprocal"))  # which Python can do with a plain number
_LARGE_INTEGER = 1e6
_TRIED_CLASSES = (2, 10, 1000, 100_000)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between frameworks, beside the operators."""

    source: Callable[[Source], str]  # the framework's column of `SOURCES`
    softmax: str  # of `logits`
    exp: str  # template
    tensor: str  # template: a number as a tensor like `y`
    full: str  # template: a number at every class
    classes: str  # the number of classes as a tensor


DIALECTS = MappingProxyType(
    {
        "torch": Dialect(
            lambda source: source.torch,
            softmax="F.softmax(logits, -1)",
            exp="torch.exp({0})",
            tensor="y.new_tensor({0})",
            full="torch.full_like(y, {0})",
            classes="y.new_tensor(float(y.shape[-1]))",
        ),
        "jax": Dialect(
            lambda source: source.jax,
            softmax="jax.nn.softmax(logits)",
            exp="jnp.exp({0})",
            tensor="{0}",
            full="jnp.full_like(y, {0})",
            classes="jnp.asarray(y.shape[-1], y.dtype)",
        ),
        "keras": Dialect(
            lambda source: source.keras,
            softmax="ops.softmax(logits, axis=-1)",
            exp="ops.exp({0})",
            tensor="ops.convert_to_tensor({0}, dtype=y.dtype)",
            full="ops.full_like(y, {0})",
            classes="ops.cast(y.shape[-1], y.dtype)",
        ),
    }
)


class _Code(NamedTuple):
    """Source text, and how tightly it binds (see `sources`)."""

    text: str
    level: int
    tensor: str = ""  # the text where a tensor is needed, if another

    def __format__(self, spec: str) -> str:
        if spec == "t":
            return self.tensor or self.text
        least = int(spec.removeprefix("r") or ANY)
        fits = self.level >= least and not (spec.startswith("r") and self.text.startswith("-"))
        return self.text if fits else f"({self.text})"


def terms(expression: Expression, *, flip: bool, framework: str) -> list[str]:
    """The lines, without indentation, of a function of `logits` and `y` that returns f at every class.

    The last axis of both is the classes'; float32 or float64. The lines may read `log_softmax(logits)`, functions of
    the parts, and the framework's own. `flip`: whether f is -1 times the expression.
    """
    return _Writer(expression, DIALECTS[framework]).lines(flip=flip)


class _Writer:
    def __init__(self, expression: Expression, dialect: Dialect) -> None:
        self._nodes = expression.nodes
        self._dialect = dialect
        self._guarded = _needs_guard(expression)
        self._folded = _fold(expression)
        self._leaf = [exact_log(self._nodes, index) for index in range(len(self._nodes))]
        self._steps = [self._step(index) for index in range(len(self._nodes))]
        self._uses = self._count_uses()
        self._of_classes = _of_classes(expression)
        self._lines: list[str] = []
        self._named = 0

    def lines(self, *, flip: bool) -> list[str]:
        root = len(self._nodes) - 1
        if not self._uses.keys() - self._folded.keys():
            value = self._folded[root]
            return [f"return {self._dialect.full.format(_number(-value if flip else value).text)}"]
        self._write_leaves()
        codes: dict[int, _Code] = {}
        for index in sorted(self._uses):
            codes[index] = self._code(index, codes, last=index == root)
        result = codes[root]
        text = f"-{result:{ATOM}}" if flip else f"{result}"
        if root in self._of_classes:
            text += " + 0 * y  # the same at every class"
        self._lines.append(f"return {text}")
        return self._lines

    def _step(self, index: int) -> tuple[Source, tuple[int, ...]] | None:
        """How an operator is written, and of what; None for a leaf. Ways round the formula language are undone."""
        node = self._nodes[index]
        if not node.inputs:
            return None
        last = self._nodes[node.inputs[-1]]
        if node.operator == "div" and last.operator == "sub" and self._folded.get(last.inputs[1]) == EPS:
            return EXACT_DIVISION, (node.inputs[0], last.inputs[0])
        if node.operator == "sin" and last.operator == "add" and self._folded.get(last.inputs[0]) == math.pi / 2:
            return COSINE, (last.inputs[1],)
        if node.operator in UNSIGNED and last.operator in (TARGET, PREDICTION):
            return UNSIGNED[node.operator], node.inputs
        return SOURCES[node.operator], node.inputs

    def _count_uses(self) -> Counter[int]:
        """How often each node that the root needs is read; the insides of folded nodes and exact logarithms are not."""
        uses: Counter[int] = Counter({len(self._nodes) - 1: 1})
        for index in range(len(self._nodes) - 1, -1, -1):
            step = self._steps[index]
            if uses[index] and step is not None and index not in self._folded and not self._leaf[index]:
                uses.update(step[1])
        return +uses

    def _write_leaves(self) -> None:
        read = {self._nodes[i].operator for i in self._uses}
        logs = {self._leaf[i] for i in self._uses}
        if logs & {"log_p", "log_rest"} or (self._guarded and PREDICTION in read):
            self._lines.append("log_yhat = log_softmax(logits)")
        if PREDICTION in read:
            source = "guard(log_yhat)" if self._guarded else "log_yhat"
            shared = self._lines or self._guarded
            self._lines.append(f"yhat = {self._dialect.exp.format(source) if shared else self._dialect.softmax}")
        if "log_rest" in logs:
            self._lines.append("log_rest = log_one_minus(log_yhat)")
        if CLASSES in read:
            plain = all(
                self._nodes[i].operator in _PLAIN
                for i in self._uses
                if not self._of_classes.isdisjoint(self._nodes[i].inputs)
            )
            self._lines.append(f"classes = {'y.shape[-1]' if plain else self._dialect.classes}")

    def _code(self, index: int, codes: dict[int, _Code], *, last: bool) -> _Code:
        node = self._nodes[index]
        if index in self._folded:
            return self._constant(index)
        if node.operator == TARGET:
            return _Code("y", ATOM)
        if node.operator == PREDICTION:
            return _Code("yhat", ATOM)
        if node.operator == CLASSES:
            return _Code("classes", ATOM)
        if self._leaf[index]:
            return _Code({"log_p": "log_yhat", "log_rest": "log_rest"}[self._leaf[index]], ATOM)
        step = self._steps[index]
        if step is None:
            raise AssertionError(f"export: unknown leaf '{node.operator}'")
        source, inputs = step
        operands = [codes[i] for i in inputs]
        if self._guarded and node.operator not in _LINEAR:
            operands = [
                code if i in self._folded or self._nodes[i].operator in (TARGET, CLASSES) else _guard(code)
                for i, code in zip(inputs, operands, strict=True)
            ]
        text = self._dialect.source(source).format(*operands)
        if last or (self._uses[index] == 1 and len(text) <= _WIDEST):
            return _Code(text, source.level)
        return self._name(text)

    def _constant(self, index: int) -> _Code:
        """The number that a node is; where it is computed of others, it gets a name, and its formula a comment."""
        number = _number(self._folded[index])
        if self._nodes[index].inputs:
            number = self._name(f"{number}  # {Expression(self._nodes[: index + 1]).text}")
        return number._replace(tensor=self._dialect.tensor.format(number.text))

    def _name(self, text: str) -> _Code:
        self._named += 1
        self._lines.append(f"t{self._named} = {text}")
        return _Code(f"t{self._named}", ATOM)


def _guard(code: _Code) -> _Code:
    return _Code(f"guard({code.text})", ATOM)


def number(value: float) -> str:
    """A literal, which Python reads back to the same number."""
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
        return f'float("{value}")'
    return str(int(value)) if value.is_integer() and abs(value) < _LARGE_INTEGER else repr(value)


def _number(value: float) -> _Code:
    text = number(value)
    return _Code(text, SIGN if text.startswith("-") else ATOM)


def _fold(expression: Expression) -> dict[int, float]:
    """The value of every node that reads no leaf, in float64."""
    folded: dict[int, float] = {}
    for index, node in enumerate(expression.nodes):
        if node.operator == CONSTANT:
            folded[index] = node.value
        elif node.inputs and all(i in folded for i in node.inputs):
            inputs = (torch.tensor(folded[i], dtype=torch.float64) for i in node.inputs)
            folded[index] = OPERATORS[node.operator].function(*inputs).item()
    return folded


def _of_classes(expression: Expression) -> set[int]:
    """The nodes that read the number of classes and neither y nor yhat."""
    found: set[int] = set()
    varying: set[int] = set()
    for index, node in enumerate(expression.nodes):
        if node.operator in (TARGET, PREDICTION) or not varying.isdisjoint(node.inputs):
            varying.add(index)
        elif node.operator == CLASSES or not found.isdisjoint(node.inputs):
            found.add(index)
    return found


def _needs_guard(expression: Expression) -> bool:
    """Whether automatic differentiation may multiply 0 by an infinity."""
    if expression.reads(CLASSES):
        return any(may_overflow(expression.bind(classes)) for classes in _TRIED_CLASSES)
    return may_overflow(expression)
