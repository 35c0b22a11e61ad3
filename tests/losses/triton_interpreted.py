"""The Triton kernels in Triton's interpreter, for test_triton.py: python triton_interpreted.py.

Prints JSON: of every part a list of [case, error], where an error is in units of what is allowed (1 is just allowed).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator

os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

import lossmith
from helpers import accepted_expressions
from lossmith.losses import triton_kernel
from lossmith.losses.bounds import may_overflow
from lossmith.losses.program import Program, program
from lossmith.losses.symbolic import Slopes
from lossmith.losses.tape import OPERATIONS, Step
from lossmith.losses.triton_source import compiled, source
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import CLASSES, Expression
from triton_cases import error, expected, logits_and_target, operator_expressions

RANDOM = 20
LONG_ROWS = ("-y*log(yhat)", "-y*log(yhat) - (1-y)*log(1-yhat)", "y*sin(yhat) - square(yhat)", "-y*log(1-yhat)")
COMPARISONS = ("gt", "ge", "lt", "le", "eq")
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "limit_product", "unless_nan")
Case = tuple[str, float]


@triton.jit
def _apply(x, y, out, curve: tl.constexpr):
    at = tl.arange(0, 256)
    a, b = tl.load(x + at), tl.load(y + at)
    value, _, _ = curve(b, a, a, a)
    tl.store(out + at, value)


def operations() -> Iterator[Case]:
    """Every operation alone, against torch in float64: on a grid, at its special points, with NaN and infinities."""
    special = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 4.0, -4.0, 1e-30, -1e-30, 1e30, -1e30, torch.inf, -torch.inf, torch.nan]
    ends = torch.logspace(-12, 1.7, 120)
    x = torch.cat([torch.tensor(special), ends, -ends, torch.zeros(1)])
    y = x.flip(0)
    for name in OPERATIONS.keys() - {"cast"}:  # that is of a comparison, and tested with those
        steps = [Step("p", ()), Step("y", ())]
        if name in COMPARISONS:
            steps += [Step(name, (0, 1)), Step("cast", (2, 0))]
        elif name == "where":
            steps += [Step("gt", (0, 1)), Step("where", (2, 0, 1))]
        else:
            operands = (0, 1) if name in BINARY else (0, 1, 1) if name in ("addmul", "submul") else (0,)
            steps.append(Step(name, operands))
        out = torch.zeros(256)
        slopes = Slopes(tuple(steps), len(steps) - 1, 0.0, 0.0, 0.0, 0.0)
        _apply[(1,)](x, y, out, compiled(source(slopes)))
        yield name, _pointwise(out, _run(steps, x, y), _run(steps, x.double(), y.double()))


def _run(steps: list[Step], x: Tensor, y: Tensor) -> Tensor:
    values = [x, y]
    for step in steps[2:]:
        values.append(OPERATIONS[step.operation](*[values[int(i)] for i in step.operands]))
    return values[-1]


def _pointwise(found: Tensor, narrow: Tensor, wide: Tensor) -> float:
    """Relative 2e-6, or four times what torch's own float32 misses; the same NaN and infinities as torch's float32."""
    finite = narrow.isfinite()
    same = torch.equal(found.isnan(), narrow.isnan()) and torch.equal(found[narrow.isinf()], narrow[narrow.isinf()])
    if not same or not found[finite].isfinite().all():
        return torch.inf
    allowed = 2e-6 * wide.abs() + 4 * (narrow.double() - wide).abs() + 1e-37  # the last: subnormal results
    return float(((found.double() - wide).abs() / allowed)[finite].max())


def losses() -> Iterator[Case]:
    """Every operator, the zoo and random expressions, each in several of the kernel's variants."""
    zoo = [lossmith.loss(name).expression for name in ZOO]
    known = [*operator_expressions(), *(expression for expression in zoo if expression is not None)]
    expressions = [e for e in [*known, *accepted_expressions(RANDOM, seed=5)] if not may_overflow(e.bind(10))]
    variants = itertools.cycle(
        itertools.product(
            (1, 2, 10, 37, 1000), ("hard", "smooth", "soft"), (False, True), (torch.float32, torch.bfloat16)
        )
    )
    for number, expression in enumerate(expressions):
        for _ in range(2):
            classes, kind, weighted, dtype = next(variants)
            classes = max(classes, 2) if expression.reads(CLASSES) else classes
            yield _case(expression, classes, kind, weighted, dtype, number)
        yield _case(expression, 4, ("hard", "soft")[number % 2], False, torch.float32, -1)  # logits of +-1e4


def long_rows() -> Iterator[Case]:
    """More classes than one block holds."""
    for number, (text, kind) in enumerate(itertools.product(LONG_ROWS, ("hard", "soft"))):
        yield _case(Expression.from_text(text), 17_000, kind, number % 4 in (1, 2), torch.float32, 1, scale=30.0)


def _case(
    expression: Expression, classes: int, kind: str, weighted: bool, dtype: torch.dtype, seed: int, scale: float = 3.0
) -> Case:
    bound = expression.bind(classes)
    logits, y, targets, weight = logits_and_target(classes, kind, weighted, dtype, seed, scale)
    found = triton_kernel.evaluate(program(bound), logits, y, targets, weight)
    name = f"{expression.text} | {classes} classes, {kind}, {'weighted, ' if weighted else ''}{dtype}, seed {seed}"
    return name, error(found, expected(bound, logits, y, targets, weight))


def modules() -> Iterator[Case]:
    """The whole way of a module, forwards and backwards, through the kernel and through the eager path."""
    torch.manual_seed(0)
    usable, calls = triton_kernel.usable, []

    def counted(run: Program, logits: Tensor, dim: int) -> bool:
        calls.append(logits.shape)
        return not run.guarded

    for name, reduction, smoothing, weighted, kind in itertools.product(
        ("-y*log(yhat) + 0.1*sin(yhat)", "focal", "-y*log(yhat) - (1-y)*log(1-yhat)"),
        ("mean", "sum", "none"),
        (0.0, 0.1),
        (False, True),
        ("labels", "ignored labels", "probabilities"),
    ):
        weight = torch.rand(10) + 0.5 if weighted else None
        # a class is ignored, or the CPU's own way of finding wrong labels is taken
        ignore_index = 3 if kind == "ignored labels" else -100
        module = lossmith.loss(
            name, reduction=reduction, label_smoothing=smoothing, weight=weight, ignore_index=ignore_index
        )
        logits = torch.randn(33, 10, requires_grad=True)
        target = torch.softmax(torch.randn(33, 10), 1) if kind == "probabilities" else torch.randint(10, (33,))
        results = []
        for chosen in (counted, usable):
            triton_kernel.usable = chosen
            value = module(logits, target)
            (gradient,) = torch.autograd.grad(value.sum(), logits)
            results.append(torch.cat([value.detach().reshape(-1), gradient.reshape(-1)]))
        triton_kernel.usable = usable
        case = f"{name}, {reduction}, smoothing {smoothing}, {weighted=}, {kind}, kernel called {bool(calls)}"
        scale = results[1].abs().max()
        yield case, float((results[0] - results[1]).abs().max() / scale / 1e-5) if calls else torch.inf
        calls.clear()


if __name__ == "__main__":
    np.seterr(all="ignore")  # the interpreter computes with numpy, which warns of what is tested here
    torch.set_num_threads(1)
    print(json.dumps({part.__name__: list(part()) for part in (operations, losses, long_rows, modules)}))
