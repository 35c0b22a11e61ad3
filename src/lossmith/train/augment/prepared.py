"""What RandAugment computes once for its settings and the size of the images.

Legend of the tensor names: O operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import torch
from torch import Tensor

from lossmith.train.augment import geometry, pointwise
from lossmith.train.augment.levels import Arguments, Operation


class Kind(IntEnum):
    """Operations that are one computation."""

    TABLE = 0
    AFFINE = 1
    COLOR = 2
    SHARPNESS = 3
    CUTOUT = 4
    NOTHING = 5


_KINDS = {
    Operation.ROTATE: Kind.AFFINE,
    Operation.SHEAR_X: Kind.AFFINE,
    Operation.SHEAR_Y: Kind.AFFINE,
    Operation.TRANSLATE_X: Kind.AFFINE,
    Operation.TRANSLATE_Y: Kind.AFFINE,
    Operation.COLOR: Kind.COLOR,
    Operation.SHARPNESS: Kind.SHARPNESS,
    Operation.CUTOUT: Kind.CUTOUT,
    Operation.NOTHING: Kind.NOTHING,
}
_OF_FACTOR = (Operation.COLOR, Operation.CONTRAST, Operation.BRIGHTNESS, Operation.SHARPNESS)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Constants on the device of the images."""

    arguments: Arguments
    kinds: Tensor  # int64 [O], the kind of each operation
    tables: Tensor  # uint8 [O, 256], of the operations that map levels in the same way in every image, else 0..255
    affines: Tensor  # int32 [2, O, 6], of the operations that are affine maps, as they are and negated


@lru_cache(maxsize=64)  # progressive stages and several tasks in one process; a few kB each
def prepared(values: Arguments, height: int, width: int, device: torch.device) -> Prepared:
    """The constants for images of `height` times `width` pixels; they must not be changed."""
    same = values.factor == 1.0
    kinds = [Kind.NOTHING if same and op in _OF_FACTOR else _KINDS.get(op, Kind.TABLE) for op in Operation]
    tables = torch.arange(pointwise.LEVELS, dtype=torch.uint8).repeat(len(Operation), 1)
    tables[Operation.INVERT] = pointwise.invert_table()
    tables[Operation.POSTERIZE] = pointwise.posterize_table(values.bits)
    tables[Operation.SOLARIZE] = pointwise.solarize_table(values.threshold)
    tables[Operation.SOLARIZE_ADD] = pointwise.solarize_add_table(values.addition)
    tables[Operation.BRIGHTNESS] = pointwise.brightness_table(values.factor)
    affines = [[geometry.fixed_point(affine) for affine in _affines(values, sign, height, width)] for sign in (1, -1)]
    return Prepared(
        arguments=values,
        kinds=torch.tensor(kinds).to(device),
        tables=tables.to(device),
        affines=torch.tensor(affines, dtype=torch.int32).to(device),
    )


def _affines(values: Arguments, sign: int, height: int, width: int) -> list[geometry.Affine]:
    """The map of every operation; one that is none has the identity."""
    maps = {
        Operation.ROTATE: geometry.rotation(sign * values.degrees, height, width),
        Operation.SHEAR_X: geometry.shear_x(sign * values.shear),
        Operation.SHEAR_Y: geometry.shear_y(sign * values.shear),
        Operation.TRANSLATE_X: geometry.translation_x(sign * values.pixels, width),
        Operation.TRANSLATE_Y: geometry.translation_y(sign * values.pixels, height),
    }
    return [maps.get(operation, geometry.IDENTITY) for operation in Operation]
