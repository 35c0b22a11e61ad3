"""From a data configuration to a checked data set with three fixed splits."""

from __future__ import annotations

from typing import assert_never

import numpy as np
import torch
from torch.nn import functional

from lossmith.errors import DataError
from lossmith.train.data.dataset import Dataset, Split, content_checksum
from lossmith.train.data.digits import read_digits
from lossmith.train.data.fashion import read_fashion_mnist
from lossmith.train.data.folder import read_folder
from lossmith.train.data.npz import read_npz
from lossmith.train.data.source import Part, Source
from lossmith.train.data.splits import hold_out, take
from lossmith.train.task import DataConfig

_RESIZE_CHUNK = 4096  # images resized at once, to bound the memory of their float copies


def load_dataset(config: DataConfig) -> Dataset:
    """The data set of a task, the same in every process that is given the same configuration and files.

    The source's own validation and test parts are used where it has them; the others are carved, stratified by class,
    out of what is left for training: test first. The training split is in random (seeded) order.

    Raises:
        DataError: the data is missing, damaged, or no classification data set that can be split; never other data.
    """
    source = _read(config)
    _check(source)
    test_seed, validation_seed, order_seed = np.random.SeedSequence(config.split_seed).spawn(3)

    train, validation, test = source.train, source.validation, source.test
    if test is None:
        train, test = hold_out(train, source.classes, config.test_fraction, np.random.default_rng(test_seed))
    if validation is None:
        generator = np.random.default_rng(validation_seed)
        train, validation = hold_out(train, source.classes, config.validation_fraction, generator)
    train = take(train, np.random.default_rng(order_seed).permutation(len(train.labels))[: config.train_limit])
    _check_every_class(train, source.classes)

    splits = tuple(_split(part, config.image_size) for part in (train, validation, test))
    return Dataset(source.name, source.classes, *splits, checksum=content_checksum(source.classes, splits))


def _read(config: DataConfig) -> Source:
    match config.source:
        case "digits":
            return read_digits()
        case "fashion-mnist":
            return read_fashion_mnist(config.path)
        case "npz":
            return read_npz(_required(config))
        case "folder":
            return read_folder(_required(config), config.image_size)
        case _:
            assert_never(config.source)


def _required(config: DataConfig) -> str:
    if config.path is None:  # the configuration's own check forbids it; this one tells the type checker
        raise DataError(f"source '{config.source}' needs data.path: set it")
    return config.path


def _check(source: Source) -> None:
    """Refuses a source that is no classification data set."""
    count = len(source.classes)
    if count < 2:
        raise DataError(f"{source.train.where}: only one class; a classifier needs images of two or more")
    shape = source.train.images.shape[1:]
    for part in source.parts:
        if part.images.shape[1:] != shape:
            sizes = f"images of shape {list(part.images.shape[1:])}, but those to train on have {list(shape)}"
            raise DataError(f"{part.where}: {sizes} (height, width, channels); make them equal")
        if part.labels.min() < 0 or part.labels.max() >= count:
            outside = part.labels.max() if part.labels.max() >= count else part.labels.min()
            raise DataError(f"{part.where}: label {outside} is outside 0..{count - 1}, the classes to train on")
    _check_every_class(source.train, source.classes)


def _check_every_class(train: Part, classes: tuple[str, ...]) -> None:
    present = np.bincount(train.labels, minlength=len(classes))
    if (present == 0).any():
        missing = classes[int(present.argmin())]
        problem = f"class '{missing}' has no image in the training split"
        raise DataError(f"{train.where}: {problem}; add some, or raise data.train_limit")


def _split(part: Part, image_size: int | None) -> Split:
    """The tensors of a part, [N, H, W, C] turned into [N, C, H, W], resized where asked for."""
    images = torch.from_numpy(
        np.array(part.images.transpose(0, 3, 1, 2), order="C")
    )  # a copy: a source may be read-only
    if image_size is not None and images.shape[2:] != (image_size, image_size):
        size = (image_size, image_size)
        resized = [
            functional.interpolate(chunk.float(), size, mode="bilinear", antialias=True).round_().clamp_(0, 255).byte()
            for chunk in images.split(_RESIZE_CHUNK)
        ]
        images = torch.cat(resized)
    return Split(images, torch.from_numpy(part.labels.copy()))
