"""What the stages recorded as their results, and what a confirmation registered, read back and checked.

`docs/` describes each form: elimination.md, transfer.md, controls.md, confirmation.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lossmith.report.study.forms import Analysis, Form, Loss, Number, Scores, require_known


class Source(Form):
    directory: str
    name: str


class Entrant(Loss):
    source: int  # index into `sources`
    fitness: Number
    evaluation: int  # id in the source's ledger


class PhaseScores(Form):
    values: tuple[Number | None, ...]  # by seed; fewer than there are seeds where a race ended early
    evaluations: tuple[int, ...]
    mean: Number | None  # None where a seed failed
    kept: bool

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if len(self.values) != len(self.evaluations):
            raise ValueError("not one evaluation per score")
        return self


class Racing(Form):
    trainings: int
    fixed_trainings: int


class Phase(Form):
    name: str
    task: str
    task_id: str
    seeds: tuple[int, ...]
    keep: int
    racing: Racing | None
    scores: dict[str, PhaseScores]


class Elimination(Form):
    format: Literal[1]
    sources: tuple[Source, ...]
    losses: tuple[Entrant, ...]
    phases: tuple[Phase, ...]
    finalists: tuple[str, ...]
    seconds: Number
    seconds_saved: Number | None = None

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        known = {loss.key for loss in self.losses}
        require_known("phases", (key for phase in self.phases for key in phase.scores), known)
        require_known("finalists", self.finalists, known)
        if any(not 0 <= loss.source < len(self.sources) for loss in self.losses):
            raise ValueError("a loss is of no source")
        return self


class TransferCell(Form):
    name: str
    dataset: str
    model: str
    augmentation: str
    pretrained: bool
    task_id: str
    seeds: tuple[int, ...]
    scores: dict[str, Scores]
    error: str | None


class Transfer(Form):
    format: Literal[1]
    losses: tuple[Loss, ...]
    baseline: str
    cells: tuple[TransferCell, ...]
    analysis: Analysis
    seconds: Number

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.baseline != self.analysis.baseline:
            raise ValueError(f"the baseline is '{self.baseline}', but the analysis has '{self.analysis.baseline}'")
        trained = [cell for cell in self.cells if cell.error is None]
        _cells(self.analysis, {loss.key for loss in self.losses}, {cell.name: cell.scores for cell in trained})
        for cell in trained:
            _seeds(cell.name, cell.scores, len(cell.seeds))
        return self


class Null(Form):
    format: Literal[1]
    of: str
    task: str
    values: tuple[Number | None, ...]
    evaluations: tuple[int, ...]
    best: Number | None
    search_best: Number
    search_baseline: Number | None = None
    seconds: Number

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if len(self.values) != len(self.evaluations):
            raise ValueError("not one evaluation per score")
        return self


class Setting(Scores):
    """One point of a tuning grid."""

    learning_rate: Number
    weight_decay: Number


class Tuned(Form):
    grid: tuple[Setting, ...]
    chosen: int

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if not 0 <= self.chosen < len(self.grid):
            raise ValueError("the setting that was chosen is not in the grid")
        return self


class ConfirmedCell(Form):
    name: str
    dataset: str
    model: str
    augmentation: str
    tuning: dict[str, Tuned]
    scores: dict[str, Scores]


class MeasureDifference(Form):
    n: int
    mean: Number
    low: Number
    high: Number


class Measure(Form):
    mean: Number | None
    n: int
    difference: MeasureDifference | None


class CalibrationCell(Form):
    name: str
    losses: dict[str, dict[str, Measure]]  # measure: "nll", "ece"


class Calibration(Form):
    confidence: Number
    cells: tuple[CalibrationCell, ...]


class Overlap(Form):
    cell: str
    test: int
    train: int
    validation: int
    sources: tuple[dict[str, Any], ...]


class Primary(Form):
    loss: str
    cell: str
    statement: str


class RegisteredCell(Form):
    name: str
    dataset: str
    model: str
    augmentation: str
    task: dict[str, Any]


class RegisteredTuning(Form):
    learning_rates: tuple[Number, ...]
    weight_decays: tuple[Number, ...]
    seeds: tuple[int, ...]


class RegisteredSource(Form):
    directory: str
    kind: str
    name: str


class RegisteredTrainings(Form):
    tuning: int
    testing: int


class RegisteredLoss(Loss):
    origin: str


class LeftOut(Form):
    label: str
    formula: str
    origin: str
    why: str


class Registration(Form):
    """As `lossmith.study.confirmation.registration` writes it."""

    format: Literal[1]
    version: str
    primary: Primary
    losses: tuple[RegisteredLoss, ...]
    left_out: tuple[LeftOut, ...]
    baseline: str
    cells: tuple[RegisteredCell, ...]
    seeds: tuple[int, ...]
    tuning: RegisteredTuning
    margin: Number
    confidence: Number
    comparisons: int
    overlap: Number
    sources: tuple[RegisteredSource, ...]
    trainings: RegisteredTrainings

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        require_known("primary", [self.primary.loss, self.baseline], {loss.key for loss in self.losses})
        return self


class Confirmation(Form):
    format: Literal[1]
    registration: Registration
    sha256: str
    losses: tuple[Loss, ...]
    cells: tuple[ConfirmedCell, ...]
    analysis: Analysis
    controls: dict[str, Analysis] = Field(default_factory=dict)
    sentences: Annotated[tuple[str, ...], Field(min_length=1)]
    calibration: Calibration
    overlaps: tuple[Overlap, ...] = ()
    seconds: Number

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        known = {loss.key for loss in self.losses}
        scores = {cell.name: cell.scores for cell in self.cells}
        require_known("the registration", (loss.key for loss in self.registration.losses), known)
        for analysis in (self.analysis, *self.controls.values()):
            _cells(analysis, known, scores)
        primary = self.registration.primary
        if primary.loss not in self.analysis.of(primary.cell) or self.registration.baseline != self.analysis.baseline:
            raise ValueError("the registered question is not what was compared")
        for cell in self.cells:
            _seeds(cell.name, cell.scores, len(self.registration.seeds))
            require_known(f"the tuning of cell '{cell.name}'", cell.scores, set(cell.tuning))
        for cell in self.calibration.cells:
            if set(cell.losses) != set(scores.get(cell.name, ())):
                raise ValueError(f"the calibration of cell '{cell.name}' is of other losses")
            if any({"nll", "ece"} - set(measures) for measures in cell.losses.values()):
                raise ValueError(f"the calibration of cell '{cell.name}' lacks a measure")
        if {cell.name for cell in self.calibration.cells} != set(scores):
            raise ValueError("the calibration is of other cells")
        return self


def _cells(analysis: Analysis, losses: set[str], scores: dict[str, dict[str, Scores]]) -> None:
    require_known(
        "the analysis", [analysis.baseline, *analysis.ranks, *(each.loss for each in analysis.overall)], losses
    )
    for cell, own in scores.items():
        require_known(f"cell '{cell}'", own, losses)
    for each in analysis.differences:
        if each.loss not in scores.get(each.cell, ()) or analysis.baseline not in scores[each.cell]:
            raise ValueError(f"the analysis compares '{each.loss}' in '{each.cell}', where it has no scores")


def _seeds(cell: str, scores: dict[str, Scores], seeds: int) -> None:
    if any(len(each.values) != seeds for each in scores.values()):
        raise ValueError(f"cell '{cell}' has not one score per seed")
