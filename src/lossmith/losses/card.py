"""The loss card: what a user must know of a loss before training with it, as plain numbers and texts.

`docs/card.md` says how each number is measured; `lossmith.losses.card_measures` measures, `lossmith.losses.card_words`
says in words what the numbers mean.

p_t is the probability of the true class, K the number of classes. "The even line" are the outputs where the other K - 1
classes share the rest evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lossmith.errors import LossmithError
from lossmith.losses.module import Loss

if TYPE_CHECKING:
    from lossmith.losses.user import UserLoss
    from lossmith.losses.zoo import ZooLoss

CLASSES = (2, 10, 100, 1000)
MAX_CLASSES = 10_000  # beyond it a card takes minutes
_MOST = 12  # numbers of classes in one card


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of a loss's range on the even line."""

    value: float  # of one example; infinite where no end was found, NaN where the loss is finite nowhere
    at: float  # p_t in [0, 1] where it is taken; 0 and 1 also stand for the limits
    # a where the value grows like a ln(1/p_t) towards p_t = 0, or like a ln(1/(1 - p_t)) towards 1; NaN elsewhere
    growth: float


@dataclass(frozen=True, slots=True)
class ForClasses:
    """What depends on the number of classes."""

    classes: int  # K, at least 2
    optimum: float  # p_t in (0, 1] where the loss is least on the even line; NaN where it is flat, or finite nowhere
    start: float  # the loss of one example at p_t = 1/K, where an untrained network stands
    descent: float  # d loss / d p_t at p_t = 1/K, on the even line; negative is good, 0 is none
    rises_at: float | None  # p_t where the loss begins to rise between 1/K and the optimum; None where it nowhere does
    # learning-rate factor for SGD, > 0: cross-entropy's mean gradient norm at initialisation / this one's; infinite
    # where there is no gradient
    scale: float
    infimum: Bound  # of one example, on the even line
    supremum: Bound  # likewise
    gradient: float  # largest Euclidean norm found of one example's gradient in the logits
    gradient_bounded: bool  # whether that norm stops growing at extreme outputs; False also where it is not finite
    undefined: tuple[float, ...]  # (lowest, highest) p_t of the even line where value or gradient is not finite


@dataclass(frozen=True, slots=True)
class Curves:
    """The two curves of a loss that is a sum over the classes, at the places `p`. NaN where the loss is not finite."""

    p: tuple[float, ...]  # in (0, 1)
    target: tuple[float, ...]  # f1(p), of the target class
    others: tuple[float, ...]  # f0(p), of every other class
    target_slope: tuple[float, ...]  # p f1'(p), which the gradient in the logits is made of
    others_slope: tuple[float, ...]  # p f0'(p)


@dataclass(frozen=True, slots=True)
class Line:
    """A loss along the even line."""

    classes: int  # K
    p: tuple[float, ...]  # p_t, in (0, 1)
    value: tuple[float, ...]  # of one example; NaN where not finite
    pull: tuple[float, ...]  # -d loss / d z_t: above 0 the true class is pushed up. Cross-entropy's is 1 - p_t


@dataclass(frozen=True, slots=True)
class Extreme:
    """A loss at logits of +-1e4, in float32."""

    case: str  # which class is where
    value: float  # of one example
    gradient: float  # norm of its gradient in the logits
    finite: bool  # whether the value and all of the gradient are


@dataclass(frozen=True, slots=True)
class Precision:
    """The error of the gradient in a short number format."""

    setting: str  # "float32", "bfloat16" or "autocast to bfloat16"
    error: float  # largest error of one example's gradient / root mean square norm of the gradients; NaN: not finite
    baseline: float  # the same for cross-entropy


@dataclass(frozen=True, slots=True)
class LossCard:
    """All of a loss on one page; `print` shows the gist, `lossmith card` all of it."""

    name: str  # of the zoo, or the formula
    formula: str  # of what is minimised, for people
    latex: str  # likewise
    key: str  # 16 hexadecimal digits of the expression; empty where the formula language cannot say the loss
    orientation: str  # whether the loss is the expression or -1 times it; empty without an expression
    published: str  # name of the loss in the zoo, or in the user's losses.toml; empty where it has none
    reference: str  # paper; empty for a loss that is in neither
    note: str  # what its users must know besides; may be empty
    provenance: tuple[tuple[str, str], ...]  # (what, value) of the run that found it; empty where that is not known
    label_smoothing: float  # in [0, 1]; an argument of the loss that every number here includes
    typical: int  # the K of everything that is measured for one number of classes only
    by_classes: tuple[ForClasses, ...]  # in the order asked for
    curves: Curves | None  # None for a loss that is no sum over the classes
    baseline_curves: Curves  # cross-entropy's
    lines: tuple[Line, ...]  # one for each of `by_classes`
    asymmetry: float  # spread of the sum over all labels / (K times the loss's own spread), in [0, 1]; 0 is symmetric
    extremes: tuple[Extreme, ...]
    precision: tuple[Precision, ...]
    warnings: tuple[str, ...] = ()  # sentences; what can make training fail or mislead
    findings: tuple[str, ...] = ()  # sentences; what else the numbers say

    def __str__(self) -> str:
        from lossmith.losses.card_words import gist  # noqa: PLC0415 - it reads cards

        return gist(self)


def card(
    loss: Loss,
    *,
    classes: Sequence[int] = CLASSES,
    provenance: Mapping[str, object] | None = None,
    seed: int = 0,
) -> LossCard:
    """The card of a loss. Its class weights and `ignore_index` are left out, its `label_smoothing` counts.

    Args:
        loss: any.
        classes: the numbers of classes that the loss is looked at for, each from 2 to 10,000, up to 12 of them.
        provenance: of the run that found the loss, as in its best.json; shown as it is.
        seed: of the random logits; the same seed gives the same card.

    Raises:
        LossmithError: no number of classes, too many, one twice, or one out of range.
    """
    from lossmith.losses import card_measures as measure  # noqa: PLC0415 - build imports the zoo, a cycle for `Loss`
    from lossmith.losses.build import loss as build_loss  # noqa: PLC0415
    from lossmith.losses.card_words import findings, warnings  # noqa: PLC0415

    asked = _checked(classes)
    typical = next((number for number in sorted(asked) if number >= 10), max(asked))
    entry = published(loss)
    expression = loss.expression
    baseline = build_loss("cross_entropy")
    base = measure.curves(baseline, typical)
    if base is None:
        raise AssertionError("cross-entropy is a sum over the classes")
    made = LossCard(
        name=loss.name,
        formula=loss.formula,
        latex=loss.to_latex(),
        key="" if expression is None else expression.key,
        orientation="" if expression is None else _orientation(loss.flip),
        published="" if entry is None else entry.name,
        reference="" if entry is None else entry.reference,
        note="" if entry is None else entry.note,
        provenance=tuple((str(name), _text(value)) for name, value in (provenance or {}).items()),
        label_smoothing=loss.label_smoothing,
        typical=typical,
        by_classes=tuple(measure.for_classes(loss, number, seed) for number in asked),
        curves=measure.curves(loss, typical),
        baseline_curves=base,
        lines=tuple(measure.line(loss, number) for number in asked),
        asymmetry=measure.asymmetry(loss, typical, seed),
        extremes=measure.extremes(loss, typical),
        precision=measure.precision(loss, baseline, typical, seed),
    )
    return replace(made, warnings=warnings(made), findings=findings(made))


def published(loss: Loss) -> ZooLoss | UserLoss | None:
    """What the zoo, or the user's losses.toml, has of a loss: by its name, or a formula that says the same.

    Raises:
        LossmithError: a losses.toml that was looked at is wrong.
    """
    from lossmith.losses.user import find  # noqa: PLC0415 - a cycle for `Loss`, as in `card`
    from lossmith.losses.zoo import ZOO  # noqa: PLC0415

    if entry := ZOO.get(loss.name):
        return entry
    if loss.name != loss.formula:
        return find(loss.name)
    if loss.expression is None or loss.flip:
        return None
    return next((entry for entry in ZOO.values() if entry.expression() == loss.expression), None)


def _checked(classes: Sequence[int]) -> tuple[int, ...]:
    if not 1 <= len(classes) <= _MOST:
        raise LossmithError(f"a card is made for 1 to {_MOST} numbers of classes, found {len(classes)}")
    for number in classes:
        if isinstance(number, bool) or not isinstance(number, int) or not 2 <= number <= MAX_CLASSES:
            raise LossmithError(f"classes: expected numbers from 2 to {MAX_CLASSES:,}, found {number!r:.40}")
    if twice := next((number for number in classes if list(classes).count(number) > 1), None):
        raise LossmithError(f"classes: {twice} is given twice")
    return tuple(classes)


def _orientation(flip: bool) -> str:
    return "-1 times the expression" if flip else "the expression as it stands"


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
