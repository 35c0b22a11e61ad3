from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lossmith.study.statistics import wilcoxon

C45 = [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.940, 0.619, 0.972, 0.957]
C45_M = [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978]


def test_demsar_s_example() -> None:
    """Demšar (2006), table 2: AUC of C4.5 with and without a tuned m on 14 data sets, two of them tied; R+ = 93,
    R- = 12, under the critical value of 21 at 5%. Rounding would break the tie of 0.768 - 0.763 and 0.936 - 0.931."""
    found = wilcoxon(np.array(C45_M) - C45, seed=0)
    assert (found.n, found.plus, found.minus) == (14, 93, 12)
    assert found.p < 0.05


def test_wilcoxon_s_own_example() -> None:
    """Wilcoxon (1945), Darwin's maize again: the ranks of the negative differences sum to 24; scipy's exact p, which is
    also what its documentation gives, is 0.0413."""
    found = wilcoxon([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], seed=0)
    assert found.minus == 24
    assert found.p == pytest.approx(0.0413, abs=5e-5)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12, unique=True), st.data())
def test_scipy_s_exact_test_says_the_same(sizes: list[int], data: st.DataObject) -> None:
    differences = [size * data.draw(st.sampled_from([-1, 1])) for size in sizes]
    expected: Any = stats.wilcoxon(differences, method="exact")
    found = wilcoxon(differences, seed=0)
    assert min(found.plus, found.minus) == expected.statistic
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)


@settings(max_examples=40)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=7).filter(any))
def test_scipy_s_permutations_say_the_same_where_there_are_ties(differences: list[int]) -> None:
    method: Any = stats.PermutationMethod(n_resamples=2**7)
    expected: Any = stats.wilcoxon(differences, zero_method="zsplit", method=method)
    found = wilcoxon(differences, seed=0)
    assert min(found.plus, found.minus) == expected.statistic
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)


def test_few_data_sets_cannot_be_significant() -> None:
    assert wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5], seed=0).p == 2 / 2**5
    assert wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], seed=0).p == 2 / 2**6
    assert wilcoxon([0.0, 0.0], seed=0).p == 1
