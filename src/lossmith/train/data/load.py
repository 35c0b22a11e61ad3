"""From a data configuration to a checked data set with three fixed splits."""

from __future__ import annotations

import warnings
from typing import assert_never

import numpy as np
import torch

from lossmith.errors import DataError
from lossmith.train.data.cache import Notice, open_source
from lossmith.train.data.checksum import remembered_checksum
from lossmith.train.data.cifar import find_cifar
from lossmith.train.data.dataset import Dataset, Split
from lossmith.train.data.digits import find_digits
from lossmith.train.data.fashion import find_fashion_mnist
from lossmith.train.data.folder import find_folder
from lossmith.train.data.huggingface import find_huggingface
from lossmith.train.data.npz import find_npz
from lossmith.train.data.source import Labels, Origin, PartName, Progress, Source
from lossmith.train.data.splits import Indices, hold_out
from lossmith.train.data.stored import Stored
from lossmith.train.task import DataConfig


def load_dataset(config: DataConfig, *, progress: Progress | None = None, notice: Notice | None = None) -> Dataset:
    """The data set of a task, the same in every process that is given the same configuration and files.

    The source's own validation and test parts are used where it has them; the others are carved, stratified by class,
    out of what is left for training: test first. The training split is in random (seeded) order.

    Images are decoded once and kept (`cache.py`); the splits are rows of the files that hold them, which are mapped.

    Args:
        config: where the data are and how they are split.
        progress: called with the number of images decoded so far and in all, while images are decoded.
        notice: called with a sentence that the user should see: damaged images were left out, the cache was damaged,
            cannot be written, or is being written by another process. None: it becomes a Python warning.

    Raises:
        DataError: the data is missing, damaged, or no classification data set that can be split; never other data.
    """
    notice = notice or (lambda text: warnings.warn(text, stacklevel=2))
    origin = _find(config)
    stored = open_source(origin, config.image_size, config.corrupt, _check, progress, notice)
    if stored.skipped:
        more = ", ..." if stored.skipped > len(stored.first_skipped) else ""
        what = "image is" if stored.skipped == 1 else "images are"
        notice(f"{stored.skipped} damaged {what} left out: {'; '.join(stored.first_skipped)}{more}")
    classes, parts = stored.classes, stored.parts
    where = parts["train"].where
    test_seed, validation_seed, order_seed = np.random.SeedSequence(config.split_seed).spawn(3)

    train = np.arange(len(parts["train"].labels))
    held: dict[PartName, tuple[PartName, Indices]] = {}  # of validation and test: the part, and its rows
    fold = config.validation_fold
    own = {name for name in parts if name != "validation" or fold == 0}  # the source's own validation part is fold 0
    fractions: tuple[tuple[PartName, float, np.random.SeedSequence, int], ...] = (
        ("test", config.test_fraction, test_seed, 0),
        ("validation", config.validation_fraction, validation_seed, fold - ("validation" in parts)),
    )
    for name, fraction, seed, number in fractions:
        if name in own:
            held[name] = name, np.arange(len(parts[name].labels))
        else:
            labels = parts["train"].labels[train]
            kept, held_out = hold_out(labels, classes, fraction, np.random.default_rng(seed), where, number)
            held[name] = "train", train[held_out]
            train = train[kept]
    train = train[np.random.default_rng(order_seed).permutation(len(train))[: config.train_limit]]
    _check_every_class(parts["train"].labels[train], classes, where)

    splits = (_split(stored, "train", train), _split(stored, *held["validation"]), _split(stored, *held["test"]))
    return Dataset(origin.name, classes, *splits, checksum=remembered_checksum(stored, splits))


def _find(config: DataConfig) -> Origin:
    match config.source:
        case "digits":
            return find_digits()
        case "fashion-mnist":
            return find_fashion_mnist(config.path)
        case "cifar10" | "cifar100":
            return find_cifar(config.source, _required(config), config.image_size)
        case "npz":
            return find_npz(_required(config))
        case "folder":
            return find_folder(_required(config), config.image_size)
        case "huggingface":
            return find_huggingface(_required(config), config.image_size, config.label_column)
        case _:
            assert_never(config.source)


def _required(config: DataConfig) -> str:
    if config.path is None:  # the configuration's own check forbids it; this one tells the type checker
        raise DataError(f"source '{config.source}' needs data.path: set it")
    return config.path


def _check(source: Source) -> None:
    """Refuses a source that is no classification data set."""
    train, count = source.parts["train"], len(source.classes)
    if count < 2:
        raise DataError(f"{train.where}: only one class; a classifier needs images of two or more")
    for part in source.parts.values():
        if part.shape != train.shape:
            sizes = f"images of shape {list(part.shape or ())}, but those to train on have {list(train.shape or ())}"
            raise DataError(f"{part.where}: {sizes} (height, width, channels); make them equal")
        if part.labels.min() < 0 or part.labels.max() >= count:
            outside = part.labels.max() if part.labels.max() >= count else part.labels.min()
            raise DataError(f"{part.where}: label {outside} is outside 0..{count - 1}, the classes to train on")
    _check_every_class(train.labels, source.classes, train.where)


def _check_every_class(labels: Labels, classes: tuple[str, ...], where: str) -> None:
    present = np.bincount(labels, minlength=len(classes))
    if (present == 0).any():
        missing = classes[int(present.argmin())]
        problem = f"class '{missing}' has no image in the training split"
        raise DataError(f"{where}: {problem}; add some, or raise data.train_limit")


def _split(stored: Stored, name: PartName, rows: Indices) -> Split:
    part = stored.parts[name]
    return Split(part.images, torch.from_numpy(part.labels[rows]), torch.from_numpy(rows), name, part.file)
