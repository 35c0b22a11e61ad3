"""A task as data: what a loss is trained on (data, model, augmentation, schedule, stopping rules).

The records come first; below them, `load_task` finds a task by what a person gives: the name of a preset (packaged as
`presets/tasks/<name>.yaml`), a YAML file, or values over a preset.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from lossmith.errors import ConfigError, nearest
from lossmith.settings import Settings, parse_yaml, read_yaml, validate

ModelName = Literal["convnet", "resnet9v2"]
SourceName = Literal["digits", "fashion-mnist", "npz", "folder"]

_Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
_SUFFIXES = (".yaml", ".yml")


class DataConfig(Settings):
    """Which images a task trains on, and how they are split.

    `path` is the .npz file or the image folder; for Fashion-MNIST it may stay None, then the usual places are
    searched. The fractions are used only where the source has no such part of its own: `test_fraction` of everything
    is set aside first, then `validation_fraction` of the rest.
    """

    source: SourceName
    path: Annotated[str, Field(min_length=1)] | None = None
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    validation_fraction: _Fraction = 0.1
    test_fraction: _Fraction = 0.2
    train_limit: Annotated[int, Field(ge=2)] | None = None  # use only this many images of the training split
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None  # resize every image to this many pixels square

    @model_validator(mode="after")
    def _check_path(self) -> DataConfig:
        if self.source in ("npz", "folder") and self.path is None:
            kind = "the .npz file" if self.source == "npz" else "the folder that holds train/<class>/<image>"
            raise ValueError(f"source '{self.source}' needs data.path, {kind}: set it")
        if self.source == "digits" and self.path is not None:
            raise ValueError("source 'digits' is built in and takes no path: remove data.path, or set another source")
        return self


class AugmentConfig(Settings):
    """Random changes of the training images, drawn anew for each image of each batch."""

    pad: int = Field(default=0, ge=0, le=64)  # a random crop after zero padding by this many pixels on each side
    flip: bool = False  # a horizontal flip of one image in two


class OptimizerConfig(Settings):
    """The optimizer. `weight_decay` is Adam's own (added to the gradient), not the decoupled kind."""

    name: Literal["adam"] = "adam"
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3  # the peak of the schedule
    betas: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-7  # Keras' value, the method's
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


class ScheduleConfig(Settings):
    """The learning rate over the steps: linear warm-up, then a half cosine down to 0 (`train/schedule.py`)."""

    warmup_fraction: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1


class StopRule(Settings):
    """Give up at the end of any epoch >= `from_epoch` (counted from 1) whose training accuracy is under the minimum."""

    from_epoch: PositiveInt
    min_train_accuracy: Annotated[float, Field(ge=0.0, le=1.0)]


class TaskConfig(Settings):
    """Everything that decides what training a loss means, apart from the loss and the seed.

    An epoch is `epoch_steps` steps, not a pass over the data; the last one is shorter where `steps` is not a multiple.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    model: ModelName
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None  # None: the model's own
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 128  # batch normalisation needs two
    epoch_steps: PositiveInt = 100
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    stopping: tuple[StopRule, ...] = ()

    @property
    def epochs(self) -> int:
        """The number of epochs, a shorter last one included."""
        return math.ceil(self.steps / self.epoch_steps)

    @property
    def task_id(self) -> str:
        """16 hexadecimal digits that identify the task by what it does.

        The name and the place of the data are left out: what the data holds is told by `Dataset.checksum`.
        """
        values = self.model_dump(mode="json", exclude={"name": True, "data": {"path"}})
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def task_names() -> tuple[str, ...]:
    """The names of the packaged task presets, sorted."""
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml")))


def task_values(name: str, where: str) -> dict[str, Any]:
    """The settings of the preset `name` as written, not yet validated (a preset may leave `data.path` to the user).

    Raises:
        ConfigError: there is no such preset; the message, which starts with `where`, has the nearest and all names.
    """
    known = task_names()
    if name not in known:
        hint = nearest(name, known)
        raise ConfigError(f"{where}: no task preset '{name}'{hint}; use one of {', '.join(known)}, or a YAML file")
    values: dict[str, Any] = parse_yaml(_folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    return {"name": name, **values}


def load_task(reference: str | Mapping[str, Any], where: str) -> TaskConfig:
    """The task that `reference` means.

    Args:
        reference: the name of a preset; or the path of a YAML file; or a mapping of settings. A file or a mapping may
            hold `base: <preset>`: its other values then replace those of the preset, record by record and key by key
            (a list is replaced as a whole).
        where: who asks (a file or an option), the start of the error message.

    Raises:
        ConfigError: one line with the first problem.
    """
    if isinstance(reference, Mapping):
        return validate(TaskConfig, _with_base(dict(reference), where), where)
    path = Path(reference).expanduser()
    if path.suffix in _SUFFIXES or len(path.parts) > 1:
        own = read_yaml(path)
        values = {**_with_base(own, str(path)), "name": own.get("name", path.stem)}
        return validate(TaskConfig, values, str(path))
    return validate(TaskConfig, task_values(reference, where), f"{where}: task '{reference}'")


def _with_base(values: dict[str, Any], where: str) -> dict[str, Any]:
    """`values` over those of the preset that its `base` names, if it names one."""
    if "base" not in values:
        return values
    base = values.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{where}: setting 'base': expected the name of a task preset, found {base!r:.80}")
    return _merged(task_values(base, where), values)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with the values of `over`; mappings present in both are merged in turn."""
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def _folder() -> Traversable:
    return resources.files("lossmith").joinpath("presets", "tasks")
