"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 32x32 colour images, in each of the forms in which they go round.

The batches for Python and the binary ones, each as a folder or as the .tar.gz it comes in, whose members are read by
their names, and image folders. The pickled batches are read as plain data (`plain_pickle.py`).
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lossmith.errors import DataError
from lossmith.train.data.folder import find_folder
from lossmith.train.data.plain_pickle import read_plain_dict
from lossmith.train.data.source import Images, Labels, Origin, PartName, Source, array_part, files_key

_PIXELS = 3 * 32 * 32
_LARGEST_MEMBER = 1 << 30  # bytes; the largest of the real ones has 155 MB


@dataclass(frozen=True, slots=True)
class _Layout:
    """The files of one form of one data set."""

    folder: str
    archive: str
    parts: Mapping[PartName, tuple[str, ...]]
    names: str  # the file of the classes' names
    key: str  # of the labels (Python) or of the names
    label_bytes: int = 0  # before the pixels of each image, the last of them the label; 0: batches for Python

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(name for names in self.parts.values() for name in names)


_TEN = tuple(f"data_batch_{number}" for number in range(1, 6))
_LAYOUTS: Mapping[str, tuple[int, str, tuple[_Layout, ...]]] = {  # classes, title, forms
    "cifar10": (
        10,
        "CIFAR-10",
        (
            _Layout(
                "cifar-10-batches-py",
                "cifar-10-python.tar.gz",
                {"train": _TEN, "test": ("test_batch",)},
                "batches.meta",
                "label",
            ),
            _Layout(
                "cifar-10-batches-bin",
                "cifar-10-binary.tar.gz",
                {"train": tuple(f"{name}.bin" for name in _TEN), "test": ("test_batch.bin",)},
                "batches.meta.txt",
                "label",
                label_bytes=1,
            ),
        ),
    ),
    "cifar100": (
        100,
        "CIFAR-100",
        (
            _Layout(
                "cifar-100-python",
                "cifar-100-python.tar.gz",
                {"train": ("train",), "test": ("test",)},
                "meta",
                "fine_label",
            ),
            _Layout(
                "cifar-100-binary",
                "cifar-100-binary.tar.gz",
                {"train": ("train.bin",), "test": ("test.bin",)},
                "fine_label_names.txt",
                "fine_label",
                label_bytes=2,
            ),
        ),
    ),
}


def find_cifar(source: str, path: str, image_size: int | None) -> Origin:
    """The data set "cifar10" or "cifar100" (its 100 fine labels) at `path`.

    `path` is the folder of the batches, or one that holds that folder, the archive or an image folder; or the archive.

    Raises:
        DataError: none of these is there, or a batch is missing. Reading it: a batch is damaged, is no plain data, or
            has a label out of range.
    """
    count, title, layouts = _LAYOUTS[source]
    place = Path(path).expanduser()
    if place.is_file():
        return _from_archive(source, place, count, layouts)
    for layout in layouts:
        for folder in (place, place / layout.folder):
            if any((folder / name).is_file() for name in layout.files):
                return _from_folder(source, folder, count, layout)
    for layout in layouts:
        if (place / layout.archive).is_file():
            return _from_archive(source, place / layout.archive, count, layouts)
    if (place / "train").is_dir():
        return _from_images(source, path, image_size, count, title)
    forms = ", ".join(f"{layout.folder}, {layout.archive}" for layout in layouts)
    problem = "holds no" if place.is_dir() else "no such file or directory for"
    raise DataError(f"{place}: {problem} {title} ({forms}, or train/<class>/<image>); set data.path to one of these")


def _from_folder(source: str, folder: Path, count: int, layout: _Layout) -> Origin:
    files = {name: folder / name for name in layout.files}
    for file in files.values():
        if not file.is_file():
            raise DataError(f"{file}: no such file, but others of the data set are there; put an intact copy there")
    if (folder / layout.names).is_file():
        files[layout.names] = folder / layout.names

    def read() -> Source:
        try:
            contents = {name: file.read_bytes() for name, file in files.items()}
        except OSError as error:
            raise DataError(f"{error.filename}: cannot read the file: {error.strerror or error}") from error
        return _source(contents, folder, count, layout)

    return Origin(source, files_key(source, files.values()), read)


def _from_archive(source: str, archive: Path, count: int, layouts: Iterable[_Layout]) -> Origin:
    def read() -> Source:
        # a member outside the wanted folders may have the name of a batch
        wanted = {(layout.folder, name) for layout in layouts for name in (*layout.files, layout.names)}
        found: dict[str, dict[str, bytes]] = {}
        try:
            with tarfile.open(archive, "r|*") as members:  # in one pass: going back would decompress it anew
                for member in members:
                    folder, name = ("", "", *PurePosixPath(member.name).parts)[-2:]
                    if (folder, name) not in wanted or not member.isfile():
                        continue
                    if member.size > _LARGEST_MEMBER:
                        raise DataError(f"{archive}: member {member.name} has {member.size} bytes; that is no batch")
                    content = members.extractfile(member)
                    if content is not None:
                        found.setdefault(folder, {})[name] = content.read()
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise DataError(f"{archive}: damaged or no archive ({error}); replace it with an intact copy") from error
        for layout in layouts:
            if layout.folder in found:
                missing = [name for name in layout.files if name not in found[layout.folder]]
                if missing:
                    raise DataError(f"{archive}: has no {layout.folder}/{missing[0]}; replace it with an intact copy")
                return _source(found[layout.folder], archive, count, layout)
        folders = " nor ".join(layout.folder for layout in layouts)
        raise DataError(f"{archive}: holds neither {folders}; set data.path to an archive of {source}")

    return Origin(source, files_key(source, [archive]), read)


def _from_images(source: str, path: str, image_size: int | None, count: int, title: str) -> Origin:
    origin = find_folder(path, image_size, source)

    def read() -> Source:
        found = origin.read()
        if len(found.classes) != count:
            problem = f"{len(found.classes)} class folders, but {title} has {count} classes"
            raise DataError(f"{path}: {problem}; complete them, or set data.source to folder")
        return found

    return Origin(source, origin.key, read)


def _source(contents: dict[str, bytes], place: Path, count: int, layout: _Layout) -> Source:
    classes = _classes(contents.get(layout.names), place / layout.names, count, layout)
    parts: dict[PartName, Any] = {}
    for part, names in layout.parts.items():
        batches = [_batch(contents.pop(name), str(place / name), count, layout) for name in names]
        images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        parts[part] = array_part(images, labels, f"{place} ({part})")
    return Source(classes, parts)


def _classes(content: bytes | None, where: Path, count: int, layout: _Layout) -> tuple[str, ...]:
    """The classes' names; their numbers where there is no file of the names."""
    if content is None:
        return tuple(map(str, range(count)))
    if layout.label_bytes:
        names = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
    else:
        listed = read_plain_dict(content, str(where)).get(f"{layout.key}_names")
        listed = listed if isinstance(listed, list) else []
        names = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in listed]
    if len(names) != count:
        raise DataError(f"{where}: {len(names)} names of classes, expected {count}; replace it with an intact copy")
    return tuple(names)


def _batch(content: bytes, where: str, count: int, layout: _Layout) -> tuple[Images, Labels]:
    """The images, uint8 [N, 32, 32, 3], and labels of a batch."""
    if layout.label_bytes:
        size = layout.label_bytes + _PIXELS
        if not content or len(content) % size:
            problem = f"{len(content)} bytes, not a multiple of {size}"
            raise DataError(f"{where}: truncated or no batch ({problem}); replace the file with an intact copy")
        rows = np.frombuffer(content, np.uint8).reshape(-1, size)
        pixels, labels = rows[:, layout.label_bytes :], rows[:, layout.label_bytes - 1].astype(np.int64)
    else:
        values = read_plain_dict(content, where)
        pixels, listed = values.get("data"), values.get(f"{layout.key}s")
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
            raise DataError(f"{where}: 'data' is no uint8 array [N, {_PIXELS}]; replace the file with an intact copy")
        if not isinstance(listed, list) or not all(type(label) is int for label in listed):
            raise DataError(f"{where}: '{layout.key}s' is no list of integers; replace the file with an intact copy")
        if len(listed) != len(pixels):
            raise DataError(f"{where}: {len(pixels)} images but {len(listed)} labels; each image needs one label")
        if listed and not all(0 <= label < count for label in (min(listed), max(listed))):
            outside = max(listed) if max(listed) >= count else min(listed)
            raise DataError(f"{where}: label {outside} is outside 0..{count - 1}; replace the file with an intact copy")
        labels = np.array(listed, dtype=np.int64)
    if labels.size and labels.max() >= count:
        problem = f"label {labels.max()} is outside 0..{count - 1}"
        raise DataError(f"{where}: {problem}; replace the file with an intact copy")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
