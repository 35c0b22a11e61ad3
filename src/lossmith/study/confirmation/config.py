"""The settings of a confirmation, as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lossmith.config import ExecutionConfig
from lossmith.settings import Settings, overridden, read_yaml, validate
from lossmith.train.task import TaskConfig, load_task

MAX_CANDIDATES = 5
BASELINES = ("cross_entropy", "label_smoothing", "poly1", "focal")

From = Annotated[str, Field(min_length=1)]  # a zoo name, a formula, a JSON file, or the directory of a run
_Factor = Annotated[float, Field(gt=0.0, le=1_000.0)]
_WeightDecay = Annotated[float, Field(ge=0.0, le=1.0)]


class TuningConfig(Settings):
    """The tuning budget: one grid and one number of seeds, the same for every loss and in every cell."""

    learning_rates: Annotated[tuple[_Factor, ...], Field(min_length=1, max_length=100)] = (
        0.3,
        1.0,
        3.0,
    )  # x the task's
    weight_decays: Annotated[tuple[_WeightDecay, ...], Field(min_length=1, max_length=100)] = (0.0, 5e-4)
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 3  # trainings of each loss at each point of the grid

    @model_validator(mode="before")
    @classmethod
    def _one_budget(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            own = [str(key) for key, value in values.items() if isinstance(value, Mapping)]
            if own:
                raise ValueError(
                    f"tuning has settings for '{own[0]}' alone: every loss is tuned alike, so give one grid for all"
                )
        return values

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name, values in (("learning_rates", self.learning_rates), ("weight_decays", self.weight_decays)):
            if len(set(values)) < len(values):
                raise ValueError(f"tuning.{name} has a value twice: give each once")
        return self

    @property
    def points(self) -> int:
        """The number of settings that are tried for each loss."""
        return len(self.learning_rates) * len(self.weight_decays)


class PrimaryConfig(Settings):
    """The one question that the confirmation is made for; the other comparisons stand beside it."""

    loss: From | None = None  # one of `losses` as written there; None: the first candidate
    cell: str | None = None  # the name of a cell's task; None: the first


class ConfirmationConfig(Settings):
    """One confirmation. What FROM texts mean is settled when it is registered, and frozen then."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "confirmation"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # the training seeds of tuning and test are drawn from it
    losses: Annotated[tuple[From, ...], Field(min_length=1)]  # the candidates; an elimination stands for its finalists
    controls: tuple[From, ...] = ()  # losses beside the candidates, such as a random search's best
    # each tuned as the candidates are; all are compared with the first
    baselines: Annotated[tuple[From, ...], Field(min_length=1)] = BASELINES
    cells: Annotated[tuple[TaskConfig, ...], Field(min_length=1)]
    seeds: Annotated[int, Field(ge=2, le=100_000)] = 20  # trainings of each loss that are scored on the test images
    margin: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.001  # of accuracy, within which losses are equivalent
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    tuning: TuningConfig = TuningConfig()
    primary: PrimaryConfig = PrimaryConfig()
    sources: tuple[From, ...] = ()  # runs that led to the losses, besides those that `losses` and `controls` name
    null_search: From | None = None  # the directory of the null search, the luck floor
    overlap: Annotated[float, Field(gt=0.0, le=0.1)] = (
        0.01  # share of test images seen before, from which on is refused
    )
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _cells_apart(self) -> Self:
        names = [cell.name for cell in self.cells]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two cells have the name '{twice}': name each cell once")
        ids = [_untuned(cell).task_id for cell in self.cells]
        if twice := next((name for name, key in zip(names, ids, strict=True) if ids.count(key) > 1), None):
            raise ValueError(
                f"cell '{twice}' is another cell's task, but for what is tuned or the validation fold: name it once"
            )
        return self


def _untuned(task: TaskConfig) -> TaskConfig:
    """A task without what a confirmation sets itself."""
    return task.model_copy(
        update={
            "data": task.data.model_copy(update={"validation_fold": 0}),
            "optimizer": task.optimizer.model_copy(update={"learning_rate": 1.0, "weight_decay": 0.0}),
        }
    )


def load_confirmation(
    path: Path, overrides: Sequence[str] = (), given: Mapping[str, Any] = MappingProxyType({})
) -> ConfirmationConfig:
    """The settings in a YAML file; its cells are names of tasks, YAML files, or mappings as in `load_task`.

    What is `given` besides replaces the file's, each setting whole.

    Raises:
        ConfigError: one line with the file and the first setting that is wrong.
    """
    return confirmation_of({"name": path.stem, **read_yaml(path), **given}, str(path), overrides)


def confirmation_of(values: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> ConfirmationConfig:
    """The settings in a mapping, with 'key.subkey=value' texts applied over it; `where` starts the error message.

    Raises:
        ConfigError: one line with the first setting that is wrong.
    """
    own, where = overridden(values, where, overrides, _by_name)
    cells = own.get("cells")
    if isinstance(cells, Sequence) and not isinstance(cells, str):
        own["cells"] = [
            load_task(cell, f"{where}: setting 'cells'").model_dump(mode="json")
            if isinstance(cell, str | Mapping)
            else cell
            for cell in cells
        ]
    return validate(ConfirmationConfig, own, where)


def _by_name(path: tuple[str, ...], value: object) -> object:
    """What is at a place of which one setting is changed: a cell that is given by name or file becomes its mapping."""
    if path[0] != "cells" or len(path) != 2 or not isinstance(value, str):
        return value
    if (file := Path(value)).suffix in (".yaml", ".yml"):
        return {"name": file.stem, **read_yaml(file)}
    return {"base": value}
