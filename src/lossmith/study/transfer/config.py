"""The settings of a transfer: a grid of cells, read from a preset or a YAML file, overridden, validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lossmith.config import ExecutionConfig
from lossmith.errors import nearest
from lossmith.settings import Presets, Settings, overridden, read_yaml, validate
from lossmith.train.task import DataConfig

FOLD = 1  # of the validation images: the search scores on fold 0

_Axis = Annotated[str, Field(min_length=1, max_length=24, pattern=r"^[^/\s]+$")]  # the name of a value of an axis
From = Annotated[str, Field(min_length=1)]  # a zoo name, a formula, a JSON file, or the directory of a run
# settings of a task as a task's file has them, of which some are left to others; `base` is the name of a preset
Partial = dict[str, Any]


class CaseConfig(Settings):
    """Settings of the tasks of some cells. What is None is true of any cell."""

    dataset: _Axis | tuple[_Axis, ...] | None = None
    model: _Axis | tuple[_Axis, ...] | None = None
    augmentation: _Axis | tuple[_Axis, ...] | None = None
    pretrained: bool | None = None
    task: Partial

    def holds(self, dataset: str, model: str, augmentation: str, *, pretrained: bool) -> bool:
        """Whether these settings are for the cell."""
        named = ((self.dataset, dataset), (self.model, model), (self.augmentation, augmentation))
        return self.pretrained in (None, pretrained) and all(
            wanted is None or name in ((wanted,) if isinstance(wanted, str) else wanted) for wanted, name in named
        )


class TransferConfig(Settings):
    """Losses x data sets x models x augmentations x (from scratch, pretrained) x seeds.

    The task of a cell is what `task`, its model, its augmentation and the `cases` that hold say, in this order: each
    replaces what those before it say, record by record and key by key. The `base` that is named last is below them all.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)] = "transfer"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # the training seeds are drawn from it
    seeds: Annotated[int, Field(ge=2, le=100_000)] = 6  # trainings of each loss in each cell, paired
    baseline: From = "cross_entropy"  # what every loss is compared with
    losses: tuple[From, ...] = ()  # an elimination stands for its finalists, a search for its best loss
    task: Partial = Field(default_factory=dict)  # what all cells have in common
    datasets: Annotated[dict[_Axis, DataConfig], Field(min_length=1)]
    models: Annotated[dict[_Axis, Partial], Field(min_length=1)]
    augmentations: Annotated[dict[_Axis, Partial], Field(min_length=1)]
    pretrained: Annotated[tuple[bool, ...], Field(min_length=1, max_length=2)] = (False,)  # the starts of the networks
    cases: tuple[CaseConfig, ...] = ()
    margin: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.001  # of accuracy, within which losses are equivalent
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95  # of the intervals
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if len(set(self.pretrained)) < len(self.pretrained):
            raise ValueError("pretrained has a value twice: give true, false, or both")
        for name, data in self.datasets.items():
            if data.validation_fold:
                raise ValueError(
                    f"datasets.{name}.validation_fold is {data.validation_fold}: a transfer is scored on fold {FOLD}"
                    " always, which the search did not use; remove it"
                )
        partial = {"task": self.task}
        partial |= {f"models.{name}": values for name, values in self.models.items()}
        partial |= {f"augmentations.{name}": values for name, values in self.augmentations.items()}
        partial |= {f"cases.{number}.task": case.task for number, case in enumerate(self.cases)}
        for place, values in partial.items():
            for key in ("data", "name"):
                if key in values:
                    raise ValueError(f"{place} has '{key}', which the cell settles: name data under 'datasets'")
        for number, case in enumerate(self.cases):
            for axis, known in (
                ("dataset", self.datasets),
                ("model", self.models),
                ("augmentation", self.augmentations),
            ):
                wanted = getattr(case, axis)
                for name in (wanted,) if isinstance(wanted, str) else wanted or ():
                    if name not in known:
                        raise ValueError(f"cases.{number} names no {axis} '{name}'{nearest(name, known)}")
        return self


_PRESETS = Presets("transfer", "transfer")


def preset_names() -> list[str]:
    """The names of the transfers that come with Lossmith."""
    return _PRESETS.names()


def load_preset(name: str, overrides: Sequence[str] = ()) -> TransferConfig:
    """The transfer `name`, with overrides as in `load_file`.

    Raises:
        ConfigError: no such preset, or an override that does not fit.
    """
    return transfer_of({"name": name, **_PRESETS.values(name, "--preset")}, f"preset '{name}'", overrides)


def load_file(path: Path, overrides: Sequence[str] = ()) -> TransferConfig:
    """The transfer in a YAML file; the settings beside `preset: NAME` in it replace those of the preset, each whole.

    Args:
        path: the file.
        overrides: 'key.subkey=value' texts, applied over the file; values are read as YAML.

    Raises:
        ConfigError: one line with the file and the first setting that is wrong.
    """
    return transfer_of({"name": path.stem, **read_yaml(path)}, str(path), overrides)


def transfer_of(values: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> TransferConfig:
    """The transfer in a mapping, which may name a `preset` as a file may; `where` starts the error message.

    Raises:
        ConfigError: one line with the first setting that is wrong.
    """
    own, where = overridden(_PRESETS.under(values, where), where, overrides)
    return validate(TransferConfig, own, where)
