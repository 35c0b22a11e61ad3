"""Setting images aside for validation and test: stratified by class, fixed by a seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError
from lossmith.train.data.source import Labels

Indices = npt.NDArray[np.int64]


def hold_out(
    labels: Labels,
    classes: tuple[str, ...],
    fraction: float,
    generator: np.random.Generator,
    where: str,
    fold: int = 0,
) -> tuple[Indices, Indices]:
    """Where to find what is kept, and the `fraction` of every class (at least one image) that is held out.

    Args:
        labels: int64 [N].
        classes: the name of each label.
        fraction: in (0, 1).
        generator: what the choice derives from.
        where: the source of the images, the start of the error message.
        fold: which images are held out, from 0; those of two folds have none in common.

    Returns:
        Two rising int64 arrays that share 0..N-1 among them.

    Raises:
        DataError: a class has too few images for both.
    """
    held: list[Indices] = []
    for label, name in enumerate(classes):
        members = np.flatnonzero(labels == label)
        count = max(1, round(len(members) * fraction))
        if len(members) <= count:
            problem = f"class '{name}' has {len(members)} image(s), too few to hold {fraction:g} of them out"
            raise DataError(f"{where}: {problem} for validation or test; add images")
        if len(members) < (fold + 1) * count:
            problem = f"class '{name}' has {len(members)} images, too few for validation_fold {fold} of {count} each"
            raise DataError(f"{where}: {problem}; lower validation_fold or validation_fraction")
        held.append(generator.permutation(members)[fold * count : (fold + 1) * count])
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True), held_out
