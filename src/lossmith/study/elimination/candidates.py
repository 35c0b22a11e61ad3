"""The losses that take part in an elimination: the best of each search, each function once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossmith.config import RunConfig
from lossmith.errors import ConfigError
from lossmith.ledger import EvaluationRow, Ledger, LossRow
from lossmith.search.best import ranked
from lossmith.space.expression import Expression
from lossmith.space.fingerprint import Fingerprints, fingerprint
from lossmith.space.integrity import examine
from lossmith.study.elimination.config import FOLD, EliminationConfig
from lossmith.train.task import DataConfig


@dataclass(frozen=True, slots=True)
class Source:
    """A search whose losses take part."""

    directory: str  # absolute, when the elimination began
    name: str
    seed: int
    digest: str  # of its configuration
    losses: int  # how many it gave


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loss that takes part."""

    loss: LossRow
    source: int  # number of the search, from 0
    fitness: float  # validation accuracy in [0, 1] in that search
    evaluation: int  # its id in that search's ledger

    @property
    def label(self) -> str:
        """The formula of what is minimised."""
        return self.loss.minimised

    def stored(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "key": self.loss.key,
            "label": self.label,
            "formula": self.loss.formula,
            "flip": self.loss.flip,
            "source": self.source,
            "fitness": self.fitness,
            "evaluation": self.evaluation,
        }

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Candidate:
        """What `stored` gave."""
        loss = LossRow(stored["key"], stored["formula"], stored["flip"])
        return cls(loss, stored["source"], stored["fitness"], stored["evaluation"])


@dataclass(frozen=True)
class Entry:
    """Who takes part, once for all: a search may go on later, the elimination keeps to these."""

    sources: tuple[Source, ...]
    candidates: tuple[Candidate, ...]  # search by search, the best of each first

    def stored(self) -> dict[str, Any]:
        """As JSON data, in the configuration of the elimination's ledger."""
        sources = [asdict(source) for source in self.sources]
        return {"sources": sources, "losses": [candidate.stored() for candidate in self.candidates]}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Entry:
        """What `stored` gave, among other values."""
        sources = tuple(Source(**source) for source in stored["sources"])
        return cls(sources, tuple(Candidate.of(loss) for loss in stored["losses"]))


def enter(searches: Sequence[tuple[Ledger, RunConfig]], config: EliminationConfig) -> Entry:
    """The best losses of each search, as many as the settings say, each once.

    Two losses are one where they have the same key, where they are the same function over hard labels up to a positive
    factor and what the softmax cancels (`lossmith.space.fingerprint`), or where their two-class curves are nearer than
    the settings say. Where a phase mixes images, and so has other labels, the key alone tells. The first counts: of an
    earlier search, or of a higher rank; the search's next best then takes the place of the second.

    Raises:
        ConfigError: no search, one given twice, one that does not keep its images apart from the elimination's, or one
            without a trained loss.
    """
    if not searches:
        raise ConfigError("eliminate: name at least one run of a search")
    wanted = config.taken_from(len(searches))
    known = _Known(config.phenotype_distance, hard=not any(phase.task.augment.mixes for phase in config.phases))
    sources: list[Source] = []
    found: list[Candidate] = []
    for number, ((ledger, search), most) in enumerate(zip(searches, wanted, strict=True)):
        directory = str(ledger.directory.resolve())
        if directory in (source.directory for source in sources):
            raise ConfigError(f"{ledger.directory}: this search is given twice")
        require_apart(ledger.directory, search, config)
        losses, before = ledger.losses(), len(found)
        for row in ranked(ledger.evaluations(), search):
            if len(found) - before == most:
                break
            candidate = _candidate(losses[row.key.loss], number, row)
            if known.add(candidate.loss):
                found.append(candidate)
        sources.append(Source(directory, search.name, search.seed, search.digest(), len(found) - before))
    if not found:
        raise ConfigError(f"{searches[0][0].directory}: no loss was trained there yet; let the search go on")
    return Entry(tuple(sources), tuple(found))


class _Known:
    """The losses that take part so far, and what a further one must differ from."""

    def __init__(self, distance: float, *, hard: bool) -> None:
        self._distance, self._hard = distance, hard
        self._keys: set[str] = set()
        self._functions = Fingerprints()
        self._phenotypes: list[np.ndarray] = []

    def add(self, loss: LossRow) -> bool:
        """Whether the loss is a new one; it then is known."""
        if loss.key in self._keys:
            return False
        if self._hard:
            expression = Expression.from_text(loss.formula)
            curves, found = fingerprint(expression, bool(loss.flip)), examine(expression).phenotype
            if curves in self._functions or (found is not None and self._near(found)):
                return False
            self._functions.add(curves)
            if found is not None:
                self._phenotypes.append(found)
        self._keys.add(loss.key)
        return True

    def _near(self, phenotype: np.ndarray) -> bool:
        return any(float(np.linalg.norm(phenotype - other)) < self._distance for other in self._phenotypes)


def _candidate(loss: LossRow, source: int, row: EvaluationRow) -> Candidate:
    return Candidate(loss, source, row.score or 0.0, row.id)


def require_apart(directory: Path, search: RunConfig, config: EliminationConfig) -> None:
    """Refuse phases that could score losses on images that the search was scored on, or train on its test images.

    Raises:
        ConfigError: the same data, split in another way, or the same validation fold.
    """
    for phase in config.phases:
        for task in (search.screening, search.task):
            theirs, ours = task.data, phase.task.data
            if (theirs.source, _place(theirs)) != (ours.source, _place(ours)):
                continue
            if theirs.validation_fold == FOLD:
                problem = f"the search was scored on validation fold {FOLD}, on which an elimination selects"
                raise ConfigError(f"{directory}: {problem}; search on another data.validation_fold")
            for name in ("split_seed", "validation_fraction", "test_fraction"):
                mine, its = getattr(ours, name), getattr(theirs, name)
                if mine != its:
                    problem = f"data.{name} is {mine}, but {its} in the search {directory}: their parts would overlap"
                    raise ConfigError(f"phase '{phase.name}': {problem}; make them equal")


def _place(data: DataConfig) -> str | None:
    if data.path is None or data.source == "huggingface":
        return data.path
    return str(Path(data.path).expanduser().resolve())
