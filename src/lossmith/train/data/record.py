"""Which images are in which split, kept in a file of the run: to be looked up, and to be the same at every resume."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.train.data.dataset import Dataset, Split

_NAMES = ("train", "validation", "test")
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class SplitRecord:
    """Where each image of each split is in the source."""

    checksum: str  # `Dataset.checksum`
    parts: dict[str, str]  # split -> the part of the source, "train", "validation" or "test"; "" where it has none
    rows: dict[str, npt.NDArray[np.int64]]  # split -> places in that part, from 0, in the order of the split

    def equals(self, other: SplitRecord) -> bool:
        return (
            (self.checksum, self.parts) == (other.checksum, other.parts)
            and self.rows.keys() == other.rows.keys()
            and all(np.array_equal(rows, other.rows[name]) for name, rows in self.rows.items())
        )


def split_record(dataset: Dataset) -> SplitRecord:
    """What is recorded of the splits of a data set."""
    splits = {name: getattr(dataset, name) for name in _NAMES}
    return SplitRecord(
        dataset.checksum,
        {name: split.part for name, split in splits.items()},
        {name: _rows(split) for name, split in splits.items()},
    )


def save_splits(dataset: Dataset, path: Path) -> Path:
    """Write the splits to an .npz file: `checksum`, and for each split `<split>_part` and `<split>_rows`.

    Raises:
        RunError: the file cannot be written.
    """
    record = split_record(dataset)
    arrays: dict[str, npt.NDArray[np.generic]] = {"checksum": np.array(record.checksum)}
    for name in _NAMES:
        arrays[f"{name}_part"] = np.array(record.parts[name])
        arrays[f"{name}_rows"] = record.rows[name].astype(np.int32)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return write_atomically(path, content.getvalue())


def load_splits(path: Path) -> SplitRecord:
    """What `save_splits` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return SplitRecord(
                str(arrays["checksum"]),
                {name: str(arrays[f"{name}_part"]) for name in _NAMES},
                {name: arrays[f"{name}_rows"].astype(np.int64) for name in _NAMES},
            )
    except _UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RunError(
            f"{path}: not a readable record of the splits ({reason}); remove it, and it is written anew"
        ) from error


def keep_splits(dataset: Dataset, path: Path, task: str) -> None:
    """Write the splits of a task's data to `path`; where they are there already, make sure that they are the same.

    Raises:
        RunError: the file is damaged, cannot be written, or has other splits than the data set.
    """
    if not path.exists():
        save_splits(dataset, path)
    elif not load_splits(path).equals(split_record(dataset)):
        raise RunError(
            f"{path}: the images or the splits of task '{task}' are not those that this run began with; restore the"
            " data and the versions of its packages, or start a new run"
        )


def _rows(split: Split) -> npt.NDArray[np.int64]:
    return np.arange(len(split)) if split.index is None else split.index.numpy()
