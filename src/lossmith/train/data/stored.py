"""Decoded images as files: what is there, and whether it is as it was written.

A folder holds one file of pixels (uint8 [P, C, H, W]) and one of labels (int64, little-endian) for each part of the
source, both named after their content, and `manifest.json`, which says what there is and the SHA-256 of each file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lossmith.train.data.mapped import ImageFile
from lossmith.train.data.source import Labels, PartName

MANIFEST = "manifest.json"
_FORMAT = 1
_checked: set[tuple[str, int, int, int]] = set()  # files that this process found intact, as they were then


class DamagedError(Exception):
    """A folder that is not as it was written; the message says how."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPart:
    """A decoded part of a source."""

    images: Tensor  # uint8 [P, C, H, W]
    labels: Labels  # int64 [P]
    where: str  # what it was read from, for messages
    file: ImageFile | None = None  # that `images` maps, if it does


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A decoded source."""

    classes: tuple[str, ...]
    parts: Mapping[PartName, StoredPart]
    skipped: int = 0  # damaged images that were left out
    first_skipped: tuple[str, ...] = ()  # what is wrong with the first of them
    folder: Path | None = None  # that holds the files
    digest: str = ""  # of the manifest, and so of the content


def write_manifest(
    folder: Path,
    classes: tuple[str, ...],
    parts: Mapping[PartName, Mapping[str, Any]],
    skipped: int,
    first_skipped: tuple[str, ...],
) -> None:
    """Makes the files in a folder a whole; `parts` has "where", "shape", "images" and "labels" of each."""
    values: dict[str, Any] = {
        "format": _FORMAT,
        "classes": classes,
        "parts": parts,
        "skipped": skipped,
        "first_skipped": first_skipped,
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({**values, "digest": _digest(values)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def content_name(part: str, kind: str, sha256: str) -> str:
    """The name of a file with this content."""
    return f"{part}-{sha256[:16]}.{kind}"


def read_stored(folder: Path) -> Stored:
    """What a folder holds, every byte of it checked once in each process.

    Raises:
        FileNotFoundError: there is no such folder.
        DamagedError: a file is missing, truncated or changed.
    """
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        digest = values.pop("digest")
        if values["format"] != _FORMAT or digest != _digest(values):
            raise DamagedError(f"{MANIFEST} has another content than was written")
        parts = {name: _part(folder, name, listed) for name, listed in values["parts"].items()}
        skipped, first = values["skipped"], tuple(values["first_skipped"])
        return Stored(tuple(values["classes"]), parts, skipped, first, folder, digest)
    except FileNotFoundError as error:
        if not folder.exists():
            raise
        raise DamagedError(f"{Path(error.filename).name} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{MANIFEST} cannot be read ({error})") from error


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _part(folder: Path, name: str, listed: Mapping[str, Any]) -> StoredPart:
    count, channels, height, width = shape = tuple(listed["shape"])
    images, labels = (folder / content_name(name, kind, listed[kind]) for kind in ("images", "labels"))
    _check(images, math.prod(shape), listed["images"])
    _check(labels, 8 * count, listed["labels"])
    file = ImageFile(str(images), (count, channels, height, width))
    return StoredPart(file.map(), np.fromfile(labels, "<i8").astype(np.int64), listed["where"], file)


def _check(path: Path, size: int, sha256: str) -> None:
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        if state.st_size != size:
            raise DamagedError(f"{path.name} has {state.st_size} bytes where {size} were written")
        known = (str(path), state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
        if known not in _checked:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise DamagedError(f"{path.name} has another content than was written")
            _checked.add(known)
