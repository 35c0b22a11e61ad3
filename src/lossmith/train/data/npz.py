"""Data sets in one .npz file of NumPy arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError
from lossmith.train.data.source import (
    Decoded,
    Labels,
    Origin,
    Part,
    PartName,
    Source,
    files_key,
    numbered_classes,
    require_pairs,
    rows_at_once,
)

_Array = npt.NDArray[np.generic]
_Pairs = dict[PartName, tuple[str, str]]
_LAYOUTS: tuple[_Pairs, ...] = (
    {"train": ("x_train", "y_train"), "validation": ("x_validation", "y_validation"), "test": ("x_test", "y_test")},
    {"train": ("images", "labels")},
    {  # MedMNIST's
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
)
_CHANNELS = (1, 3, 4)
_UNREADABLE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)  # what zipfile, NumPy raise


@dataclass(frozen=True, slots=True)
class _Header:
    """What an array is, without its content."""

    shape: tuple[int, ...]
    fortran: bool  # whether the first index varies fastest
    dtype: np.dtype[np.generic]


def find_npz(path: str) -> Origin:
    """The data set in an .npz file.

    Its arrays are x_train and y_train, optionally x_validation, y_validation, x_test, y_test; or only images and
    labels; or MedMNIST's train_images, train_labels, val_images, val_labels, test_images, test_labels. Images are uint8
    [N, H, W] or [N, H, W, C]; labels are integers [N] or [N, 1], 0..K-1, and K, the number of classes, is one more
    than the largest training label. Images are read a few at a time, also from a compressed file.

    Raises:
        DataError: no such file. Reading it: not an .npz file, arrays missing, unknown, or of another type or shape.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        problem = "is a directory" if file.is_dir() else "no such file"
        raise DataError(f"{file}: {problem}; set data.path to an .npz file")
    return Origin(file.stem, files_key("npz", [file]), lambda: _read(file))


def _read(file: Path) -> Source:
    with _unreadable(file):
        with file.open("rb") as opened:
            if opened.read(6) == b"\x93NUMPY":
                raise DataError(f"{file}: holds a single array; save images and labels together with numpy.savez")
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    pairs = next((layout for layout in _LAYOUTS if any(set(pair) & set(names) for pair in layout.values())), None)
    if pairs is None:
        raise DataError(
            f"{file}: no arrays x_train and y_train (or images and labels); found {sorted(names) or 'none'}"
        )
    known = {key for pair in pairs.values() for key in pair}
    if unknown := sorted(set(names) - known):
        raise DataError(f"{file}: unexpected array '{unknown[0]}'; the names are {', '.join(sorted(known))}")
    parts: dict[PartName, Part] = {
        part: _part(file, names, *pair) for part, pair in pairs.items() if set(pair) & set(names)
    }
    if "train" not in parts:
        images, labels = pairs["train"]
        raise DataError(f"{file}: no arrays {images} and {labels} (or images and labels); found {sorted(names)}")
    return Source(numbered_classes(parts["train"]), parts)


@contextmanager
def _unreadable(file: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{file}: not a readable .npz file of plain arrays ({reason}); save it anew") from error


@contextmanager
def _opened(file: Path, key: str) -> Iterator[tuple[_Header, IO[bytes]]]:
    """The header of an array, and its content as a stream."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{key}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"'{key}' has the array format {version}")
        if dtype.hasobject:
            raise ValueError(f"'{key}' holds objects")
        yield _Header(shape, fortran, dtype), stream


def _part(file: Path, names: list[str], images_key: str, labels_key: str) -> Part:
    for key in (images_key, labels_key):
        if key not in names:
            raise DataError(f"{file}: array '{key}' is missing; images and labels come in pairs")
    with _unreadable(file):
        with _opened(file, images_key) as (images, _):
            pass
        with _opened(file, labels_key) as (labels, stream):
            _check_labels(labels, f"{file}: '{labels_key}'")
            numbers = _rows(stream, labels, labels.shape[0]).reshape(-1)
    _check_images(images, f"{file}: '{images_key}'")
    if numbers.size and int(numbers.min()) < 0:
        raise DataError(f"{file}: '{labels_key}': label {numbers.min()} is negative; number the classes from 0")
    where = f"{file}: '{images_key}' and '{labels_key}'"
    require_pairs(images.shape[0], labels.shape[0], where)
    height, width, channels = (*images.shape[1:], 1)[:3]
    return Part(_integers(numbers), where, partial(_decode, file, images_key), (height, width, channels))


def _decode(file: Path, key: str) -> Iterator[Decoded]:
    with _unreadable(file), _opened(file, key) as (header, stream):
        count = header.shape[0]
        step = count if header.fortran else rows_at_once(header.shape[1:])  # one that varies so cannot be read by rows
        for start in range(0, count, step):
            images = _rows(stream, header, min(step, count - start)).astype(np.uint8, copy=False)
            images = images if images.ndim == 4 else images[..., np.newaxis]
            yield Decoded(np.arange(start, start + len(images)), images)


def _rows(stream: IO[bytes], header: _Header, count: int) -> _Array:
    """The next `count` rows; all of them where the array is in Fortran's order."""
    shape = (count, *header.shape[1:])
    size = int(np.prod(shape)) * header.dtype.itemsize
    content = stream.read(size)
    if len(content) < size:
        raise ValueError(f"truncated: {len(content)} bytes where {size} were expected")
    return np.frombuffer(content, header.dtype).reshape(shape, order="F" if header.fortran else "C")


def _check_images(images: _Header, where: str) -> None:
    if images.dtype != np.uint8:
        raise DataError(f"{where}: images must be uint8 (0..255), found {images.dtype}; convert them")
    shape = images.shape if len(images.shape) == 4 else (*images.shape, 1)
    if len(shape) != 4 or shape[-1] not in _CHANNELS or 0 in shape[1:]:
        raise DataError(f"{where}: expected the shape [N, H, W] or [N, H, W, 1, 3 or 4], found {list(images.shape)}")


def _check_labels(labels: _Header, where: str) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{where}: labels must be integers (class numbers from 0), found {labels.dtype}; convert them")
    if len(labels.shape) != 1 and labels.shape[1:] != (1,):  # [N, 1], as Keras saves CIFAR's
        raise DataError(f"{where}: expected the shape [N], found {list(labels.shape)}; one class number per image")


def _integers(numbers: _Array) -> Labels:
    return numbers.astype(np.int64)
