"""Setting images aside for validation and test: stratified by class, fixed by a seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError
from lossmith.train.data.source import Part

Indices = npt.NDArray[np.int64]


def hold_out(
    part: Part, classes: tuple[str, ...], fraction: float, generator: np.random.Generator
) -> tuple[Part, Part]:
    """`part` in two: what is kept, and the `fraction` of every class (at least one image) that is held out.

    Raises:
        DataError: a class has too few images for both.
    """
    held: list[Indices] = []
    for label, name in enumerate(classes):
        members = np.flatnonzero(part.labels == label)
        count = max(1, round(len(members) * fraction))
        if len(members) <= count:
            problem = f"class '{name}' has {len(members)} image(s), too few to hold {fraction:g} of them out"
            raise DataError(f"{part.where}: {problem} for validation or test; add images")
        held.append(generator.permutation(members)[:count])
    held_out = np.sort(np.concatenate(held))
    kept = np.setdiff1d(np.arange(len(part.labels)), held_out, assume_unique=True)
    return take(part, kept), take(part, held_out)


def take(part: Part, indices: Indices) -> Part:
    """The images of `part` at `indices`, in their order."""
    return Part(part.images[indices], part.labels[indices], part.where)
