"""The forms that results share: losses, scores by seed, and the statistics of `lossmith.study.analysis`.

Accuracies are fractions of 1, differences too; the ids of evaluations are those of the stage's ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lossmith.errors import RunError
from lossmith.ledger import LossRow

Number = Annotated[float, Field(allow_inf_nan=False)]
Verdict = Literal["better", "worse", "equivalent", "no evidence", "not comparable"]
VERDICTS: tuple[Verdict, ...] = ("better", "worse", "equivalent", "no evidence", "not comparable")


class Form(BaseModel):
    """Fields that a later version adds are passed over; another meaning has another `format`."""

    model_config = ConfigDict(extra="ignore", frozen=True)


_F = TypeVar("_F", bound=Form)


class Loss(Form):
    key: str
    label: str
    formula: str
    flip: bool | None
    role: str = ""  # in a confirmation: candidate, control, baseline

    @property
    def row(self) -> LossRow:
        return LossRow(self.key, self.formula, self.flip)


class Scores(Form):
    """One loss in one place, by seed; None where training failed."""

    values: tuple[Number | None, ...]
    nll: tuple[Number | None, ...] = ()
    ece: tuple[Number | None, ...] = ()
    evaluations: tuple[int, ...]

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        lengths = {
            len(each) for each in (self.values, self.evaluations, self.nll or self.values, self.ece or self.values)
        }
        if len(lengths) > 1:
            raise ValueError("not one score and one evaluation per seed")
        return self

    @property
    def present(self) -> list[float]:
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        return sum(self.present) / len(self.present) if self.present else None

    @property
    def sd(self) -> float | None:
        """With n - 1; None for fewer than two."""
        mean, values = self.mean, self.present
        if mean is None or len(values) < 2:
            return None
        return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5

    @property
    def failed(self) -> int:
        return len(self.values) - len(self.present)


# -- statistics: `lossmith.study.analysis` ---------------------------------------------------------------------------


class Estimate(Form):
    value: Number
    low: Number
    high: Number


class Difference(Form):
    """One loss less the baseline in one cell."""

    cell: str
    dataset: str
    loss: str
    n: int
    mean: Number | None
    sd: Number | None
    low: Number | None
    high: Number | None
    p: Number | None
    p_adjusted: Number
    improvement: Estimate | None
    correlation: Number | None
    detectable: Number | None
    equivalent: bool
    failed: int
    verdict: Verdict


class Overall(Form):
    """One loss less the baseline over data sets."""

    loss: str
    datasets: int
    mean: Number | None
    p: Number | None
    p_adjusted: Number | None
    mean_rank: Number


class Analysis(Form):
    baseline: str
    margin: Number
    confidence: Number
    differences: tuple[Difference, ...]
    overall: tuple[Overall, ...]
    friedman: Number | None
    critical_difference: Number | None
    ranks: dict[str, Number]

    def of(self, cell: str) -> dict[str, Difference]:
        """The differences in a cell by loss."""
        return {each.loss: each for each in self.differences if each.cell == cell}


def read(form: type[_F], content: Any, where: str) -> _F:
    """`content` in its form.

    Raises:
        RunError: it is not of the form that this version knows; `where` starts the line.
    """
    try:
        return form.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = f"'{'.'.join(map(str, first['loc'])):.200}': " if first["loc"] else ""
        found = content.get("format") if isinstance(content, dict) else None
        problem = first["msg"].removeprefix("Value error, ")
        what = f"format {found!r}" if first["loc"] == ("format",) else f"{place}{problem:.200}"
        raise RunError(f"{where} cannot be read by this version ({what}); update Lossmith") from error


def require_known(where: str, keys: Iterable[str], known: Iterable[str]) -> None:
    """Raise ValueError where a key is none of those that are known."""
    there = set(known)
    for key in keys:
        if key not in there:
            raise ValueError(f"{where} names '{key}', which is none of the losses")
