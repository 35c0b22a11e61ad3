"""What a confirmation refuses before it is registered; each in one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lossmith.errors import ConfigError
from lossmith.losses.build import loss as build_loss
from lossmith.search.serving import ZOO
from lossmith.space.expression import Expression
from lossmith.space.fingerprint import fingerprint, same
from lossmith.study.confirmation.config import MAX_CANDIDATES
from lossmith.study.confirmation.registration import RegisteredLoss
from lossmith.study.confirmation.sources import SourceRun

_CLASSES = (10, 100)  # at which losses are compared that read the number of classes, such as label smoothing


def require_shortlist(candidates: Sequence[RegisteredLoss]) -> None:
    """Refuse an empty or a long list of candidates.

    Raises:
        ConfigError: there are none, or more than 5.
    """
    if not candidates:
        raise ConfigError("losses: every one of them is a baseline, so there is nothing to confirm")
    if len(candidates) > MAX_CANDIDATES:
        raise ConfigError(
            f"losses: {len(candidates)} candidates, but at most {MAX_CANDIDATES} can be confirmed: name the best of"
            " them, chosen on validation data (the last phase of an elimination says how many it keeps)"
        )


def require_different(losses: Sequence[RegisteredLoss], *, hard: bool) -> None:
    """Refuse a loss that is there twice, and a candidate or control that is a baseline as a function.

    Args:
        losses: all of them.
        hard: as in `same_function`.

    Raises:
        ConfigError: see above.
    """
    for place, loss in enumerate(losses):
        for other in losses[:place]:
            if not same_function(loss, other, hard=hard):
                continue
            names = "the same loss is given twice" if loss.label == other.label else "they are the same function"
            first, second = (loss, other) if other.role == "baseline" else (other, loss)
            if second.role == "baseline" and first.role != "baseline":
                raise ConfigError(
                    f"losses: the {first.role} '{first.label}' is the baseline '{second.label}': leave it out"
                )
            raise ConfigError(f"losses: '{first.label}' and '{second.label}': {names}; leave one out")


def same_function(one: RegisteredLoss, other: RegisteredLoss, *, hard: bool) -> bool:
    """Whether two losses train alike.

    Args:
        one, other: the losses.
        hard: whether all labels are hard, so that losses are alike up to a factor and a constant
            (`space.fingerprint`); where a cell mixes images, only the same expression is the same loss.
    """
    if one.key == other.key:
        return True
    first, second = _expression(one), _expression(other)
    if first is None or second is None:
        return False  # a function of the whole example, of the zoo: its key is its name
    if (first[0].key, first[1]) == (second[0].key, second[1]):
        return True
    return hard and any(
        same(*(fingerprint(expression.bind(classes), flip) for expression, flip in (first, second)))
        for classes in _CLASSES
    )


def _expression(loss: RegisteredLoss) -> tuple[Expression, bool] | None:
    if not loss.key.startswith(ZOO):
        return Expression.from_text(loss.formula), bool(loss.flip)
    built = build_loss(loss.formula)
    return None if built.expression is None else (built.expression, bool(built.flip))


def require_seeds(seeds: int, comparisons: int) -> None:
    """Refuse too few seeds for any verdict of better or worse.

    Raises:
        ConfigError: even the least p that so many pairs can give is not under 5% after Holm's correction.
    """
    from lossmith.study.statistics import pairs_needed  # noqa: PLC0415 - scipy takes a second

    needed = pairs_needed(comparisons)
    if seeds < needed:
        raise ConfigError(
            f"seeds: {seeds} pairs can show nothing among {comparisons} comparisons, since the least p that they can"
            f" give is {min(1.0, comparisons * 2 / 2**seeds):.3g} after Holm; take at least {needed}, or fewer"
            " losses or cells"
        )


def require_fresh(seeds: Iterable[int], sources: Iterable[SourceRun]) -> None:
    """Refuse a training seed that one of the sources used.

    Raises:
        ConfigError: see above.
    """
    wanted = set(seeds)
    for source in sources:
        if used := sorted(wanted & source.seeds):
            raise ConfigError(
                f"seeds: {source.directory} trained with seed {used[0]}, which is one of the confirmation's, so it is"
                " not fresh; take another --seed"
            )
