"""The settings of an elimination: from a preset or a YAML file, overridden, validated, and stored in its ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lossmith.config import ExecutionConfig
from lossmith.errors import ConfigError
from lossmith.settings import Presets, Settings, merged, overridden, read_yaml, validate
from lossmith.train.task import TaskConfig, load_task

FOLD = 1  # of the validation images: the search scores on fold 0

_YAML = (".yaml", ".yml")

_Losses = Annotated[int, Field(ge=1, le=100_000)]


class PhaseConfig(Settings):
    """One phase: every loss that is left is trained on the task with each seed, and the best go on."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    task: TaskConfig  # scored on its validation fold 1, whatever it says
    keep: _Losses  # how many go on; of each batch, where there are batches
    seeds: Annotated[int, Field(ge=1, le=10_000)] = 1  # trainings of each loss; with racing, the most
    # The most losses that compete at once. More are dealt into batches of nearly equal size, each with a share of all
    # ranks and searches; each batch keeps its best, and these are joined.
    batch: Annotated[int, Field(ge=2, le=100_000)] | None = None


class RacingConfig(Settings):
    """Seeds only where they decide (`racing.py`)."""

    error: Annotated[float, Field(gt=0, lt=1)] = 0.05  # of a phase, or of each of its batches: see `Race`
    least: Annotated[int, Field(ge=2, le=10_000)] = 2  # seeds that each loss has before anything is decided


class EliminationConfig(Settings):
    """Which losses take part, and the phases that they go through."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    candidates: _Losses | tuple[_Losses, ...] = 24  # the best of each search; a list has a number for each search
    # L2 distance of two losses' two-class curves, of 1,000 points in [0, 1], below which only the better takes part;
    # the method's is 0.01. What is left of a search are often near relatives: more than that asks for others.
    phenotype_distance: Annotated[float, Field(ge=0, le=100)] = 0.01
    phases: Annotated[tuple[PhaseConfig, ...], Field(min_length=1, max_length=100)]
    racing: RacingConfig | None = None
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        names = [phase.name for phase in self.phases]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two phases are called '{twice}': give each a name of its own")
        for before, phase in zip(self.phases, self.phases[1:], strict=False):
            if before.batch is None and phase.keep > before.keep:
                raise ValueError(
                    f"phase '{phase.name}' keeps {phase.keep}, more than the {before.keep} that '{before.name}' leaves"
                )
        if self.racing is not None and all(phase.seeds <= self.racing.least for phase in self.phases):
            raise ValueError(
                f"racing decides after {self.racing.least} seeds, but no phase has more: raise its seeds, or leave"
                " racing out"
            )
        return self

    def taken_from(self, searches: int) -> tuple[int, ...]:
        """How many losses are taken from each of so many searches.

        Raises:
            ConfigError: the list in `candidates` has another length.
        """
        if isinstance(self.candidates, int):
            return (self.candidates,) * searches
        if len(self.candidates) != searches:
            raise ConfigError(
                f"setting 'candidates': {len(self.candidates)} numbers, but there are {searches} searches; give one for"
                " each, or one number for all"
            )
        return self.candidates


def own_fold(task: TaskConfig) -> TaskConfig:
    """The task as elimination trains it: scored on validation images that no search has seen."""
    return task.model_copy(update={"data": task.data.model_copy(update={"validation_fold": FOLD})})


# -- reading -----------------------------------------------------------------------------------------------------------


_PRESETS = Presets("elimination", "protocol")


def preset_names() -> list[str]:
    """The names of the eliminations that come with Lossmith."""
    return _PRESETS.names()


def load_preset(name: str, overrides: Sequence[str] = ()) -> EliminationConfig:
    """The elimination `name`, with overrides as in `load_file`.

    Raises:
        ConfigError: no such preset, or an override that does not fit.
    """
    return elimination_of({"name": name, **_PRESETS.values(name, "--protocol")}, f"protocol '{name}'", overrides)


def load_file(path: Path, overrides: Sequence[str] = ()) -> EliminationConfig:
    """The elimination in a YAML file; `preset: NAME` in it takes that preset as its base.

    `data` holds settings of the data of all phases' tasks, above all the path.

    Args:
        path: the file.
        overrides: 'key.subkey=value' texts, applied over the file; values are read as YAML. Phases are counted from 0:
            'phases.0.keep=5'.

    Raises:
        ConfigError: one line with the file and the first setting that is wrong.
    """
    return elimination_of({"name": path.stem, **read_yaml(path)}, str(path), overrides)


def elimination_of(values: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> EliminationConfig:
    """The elimination in a mapping, which may name a `preset` as a file may; `where` starts the error message.

    Raises:
        ConfigError: one line with the first setting that is wrong.
    """
    own, where = overridden(_PRESETS.under(values, where), where, overrides, _named)
    data = own.pop("data", {})
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: setting 'data': expected a group of settings")
    phases = own.get("phases")
    if isinstance(phases, list):
        own["phases"] = [_phase(phase, number, data, where) for number, phase in enumerate(phases)]
    return validate(EliminationConfig, own, where)


def with_racing(config: EliminationConfig, where: str) -> EliminationConfig:
    """The same elimination with racing, as its settings say, or with racing's defaults where it has none.

    Raises:
        ConfigError: no phase has seeds enough; the message starts with `where`.
    """
    if config.racing is not None:
        return config
    return validate(EliminationConfig, {**config.model_dump(mode="json"), "racing": {}}, where)


def from_stored(values: Mapping[str, Any], where: str) -> EliminationConfig:
    """The settings that a ledger stores (`EliminationConfig.model_dump(mode="json")`)."""
    return validate(EliminationConfig, dict(values), where)


def _named(path: tuple[str, ...], value: object) -> object:
    """What is at a place of which one setting is changed: a task that is given by name becomes its mapping."""
    return {"base": value} if path[-1] == "task" and isinstance(value, str) else value


def _phase(phase: Any, number: int, data: Mapping[str, Any], where: str) -> Any:
    """A phase with its task in full; one that is wrong as it stands, for validation to say so."""
    if not isinstance(phase, Mapping):
        return phase
    phase = {"name": f"phase {number + 1}", **phase}
    task: Any = phase.get("task")
    if not isinstance(task, str | Mapping):
        return phase
    place = f"{where}: setting 'phases.{number}.task'"
    if data:
        values: dict[str, Any] = {"base": task} if isinstance(task, str) else dict(task)
        own = values.get("data", {})
        task = {**values, "data": {**data, **own} if isinstance(own, Mapping) else own}
    if isinstance(task, Mapping) and isinstance(base := task.get("base"), str) and Path(base).suffix in _YAML:
        rest = {key: value for key, value in task.items() if key != "base"}
        task = merged(load_task(base, place).model_dump(mode="json"), rest)
    loaded = own_fold(load_task(task, place)).model_dump(mode="json")
    return {**phase, "task": loaded}
