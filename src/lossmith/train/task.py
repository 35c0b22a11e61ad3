"""A task as data: what a loss is trained on (data, model, augmentation, schedule, stopping rules).

The records come first; below them, `load_task` finds a task by what a person gives: the name of a preset (packaged as
`presets/tasks/<name>.yaml`), a YAML file, or values over a preset.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from lossmith.errors import ConfigError, nearest
from lossmith.settings import Presets, Settings, merged, read_yaml, validate

BUILT_IN_MODELS = ("convnet", "resnet9v2", "wideresnet28-10", "effnetv2s")
SourceName = Literal["digits", "fashion-mnist", "cifar10", "cifar100", "npz", "folder", "huggingface"]
CorruptImages = Literal["error", "skip"]

_PATH_IS = {  # of the sources that cannot do without one
    "npz": "the .npz file",
    "folder": "the folder that holds train/<class>/<image>",
    "cifar10": "the folder or .tar.gz of its batches, or the folder that holds train/<class>/<image>",
    "cifar100": "the folder or .tar.gz of its batches, or the folder that holds train/<class>/<image>",
    "huggingface": "the data set's name on the hub, or the folder where it was saved",
}

_PRESETS = Presets("tasks", "task preset")
_SUFFIXES = (".yaml", ".yml")
_Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


def _known_model(name: str) -> str:
    if ":" not in name and name not in BUILT_IN_MODELS:
        known = ", ".join(BUILT_IN_MODELS)
        hint = nearest(name, BUILT_IN_MODELS)
        raise ValueError(f"no model '{name}'{hint}: use one of {known}, or your own as 'package.module:function'")
    return name


_Model = Annotated[str, Field(min_length=1), AfterValidator(_known_model)]


class DataConfig(Settings):
    """Which images a task trains on, and how they are split.

    `path` is the .npz file or the image folder; for Fashion-MNIST it may stay None, then the usual places are
    searched. The fractions are used only where the source has no such part of its own: `test_fraction` of everything
    is set aside first, then `validation_fraction` of the rest.

    Two folds of one `split_seed` have the same test images, and no validation image in common. So what a search found
    on one fold is selected on another. Where the source has a validation part of its own, that is fold 0, and in the
    other folds it is not used.
    """

    source: SourceName
    path: Annotated[str, Field(min_length=1)] | None = None
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    validation_fraction: _Fraction = 0.1
    validation_fold: Annotated[int, Field(ge=0, le=1_000)] = 0  # which of the disjoint validation sets
    test_fraction: _Fraction = 0.2
    train_limit: Annotated[int, Field(ge=2)] | None = None  # use only this many images of the training split
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None  # resize every image to this many pixels square
    corrupt: CorruptImages = "error"  # what becomes of damaged images: "skip" leaves them out, and says how many
    label_column: Annotated[str, Field(min_length=1)] | None = None  # of "huggingface", where there are several

    @model_validator(mode="after")
    def _check_path(self) -> DataConfig:
        if self.source in _PATH_IS and self.path is None:
            raise ValueError(f"source '{self.source}' needs data.path, {_PATH_IS[self.source]}: set it")
        if self.source == "digits" and self.path is not None:
            raise ValueError("source 'digits' is built in and takes no path: remove data.path, or set another source")
        return self


class RandAugmentConfig(Settings):
    """RandAugment (arXiv 1909.13719) with the method's operations and constants."""

    magnitude: Annotated[float, Field(ge=0.0, le=30.0)]  # shared by all operations; 10 is the published full strength
    layers: Annotated[int, Field(ge=1, le=16)] = 2  # operations one after the other
    fill: Annotated[int, Field(ge=0, le=255)] = 128  # grey level where an operation has no pixel
    translate: Annotated[float, Field(ge=0.0)] = 100.0  # pixels that TranslateX and TranslateY move at magnitude 10
    cutout: Annotated[float, Field(ge=0.0)] = 40.0  # pixels from the centre of Cutout's square to its side, at 10


class AugmentConfig(Settings):
    """Random changes of the training images, drawn anew for each image of each batch, in the order of the fields."""

    pad: int = Field(default=0, ge=0, le=64)  # a random crop after zero padding by this many pixels on each side
    flip: bool = False  # a horizontal flip of one image in two
    randaugment: RandAugmentConfig | None = None
    cutout: int = Field(default=0, ge=0, le=1024)  # side in pixels of a square set to 0 (arXiv 1708.04552); 0: none
    mixup: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0  # alpha of the Beta distribution (arXiv 1710.09412); 0: none
    cutmix: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0  # alpha (arXiv 1905.04899); with mixup, one image in two

    @property
    def mixes(self) -> bool:
        """Whether targets become probabilities, so that the loss is given float32 [B, K] instead of int64 [B]."""
        return self.mixup > 0.0 or self.cutmix > 0.0


class OptimizerConfig(Settings):
    """The optimizer. `weight_decay` is added to the gradient, not the decoupled kind; "sgd" has Nesterov's momentum."""

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3  # the peak of the schedule
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9  # of "sgd"; betas and eps are of "adam"
    betas: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-7  # Keras' value, the method's
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


class ScheduleConfig(Settings):
    """The learning rate over the steps: linear warm-up, then a half cosine down to 0 (`train/schedule.py`)."""

    warmup_fraction: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    total_steps: PositiveInt | None = None  # of the whole schedule, where training is cut off before its end


class StopRule(Settings):
    """Give up at the end of any epoch >= `from_epoch` (counted from 1) whose training accuracy is under the minimum."""

    from_epoch: PositiveInt
    min_train_accuracy: Annotated[float, Field(ge=0.0, le=1.0)]


class StageConfig(Settings):
    """One stage of progressive training: the same network goes on with larger images and more regularisation.

    None leaves what the task says. The stopping rules of the task count each stage's epochs from 1.
    """

    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    resize: Annotated[int, Field(ge=4, le=1024)] | None = None
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    magnitude: Annotated[float, Field(ge=0.0, le=30.0)] | None = None  # of the task's RandAugment


class PrescreenConfig(Settings):
    """A short plain training that comes first: a loss that fails it is not trained on the task.

    The same data, batches and optimizer, at the size of the data, in [0, 1], without augmentation and stages.
    """

    model: _Model
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None  # None: the model's own
    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    total_steps: PositiveInt | None = None  # of the learning rate's schedule; None: `steps`
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 128
    min_train_accuracy: Annotated[float, Field(ge=0.0, le=1.0)]  # over the last epoch

    @model_validator(mode="after")
    def _check_steps(self) -> PrescreenConfig:
        if self.total_steps is not None and self.total_steps < self.steps:
            raise ValueError(f"total_steps is {self.total_steps}, less than its {self.steps} steps: raise it")
        return self


class TaskConfig(Settings):
    """Everything that decides what training a loss means, apart from the loss and the seed.

    An epoch is `epoch_steps` steps, not a pass over the data; the last one is shorter where `steps` is not a multiple.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    model: _Model  # one of BUILT_IN_MODELS, or 'package.module:function' of the user's own
    weights: Annotated[str, Field(min_length=1)] | None = None  # 'imagenet' or a file; None: drawn anew from the seed
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None  # None: the model's own
    data: DataConfig
    resize: Annotated[int, Field(ge=4, le=1024)] | None = None  # of each batch, to this many pixels square
    scaling: Literal["unit", "centred"] = "unit"  # what the network sees of x in 0..255: x / 255, or (x - 127.5) / 128
    augment: AugmentConfig = AugmentConfig()
    prescreen: PrescreenConfig | None = None
    stages: tuple[StageConfig, ...] = ()  # none: one stage of all steps
    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 128  # batch normalisation needs two
    epoch_steps: PositiveInt = 100
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    stopping: tuple[StopRule, ...] = ()

    @model_validator(mode="after")
    def _check_stages(self) -> TaskConfig:
        if self.stages and (total := sum(stage.steps for stage in self.stages)) != self.steps:
            raise ValueError(f"steps is {self.steps}, but its stages have {total} in all: make them equal")
        if self.dropout is None and len({stage.dropout is None for stage in self.stages}) == 2:
            raise ValueError("some stages have a dropout and others none: set it in all of them, or the task's dropout")
        if any(stage.magnitude is not None for stage in self.stages) and self.augment.randaugment is None:
            raise ValueError("a stage has a magnitude, but augment.randaugment is not set: set it")
        if (total := self.schedule.total_steps) is not None and total < self.steps:
            raise ValueError(f"schedule.total_steps is {total}, less than the task's {self.steps} steps: raise it")
        return self

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
        _drop_newer(values)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


# Settings that came after the first ledgers, and their defaults. They count only where they differ from these, so that
# an old ledger's tasks are still found.
_NEWER: Mapping[str, Any] = {
    "data.validation_fold": 0,
    "data.corrupt": "error",
    "data.label_column": None,
    "weights": None,
    "resize": None,
    "scaling": "unit",
    "prescreen": None,
    "stages": [],
    "optimizer.momentum": 0.9,
    "schedule.total_steps": None,
    "augment.randaugment": None,
    "augment.cutout": 0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
}


def _drop_newer(values: dict[str, Any]) -> None:
    for path, default in _NEWER.items():
        *groups, key = path.split(".")
        group = values
        for name in groups:
            group = group[name]
        if group[key] == default:
            del group[key]


def task_names() -> tuple[str, ...]:
    """The names of the packaged task presets, sorted."""
    return tuple(_PRESETS.names())


def task_values(name: str, where: str) -> dict[str, Any]:
    """The settings of the preset `name` as written, not yet validated (a preset may leave `data.path` to the user).

    Raises:
        ConfigError: there is no such preset; the message, which starts with `where`, has the nearest and all names.
    """
    known = task_names()
    if name not in known:
        hint = nearest(name, known)
        raise ConfigError(f"{where}: no task preset '{name}'{hint}; use one of {', '.join(known)}, or a YAML file")
    return {"name": name, **_PRESETS.values(name)}


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
    return merged(task_values(base, where), values)
