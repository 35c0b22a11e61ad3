"""The measurements behind a loss card, each through the module's own forward pass.

In float64 unless a function says otherwise, without class weights. What a loss does on the even line (`even_logits`) is
looked at from p_t = 1e-8 to 1 - 1e-8, evenly in log-odds, and beyond it at logits up to 1e6 apart.

Legend: N examples, C classes (K in the text).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossmith.errors import LossmithError
from lossmith.losses.card import Bound, Curves, Extreme, ForClasses, Line, Precision
from lossmith.losses.module import Loss
from lossmith.losses.optimum import descent, even_logits, even_loss, optimum, per_example

_REACH = 18.5  # in log-odds, as in `optimum`
_POINTS = 371
_FAR = (1e2, 1e3, 1e4, 1e5, 1e6)  # between the true class's logit and the others'
_DRAWN = 99  # places of p in a figure: 0.01, 0.02, ...
_CHUNK = 1 << 18  # logits at once, so that a long expression's temporary tensors stay small
_EXAMPLES = 128  # random ones of each kind
_NOISE = 0.01  # standard deviation of the logits of an untrained network
_SPREADS = (1.0, 3.0, 10.0)  # standard deviations of the logits of trained ones
_PAIRS = 1 << 22  # logits in the sums over all labels
_EXTREME = 1e4
_ROUNDING = 1e-12  # a gradient below this, relative to the value, is what rounding leaves of none


# -- by the number of classes ------------------------------------------------------------------------------------------


def for_classes(loss: Loss, classes: int, seed: int) -> ForClasses:
    """Everything on a card that depends on K; `seed` is of the random logits."""
    generator = torch.Generator().manual_seed(seed)
    odds = torch.linspace(-_REACH, _REACH, _POINTS, dtype=torch.float64)
    p = odds.sigmoid()
    logits = even_logits(p, classes)
    far = torch.zeros(2 * len(_FAR), classes, dtype=torch.float64)
    far[:, 0] = torch.tensor([*(-gap for gap in reversed(_FAR)), *_FAR], dtype=torch.float64)
    value, gradient = value_and_gradient(loss, torch.cat((logits, far)), torch.zeros(len(logits) + len(far)).long())
    norms = gradient.norm(dim=1)
    least = optimum(loss, classes)
    best, flat = _largest_gradient(loss, classes, generator)
    ends = norms[_POINTS:]
    near, left, right = value[:_POINTS], value[_POINTS : -len(_FAR)].flip(0), value[-len(_FAR) :]
    finite = norms[norms.isfinite()]
    start = float(even_loss(loss, torch.tensor([1 / classes], dtype=torch.float64), classes))
    largest = max(float(finite.max()) if len(finite) else math.nan, best)
    slope, scale, rises_at = descent(loss, classes), _scale(loss, classes, generator), _rise(odds, near, classes, least)
    if math.isnan(start):
        slope = math.nan
    elif flat and bool((norms <= _ROUNDING * (1 + value.abs())).all()):
        least, slope, scale, rises_at, largest = math.nan, 0.0, math.inf, None, 0.0
    elif abs(slope) <= _ROUNDING * classes * (1 + abs(start)):
        slope = 0.0
    infimum = _infimum(p, near, left, right)
    if 0 < infimum.at < 1 and least < 1:  # the same valley, found more closely than on the grid
        infimum = Bound(float(even_loss(loss, torch.tensor([least], dtype=torch.float64), classes)), least, math.nan)
    return ForClasses(
        classes=classes,
        optimum=least,
        start=start,
        descent=slope,
        rises_at=rises_at,
        scale=scale,
        infimum=infimum,
        supremum=_negated(_infimum(p, -near, -left, -right)),
        gradient=largest,
        gradient_bounded=bool(norms.isfinite().all())
        and math.isfinite(best)
        and not any(_grows(tail) for tail in (ends[: len(_FAR)].flip(0), ends[len(_FAR) :])),
        undefined=_undefined(p, ~(near.isfinite() & norms[:_POINTS].isfinite())),
    )


def value_and_gradient(loss: Loss, logits_NC: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """([N] each example's loss, [N, C] its gradient), in the dtype of the logits; chunk by chunk.

    The gradient of a loss that is NaN is NaN here, whatever the chain rule makes of it.
    """
    each = per_example(loss)
    values: list[Tensor] = []
    gradients: list[Tensor] = []
    rows = max(1, _CHUNK // logits_NC.shape[1])
    for part, labels in zip(logits_NC.split(rows), labels_N.split(rows), strict=True):
        leaf = part.detach().clone().requires_grad_()
        with torch.enable_grad():
            value = each(leaf, labels)
            # a formula without yhat has no gradient at all
            slope = torch.autograd.grad(value.sum(), leaf)[0] if value.requires_grad else torch.zeros_like(leaf)
        values.append(value.detach())
        gradients.append(slope.masked_fill(value.detach().isnan()[:, None], torch.nan))
    return torch.cat(values), torch.cat(gradients)


def _rise(odds: Tensor, value: Tensor, classes: int, end: float) -> float | None:
    """The p_t between 1 / `classes` and `end` (the optimum) where the loss begins to rise."""
    start = 1 / classes
    if math.isnan(end):
        return None
    finite = value[value.isfinite()]
    noise = 1e-12 * float(finite.max() - finite.min())
    low, high = sorted((math.log(start / (1 - start)), _REACH if end >= 1 else math.log(end / (1 - end))))
    step = 2 * _REACH / (_POINTS - 1)
    inside = torch.nonzero((odds >= low - step / 2) & (odds <= high - step / 2))[:, 0].tolist()
    towards = 1 if end >= start else -1
    for place in inside if towards > 0 else reversed(inside):
        following = place + towards
        if 0 <= following < len(odds) and bool(value[following] > value[place] + noise):
            return float(odds[place].sigmoid())
    return None


def _scale(loss: Loss, classes: int, generator: torch.Generator) -> float:
    logits, labels = _random(classes, _NOISE, generator)
    _, gradient = value_and_gradient(loss, logits, labels)
    baseline = torch.softmax(logits, 1) - torch.nn.functional.one_hot(labels, classes)
    own = float(gradient.norm(dim=1).mean())
    return float(baseline.norm(dim=1).mean()) / own if own else math.inf


def _largest_gradient(loss: Loss, classes: int, generator: torch.Generator) -> tuple[float, bool]:
    """(the largest norm at random logits, NaN or infinite where it is not finite; whether all are rounding alone)."""
    drawn = [_random(classes, spread, generator) for spread in _SPREADS]
    logits, labels = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    value, gradient = value_and_gradient(loss, logits, labels)
    norms = gradient.norm(dim=1)
    return float(norms.max()), bool((norms <= _ROUNDING * (1 + value.abs())).all())


def _random(classes: int, spread: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Normal logits and the labels that their softmax would have."""
    logits = spread * torch.randn(_EXAMPLES, classes, dtype=torch.float64, generator=generator)
    return logits, torch.multinomial(torch.softmax(logits, 1), 1, generator=generator)[:, 0]


# -- bounds ------------------------------------------------------------------------------------------------------------


def _infimum(p: Tensor, near: Tensor, left: Tensor, right: Tensor) -> Bound:
    """The lower end of the values `near` (at `p`) and `left` and `right` of them, where logits are `_FAR` apart."""
    value = torch.cat((left.flip(0), near, right))
    value = torch.where(value.isnan(), torch.inf, value)
    place = int(value.argmin())
    lowest = float(value[place])
    if lowest == math.inf:
        return Bound(math.nan, math.nan, math.nan)
    where = torch.cat((torch.zeros(len(left)), p, torch.ones(len(right))))
    if lowest == -math.inf:
        return Bound(lowest, float(where[place]), math.nan)
    for tail, at in ((-left, 0.0), (-right, 1.0)):
        if _grows(tail):
            return Bound(-math.inf, at, _logarithmic(tail))
    # where the least value is a tail's own limit, the end of the line is where it is taken
    spread = float(value[value.isfinite()].max()) - lowest
    lowest = 0.0 if abs(lowest) <= _ROUNDING * spread else lowest
    for tail, at in ((right, 1.0), (left, 0.0)):
        if float(tail[-1]) <= lowest + 1e-9 * spread:
            return Bound(lowest, at, math.nan)
    return Bound(lowest, float(where[place]), math.nan)


def _negated(bound: Bound) -> Bound:
    return Bound(0.0 - bound.value, bound.at, bound.growth)  # 0.0 - 0.0 is not -0.0


def _grows(tail: Tensor) -> bool:
    """Whether values at logits 10 times further apart each grow on, and not towards a limit."""
    a, b, c = tail[-3:].tolist()
    return c == math.inf or (c - b > 0.5 * (b - a) and c - b > 1e-9 * max(abs(c), abs(b)) and b > a)


def _logarithmic(tail: Tensor) -> float:
    """The growth for each unit of the logits' distance, where it is the same everywhere; else NaN."""
    a, b, c = tail[-3:].tolist()
    first, last = (b - a) / (_FAR[-2] - _FAR[-3]), (c - b) / (_FAR[-1] - _FAR[-2])
    return last if abs(last - first) <= 1e-3 * abs(last) else math.nan


def _undefined(p: Tensor, bad: Tensor) -> tuple[float, ...]:
    places = p[bad]
    return (float(places[0]), float(places[-1])) if len(places) else ()


# -- curves ------------------------------------------------------------------------------------------------------------


def curves(loss: Loss, classes: int) -> Curves | None:
    """The two curves for `classes` classes, and p times their derivatives; None where the loss has none."""
    p = torch.arange(1, _DRAWN + 1, dtype=torch.float64) / (_DRAWN + 1)
    leaf = p.clone().requires_grad_()
    try:
        with torch.enable_grad():
            drawn = loss.curves(leaf, classes=classes)
    except LossmithError:  # a whole-example loss
        return None
    slopes = [
        p * torch.autograd.grad(curve.sum(), leaf, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
        if curve.requires_grad
        else torch.zeros_like(p)
        for curve in drawn
    ]
    return Curves(_numbers(p), *(_numbers(values) for values in (*drawn, *slopes)))


def line(loss: Loss, classes: int) -> Line:
    """The loss and its pull on the true class along the even line."""
    p = torch.arange(1, _DRAWN + 1, dtype=torch.float64) / (_DRAWN + 1)
    logits = even_logits(p, classes)
    value, gradient = value_and_gradient(loss, logits, torch.zeros(len(p)).long())
    return Line(classes, _numbers(p), _numbers(value), _numbers(-gradient[:, 0]))


def _numbers(values: Tensor) -> tuple[float, ...]:
    values = values.detach()
    return tuple(torch.where(values.isfinite(), values, torch.nan).tolist())


# -- robustness --------------------------------------------------------------------------------------------------------


def asymmetry(loss: Loss, classes: int, seed: int) -> float:
    """How far the sum of the loss over all labels is from constant, between 0 (symmetric) and 1; NaN: not finite.

    With S(z) = sum over labels k of l(z, k), at random normal logits z of standard deviation 1, 3 and 10:
    (max S - min S) / (K (max l - min l)), the extremes over all z and k. A constant loss counts as symmetric.

    Source: Ghosh et al. 2017, arXiv 1712.09482, equation 3: a loss whose S is constant has the same minimiser with
    labels that are wrong uniformly at random as without.
    """
    generator = torch.Generator().manual_seed(seed)
    examples = max(4, min(_EXAMPLES, _PAIRS // (len(_SPREADS) * classes * classes)))
    spreads = torch.tensor(_SPREADS, dtype=torch.float64).repeat_interleave(examples)[:, None]
    logits = spreads * torch.randn(len(spreads), classes, dtype=torch.float64, generator=generator)
    each = per_example(loss)
    labels = torch.arange(classes)
    with torch.no_grad():
        value = torch.stack([each(one.expand(classes, -1), labels) for one in logits])
    if not value.isfinite().all():
        return math.nan
    span = float(value.max() - value.min())
    sums = value.sum(1)
    return (
        float(sums.max() - sums.min()) / (classes * span) if span > _ROUNDING * (1 + float(value.abs().max())) else 0.0
    )


# -- numbers -----------------------------------------------------------------------------------------------------------


def extremes(loss: Loss, classes: int) -> tuple[Extreme, ...]:
    """The loss at logits of +-1e4 in float32, label 0."""
    right = torch.full((classes,), -_EXTREME)
    right[0] = _EXTREME
    one_wrong = torch.full((classes,), -_EXTREME)
    one_wrong[-1] = _EXTREME
    cases = {
        "right: the true class at +1e4, the others at -1e4": right,
        "wrong: the true class at -1e4, the others at +1e4": -right,
        "wrong: one other class at +1e4, the rest at -1e4": one_wrong,
    }
    found: list[Extreme] = []
    for case, logits in cases.items():
        value, gradient = value_and_gradient(loss, logits[None], torch.zeros(1).long())
        finite = bool(value.isfinite().all() and gradient.isfinite().all())
        found.append(Extreme(case, float(value), float(gradient.norm()), finite))
    return tuple(found)


def precision(loss: Loss, baseline: Loss, classes: int, seed: int) -> tuple[Precision, ...]:
    """The error of the gradient at normal logits of standard deviation 3, rounded to bfloat16, against float64's there.

    The largest Euclidean error of one example's gradient, divided by the root mean square norm of the gradients.
    """
    generator = torch.Generator().manual_seed(seed)
    logits, labels = _random(classes, _SPREADS[1], generator)
    logits = logits.to(torch.bfloat16)  # so that every format sees the same numbers
    settings = {
        "float32": (torch.float32, False),
        "bfloat16": (torch.bfloat16, False),
        "autocast to bfloat16": (torch.bfloat16, True),
    }
    found: list[Precision] = []
    for setting, (dtype, autocast) in settings.items():
        errors: list[float] = []
        for each in (loss, baseline):
            _, exact = value_and_gradient(each, logits.to(torch.float64), labels)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                _, gradient = value_and_gradient(each, logits.to(dtype), labels)
            size = float(exact.norm(dim=1).square().mean().sqrt())
            error = float((gradient.to(torch.float64) - exact).norm(dim=1).max())
            errors.append(error / size if size > _ROUNDING else error)
        found.append(Precision(setting, *(error if math.isfinite(error) else math.nan for error in errors)))
    return tuple(found)
