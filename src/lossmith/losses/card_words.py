"""What the numbers of a loss card mean, in sentences. Each follows from numbers on the card, by the levels below."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from lossmith.losses.card import Bound, ForClasses, LossCard

# The optimum of p_t below which a loss is called a poor idea for that number of classes, and below which its outputs
# are called no confidences: there the true class has less than half of the probability where the loss is content.
POOR, UNSURE = 0.25, 0.5
WEAK = 100.0  # factor of the learning rate, up or down, that is warned of
_FLOAT16 = 65504.0  # the largest number of float16
_SYMMETRIC = 1e-6  # what rounding leaves of an asymmetry
_COARSE, _COARSER = 0.05, 4.0  # error in bfloat16 that is warned of, if it is that many times cross-entropy's
_FAR_OUT = 1e4  # times what there is to win from the start on; a wider range is no bound that helps
_GONE = 1e-6  # a gradient below it moves nothing
_EVENLY = "where the other classes share the rest evenly"


def number(value: float, digits: int = 3) -> str:
    """A number for people, to `digits` digits: '1.5', '12,300', '2.64e6', 'infinite', 'not a number'."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    value += 0.0  # -0.0 becomes 0.0
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    if not exponent:
        return mantissa
    return f"{float(f'{value:.{digits}g}'):,.0f}" if 0 <= int(exponent) < 6 else f"{mantissa}e{int(exponent)}"


def probability(p: float) -> str:
    """0.316 as '0.32', 0.0316 as '0.032'; never '1.00' below 1 or '0.00' above 0."""
    if math.isnan(p):
        return "none"
    if p in (0.0, 1.0):
        return number(p)
    if 0.9995 < p < 1:
        return f"1 - {number(1 - p, 1)}"
    return number(p, 2) if p < 0.1 else f"{p:.3f}" if p > 0.99 else f"{p:.2f}"


def factor(value: float) -> str:
    """The learning-rate factor: 'x 0.10', or that there is none."""
    if not math.isfinite(value):
        return "none: no gradient" if value == math.inf else "none: not finite"
    return f"x {value:.2f}" if 0.095 <= value < 9.95 else f"x {number(value, 2)}"


def bound_text(bound: Bound) -> str:
    """An end of the range: '0 at p_t = 1', 'unbounded as p_t -> 0, like 1 ln(1/p_t)'."""
    if math.isnan(bound.value):
        return "finite nowhere"
    if math.isfinite(bound.value):
        if bound.at in (0.0, 1.0):
            return f"{number(bound.value)} as p_t -> {number(bound.at)}"
        return f"{number(bound.value)} at p_t = {probability(bound.at)}"
    if bound.at not in (0.0, 1.0):
        return f"{number(bound.value)} (in float64) at p_t = {probability(bound.at)}"
    growth = ""
    if not math.isnan(bound.growth):
        sign = "-" if bound.value < 0 else ""
        growth = f", like {sign}{number(bound.growth)} ln(1/{'p_t' if bound.at == 0 else '(1 - p_t)'})"
    return f"unbounded{' below' if bound.value < 0 else ''} as p_t -> {number(bound.at)}{growth}"


def gradient_text(row: ForClasses) -> str:
    """The largest gradient: '1.41', or that there is no largest."""
    if math.isnan(row.gradient):
        return "not finite"
    return number(row.gradient) if row.gradient_bounded else "unbounded or not finite"


def symmetry_text(asymmetry: float) -> str:
    if math.isnan(asymmetry):
        return "not finite at some of the random logits"
    if asymmetry <= _SYMMETRIC:
        return "symmetric: the sum over all labels is constant"
    return f"not symmetric: the sum over all labels varies by {100 * asymmetry:.2g}% of its possible range"


# -- warnings ----------------------------------------------------------------------------------------------------------


def warnings(card: LossCard) -> tuple[str, ...]:
    """What can make training fail, or its result mislead; the gravest first."""
    rules = (_flat, _wrong_way, _poor, _unsure, _rises, _undefined, _no_floor, _extremes, _gradients, _weak, _coarse)
    return tuple(sentence for rule in rules for sentence in rule(card))


def _flat(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if row.gradient == 0]
    if rows:
        yield f"Has no gradient with {_classes(rows)}: there is nothing to learn from."
    rows = [row for row in card.by_classes if row.descent == 0 != row.gradient]
    if rows:
        yield (
            f"Does not pull at the true class at the start with {_classes(rows)}: on the even line its slope at"
            " p_t = 1/K is 0."
        )


def _wrong_way(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if row.descent > 0]
    if rows:
        yield (
            f"Does not learn from scratch with {_classes(rows)}: at p_t = 1/K, where an untrained network stands, it"
            " pushes the true class down."
        )
    rows = [row for row in card.by_classes if math.isnan(row.descent)]
    if rows:
        yield f"Cannot begin to learn with {_classes(rows)}: at p_t = 1/K its gradient is not a number."


def _poor(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if row.optimum < POOR and row.descent < 0]
    if rows:
        yield (
            f"A poor idea for {_classes(rows)}: it stops pushing the true class up at p_t ="
            f" {_each(rows, lambda row: probability(row.optimum))} and pushes it down above that ({_EVENLY};"
            " cross-entropy pushes up to 1). Accuracy is likely to suffer, and the outputs cannot be read as"
            " confidences."
        )


def _unsure(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if POOR <= row.optimum < UNSURE and row.descent < 0]
    if rows:
        yield (
            f"With {_classes(rows)} it stops pushing the true class up at p_t ="
            f" {_each(rows, lambda row: probability(row.optimum))} ({_EVENLY}): expect outputs that are far less"
            " sure than they are right; calibrate them before they are read as confidences."
        )


def _rises(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if row.rises_at is not None and row.descent < 0]
    if rows:
        yield (
            f"With {_classes(rows)} it does not fall all the way from p_t = 1/K to its optimum: it rises from p_t ="
            f" {_each(rows, lambda row: probability(row.rises_at or 0.0))} on, and training may stop there."
        )


def _undefined(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if row.undefined]
    if rows:
        low, high = min(row.undefined[0] for row in rows), max(row.undefined[1] for row in rows)
        where = (
            f"p_t = {probability(low)}"
            if low == high
            else f"places between p_t = {probability(low)} and {probability(high)}"
        )
        yield f"Its value or its gradient is not finite at {where} on the even line with {_classes(rows)}."


def _no_floor(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if row.infimum.value == -math.inf]
    if rows:
        yield (
            f"Has no least value with {_classes(rows)} ({bound_text(rows[0].infimum)}): training can run away, use"
            " weight decay or clip the logits."
        )


def _extremes(card: LossCard) -> Iterable[str]:
    bad = [extreme.case for extreme in card.extremes if not extreme.finite]
    if bad:
        yield f"Value or gradient is not finite in float32 at extreme logits ({'; '.join(bad)})."


def _gradients(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if not row.gradient_bounded]
    if rows:
        yield (
            f"The gradient of one example has no bound, or is not finite somewhere, with {_classes(rows)}: clip the"
            " norm of the gradient."
        )
    rows = [row for row in card.by_classes if row.gradient > _FLOAT16 and row.gradient_bounded]
    if rows:
        yield (
            f"The gradient of one example reaches {number(max(row.gradient for row in rows))}, which float16 cannot"
            " hold (its largest number is 65,504): keep the logits in float32 or bfloat16, and clip the norm of the"
            " gradient."
        )


def _weak(card: LossCard) -> Iterable[str]:
    small = [row for row in card.by_classes if WEAK <= 1.001 * row.scale < math.inf]
    large = [row for row in card.by_classes if row.scale <= 1.001 / WEAK]
    for rows, size, effect in ((small, "small", "will hardly move"), (large, "large", "is likely to diverge")):
        if rows:
            yield (
                f"With {_classes(rows)} its gradient at the start is very {size} beside cross-entropy's: at a learning"
                f" rate tuned for that, SGD {effect}; the factor that makes up for it is"
                f" {_each(rows, lambda row: number(row.scale, 2))}."
            )


def _coarse(card: LossCard) -> Iterable[str]:
    broken = [one.setting for one in card.precision if math.isnan(one.error)]
    if broken:
        yield f"Its gradient at ordinary logits is not finite in {_listed(broken)}."
    for one in card.precision:
        if one.error > _COARSE and one.error > _COARSER * one.baseline:
            yield (
                f"In {one.setting} the gradient of an example is wrong by up to {100 * one.error:.2g}% of the usual"
                f" gradient, {number(one.error / one.baseline, 2)} times as much as cross-entropy's."
            )


# -- findings ----------------------------------------------------------------------------------------------------------


def findings(card: LossCard) -> tuple[str, ...]:
    """What else the numbers say."""
    if all(row.gradient == 0 for row in card.by_classes):
        return ()
    rules = (_optimum, _scale, _range, _noise, _saturation)
    return tuple(sentence for rule in rules for sentence in rule(card))


def _optimum(card: LossCard) -> Iterable[str]:
    sound = [row for row in card.by_classes if row.descent < 0 and row.rises_at is None]
    rows = [row for row in sound if row.optimum == 1]
    if rows:
        all_of_it = len(rows) == len(card.by_classes)
        yield f"Pushes the true class all the way up to p_t = 1{'' if all_of_it else f' with {_classes(rows)}'}."
    rows = [row for row in sound if UNSURE <= row.optimum < 1]
    if rows:
        yield (
            f"Is least at p_t = {_each(rows, lambda row: probability(row.optimum))} with {_classes(rows)}: it stops"
            " short of certainty there, as label smoothing does."
        )


def _scale(card: LossCard) -> Iterable[str]:
    rows = [row for row in card.by_classes if 0 < row.scale < math.inf]
    if not rows:
        return
    if len(rows) == len(card.by_classes) and all(0.9 < row.scale < 1.1 for row in rows):
        yield "Its gradient at the start is as large as cross-entropy's, so a learning rate tuned for that fits."
    else:
        yield (
            "With SGD, multiply a learning rate tuned for cross-entropy by"
            f" {_each(rows, lambda row: number(row.scale, 2))} for {_classes(rows)}, and the first steps are as large."
            " With Adam the scale of a loss cancels: keep the learning rate."
        )


def _range(card: LossCard) -> Iterable[str]:
    row = next(row for row in card.by_classes if row.classes == card.typical)
    low, high = row.infimum.value, row.supremum.value
    if math.isfinite(low) and math.isfinite(high):
        beginning = "Bounded, but only far out" if high - low > _FAR_OUT * (row.start - low) else "Bounded"
        yield (
            f"{beginning}: with {row.classes:,} classes one example on the even line costs between {number(low)} and"
            f" {number(high)} ({number(row.start)} at the start); all on one wrong class, off that line, may cost more."
        )
    elif high == math.inf and row.supremum.at == 0:
        yield "Unbounded as p_t -> 0: one confidently wrong example can cost any amount."


def _noise(card: LossCard) -> Iterable[str]:
    if math.isnan(card.asymmetry):
        return
    if card.asymmetry <= _SYMMETRIC:
        yield (
            "Symmetric (the sum over all labels is constant): its best classifier stays the best where labels are wrong"
            " uniformly at random (Ghosh et al. 2017)."
        )
    else:
        yield (
            "Not symmetric: theory promises no robustness to wrong labels (the sum over all"
            f" labels varies by {100 * card.asymmetry:.2g}% of its possible range with {card.typical} classes)."
        )


def _saturation(card: LossCard) -> Iterable[str]:
    wrong = [extreme for extreme in card.extremes if extreme.case.startswith("wrong") and extreme.finite]
    if wrong and all(extreme.gradient < _GONE for extreme in wrong):
        yield (
            "An example that is wrong with full confidence (logits 20,000 apart) gets no gradient, where"
            " cross-entropy's is at its largest: outliers are ignored, and so are mistakes of a bad start."
        )


# -- shapes ------------------------------------------------------------------------------------------------------------


def _classes(rows: Sequence[ForClasses]) -> str:
    return f"{_listed([f'{row.classes:,}' for row in rows])} classes"


def _each(rows: Sequence[ForClasses], value: Callable[[ForClasses], str]) -> str:
    """The values of the rows in their order; one value where all are the same."""
    values = [value(row) for row in rows]
    return values[0] if len(set(values)) == 1 else _listed(values)


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def gist(card: LossCard) -> str:
    """A card in a few lines of plain text."""
    lines = [card.name, f"  minimised: {card.formula}"]
    lines += [
        f"  {row.classes:>6,} classes: least at p_t = {probability(row.optimum)}; learning rate {factor(row.scale)}"
        for row in card.by_classes
    ]
    lines += [f"  warning: {sentence}" for sentence in card.warnings]
    lines += [f"  {sentence}" for sentence in card.findings]
    return "\n".join(lines)
