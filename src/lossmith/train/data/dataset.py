"""The records: a split of labelled images, and a data set of three splits.

Legend of the tensor names: P images of a part of the source, N images of the split, B batch, C channels, H rows,
W columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossmith.train.data.mapped import ImageFile
from lossmith.train.data.source import rows_at_once


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Labelled images: rows of a part of the source. Read the pixels through `take` and `chunks`.

    Where the images are mapped from a file, a pickle holds its path instead of the pixels.
    """

    images: Tensor  # uint8 [P, C, H, W], 0..255, on the CPU, possibly memory mapped and shared by several splits
    labels: Tensor  # int64 [N], 0..num_classes-1
    index: Tensor | None = None  # int64 [N], the row in `images` of each image; None: all rows, in order
    part: str = ""  # the part of the source that `index` counts in: "train", "validation" or "test"
    file: ImageFile | None = None  # that `images` maps, if it does

    def __reduce__(self) -> tuple[Callable[..., Split], tuple[object, ...]]:
        index = None if self.index is None else _compact(self.index)
        return _unpickled, (self.file or self.images, _compact(self.labels), index, self.part)

    def __len__(self) -> int:
        return self.labels.shape[0]

    def take(self, positions: Tensor) -> Tensor:
        """The images at `positions`, int64 [B] in 0..N-1, as uint8 [B, C, H, W]: a fresh, contiguous CPU tensor."""
        rows = positions if self.index is None else self.index.index_select(0, positions)
        return self.images.index_select(0, rows)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All images in order, uint8 [<= `size`, C, H, W] at a time; to be read only, they may be no copies."""
        if self.index is None:
            yield from self.images.split(size)
        else:
            for rows in self.index.split(size):
                yield self.images.index_select(0, rows)


def _compact(numbers: Tensor) -> npt.NDArray[np.integer]:
    """int64 in the smallest type that holds them."""
    array = numbers.numpy()
    lowest, highest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    return array.astype(np.promote_types(np.min_scalar_type(lowest), np.min_scalar_type(highest)))


def _unpickled(
    images: ImageFile | Tensor, labels: npt.NDArray[np.integer], index: npt.NDArray[np.integer] | None, part: str
) -> Split:
    file = images if isinstance(images, ImageFile) else None
    mapped = images.map() if isinstance(images, ImageFile) else images
    rows = None if index is None else torch.from_numpy(index.astype(np.int64))
    return Split(mapped, torch.from_numpy(labels.astype(np.int64)), rows, part, file)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images in three disjoint splits, as the source and the split seed fix them."""

    name: str
    classes: tuple[str, ...]  # the name of each label
    train: Split
    validation: Split
    test: Split
    checksum: str  # 16 hexadecimal digits over the content and the splits

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


def content_checksum(classes: tuple[str, ...], splits: tuple[Split, ...]) -> str:
    """16 hexadecimal digits that change with any class name, pixel, label, order or border between splits."""
    digest = hashlib.sha256(repr(classes).encode())
    for split in splits:
        shape = tuple(split.images.shape[1:])
        digest.update(repr((len(split), *shape)).encode())
        for chunk in split.chunks(rows_at_once(shape)):
            digest.update(chunk.contiguous().numpy().data)
        digest.update(split.labels.numpy().astype("<i8").data)
    return digest.hexdigest()[:16]
