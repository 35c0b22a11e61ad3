"""RandAugment's 16 operations, and what a magnitude means to each of them.

The scale and its formulas are those of AutoAugment (Cubuk et al. 2018, arXiv 1805.09501) in the form in which
RandAugment (Cubuk et al. 2019, arXiv 1909.13719) was published with TensorFlow's official models: magnitude 10 is the
full strength, larger ones go on along the same lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from lossmith.train.task import RandAugmentConfig

_FULL = 10.0
_BITS = 8  # of a grey level


class Operation(IntEnum):
    """What an image may draw in one layer; all are as likely, `NOTHING` included."""

    AUTO_CONTRAST = 0
    EQUALIZE = 1
    INVERT = 2
    ROTATE = 3
    POSTERIZE = 4
    SOLARIZE = 5
    SOLARIZE_ADD = 6
    COLOR = 7
    CONTRAST = 8
    BRIGHTNESS = 9
    SHARPNESS = 10
    SHEAR_X = 11
    SHEAR_Y = 12
    TRANSLATE_X = 13
    TRANSLATE_Y = 14
    CUTOUT = 15
    NOTHING = 16


@dataclass(frozen=True, slots=True)
class Arguments:
    """The operations' arguments at one magnitude; half of the rotations, shears and translations are negated."""

    degrees: float  # of Rotate
    shear: float  # of ShearX and ShearY: pixels along one axis for each along the other
    pixels: float  # of TranslateX and TranslateY
    factor: float  # of Color, Contrast, Brightness and Sharpness; 1 leaves an image as it is
    bits: int  # that Posterize keeps, 0 to 8: a larger magnitude changes less
    threshold: int  # of Solarize: levels from here on are inverted; 256 and more: none is
    addition: int  # of SolarizeAdd, to levels under 128
    half_side: int  # of Cutout's square, in pixels


def arguments(config: RandAugmentConfig) -> Arguments:
    """What `config.magnitude`, 0 or more, means to each operation."""
    strength = config.magnitude / _FULL
    return Arguments(
        degrees=strength * 30.0,
        shear=strength * 0.3,
        pixels=strength * config.translate,
        factor=strength * 1.8 + 0.1,
        bits=min(int(strength * 4), _BITS),
        threshold=int(strength * 256),
        addition=int(strength * 110),
        half_side=int(strength * config.cutout),
    )
