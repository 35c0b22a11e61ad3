"""Data sets as folders of image files: <path>/train/<class>/<image>, and optionally validation (or val) and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lossmith.errors import DataError
from lossmith.train.data.source import Images, Part, Source

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
_GREY_MODES = frozenset({"1", "L", "LA"})
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises on damaged files


def read_folder(path: str, image_size: int | None) -> Source:
    """The data set in a folder. The classes are the sorted names of the folders in train/.

    Images are grey where every one of them is, else RGB. They must all have one size, unless `image_size` is given:
    then each is resized to that square (bilinear).

    Raises:
        DataError: a folder is missing or empty, a class is unknown, or a file is no readable image (it is named).
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such directory; set data.path to the folder that holds train/<class>/<image>")
    if not (root / "train").is_dir():
        raise DataError(f"{root}: no folder 'train' in it; the layout is train/<class>/<image>")
    validation = [root / name for name in ("validation", "val") if (root / name).is_dir()]
    if len(validation) == 2:
        raise DataError(f"{root}: both 'validation' and 'val' are there; remove one")
    folders = {"train": root / "train"}
    folders |= {"validation": validation[0]} if validation else {}
    folders |= {"test": root / "test"} if (root / "test").is_dir() else {}

    classes = tuple(entry.name for entry in _subfolders(folders["train"]))
    if not classes:
        raise DataError(f"{root / 'train'}: no class folders; the layout is train/<class>/<image>")
    files = {part: _labelled_files(folder, classes) for part, folder in folders.items()}
    mode = _common_mode([file for listed in files.values() for file, _ in listed])
    pixels = _decode([file for listed in files.values() for file, _ in listed], mode, image_size)
    parts: dict[str, Part] = {}
    start = 0
    for part, listed in files.items():
        labels = np.array([label for _, label in listed], dtype=np.int64)
        parts[part] = Part(pixels[start : start + len(listed)], labels, where=str(folders[part]))
        start += len(listed)
    return Source(root.resolve().name, classes, **parts)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _labelled_files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The image files of each class, sorted by class and name."""
    listed: list[tuple[Path, int]] = []
    for subfolder in _subfolders(folder):
        if subfolder.name not in classes:
            raise DataError(f"{subfolder}: class '{subfolder.name}' has no folder in train/; add one or remove this")
        found = sorted(file for file in subfolder.iterdir() if file.suffix.lower() in _SUFFIXES)
        listed += [(file, classes.index(subfolder.name)) for file in found]
    if not listed:
        raise DataError(f"{folder}: no image files in its class folders; known are {', '.join(sorted(_SUFFIXES))}")
    return listed


def _common_mode(files: list[Path]) -> str:
    """'L' where every file is a grey image, else 'RGB'; reads headers only, up to the first image in colour."""
    for file in files:
        try:
            with Image.open(file) as image:
                if image.mode not in _GREY_MODES:
                    return "RGB"
        except _UNREADABLE as error:
            raise _unreadable(file, error) from error
    return "L"


def _decode(files: list[Path], mode: str, image_size: int | None) -> Images:
    """uint8 [N, H, W, C], resized to the square that the configuration asks for, else checked to be of one size."""
    first = _pixels(files[0], mode, image_size)
    decoded = np.empty((len(files), *first.shape), dtype=np.uint8)
    for index, file in enumerate(files):
        pixels = _pixels(file, mode, image_size)
        if pixels.shape != first.shape:
            (height, width), (height_0, width_0) = pixels.shape[:2], first.shape[:2]
            problem = f"{width}x{height} pixels, but {files[0]} has {width_0}x{height_0}"
            raise DataError(f"{file}: {problem}; set data.image_size to resize all images to one size")
        decoded[index] = pixels
    return decoded if decoded.ndim == 4 else decoded[..., np.newaxis]


def _pixels(file: Path, mode: str, image_size: int | None) -> Images:
    """uint8 [H, W] for a grey image, [H, W, 3] for one in colour."""
    try:
        with Image.open(file) as image:
            converted = image.convert(mode)
    except _UNREADABLE as error:
        raise _unreadable(file, error) from error
    if image_size is not None and converted.size != (image_size, image_size):
        converted = converted.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(converted)


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"{file}: not a readable image ({error}); replace or remove the file")
