"""What a reader of a source hands over: labelled images as they were found, before any split is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError

Images = npt.NDArray[np.uint8]  # [N, H, W, C]
Labels = npt.NDArray[np.int64]  # [N]
PartName = Literal["train", "validation", "test"]
Progress = Callable[[int, int], None]  # images decoded so far, images in all

_CHUNK_BYTES = 2 << 20  # of an array handed over at once: enough to be fast, little enough to count for nothing


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Some images of a part, in order."""

    positions: npt.NDArray[np.int64]  # [n], rising; one that is left out could not be decoded
    images: Images  # uint8 [n, H, W, C]
    failures: tuple[str, ...] = ()  # "where: why" of each image between these that is damaged


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a source. Its images are decoded as they are asked for, so that they need not fit in memory.

    Raises:
        DataError: there are no images.
    """

    labels: Labels  # int64 [N], of all images, the damaged ones too
    where: str  # the file, folder or key it came from, for messages
    decode: Callable[[], Iterator[Decoded]]  # all images from the start; raises DataError
    shape: tuple[int, int, int] | None = None  # height, width, channels; None: only decoding tells

    def __post_init__(self) -> None:
        if len(self.labels) == 0:
            raise DataError(f"{self.where}: no images; put some there or choose another source")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """All parts of a source: at least "train". One that is missing is not in the source."""

    classes: tuple[str, ...]
    parts: Mapping[PartName, Part]


@dataclass(frozen=True, slots=True)
class Origin:
    """A source that was found but is not read yet."""

    name: str  # of the data set
    key: str | None  # changes whenever what would be read may have; None: reading costs too little to be kept
    read: Callable[[], Source]  # raises DataError


def array_part(images: Images, labels: Labels, where: str) -> Part:
    """A part that is in memory already: uint8 [N, H, W, C] and int64 [N].

    Raises:
        DataError: the two arrays do not fit each other, or there are none.
    """
    require_pairs(len(images), len(labels), where)
    shape = images.shape[1:]

    def decode() -> Iterator[Decoded]:
        step = rows_at_once(shape)
        for start in range(0, len(images), step):
            chunk = images[start : start + step]
            yield Decoded(np.arange(start, start + len(chunk)), chunk)

    return Part(labels, where, decode, (shape[0], shape[1], shape[2]))


def require_pairs(images: int, labels: int, where: str) -> None:
    if images != labels:
        raise DataError(f"{where}: {images} images but {labels} labels; each image needs one label")


def numbered_classes(part: Part) -> tuple[str, ...]:
    """The names "0", "1", ... of as many classes as the labels of a part tell of: one more than the largest.

    Raises:
        DataError: that is more than it has images, so that some class has none.
    """
    largest = int(part.labels.max())
    if largest >= len(part.labels):
        problem = f"label {largest}, but only {len(part.labels)} images"
        raise DataError(f"{part.where}: {problem}; number the classes from 0, without gaps")
    return tuple(map(str, range(largest + 1)))


def rows_at_once(shape: tuple[int, ...]) -> int:
    """How many images of this shape (bytes) to handle at once."""
    return max(1, _CHUNK_BYTES // int(np.prod(shape)))


def files_key(kind: str, files: Iterable[Path]) -> str:
    """Hexadecimal digits that change with the kind of source and any file's path, size or time of change.

    Raises:
        DataError: a file is gone.
    """
    digest = hashlib.sha256(kind.encode())
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise DataError(f"{file}: cannot read the file: {error.strerror or error}") from error
        digest.update(json.dumps([str(file.absolute()), found.st_size, found.st_mtime_ns]).encode())
    return digest.hexdigest()
