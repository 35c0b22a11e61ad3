"""Decoding a source, into files or into memory, a few megabytes of images at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lossmith.errors import DataError
from lossmith.train.data.source import Decoded, Labels, Part, PartName, Progress, Source
from lossmith.train.data.stored import Stored, StoredPart, content_name, write_manifest
from lossmith.train.task import CorruptImages

_TOLD = 3  # damaged images that a message names
_RESIZED_AT_ONCE = 4096  # images, to bound the memory of their float copies
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def gather(source: Source, image_size: int | None) -> Stored:
    """A source in memory: for one that is too small to keep, and that has no files that could be damaged."""
    parts: dict[PartName, StoredPart] = {}
    for name, part in source.parts.items():
        images = torch.cat([_tensor(chunk, image_size) for chunk in part.decode()])
        parts[name] = StoredPart(images, part.labels, part.where)
    return Stored(source.classes, parts)


def write(
    source: Source, folder: Path, image_size: int | None, corrupt: CorruptImages, progress: Progress | None
) -> None:
    """Decodes a source into a folder, which must be empty, as `stored.py` describes; its manifest comes last.

    Args:
        source: what to decode.
        folder: where to.
        image_size: side in pixels of a square that images of another shape are resized to; None: none is.
        corrupt: what becomes of damaged images; where they are an error, all are looked for before it is raised.
        progress: told after every few images.

    Raises:
        DataError: an image is damaged and that is an error, or a class lost all its images, or what decoding raises;
            or the disk is too small or cannot be written.
    """
    damaged = _Damaged(corrupt)
    total, done = sum(len(part.labels) for part in source.parts.values()), 0
    written: dict[PartName, dict[str, Any]] = {}
    for name, part in source.parts.items():
        with _PartWriter(folder, name, part) as writer:
            for chunk in part.decode():
                damaged.add(chunk.failures)
                if len(chunk.positions) and not damaged.fatal:
                    writer.add(chunk.positions, _tensor(chunk, image_size), left=total - done)
                done += len(chunk.positions) + len(chunk.failures)
                if progress is not None:
                    progress(done, total)
            if not damaged.fatal:
                written[name] = writer.finish(source.classes)
    damaged.refuse()
    with _writing(folder):
        write_manifest(folder, source.classes, written, damaged.count, tuple(damaged.first))


def _tensor(chunk: Decoded, size: int | None) -> Tensor:
    """uint8 [n, H, W, C] as [n, C, H, W], resized where asked for."""
    images = torch.from_numpy(np.array(chunk.images.transpose(0, 3, 1, 2), order="C"))
    if size is None or images.shape[2:] == (size, size):
        return images
    resized = [
        functional.interpolate(few.float(), (size, size), mode="bilinear", antialias=True).round_().clamp_(0, 255)
        for few in images.split(_RESIZED_AT_ONCE)
    ]
    return torch.cat([few.byte() for few in resized])


@dataclass(slots=True)
class _Damaged:
    """The images that could not be decoded."""

    policy: CorruptImages
    count: int = 0
    first: list[str] = field(default_factory=list)  # "where: why"

    def add(self, failures: tuple[str, ...]) -> None:
        self.count += len(failures)
        self.first += failures[: _TOLD - len(self.first)]

    @property
    def fatal(self) -> bool:
        return self.count > 0 and self.policy == "error"

    def refuse(self) -> None:
        if not self.fatal:
            return
        told = self.first[0]
        if self.count > 1:
            names = ", ".join(failure.partition(": not a readable")[0] for failure in self.first[1:])
            told += f"; {self.count} images are damaged, also {names}{' and others' if self.count > _TOLD else ''}"
        which = "the file" if self.count == 1 else "the files"
        raise DataError(f"{told}; replace or remove {which}, or set data.corrupt to skip")


class _PartWriter:
    """The two files of a part while they are written."""

    def __init__(self, folder: Path, name: PartName, part: Part) -> None:
        self._folder = folder
        self._name = name
        self._part = part
        self._path = folder / f"{name}.images"
        self._digest = hashlib.sha256()
        self._labels: list[Labels] = []
        self._shape: list[int] = []
        with _writing(folder):
            self._file = self._path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def add(self, positions: Labels, images: Tensor, left: int) -> None:
        """More images; `left` is how many, at most, are still to come for all parts, these included."""
        if not self._shape:
            self._shape = list(images.shape[1:])
            self._require_room(left * images[0].numel())
        self._labels.append(self._part.labels[positions])
        content = images.numpy().data
        with _writing(self._folder):
            self._file.write(content)
        self._digest.update(content)

    def finish(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """What the manifest says of the part."""
        labels = np.concatenate(self._labels) if self._labels else np.empty(0, np.int64)
        before, after = (np.bincount(found, minlength=len(classes)) for found in (self._part.labels, labels))
        if (lost := np.flatnonzero((before > 0) & (after == 0))).size:
            problem = f"all {before[lost[0]]} images of class '{classes[lost[0]]}' are damaged"
            raise DataError(f"{self._part.where}: {problem}; replace them")
        listed = labels.astype("<i8").tobytes()
        sha256 = {"images": self._digest.hexdigest(), "labels": hashlib.sha256(listed).hexdigest()}
        with _writing(self._folder):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._path.rename(self._folder / content_name(self._name, "images", sha256["images"]))
            with (self._folder / content_name(self._name, "labels", sha256["labels"])).open("wb") as file:
                file.write(listed)
                file.flush()
                os.fsync(file.fileno())
        return {"where": self._part.where, "shape": [len(labels), *self._shape], **sha256}

    def _require_room(self, size: int) -> None:
        """Better now than after an hour."""
        with _writing(self._folder):
            free = shutil.disk_usage(self._folder).free
        if free < size:
            raise _no_room(self._folder, f"{size / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise _no_room(folder, reason) from error
        raise DataError(
            f"{folder}: cannot write the decoded images: {reason}; set LOSSMITH_CACHE to a folder that can be written"
        ) from error


def _no_room(folder: Path, reason: str) -> DataError:
    remedy = "make room, or set LOSSMITH_CACHE to a folder on another disk"
    return DataError(f"{folder}: no room for the decoded images ({reason}); {remedy}")
