"""The handwritten digits that scikit-learn embeds: 1,797 grey images of 8x8, no download, no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossmith.train.data.source import Part, Source

_LARGEST = 16  # the values are 0..16


def read_digits() -> Source:
    """All digits, as one part: the source has no split of its own."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, and needed by this source only

    digits: Any = load_digits()  # a Bunch, whose attributes no type checker knows
    images = np.rint(digits.images * (255 / _LARGEST)).astype(np.uint8)
    part = Part(images[..., np.newaxis], digits.target.astype(np.int64), where="scikit-learn's digits")
    return Source("digits", tuple(str(name) for name in digits.target_names), train=part)
