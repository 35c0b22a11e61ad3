"""The records: a split of labelled images, and a data set of three splits.

Legend of the tensor names: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Labelled images. Plain CPU tensors, so that it pickles."""

    images: Tensor  # uint8 [N, C, H, W], 0..255
    labels: Tensor  # int64 [N], 0..num_classes-1

    def __len__(self) -> int:
        return self.labels.shape[0]


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
        digest.update(repr(tuple(split.images.shape)).encode())
        digest.update(split.images.contiguous().numpy().data)
        digest.update(split.labels.numpy().astype("<i8").data)
    return digest.hexdigest()[:16]
