"""Small data sets in files, made by the tests of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lossmith.train.data import Split
from lossmith.train.task import DataConfig

Array = npt.NDArray[Any]


def numbered(count: int, classes: int = 2, size: int = 4) -> tuple[Array, Array]:
    """Images in which every pixel is the image's number, and labels that go round."""
    images = np.arange(count, dtype=np.uint8)[:, None, None].repeat(size, 1).repeat(size, 2)
    return images, np.arange(count) % classes


def pixels(split: Split) -> torch.Tensor:
    return split.take(torch.arange(len(split)))


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def write_npz(folder: Path, **arrays: Array) -> DataConfig:
    path = folder / "data.npz"
    np.savez(path, allow_pickle=True, **arrays)
    return DataConfig(source="npz", path=str(path))


def write_image(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_folder(root: Path, per_class: int = 6, parts: tuple[str, ...] = ("train",)) -> DataConfig:
    for part_number, part in enumerate(parts):
        for class_number, name in enumerate(("cat", "dog")):
            for index in range(per_class):
                value = 1 + part_number * 64 + class_number * 16 + index
                write_image(root / part / name / f"{index}.png", np.full((5, 4), value, np.uint8))
    return DataConfig(source="folder", path=str(root))
