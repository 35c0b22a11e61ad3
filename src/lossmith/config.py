"""The configuration of a run: read from a preset or a YAML file, overridden, validated, and stored in the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lossmith.settings import Presets, Settings, merged, overridden, read_yaml, validate
from lossmith.space.config import SpaceConfig
from lossmith.space.mutation import MAX_TRIES
from lossmith.train.task import TaskConfig, load_task

Count = Annotated[int, Field(ge=1, le=10_000_000)]
_TASKS = ("screening", "task")  # the settings of a run that hold tasks


class SearchConfig(Settings):
    """Regularized evolution; the defaults are the method's (arXiv 2403.08793)."""

    # "random": a control of an evolution, with further random losses instead of children (docs/controls.md)
    method: Literal["evolution", "random"] = "evolution"
    initial: Count = 1_000  # random valid losses scored on the screening task
    population: Count = 100  # the best of them, scored on the task
    iterations: Annotated[int, Field(ge=0)] = 4_000
    tournament: Annotated[int, Field(ge=1, le=1_000_000)] = 20  # members drawn with replacement; the best is the parent
    retries: Annotated[int, Field(ge=0)] = 7  # further mutants of a parent whose child failed to train
    phenotype_distance: Annotated[float, Field(ge=0, le=100)] = 0.01  # L2 over the 1,000 points of the two-class curve
    max_mutations: Count = MAX_TRIES  # of one parent, before another parent is drawn
    # True: outcomes are told in the order of asking, so the search is the same with any number of workers.
    # False: as they arrive, so no worker ever waits for a slow one; the order is recorded.
    deterministic: bool = True
    # Candidates that may wait for their outcome at once. 1 is the method step by step; more keeps workers busy, at the
    # price that a parent is chosen before the last few children are scored.
    in_flight: Count = 8

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.population > self.initial:
            raise ValueError(f"population ({self.population}) cannot exceed initial ({self.initial})")
        return self


class MicrotaskConfig(Settings):
    """Training a small network on a small mixture of Gaussians, as many losses at once as there are at hand."""

    steps: Annotated[int, Field(ge=1, le=10_000)] = 80
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.05  # of Adam
    # the accuracy on the fifth of the classes that a loss learns worst, as a share of cross-entropy's: with less, it is
    # not trained
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.1


class RungsConfig(Settings):
    """What is asked of a draft before it is trained (docs/screening.md says what each question catches and loses)."""

    duplicates: bool = True  # is it, as a function, a loss that this search asked for before?
    classes: bool = True  # with the task's number of classes, does it lead an untrained network to the true class?
    microtask: MicrotaskConfig | None = MicrotaskConfig()  # can it train a small network? None: not asked


# how runs were trained before there was a choice
ONE_AT_A_TIME = {"way": "processes", "dtype": "float32", "compile": False}
NO_RUNGS = RungsConfig(duplicates=False, classes=False, microtask=None)  # the method as it was published


class ExecutionConfig(Settings):
    """How evaluations are run. What is "auto" is measured when a run begins, and then kept until it ends."""

    # "processes": each worker trains one loss at a time. "fused": each trains several as one network. To rounding, the
    # results are the same.
    way: Literal["auto", "processes", "fused"] = "auto"
    slots: Annotated[int, Field(ge=1, le=1_024)] | None = None  # losses at once in a worker, if fused; None: measured
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # of the network's arithmetic
    compile: Literal["auto"] | bool = "auto"  # the network, by torch.compile
    # Wall seconds per evaluation; None: no limit. Several losses that train at once share a worker, so each takes
    # longer. A limit that is reached makes the search depend on the machine.
    time_limit: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_in_processes(self) -> Self:
        if self.way == "processes" and self.slots not in (None, 1):
            raise ValueError(f"slots is {self.slots}, but way 'processes' trains one loss at a time: use way 'fused'")
        return self


class RunConfig(Settings):
    """One search: the space, the two tasks, the search, and its seed."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    space: SpaceConfig = SpaceConfig()
    screening: TaskConfig  # the cheap surrogate that scores the random losses
    task: TaskConfig  # the surrogate that the search optimises
    rungs: RungsConfig = RungsConfig()
    search: SearchConfig = SearchConfig()
    execution: ExecutionConfig = ExecutionConfig()


_PRESETS = Presets("runs", "preset")


def preset_names() -> list[str]:
    """The names of the run presets that come with Lossmith."""
    return _PRESETS.names()


def load_preset(name: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The run preset `name`, with overrides as in `load_file`.

    Raises:
        ConfigError: no such preset, or an override that does not fit.
    """
    return _build({"name": name, **_PRESETS.values(name)}, f"preset '{name}'", overrides)


def load_file(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run configuration in a YAML file; `preset: NAME` in it takes that preset as its base.

    Args:
        path: the file.
        overrides: 'key.subkey=value' texts, applied over the file; values are read as YAML.

    Raises:
        ConfigError: one line with the file and the first setting that is wrong.
    """
    return _build({"name": path.stem, **_with_preset(read_yaml(path), str(path))}, str(path), overrides)


def load_run(reference: str | Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The run configuration that a setting means: the name of a preset, or a mapping as in `load_file`; so overrides.

    Raises:
        ConfigError: one line that starts with `where` and has the first setting that is wrong.
    """
    values = {"preset": reference} if isinstance(reference, str) else dict(reference)
    return _build({"name": str(values.get("preset", "search")), **_with_preset(values, where)}, where, overrides)


def from_stored(values: Mapping[str, Any], where: str) -> RunConfig:
    """The configuration that a ledger stores (`RunConfig.model_dump(mode="json")`)."""
    # a run from before there were rungs goes on without them, and one from before there was a choice of ways likewise
    execution = {**ONE_AT_A_TIME, **values.get("execution", {})}
    return validate(RunConfig, {"rungs": NO_RUNGS.model_dump(mode="json"), **values, "execution": execution}, where)


def _with_preset(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`values` over those of the preset that its `preset` names, if it names one, mapping by mapping.

    A task by name in `values` replaces the preset's whole task.
    """
    own = dict(values)
    if "preset" not in own:
        return own
    base = _PRESETS.values(str(own.pop("preset")), where)
    for key in _TASKS:
        if isinstance(own.get(key), Mapping) and isinstance(base.get(key), str):
            base[key] = {"base": base[key]}
    return merged(base, own)


def _build(values: Mapping[str, Any], where: str, overrides: Sequence[str]) -> RunConfig:
    own, where = overridden(values, where, overrides, _by_name)
    for key in _TASKS:
        if isinstance(own.get(key), str | Mapping):
            own[key] = load_task(own[key], f"{where}: setting '{key}'").model_dump(mode="json")
    return validate(RunConfig, own, where)


def _by_name(path: tuple[str, ...], value: object) -> object:
    """What is at a place of which one setting is changed: a task that is given by name becomes its mapping."""
    return {"base": value} if path[0] in _TASKS and len(path) == 1 and isinstance(value, str) else value
