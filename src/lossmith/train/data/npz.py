"""Data sets in one .npz file of NumPy arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError
from lossmith.train.data.source import Images, Labels, Part, Source

_Array = npt.NDArray[np.generic]
_PAIRS = {"train": ("x_train", "y_train"), "validation": ("x_validation", "y_validation"), "test": ("x_test", "y_test")}
_WHOLE = ("images", "labels")
_CHANNELS = (1, 3, 4)


def read_npz(path: str) -> Source:
    """The data set in an .npz file.

    Its arrays are x_train and y_train, optionally x_validation, y_validation, x_test, y_test; or only images and
    labels. Images are uint8 [N, H, W] or [N, H, W, C]; labels are integers [N] or [N, 1], 0..K-1, and K, the number
    of classes, is one more than the largest training label.

    Raises:
        DataError: no such file, not an .npz file, arrays missing, unknown, or of another type or shape.
    """
    file = Path(path).expanduser()
    arrays = _read(file)
    pairs = {"train": _WHOLE} if _WHOLE[0] in arrays else _PAIRS
    known = {key for pair in pairs.values() for key in pair}
    if unknown := sorted(set(arrays) - known):
        raise DataError(f"{file}: unexpected array '{unknown[0]}'; the names are {', '.join(sorted(known))}")
    parts = {name: _part(file, arrays, *pair) for name, pair in pairs.items() if pair[0] in arrays or pair[1] in arrays}
    if "train" not in parts:
        raise DataError(
            f"{file}: no arrays x_train and y_train (or images and labels); found {sorted(arrays) or 'none'}"
        )
    num_classes = int(parts["train"].labels.max()) + 1
    return Source(file.stem, tuple(str(label) for label in range(num_classes)), **parts)


def _read(file: Path) -> dict[str, _Array]:
    if not file.is_file():
        problem = "is a directory" if file.is_dir() else "no such file"
        raise DataError(f"{file}: {problem}; set data.path to an .npz file")
    try:
        with file.open("rb") as opened:
            content = np.load(opened, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise DataError(f"{file}: holds a single array; save images and labels together with numpy.savez")
            return {key: content[key] for key in content.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: not a readable .npz file of plain arrays ({error}); save it anew") from error


def _part(file: Path, arrays: dict[str, _Array], images_key: str, labels_key: str) -> Part:
    for key in (images_key, labels_key):
        if key not in arrays:
            raise DataError(f"{file}: array '{key}' is missing; images and labels come in pairs")
    return Part(
        _checked_images(arrays[images_key], f"{file}: '{images_key}'"),
        _checked_labels(arrays[labels_key], f"{file}: '{labels_key}'"),
        where=f"{file}: '{images_key}' and '{labels_key}'",
    )


def _checked_images(images: _Array, where: str) -> Images:
    if images.dtype != np.uint8:
        raise DataError(f"{where}: images must be uint8 (0..255), found {images.dtype}; convert them")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in _CHANNELS or 0 in images.shape[1:]:
        raise DataError(f"{where}: expected the shape [N, H, W] or [N, H, W, 1, 3 or 4], found {list(images.shape)}")
    return cast("Images", images)


def _checked_labels(labels: _Array, where: str) -> Labels:
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{where}: labels must be integers (class numbers from 0), found {labels.dtype}; convert them")
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras saves CIFAR's
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"{where}: expected the shape [N], found {list(labels.shape)}; one class number per image")
    if labels.size and int(labels.min()) < 0:
        raise DataError(f"{where}: label {labels.min()} is negative; number the classes from 0")
    return labels.astype(np.int64)
