"""The handwritten digits that scikit-learn embeds: 1,797 grey images of 8x8, no download, no files."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from lossmith.errors import DataError
from lossmith.train.data.source import Images, Labels, Origin, Source, array_part

_LARGEST = 16  # the values are 0..16
_FILE = Path("datasets", "data", "digits.csv.gz")


def find_digits() -> Origin:
    """All digits, as one part: the source has no split of its own."""

    def read() -> Source:
        images, labels = read_digits()
        part = array_part(images, labels, where="scikit-learn's digits")
        return Source(tuple(map(str, range(10))), {"train": part})

    return Origin("digits", None, read)


def read_digits() -> tuple[Images, Labels]:
    """The images, uint8 [1797, 8, 8, 1], and their labels, int64 [1797].

    The file is read as `sklearn.datasets.load_digits` reads it; importing that takes longer than a dozen trainings.

    Raises:
        DataError: scikit-learn is not installed, or has no such file.
    """
    package = importlib.util.find_spec("sklearn")
    path = Path(package.origin).parent / _FILE if package and package.origin else None
    if path is None or not path.is_file():
        raise DataError(
            f"scikit-learn's digits: {path or 'scikit-learn'} is missing; pip install --upgrade scikit-learn"
        )
    with gzip.open(path, "rt", encoding="ascii") as lines:
        rows = np.loadtxt(lines, delimiter=",", dtype=np.int64)  # 64 values and the label
    images = np.rint(rows[:, :-1].reshape(-1, 8, 8, 1) * (255 / _LARGEST)).astype(np.uint8)
    return images, rows[:, -1]
