"""Data sets of the Hugging Face hub, or saved by `datasets`' save_to_disk; needs the extra `huggingface`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lossmith.errors import DataError
from lossmith.train.data.decoding import Item
from lossmith.train.data.images import ImageDecoder, Listing
from lossmith.train.data.source import Labels, Origin, Part, PartName, Source, files_key, numbered_classes

_SPLITS: Mapping[PartName, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
_SAVED = ("dataset_dict.json", "dataset_info.json")  # what save_to_disk writes
_USUAL = ("label", "labels", "fine_label")


def find_huggingface(path: str, image_size: int | None, column: str | None) -> Origin:
    """The data set that the hub calls `path`, or that is saved in the folder `path`.

    The images are the column of the type Image; the labels are the column of the type ClassLabel, or, where there is
    none, integers called label. Splits of other names than train, validation (val, valid, dev) and test are left out.
    The package runs no code of a data set's author since its release 4.

    Args:
        path: the name, also with its configuration as name:configuration; or a folder.
        image_size: side in pixels of the square to resize to (bilinear), or None.
        column: the labels' column, where there are several.

    Raises:
        DataError: the package is not installed, no such data set, no network, no training split, no such column.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not any((folder / name).is_file() for name in _SAVED):
            raise DataError(
                f"{folder}: holds no data set saved by save_to_disk; for image files set data.source to folder"
            )
        files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("cache-"))
        key = files_key(f"huggingface {column}", files)
        return Origin(folder.resolve().name, key, lambda: _read(_load(path, saved=True), path, image_size, column))
    splits = _load(path, saved=False)
    prints = sorted((name, split._fingerprint) for name, split in splits.items())
    key = f"huggingface {path} {column} {prints}"
    return Origin(path.rpartition("/")[2], key, lambda: _read(splits, path, image_size, column))


def _package() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(
            "data.source huggingface needs the package datasets: pip install 'lossmith[huggingface]'"
        ) from error


def _load(path: str, *, saved: bool) -> dict[str, Any]:
    """The splits, by name."""
    datasets = _package()
    name, _, configuration = path.partition(":")
    try:
        if saved:
            loaded = datasets.load_from_disk(str(Path(path).expanduser()))
        else:
            loaded = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # of many kinds: of the network, of files, of the package
        reason = (str(error) or type(error).__name__).splitlines()[0]
        remedy = "save it anew" if saved else "check the name and the network, or set data.path to a saved data set"
        raise DataError(f"{path}: cannot load the data set ({reason}); {remedy}") from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


def _read(splits: Mapping[str, Any], path: str, image_size: int | None, column: str | None) -> Source:
    datasets = _package()
    named: dict[PartName, str | None] = {
        part: next((name for name in names if name in splits), None) for part, names in _SPLITS.items()
    }
    if named["train"] is None:
        raise DataError(f"{path}: no split 'train'; found {', '.join(sorted(splits)) or 'none'}")
    features = splits[named["train"]].features
    images = _only(
        [name for name, kind in features.items() if isinstance(kind, datasets.Image)], "Image", path, features
    )
    labels = _label_column(datasets, features, path, column)
    kind = features[labels]

    parts: dict[PartName, Part] = {}
    listings: list[Listing] = []
    decoder = ImageDecoder(listings, image_size)
    for part, name in named.items():
        if name is None:
            continue
        where = f"{path}: split '{name}'"
        for needed in (images, labels):
            if needed not in splits[name].features:
                raise DataError(f"{where}: has no column '{needed}', but the training split has; save it anew")
        rows = splits[name].select_columns([images]).cast_column(images, datasets.Image(decode=False))
        listing = Listing(len(rows), partial(_items, rows, images, where))
        listings.append(listing)
        parts[part] = Part(_labels(splits[name], labels, where), where, partial(decoder.decode, listing))
    named_classes = tuple(map(str, kind.names)) if isinstance(kind, datasets.ClassLabel) else None
    return Source(named_classes or numbered_classes(parts["train"]), parts)


def _only(found: list[str], kind: str, path: str, features: Iterable[str]) -> str:
    if len(found) != 1:
        problem = f"{len(found)} columns of the type {kind}, expected one"
        raise DataError(f"{path}: {problem}; its columns are {', '.join(features)}")
    return found[0]


def _label_column(datasets: Any, features: Mapping[str, Any], path: str, column: str | None) -> str:
    if column is not None:
        if column not in features:
            raise DataError(
                f"{path}: has no column '{column}' (data.label_column); its columns are {', '.join(features)}"
            )
        return column
    found = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if not found:
        found = [
            name
            for name, kind in features.items()
            if name in _USUAL and isinstance(kind, datasets.Value) and "int" in kind.dtype
        ]
    if len(found) > 1:
        found = [name for name in _USUAL if name in found][:1] or found
    if len(found) != 1:
        problem = "several columns of labels" if found else "no column of the type ClassLabel"
        raise DataError(
            f"{path}: {problem}; set data.label_column to one of its columns: {', '.join(found or features)}"
        )
    return found[0]


def _labels(split: Any, column: str, where: str) -> Labels:
    found = np.asarray(split.select_columns([column]).with_format("numpy")[:][column])
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise DataError(f"{where}: '{column}' is no column of integers (it has {found.dtype}); set data.label_column")
    return found.astype(np.int64)


def _items(rows: Any, column: str, where: str, start: int, stop: int) -> list[Item]:
    items: list[Item] = []
    for number, image in enumerate(rows[start:stop][column], start):
        content, path = (image or {}).get("bytes"), (image or {}).get("path")
        if content is None and path is not None:
            items.append(Item(path))
        else:
            items.append(Item(f"{where}: image {number}", b"" if content is None else content))
    return items
