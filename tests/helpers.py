"""What several tests need."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lossmith.space.config import SpaceConfig
from lossmith.space.expression import Expression
from lossmith.space.genome import random_genome
from lossmith.space.integrity import check


class Nothing:
    """A `Known` that holds nothing."""

    def has_formula(self, key: str) -> bool:
        return False

    def has_phenotype(self, phenotype: np.ndarray) -> bool:
        return False


def generators() -> st.SearchStrategy[np.random.Generator]:
    """Random generators that hypothesis can reproduce."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def accepted_expressions(count: int, seed: int) -> list[Expression]:
    """The expressions of the first `count` random genomes that pass the integrity check."""
    rng = np.random.default_rng(seed)
    found: list[Expression] = []
    while len(found) < count:
        genome = random_genome(rng, SpaceConfig())
        if check(genome).ok:
            found.append(Expression.from_genome(genome))
    return found
