"""Inputs of the Triton kernels, and what the eager path makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.losses.gradients import Curves, log_softmax
from lossmith.losses.kernels import one_hot
from lossmith.losses.program import Runner, program
from lossmith.losses.symbolic import differentiate
from lossmith.space.expression import Expression
from lossmith.space.operators import OPERATORS

EXAMPLES = 3
EXTREME = torch.tensor(
    [
        [1e4, -1e4, 0.0, 5e3],
        [-1e4, 1e4, 1e4, -1e4],
        [0.0, 0.0, -1e4, -1e4],
        [17.0, 0.0, -1.0, -40.0],  # probabilities that float32 holds as 1, 0, and in between
        [90.0, 0.0, 3.0, -5.0],
        [20.0, 0.0, -20.0, 100.0],
    ]
)
Result = tuple[Tensor, Tensor]  # ([N] values, [N, C] gradient)


def operator_expressions() -> list[Expression]:
    """One expression per operator, over inputs from about -1 to 3, away from poles."""
    unary = [
        f"{name}({'2 + ' if name in ('reciprocal', 'log') else ''}3*yhat - y)"
        for name, operator in OPERATORS.items()
        if operator.arity == 1
    ]
    binary = [
        f"(2*yhat - y) {operator.symbol} (yhat + 0.5)" if operator.symbol else f"{name}(2*yhat - y, yhat + 0.5)"
        for name, operator in OPERATORS.items()
        if operator.arity == 2
    ]
    return [Expression.from_text(text) for text in (*unary, *binary, "-y*log(yhat) - (1-y)*log(1-yhat)")]


def logits_and_target(
    classes: int, kind: str, weighted: bool, dtype: torch.dtype, seed: int, scale: float = 3.0
) -> tuple[Tensor, Tensor, tuple[float, float] | None, Tensor | None]:
    """(logits, labels or probabilities, what labels mean, weights); seed -1 gives extreme logits of four classes."""
    generator = torch.Generator().manual_seed(seed + 1)
    logits = EXTREME if seed == -1 else scale * torch.randn(EXAMPLES, classes, generator=generator)
    weight = torch.rand(classes, generator=generator) + 0.5 if weighted else None
    if kind == "soft":
        y = torch.softmax(torch.randn(logits.shape, generator=generator), 1)
        return logits.to(dtype), y, None, weight
    low = 0.1 / classes if kind == "smooth" else 0.0
    labels = torch.randint(classes, (len(logits), 1), generator=generator)
    return logits.to(dtype), labels, (1 - low * (classes - 1), low), weight


@dataclass(frozen=True)
class Expected:
    """What the eager path finds."""

    narrow: Result  # in float32
    wide: Result  # in float64
    terms: Tensor  # [N]: the largest term that the gradient is a sum or difference of


def _has_curves(curves: Curves, targets: tuple[float, float], weight: Tensor | None) -> bool:
    """Whether the eager path can compute labels as two curves."""
    at, elsewhere = (curves.run.runner(torch.float32, y=y) for y in targets)
    flat = elsewhere.constant is not None and (weight is None or elsewhere.constant == 0.0)
    return flat or not (at.reads["log_rest"] or elsewhere.reads["log_rest"])


def expected(
    expression: Expression, logits: Tensor, y: Tensor, targets: tuple[float, float] | None, weight: Tensor | None
) -> Expected:
    """The eager path in float32, labels as two curves where it can, and in float64, labels as soft targets."""
    curves = Curves(program(expression), 1)
    results: list[Result] = []
    for dtype in (torch.float32, torch.float64):
        wide = logits.to(dtype)
        factor = None if weight is None else weight.to(dtype)
        if targets is not None and dtype == torch.float32 and _has_curves(curves, targets, weight):
            value, gradient = curves.of_labels(wide, y, targets, factor, slopes=True)  # folds other constants
        else:
            target = y.to(dtype) if targets is None else one_hot(wide, y, *targets, 1)
            value, gradient, _ = curves.gradients(wide, target, factor, target=False)
        if gradient is None:
            raise AssertionError("slopes were asked for")
        results.append((value.reshape(len(logits), -1).sum(1), gradient))
    runner = Runner(differentiate(expression, torch.float32, joined=True), torch.float32)
    z, y32 = logits.float(), y.float() if targets is None else one_hot(logits.float(), y, *targets, 1)
    p, log_p = torch.softmax(z, 1), log_softmax(z, 1)
    _, _, on_log_p, on_log_rest, _ = runner(y32, p, log_p, torch.log1p(-p).clamp(min=-1e4), z.device)
    terms = torch.zeros_like(z) + torch.as_tensor(on_log_p).abs() + torch.as_tensor(on_log_rest).abs()
    terms = terms if weight is None else terms * weight
    return Expected(results[0], results[1], terms.nan_to_num(posinf=0.0).amax(1))


def error(found: Result, eager: Expected) -> float:
    """How far a result is from float64, in units of what is allowed; infinite where it has other NaN or infinities.

    Allowed, each row by its largest element: 1e-5 relative, or three times what the eager float32 path misses; in a
    gradient also 1e-6 of the largest term, since the terms may cancel, and its own rounding where it is no float32.
    """
    worst = 0.0
    pairs = zip(found, eager.narrow, eager.wide, (torch.zeros_like(eager.terms), eager.terms), strict=True)
    for one, narrow, wide, terms in pairs:
        got, by_eager, exact = (x.double().reshape(len(one), -1) for x in (one, narrow, wide))
        finite = by_eager.isfinite()
        if not torch.equal(got.isfinite(), finite):
            return torch.inf
        got, by_eager, exact = (x.where(finite, 0.0) for x in (got, by_eager, exact))
        rounding = torch.finfo(one.dtype).eps if one.dtype != torch.float32 else 0.0
        missed = (by_eager - exact).abs().amax(1)
        allowed = (1e-5 + rounding) * exact.abs().amax(1) + 3 * missed + 1e-6 * terms + 1e-30
        worst = max(worst, float(((got - exact).abs().amax(1) / allowed).max()))
    return worst
