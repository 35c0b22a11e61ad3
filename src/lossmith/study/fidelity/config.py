"""The settings of a fidelity study: from a preset or a YAML file, overridden, validated, and stored in its ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from lossmith.config import ExecutionConfig, RungsConfig
from lossmith.errors import ConfigError
from lossmith.settings import Presets, Settings, overridden, read_yaml, validate
from lossmith.space.config import SpaceConfig
from lossmith.train.stages import stages
from lossmith.train.task import DataConfig, TaskConfig, load_task

FEWEST = 5  # losses that can be ranked to any purpose

_Name = Annotated[str, Field(min_length=1, max_length=60)]
_From = Annotated[str, Field(min_length=1)]  # a zoo name, a formula, a JSON file, or the directory of a search
_Steps = tuple[Annotated[int, Field(ge=1)], ...]
_YAML = (".yaml", ".yml")


class LossesConfig(Settings):
    """Which losses are ranked. No search is needed: the zoo and random losses make a set of any size."""

    zoo: bool = True  # the losses of the zoo, with their default parameters
    named: tuple[_From, ...] = ()  # zoo names, formulas, JSON files; of a search, `per_search` of its losses
    per_search: Annotated[int, Field(ge=2, le=100_000)] = 60  # evenly over the ranks of all that trained, worst to best
    random: Annotated[int, Field(ge=0, le=100_000)] = 48  # valid losses drawn with `seed`, which pass the rungs
    space: SpaceConfig = SpaceConfig()  # of the random ones
    rungs: RungsConfig = RungsConfig()


class ExpensiveConfig(Settings):
    """The task that the surrogates stand for."""

    name: _Name = "expensive"
    task: TaskConfig
    seeds: Annotated[int, Field(ge=2, le=12)] = 3  # trainings of each loss
    at: _Steps = ()  # ends of epochs at which its trainings are read as surrogates, too: stopping early


class SurrogateConfig(Settings):
    """A cheaper task."""

    name: _Name
    task: TaskConfig
    seeds: Annotated[int, Field(ge=1, le=12)] = 1  # trainings of each loss, with the first seeds of the expensive task
    at: _Steps = ()  # ends of epochs at which its trainings are read, too


class FidelityConfig(Settings):
    """Losses, an expensive task, and surrogates."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # random losses, training seeds and resamples come from it
    losses: LossesConfig = LossesConfig()
    expensive: ExpensiveConfig
    surrogates: tuple[SurrogateConfig, ...] = ()
    top: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = (1, 5, 10)  # k of the top-k recall
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # of the intervals
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2_000  # of the losses, for the intervals
    execution: ExecutionConfig = ExecutionConfig()

    @field_validator("top")
    @classmethod
    def _each_once(cls, top: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(top)))

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if not self.surrogates and not self.expensive.at:
            raise ValueError("there is no surrogate: add one, or give expensive.at, where its trainings are read early")
        tasks = [self.expensive, *self.surrogates]
        names = [each.name for each in tasks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the name '{twice}' is given twice: rename one of the surrogates")
        known: dict[str, str] = {}
        for each in tasks:
            if (other := known.get(each.task.task_id)) is not None:
                raise ValueError(f"'{each.name}' is the same task as '{other}': change it, or leave it out")
            known[each.task.task_id] = each.name
            ends = epoch_ends(each.task)
            for step in each.at:
                if step not in ends[:-1]:
                    shown = ", ".join(map(str, ends[:-1][:8])) or "none"
                    raise ValueError(
                        f"'{each.name}' is to be read at step {step}, which is not the end of an epoch before its last:"
                        f" use {shown}{', ...' if len(ends) > 9 else ''}"
                    )
        for each in self.surrogates:
            if each.seeds > self.expensive.seeds:
                raise ValueError(
                    f"'{each.name}' has {each.seeds} seeds, more than the {self.expensive.seeds} of the expensive task"
                )
        return self


def epoch_ends(task: TaskConfig) -> list[int]:
    """The steps after which an epoch ends, the last one included: where a training's curve has its points."""
    found: list[int] = []
    for stage in stages(task):
        found += [*range(stage.first + task.epoch_steps, stage.last, task.epoch_steps), stage.last]
    return found


_PRESETS = Presets("fidelity", "fidelity study")


def preset_names() -> list[str]:
    """The names of the fidelity studies that come with Lossmith."""
    return _PRESETS.names()


def load_preset(name: str, overrides: Sequence[str] = ()) -> FidelityConfig:
    """The fidelity study `name`, with overrides as in `load_file`.

    Raises:
        ConfigError: no such preset, or an override that does not fit.
    """
    return fidelity_of({"name": name, **_PRESETS.values(name, "--preset")}, f"preset '{name}'", overrides)


def load_file(path: Path, overrides: Sequence[str] = ()) -> FidelityConfig:
    """The fidelity study in a YAML file; the settings beside `preset: NAME` in it replace those of the preset, each
    whole. `data` holds settings of the data of all its tasks, above all the path.

    Args:
        path: the file.
        overrides: 'key.subkey=value' texts, applied over the file; values are read as YAML. Surrogates are counted
            from 0: 'surrogates.0.seeds=3'.

    Raises:
        ConfigError: one line with the file and the first setting that is wrong.
    """
    return fidelity_of({"name": path.stem, **read_yaml(path)}, str(path), overrides)


def fidelity_of(values: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> FidelityConfig:
    """The fidelity study in a mapping, which may name a `preset` as a file may; `where` starts the error message.

    Raises:
        ConfigError: one line with the first setting that is wrong.
    """
    own, where = overridden(_PRESETS.under(values, where), where, overrides, _opened)
    data = own.pop("data", {})
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: setting 'data': expected a group of settings")
    if isinstance(expensive := own.get("expensive"), Mapping):
        own["expensive"] = _with_task(expensive, data, f"{where}: setting 'expensive.task'")
    if isinstance(surrogates := own.get("surrogates"), list):
        own["surrogates"] = [
            _with_task(each, data, f"{where}: setting 'surrogates.{number}.task'")
            if isinstance(each, Mapping)
            else each
            for number, each in enumerate(surrogates)
        ]
    return validate(FidelityConfig, own, where)


def from_stored(values: Mapping[str, Any], where: str) -> FidelityConfig:
    """The settings that a ledger stores (`FidelityConfig.model_dump(mode="json")`)."""
    return validate(FidelityConfig, dict(values), where)


def _opened(path: tuple[str, ...], value: object) -> object:
    """A task that is given by name, of which one setting is changed, becomes a mapping."""
    return {"base": value} if path[-1] == "task" and isinstance(value, str) else value


def _with_task(group: Mapping[str, Any], data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`group` with its task in full; one that is wrong as it stands, for validation to say so."""
    task: Any = group.get("task")
    if not isinstance(task, str | Mapping):
        return dict(group)
    if isinstance(task, Mapping):
        # what the task is called says what it is: a changed preset is another task
        task = {"name": str(group.get("name", "expensive")), **task}
    if data:
        values: dict[str, Any] = {"base": task} if isinstance(task, str) else dict(task)
        own = values.get("data", {})
        task = {**values, "data": {**data, **own} if isinstance(own, Mapping) else own}
        task.setdefault("name", str(group.get("name", "expensive")))
    if isinstance(task, Mapping) and isinstance(base := task.get("base"), str) and Path(base).suffix in _YAML:
        raise ConfigError(f"{where}: base '{base}': expected the name of a task preset, not a file")
    return {**group, "task": load_task(task, where).model_dump(mode="json")}


def dataset_of(data: DataConfig) -> str:
    """What a person calls the data: where it comes from, and its place where that tells it from others."""
    return data.source if data.path is None or data.source in _ONE_OF_A_KIND else f"{data.source} {data.path}"


_ONE_OF_A_KIND = ("digits", "fashion-mnist", "cifar10", "cifar100")
