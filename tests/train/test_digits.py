"""The embedded digits are those of scikit-learn's own reader."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from lossmith.train.data.digits import read_digits


def test_digits_equal_scikit_learn_s() -> None:
    (images, own_labels), (values, labels) = read_digits(), load_digits(return_X_y=True)
    np.testing.assert_array_equal(own_labels, labels)
    np.testing.assert_array_equal(images.reshape(-1, 64), np.rint(values * (255 / 16)))
