"""Which images of one split are in another, told by their content: whatever the splits' seeds, files and order are.

Only equal pixels are recognised: an image that was resized, cropped or compressed again is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lossmith.train.data.dataset import Split
from lossmith.train.data.source import rows_at_once
from lossmith.train.task import DataConfig

Digests = npt.NDArray[np.uint64]
_BYTES = 8  # of a digest: among a million images, two different ones have the same with a chance of 3 in 100 million


def image_digests(split: Split) -> Digests:
    """A digest of each image's shape and pixels, uint64 [N], in the order of the split; labels don't count."""
    shape = tuple(split.images.shape[1:])
    start = hashlib.blake2b(repr(shape).encode(), digest_size=_BYTES)
    found: list[bytes] = []
    for chunk in split.chunks(rows_at_once(shape)):
        for image in chunk.contiguous().numpy():
            digest = start.copy()
            digest.update(image.data)
            found.append(digest.digest())
    return np.frombuffer(b"".join(found), np.uint64)


def among(images: Digests, others: Iterable[Digests]) -> npt.NDArray[np.bool_]:
    """Which of `images` [N] are among the `others`: bool [N]."""
    return np.isin(images, np.concatenate([np.empty(0, np.uint64), *others]))


def at_one_size(one: DataConfig, other: DataConfig) -> tuple[DataConfig, DataConfig]:
    """Two configurations whose images can be compared: where one resizes its images, the other does as well."""
    sizes = [config.image_size for config in (one, other) if config.image_size is not None]
    size = min(sizes, default=None)
    return one.model_copy(update={"image_size": size}), other.model_copy(update={"image_size": size})
