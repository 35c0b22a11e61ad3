"""Data sets as folders of image files: <path>/train/<class>/<image>, and optionally validation (or val) and test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lossmith.errors import DataError
from lossmith.train.data.decoding import Item
from lossmith.train.data.images import ImageDecoder, Listing
from lossmith.train.data.source import Origin, Part, PartName, Source

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class _File:
    """An image file as it was listed."""

    path: str
    size: int  # bytes
    changed: int  # ns
    label: int


def find_folder(path: str, image_size: int | None, name: str | None = None) -> Origin:
    """The data set in a folder. The classes are the sorted names of the folders in train/.

    Images are grey where every one of them is, else RGB. They must all have one size, unless `image_size` is given:
    then each is resized to that square (bilinear).

    Args:
        path: the folder that holds train/.
        image_size: side of the square in pixels, or None.
        name: the data set's; None: the folder's.

    Raises:
        DataError: a folder is missing or empty, or a class is unknown. Reading it: an image has another size, or its
            file changed or went since it was listed.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such directory; set data.path to the folder that holds train/<class>/<image>")
    if not (root / "train").is_dir():
        raise DataError(f"{root}: no folder 'train' in it; the layout is train/<class>/<image>")
    validation = [root / name for name in ("validation", "val") if (root / name).is_dir()]
    if len(validation) == 2:
        raise DataError(f"{root}: both 'validation' and 'val' are there; remove one")
    folders: dict[PartName, Path] = {"train": root / "train"}
    if validation:
        folders["validation"] = validation[0]
    if (root / "test").is_dir():
        folders["test"] = root / "test"

    classes = tuple(entry.name for entry in _subfolders(folders["train"]))
    if not classes:
        raise DataError(f"{root / 'train'}: no class folders; the layout is train/<class>/<image>")
    files: dict[PartName, list[_File]] = {part: _labelled_files(folder, classes) for part, folder in folders.items()}

    def read() -> Source:
        listings: dict[PartName, Listing] = {
            part: Listing(len(listed), _items(listed)) for part, listed in files.items()
        }
        decoder = ImageDecoder(tuple(listings.values()), image_size)
        parts: dict[PartName, Part] = {}
        for part, listed in files.items():
            labels = np.array([file.label for file in listed], dtype=np.int64)
            parts[part] = Part(labels, str(folders[part]), partial(decoder.decode, listings[part]))
        return Source(classes, parts)

    return Origin(name or root.resolve().name, _key(root, files), read)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _labelled_files(folder: Path, classes: tuple[str, ...]) -> list[_File]:
    """The image files of each class, sorted by class and name."""
    listed: list[_File] = []
    for subfolder in _subfolders(folder):
        if subfolder.name not in classes:
            raise DataError(f"{subfolder}: class '{subfolder.name}' has no folder in train/; add one or remove this")
        label = classes.index(subfolder.name)
        try:
            with os.scandir(subfolder) as entries:
                images = [entry for entry in entries if _is_image(entry.name)]
            for entry in sorted(images, key=lambda entry: entry.name):
                state = entry.stat()
                listed.append(_File(entry.path, state.st_size, state.st_mtime_ns, label))
        except OSError as error:
            raise DataError(f"{error.filename or subfolder}: cannot read: {error.strerror or error}") from error
    if not listed:
        raise DataError(f"{folder}: no image files in its class folders; known are {', '.join(sorted(_SUFFIXES))}")
    return listed


def _is_image(name: str) -> bool:
    """Whether a file's suffix says so; without `Path`, which takes half of the time that listing a large set takes."""
    stem, _, suffix = name.rpartition(".")
    return stem != "" and f".{suffix.lower()}" in _SUFFIXES


def _items(listed: list[_File]) -> Callable[[int, int], list[Item]]:
    return lambda start, stop: [Item(file.path, stamp=(file.size, file.changed)) for file in listed[start:stop]]


def _key(root: Path, files: dict[PartName, list[_File]]) -> str:
    """Changes with any file's path, size, time of change, or label."""
    digest = hashlib.sha256(str(root.absolute()).encode())
    for part, listed in files.items():
        digest.update(part.encode())
        for file in listed:
            digest.update(f"{file.path[len(str(root)) :]!r} {file.size} {file.changed} {file.label}\n".encode())
    return digest.hexdigest()
