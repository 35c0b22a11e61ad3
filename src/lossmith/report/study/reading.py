"""A study as it stands in its directory: every stage's ledger, and what the stage found, held against each other."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lossmith.errors import RunError
from lossmith.ledger import FILE, EvaluationRow, Ledger
from lossmith.report.record import SearchRecord
from lossmith.report.snapshot import Snapshot
from lossmith.report.study.contents import Confirmation, Elimination, Null, Registration, Transfer
from lossmith.report.study.forms import Form, read
from lossmith.report.study.trace import Rows
from lossmith.study import study
from lossmith.study.confirmation.registration import FILE as REGISTRATION

SEARCH = "search"
_FORMS: dict[str, type[Form]] = {
    "null": Null,
    "elimination": Elimination,
    "transfer": Transfer,
    "confirmation": Confirmation,
}  # by the kind of a stage's result, which is the key of its configuration, too


@dataclass(frozen=True)
class Stage:
    """One stage: not begun (no snapshot), begun (no result), or done."""

    name: str  # of its directory
    kind: str
    directory: Path
    ledger: str  # its file, from the directory of the study
    snapshot: Snapshot | None
    result: Form | None  # of its kind; a search has none

    @functools.cached_property
    def rows(self) -> dict[int, EvaluationRow]:
        """The evaluations by id."""
        return {} if self.snapshot is None else {row.id: row for row in self.snapshot.evaluations}

    @functools.cached_property
    def record(self) -> SearchRecord | None:
        """What a search did."""
        return None if self.snapshot is None else SearchRecord.of(self.snapshot)

    @property
    def done(self) -> bool:
        if self.kind == SEARCH:
            return self.record is not None and self.record.state.finished
        return self.result is not None

    def traced(self, ids: Iterable[int]) -> Rows:
        return Rows(self.ledger, tuple(ids))


@dataclass(frozen=True)
class Registered:
    """The registration of a confirmation that has begun."""

    registration: Registration
    sha256: str
    written: float  # Unix time at which the ledger was made, with the registration in it
    unchanged: bool  # whether the file beside the ledger still has the hash


@dataclass(frozen=True)
class StudyRecord:
    """A study, or the one stage that a directory holds."""

    directory: Path
    name: str
    config: study.StudyConfig | None  # None for a single stage
    stages: Mapping[str, Stage]  # by the names of their directories, in their order

    @staticmethod
    def of(directory: Path) -> StudyRecord:
        """The study, or the stage, in `directory`.

        Raises:
            RunError: it holds neither, a ledger cannot be read, a result is not of a form that this version knows, or
                a result and its ledger do not go together.
            ConfigError: settings are stored that this version does not know.
        """
        if not study.is_study(directory):
            stage = _stage(directory, directory, None)
            name = directory.absolute().name if stage.snapshot is None else stage.snapshot.name
            record = StudyRecord(directory, name, None, {stage.name: stage})
        else:
            config = study.read_study(directory)
            stages = {name: _stage(directory / name, directory, _kind_of(name)) for name in config.stages}
            record = StudyRecord(directory, config.name, config, stages)
        for stage in record.stages.values():
            _require_together(stage, record)
        return record

    def get(self, name: str) -> Stage | None:
        return self.stages.get(name)

    def of_kind(self, kind: str) -> list[Stage]:
        return [stage for stage in self.stages.values() if stage.kind == kind]

    @property
    def confirmation(self) -> Confirmation | None:
        return next((s.result for s in self.of_kind("confirmation") if isinstance(s.result, Confirmation)), None)

    @property
    def transfer(self) -> Transfer | None:
        return next((s.result for s in self.of_kind("transfer") if isinstance(s.result, Transfer)), None)

    @functools.cached_property
    def registered(self) -> Registered | None:
        """The registration, from the moment at which it was made."""
        for stage in self.of_kind("confirmation"):
            if stage.snapshot is None:
                continue
            stored = stage.snapshot.configuration
            where = f"{stage.directory}: the registration"
            found = read(Registration, stored.get("registration"), where)
            digest = str(stored.get("sha256"))
            try:
                now = hashlib.sha256((stage.directory / REGISTRATION).read_bytes()).hexdigest()
            except OSError:
                now = ""
            return Registered(found, digest, stage.snapshot.created, now == digest)
        return None

    def shown(self, directory: str) -> str:
        """A directory as a reader knows it: a stage of this study by its name, any other as it was given."""
        name = Path(directory).name
        return name if name in self.stages and self.config is not None else directory

    def stage_in(self, directory: str) -> Stage | None:
        """The stage of this study that a result names as its source."""
        return self.stages.get(Path(directory).name) if self.config is not None else None


def is_staged(directory: Path) -> bool:
    """Whether `directory` holds a study, or a stage that has a report here.

    Raises:
        RunError: it holds no run, or its ledger cannot be read.
    """
    if study.is_study(directory):
        return True
    with Ledger.read(directory) as ledger:
        return _kind(ledger.configuration()) in _FORMS


def _kind(configuration: Mapping[str, object]) -> str:
    return next((kind for kind in _FORMS if kind in configuration), SEARCH)


def _kind_of(name: str) -> str:
    """The kind of the stage that a study keeps in the directory `name`."""
    return {study.RANDOM: SEARCH, study.ELIMINATION_RANDOM: "elimination"}.get(name, name)


def _stage(directory: Path, root: Path, kind: str | None) -> Stage:
    name = directory.absolute().name
    file = f"{name}/{FILE}" if directory != root else FILE
    if kind is not None and not (directory / FILE).exists():
        return Stage(name, kind, directory, file, None, None)
    with Ledger.read(directory) as ledger:
        found = _kind(ledger.configuration())
        if kind is not None and found != kind:
            raise RunError(f"{directory}: holds a {found}, not the {kind} of the study; bring back what was there")
        # before the snapshot, so that a result's rows are in it
        results = ledger.results(found) if found in _FORMS else []
        snapshot = Snapshot.of(ledger)
    result = read(_FORMS[found], results[-1], f"{directory}: the result") if results else None
    return Stage(name, found, directory, file, snapshot, result)


# -- results against rows --------------------------------------------------------------------------------------------


def _require_together(stage: Stage, record: StudyRecord) -> None:
    """Refuse a result that says of an evaluation what the ledger does not.

    Raises:
        RunError: see above.
    """
    for where, number, score in claims(stage, record):
        row = where.rows.get(number)
        if row is None:
            raise RunError(
                f"{stage.directory}: the result names evaluation {number}, which {where.ledger} does not hold"
            )
        if row.score != score:
            raise RunError(
                f"{stage.directory}: the result says {score} of evaluation {number}, {where.ledger} says {row.score};"
                " one of them was changed: restore the directory from a copy"
            )


def claims(stage: Stage, record: StudyRecord) -> Iterator[tuple[Stage, int, float | None]]:
    """Every (stage, evaluation, score) that a result rests on."""
    result = stage.result
    if isinstance(result, Null):
        yield from ((stage, *pair) for pair in zip(result.evaluations, result.values, strict=True))
    elif isinstance(result, Elimination):
        for loss in result.losses:
            source = record.stage_in(result.sources[loss.source].directory)
            if source is not None and source.snapshot is not None:
                yield source, loss.evaluation, loss.fitness
        for phase in result.phases:
            for scores in phase.scores.values():
                yield from ((stage, *pair) for pair in zip(scores.evaluations, scores.values, strict=True))
    elif isinstance(result, Transfer | Confirmation):
        every = [scores for cell in result.cells for scores in cell.scores.values()]
        if isinstance(result, Confirmation):
            every += [one for cell in result.cells for tuned in cell.tuning.values() for one in tuned.grid]
        for scores in every:
            yield from ((stage, *pair) for pair in zip(scores.evaluations, scores.values, strict=True))
