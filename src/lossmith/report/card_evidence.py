"""What ledgers know of one loss: its evaluations beside cross-entropy's on the same task, split and seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lossmith.ledger import EvaluationRow, Ledger, LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.losses.card import published
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO
from lossmith.report import words
from lossmith.search.evaluation import expression_row, published_row, zoo_row

if TYPE_CHECKING:
    from lossmith.study.statistics import PairedDifference

BASELINE = "cross_entropy"
ACCURACY, NLL, ECE = "accuracy", "NLL", "ECE"
_SIGNIFICANCE = 0.05
_ENOUGH = 6  # pairs, below which a sign-flip test cannot give p < 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity of the evaluations that trained."""

    name: str  # ACCURACY (in [0, 1], higher is better), NLL (nats) or ECE (in [0, 1]) (both: lower is better)
    mean: float | None  # of this loss, over its seeds; None where nothing was measured
    baseline: float | None  # of cross-entropy, over its seeds
    difference: PairedDifference | None  # this loss less cross-entropy, by seed; None for fewer than 2 pairs


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evaluations of a loss on one task and split of one run."""

    run: str  # the directory, as it was given
    task: str
    split: str  # "validation" or "test"
    seeds: int  # that this loss was trained with
    failed: int  # of them
    pairs: int  # seeds with which both it and cross-entropy trained
    same: bool  # whether this loss is cross-entropy
    searched: bool  # whether a search scored losses here, so that this one may have been picked for its score
    measured: tuple[Measured, ...]  # accuracy, NLL, ECE

    @property
    def sentence(self) -> str:
        """What it says of accuracy, plainly."""
        where = f"{self.run}: task '{self.task}', {self.split} split, {words.count(self.seeds, 'seed')}"
        if self.failed:
            where += f" ({self.failed} failed)"
        accuracy = self.measured[0]
        difference = accuracy.difference
        if accuracy.mean is None:
            told = "it did not train."
        elif self.same:
            told = f"accuracy {words.percent(accuracy.mean)}."
        elif difference is None:
            told = (
                f"accuracy {words.percent(accuracy.mean)}; too few seeds in common with cross-entropy to compare them."
            )
        else:
            told = _compared(difference, lost=self.seeds - self.pairs)
        caution = " A search may have picked this loss for this score, which flatters it." if self.searched else ""
        return f"{where}: {told}{caution}"


def _compared(difference: PairedDifference, *, lost: int) -> str:
    figures = (
        f"({words.points(difference.mean)} points, 95% interval {words.points(difference.low)} to"
        f" {words.points(difference.high)}, p = {words.p_value(difference.p)}, {difference.n} pairs)"
    )
    if lost:
        return f"not comparable, since {words.count(lost, 'seed')} failed or has no pair; the rest {figures}."
    if difference.p < _SIGNIFICANCE:
        return (
            f"there is evidence that it is {'better' if difference.mean > 0 else 'worse'} than cross-entropy {figures}."
        )
    if difference.n < _ENOUGH:
        return f"too few seeds to tell it from cross-entropy {figures}; at least {_ENOUGH} are needed."
    return f"there is no evidence that it differs from cross-entropy {figures}."


def gather(loss: Loss, directories: Sequence[Path]) -> list[Evidence]:
    """What the ledgers in `directories` hold of `loss`, in their order; nothing is written.

    A loss is matched by the key of its expression, with its orientation, and by its name where it is of the zoo with
    its default parameters. Arguments such as `label_smoothing` make it another loss, which no ledger names.

    Raises:
        RunError: a directory holds no ledger that can be read.
    """
    own = _keys(loss)
    baseline = _keys(build_loss(BASELINE))
    found: list[Evidence] = []
    for directory in directories:
        with Ledger.read(directory) as ledger:
            losses = ledger.losses()
            tasks = {task.task_id: task.name for task in ledger.tasks()}
            search = "search" in ledger.configuration()
            rows = list(ledger.evaluations())
        ours, theirs = (_grouped(rows, _matching(losses.values(), keys)) for keys in (own, baseline))
        for (task, split), group in ours.items():
            name = tasks.get(task, task)
            found.append(
                _evidence(
                    (str(directory), name, split),
                    group,
                    theirs.get((task, split), {}),
                    searched=search and split == "validation" and own != baseline,
                    same=own == baseline,
                )
            )
    return found


def _keys(loss: Loss) -> list[LossRow]:
    """The rows by which ledgers may name the loss."""
    if loss.label_smoothing or loss.weight is not None:
        return []
    rows = [] if loss.expression is None else [expression_row(loss.expression, loss.flip)]
    if loss.name in ZOO:
        rows += [row for row in [published_row(loss)] if row is not None]
    elif (entry := published(loss)) is not None and entry.name in ZOO:  # a formula that says the same
        rows.append(zoo_row(entry.name))
    return rows


def _matching(losses: Iterable[LossRow], keys: Sequence[LossRow]) -> list[str]:
    """The keys of the ledger's rows that name the loss; a row counts only with its formula and orientation."""
    return [row.key for row in losses if row in keys]


def _grouped(rows: Iterable[EvaluationRow], keys: Sequence[str]) -> dict[tuple[str, str], dict[int, EvaluationRow]]:
    """By (task, split) and seed; the first of two evaluations with the same."""
    groups: dict[tuple[str, str], dict[int, EvaluationRow]] = defaultdict(dict)
    for row in rows:
        if row.key.loss in keys:
            groups[row.key.task, row.key.split].setdefault(row.key.seed, row)
    return dict(groups)


def _evidence(
    place: tuple[str, str, str],
    ours: dict[int, EvaluationRow],
    theirs: dict[int, EvaluationRow],
    *,
    searched: bool,
    same: bool,
) -> Evidence:
    pairs = [
        (row, theirs[seed])
        for seed, row in ours.items()
        if seed in theirs and row.score is not None and theirs[seed].score is not None
    ]
    # on the same seeds where there are pairs, so that the two means can be compared
    beside = [base for _, base in pairs] or list(theirs.values())
    measured = tuple(
        _measured(name, list(ours.values()), beside, [] if same else pairs) for name in (ACCURACY, NLL, ECE)
    )
    failed = sum(row.score is None for row in ours.values())
    return Evidence(*place, len(ours), failed, len(pairs), same, searched, measured)


def _measured(
    name: str,
    ours: Sequence[EvaluationRow],
    theirs: Sequence[EvaluationRow],
    pairs: Sequence[tuple[EvaluationRow, EvaluationRow]],
) -> Measured:
    both = [
        (a, b) for a, b in ((_value(a, name), _value(b, name)) for a, b in pairs) if a is not None and b is not None
    ]
    return Measured(name, _mean(ours, name), _mean(theirs, name), _difference(both) if len(both) > 1 else None)


def _difference(pairs: Sequence[tuple[float, float]]) -> PairedDifference:
    from lossmith.study.statistics import paired_difference  # noqa: PLC0415 - scipy takes as long as all of a card

    return paired_difference([a for a, _ in pairs], [b for _, b in pairs], seed=0)


def _value(row: EvaluationRow, name: str) -> float | None:
    return row.score if name == ACCURACY else row.nll if name == NLL else row.ece


def _mean(rows: Iterable[EvaluationRow], name: str) -> float | None:
    values = [value for row in rows if (value := _value(row, name)) is not None]
    return statistics.fmean(values) if values else None
