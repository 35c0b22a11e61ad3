"""The losses that are ranked: of the zoo, named ones, some of a search, random ones; each function once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossmith.config import RunConfig, SearchConfig
from lossmith.errors import ConfigError
from lossmith.ledger import Ledger, LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.losses.zoo import ZOO
from lossmith.search.best import ranked
from lossmith.search.evaluation import expression_row, zoo_row
from lossmith.search.evolution import Evolution
from lossmith.search.rungs.rungs import Rungs
from lossmith.space.expression import Expression
from lossmith.space.fingerprint import Fingerprints, fingerprint
from lossmith.study.fidelity.config import FEWEST, FidelityConfig, LossesConfig


@dataclass(frozen=True, slots=True)
class RankedLoss:
    """A loss that takes part."""

    label: str
    loss: LossRow
    source: str  # where it is from: "zoo", "named", "random", or the directory of a search

    def stored(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "key": self.loss.key,
            "label": self.label,
            "formula": self.loss.formula,
            "flip": self.loss.flip,
            "source": self.source,
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> RankedLoss:
        """What `stored` gave."""
        return cls(stored["label"], LossRow(stored["key"], stored["formula"], stored["flip"]), stored["source"])


def zoo_losses() -> list[RankedLoss]:
    """Every loss of the zoo with its default parameters."""
    return [RankedLoss(name, zoo_row(name), "zoo") for name in ZOO]


def random_losses(config: LossesConfig, seed: int, classes: int) -> list[RankedLoss]:
    """`config.random` valid losses, each new, which pass the rungs for so many classes; the first are the same for
    every number.

    They are those that the screening stage of a search with this seed would train.

    Raises:
        SearchError: the space is too small.
    """
    if not config.random:
        return []
    search = SearchConfig(initial=config.random, population=1, iterations=0, tournament=1)
    evolution = Evolution(search, config.space, seed, Rungs(config.rungs, classes))
    found: list[RankedLoss] = []
    for _ in range(config.random):
        candidate = evolution.ask()
        if candidate is None:
            raise AssertionError("a search asks for all its random losses before it is told anything")
        row = expression_row(candidate.individual.expression, candidate.individual.flip)
        found.append(RankedLoss(row.minimised, row, "random"))
    return found


def stratified(ledger: Ledger, config: RunConfig, count: int) -> list[RankedLoss]:
    """Losses of a search, evenly over the ranks of all that trained on its own task: the best, the worst, and others
    between them at equal distances. Those of which it has several evaluations count once.

    Raises:
        ConfigError: none has trained yet.
    """
    rows = ranked(ledger.evaluations(), config)
    if not rows:
        raise ConfigError(f"{ledger.directory}: no loss was trained there yet; let the search go on")
    picked = rows if len(rows) <= count else [rows[round(i * (len(rows) - 1) / (count - 1))] for i in range(count)]
    losses = ledger.losses()
    found = [losses[row.key.loss] for row in picked]
    return [RankedLoss(loss.minimised, loss, str(ledger.directory)) for loss in found]


def each_once(losses: Iterable[RankedLoss], classes: int) -> list[RankedLoss]:
    """The losses without those that, as functions over hard labels of so many classes, are an earlier one; labels are
    made to differ."""
    keys: set[str] = set()
    functions = Fingerprints()
    found: list[RankedLoss] = []
    for each in losses:
        if each.loss.key in keys:
            continue
        keys.add(each.loss.key)
        made = _expression(each.loss, classes)
        if made is not None:
            curves = fingerprint(*made)
            if curves in functions:
                continue
            functions.add(curves)
        label, number = each.label, 2
        while any(other.label == label for other in found):
            label, number = f"{each.label} ({number})", number + 1
        found.append(RankedLoss(label, each.loss, each.source))
    return found


def require_enough(losses: Sequence[RankedLoss], config: FidelityConfig) -> None:
    """Refuse what cannot be ranked to any purpose.

    Raises:
        ConfigError: too few losses, or not more than the k of a top-k recall.
    """
    if len(losses) < FEWEST:
        raise ConfigError(
            f"{len(losses)} losses cannot be ranked to any purpose: name at least {FEWEST}, or raise losses.random"
        )
    if config.top and config.top[-1] >= len(losses):
        raise ConfigError(f"setting 'top': k = {config.top[-1]} of {len(losses)} losses is no choice; lower it")


def _expression(loss: LossRow, classes: int) -> tuple[Expression, bool] | None:
    """The expression that is minimised and its orientation; None for a loss that no formula says."""
    if loss.flip is not None:
        return Expression.from_text(loss.formula).bind(classes), loss.flip
    built = build_loss(loss.formula)
    return None if built.expression is None else (built.expression.bind(classes), bool(built.flip))
