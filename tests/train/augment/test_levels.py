"""What a magnitude means to each operation."""

from __future__ import annotations

from math import isclose

import pytest

from lossmith.train.augment.levels import Operation, arguments
from lossmith.train.task import RandAugmentConfig

NAMES = ("degrees", "shear", "pixels", "factor", "bits", "threshold", "addition", "half_side")


@pytest.mark.parametrize(
    ("magnitude", "expected"),
    [
        (0, (0.0, 0.0, 0.0, 0.1, 0, 0, 0, 0)),
        (5, (15.0, 0.15, 50.0, 1.0, 2, 128, 55, 20)),
        (8, (24.0, 0.24, 80.0, 1.54, 3, 204, 88, 32)),
        (10, (30.0, 0.3, 100.0, 1.9, 4, 256, 110, 40)),
        (12, (36.0, 0.36, 120.0, 2.26, 4, 307, 132, 48)),
        (15, (45.0, 0.45, 150.0, 2.8, 6, 384, 165, 60)),
        (30, (90.0, 0.9, 300.0, 5.5, 8, 768, 330, 120)),  # 12 bits, of 8
    ],
)
def test_the_published_scale(magnitude: float, expected: tuple[float, ...]) -> None:
    found = arguments(RandAugmentConfig(magnitude=magnitude))
    for name, value in zip(NAMES, expected, strict=True):
        assert isclose(getattr(found, name), value, rel_tol=1e-12), name


def test_at_magnitude_5_the_enhancing_factor_is_exactly_1() -> None:
    assert arguments(RandAugmentConfig(magnitude=5)).factor == 1.0


def test_the_constants_are_settings() -> None:
    found = arguments(RandAugmentConfig(magnitude=5, translate=20, cutout=8))
    assert (found.pixels, found.half_side) == (10.0, 4)


def test_sixteen_operations_and_nothing() -> None:
    assert [operation.value for operation in Operation] == list(range(17))
    assert Operation.NOTHING == 16
