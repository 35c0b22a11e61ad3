"""A loss and its slopes as straight-line programs: symbolic, from the operator table, without an autograd tape.

`differentiate` walks an expression once forwards for f(y, p) and once backwards for its slopes, by calling the operator
table's own functions and derivatives with symbols in place of tensors (`lossmith.losses.tape`). At a fixed y, one of
the two curves that a loss over hard labels is, the program is mostly much shorter than f.

The same program is run by torch (`program`), for many losses at once (`population`), and printed as a GPU kernel
(`triton_kernel`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lossmith.losses.bounds import exact_log, may_overflow
from lossmith.losses.tape import LEAVES, Operand, Step, Symbol, Tape
from lossmith.space.expression import CONSTANT, PREDICTION, TARGET, Expression
from lossmith.space.operators import OPERATORS


@dataclass(frozen=True, slots=True)
class Slopes:
    """f and its slopes, as steps in order and the operands that hold the results."""

    steps: tuple[Step, ...]
    value: Operand  # f
    # the partial slopes, each through its own leaf alone; 0 where it was not asked for
    on_p: Operand
    on_log_p: Operand
    on_log_rest: Operand
    on_y: Operand

    def reads(self, leaf: str) -> bool:
        return any(step.operation == leaf for step in self.steps)

    @property
    def constant(self) -> float | None:
        """f, where it is one number and its slopes are 0."""
        slopes = (self.on_p, self.on_log_p, self.on_log_rest)
        flat = all(isinstance(slope, float) and slope == 0.0 for slope in slopes)
        return self.value if flat and isinstance(self.value, float) else None


def differentiate(
    expression: Expression,
    dtype: torch.dtype,
    *,
    y: float | None = None,
    slopes: bool = True,
    target: bool = False,
    joined: bool = False,
) -> Slopes:
    """f and its slopes.

    Args:
        expression: f, with K bound.
        dtype: float32 or float64, in which constants are folded: so a folded program rounds as the unfolded one does.
        y: makes it the curve f(y, .) of one target value.
        slopes: whether the slopes in p, log p and log(1 - p) are wanted.
        target: whether the slope in y is wanted.
        joined: whether the slope through p is to be part of `on_log_p`, as p * on_p. It always is where f may overflow,
            since there the product needs care.
    """
    tape = Tape(dtype, careful=may_overflow(expression))
    values, leaf_of = _values(tape, expression, y)
    on = _slopes(tape, expression, values, leaf_of) if slopes or target else dict.fromkeys(LEAVES, tape.constant(0.0))
    if not slopes:
        on = dict.fromkeys(LEAVES, tape.constant(0.0)) | {"y": on["y"]}
    if not target:
        on["y"] = tape.constant(0.0)
    if (joined or tape.careful) and not on["p"].is_number(0.0):
        on["log_p"] += tape.product(on["p"], tape.leaf("p"))
        on["p"] = tape.constant(0.0)
    if tape.careful:
        on |= {leaf: tape.unless_nan(values[-1], on[leaf]) for leaf in ("p", "log_p", "log_rest")}
    steps, results = tape.finish([values[-1], on["p"], on["log_p"], on["log_rest"], on["y"]])
    return Slopes(steps, *results)


def _values(tape: Tape, expression: Expression, y: float | None) -> tuple[list[Symbol], dict[int, str]]:
    """(the value of every node, the leaf that a node is)."""
    nodes = expression.nodes
    values: list[Symbol] = []
    leaf_of: dict[int, str] = {}
    for index, node in enumerate(nodes):
        if node.operator == CONSTANT:
            values.append(tape.constant(node.value))
        elif node.operator == TARGET and y is not None:
            values.append(tape.constant(y))
        elif leaf := {TARGET: "y", PREDICTION: "p"}.get(node.operator) or exact_log(nodes, index):
            values.append(tape.leaf(leaf))
            leaf_of[index] = leaf
        else:
            values.append(tape.symbol(OPERATORS[node.operator].function(*[values[i] for i in node.inputs])))
    return values, leaf_of


def _slopes(tape: Tape, expression: Expression, values: list[Symbol], leaf_of: dict[int, str]) -> dict[str, Symbol]:
    """The slope of the root in each leaf: the chain rule backwards."""
    nodes = expression.nodes
    slopes = [tape.constant(0.0)] * len(nodes)
    slopes[-1] = tape.constant(1.0)
    on: dict[str, Symbol] = dict.fromkeys(list(LEAVES), tape.constant(0.0))
    for index in range(len(nodes) - 1, -1, -1):
        node, slope = nodes[index], slopes[index]
        if index in leaf_of:
            on[leaf_of[index]] = slope
        if index in leaf_of or not node.inputs or slope.is_number(0.0):
            continue
        found = OPERATORS[node.operator].derivative(*[values[i] for i in node.inputs], values[index])
        for source, local in zip(node.inputs, found if isinstance(found, tuple) else (found,), strict=True):
            if not isinstance(values[source].ref, float):  # constants have no slope
                slopes[source] += tape.product(slope, tape.symbol(local))
    return on
