"""What a reader of a source hands over: labelled arrays as they were found, before any split is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError

Images = npt.NDArray[np.uint8]  # [N, H, W, C]
Labels = npt.NDArray[np.int64]  # [N]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a source.

    Raises:
        DataError: the two arrays do not fit each other, or there are none.
    """

    images: Images  # uint8 [N, H, W, C]
    labels: Labels  # int64 [N]
    where: str  # the file, folder or key it came from, for messages

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            problem = f"{len(self.images)} images but {len(self.labels)} labels; each image needs one label"
            raise DataError(f"{self.where}: {problem}")
        if len(self.images) == 0:
            raise DataError(f"{self.where}: no images; put some there or choose another source")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """All parts of a source. None means that the source has no such part of its own."""

    name: str
    classes: tuple[str, ...]
    train: Part
    validation: Part | None = None
    test: Part | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for part in (self.train, self.validation, self.test) if part is not None)
