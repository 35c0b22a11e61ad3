"""The task and the images that the engine is measured with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from lossmith.errors import ConfigError
from lossmith.train.data import Dataset, Split, load_dataset
from lossmith.train.task import DataConfig, TaskConfig, load_task, task_names

_STEPS = 20_000  # of a training that is timed; more than are done
_ORDER = 1 << 22  # the most images that such a training may go through
_TRAIN = 10_000  # random images to train on
_SHAPES = {  # of random images: channels, height, width, classes, images for validation
    "digits": (1, 8, 8, 10, 337),
    "fashion-mnist": (1, 28, 28, 10, 6_000),
    "cifar10": (3, 32, 32, 10, 5_000),
    "cifar100": (3, 32, 32, 100, 5_000),
}
_SIDE = 32  # pixels, where a source of any size says none


def find_task(reference: str, path: Path | None, *, synthetic: bool) -> TaskConfig:
    """The task that a user means, with `path` as the place of its data, if given.

    Raises:
        ConfigError: there is no such task, or it needs a path.
    """
    if path is not None and synthetic:
        raise ConfigError("--data and --synthetic exclude each other: random images come from nowhere")
    if reference not in task_names() or (path is None and not synthetic):
        task = load_task(reference, "--task")
        return task if path is None else task.model_copy(update={"data": _at(task.data, str(path))})
    probe = {"base": reference, "name": reference, "data": {"path": "random" if path is None else str(path)}}
    try:
        return load_task(probe, "--task")
    except ConfigError:  # a built-in source takes no path
        if path is not None:
            raise
        return load_task(reference, "--task")


def _at(data: DataConfig, path: str) -> DataConfig:
    return data.model_copy(update={"path": path})


def timed(task: TaskConfig) -> TaskConfig:
    """`task` as it is timed: nothing ends it, no epoch ends in it, and of its stages there is only the first."""
    steps = max(1, min(_STEPS, _ORDER // task.batch_size))
    changes: dict[str, object] = {
        "stopping": (),
        "prescreen": None,
        "stages": (),
        "steps": steps,
        "epoch_steps": steps,
        "schedule": task.schedule.model_copy(update={"total_steps": None}),
    }
    if task.stages:
        stage = task.stages[0]
        randaugment = task.augment.randaugment
        changes["resize"] = stage.resize if stage.resize is not None else task.resize
        changes["dropout"] = stage.dropout if stage.dropout is not None else task.dropout
        if stage.magnitude is not None and randaugment is not None:
            strength = randaugment.model_copy(update={"magnitude": stage.magnitude})
            changes["augment"] = task.augment.model_copy(update={"randaugment": strength})
    return task.model_copy(update=changes)


def whole(task: TaskConfig) -> TaskConfig:
    """`task` without what ends an evaluation early, and without its pre-screen."""
    return task.model_copy(update={"stopping": (), "prescreen": None})


def images_of(task: TaskConfig, *, synthetic: bool, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """The task's data set, or random images of its shape.

    Raises:
        DataError: the data is missing or damaged.
    """
    return random_images(task.data) if synthetic else load_dataset(task.data, progress=progress)


def random_images(config: DataConfig) -> Dataset:
    """Random images and labels, good for measuring speed and for nothing else; the same at each call.

    Sources that have no shape of their own get 3 channels, 10 classes, and `image_size` or 32 pixels square.
    """
    side = config.image_size or _SIDE
    channels, height, width, classes, validation = _SHAPES.get(config.source, (3, side, side, 10, 5_000))
    if config.image_size is not None:
        height = width = config.image_size
    source = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(256, (count, channels, height, width), generator=source, dtype=torch.uint8)
        return Split(images, torch.randint(classes, (count,), generator=source))

    train = split(min(_TRAIN, config.train_limit or _TRAIN))
    names = tuple(map(str, range(classes)))
    return Dataset("random images", names, train, split(validation), split(1_000), checksum="0" * 16)
