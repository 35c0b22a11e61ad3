"""What a new individual must differ from, by the method's own checks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossmith.space.mutation import Individual


class Living:
    """The living and waiting individuals, which a new one must differ from, by formula and by phenotype."""

    def __init__(self, distance: float) -> None:
        self._distance = distance  # of two phenotypes, below which they are one
        self._keys: dict[int, str] = {}
        self._rows: dict[int, int] = {}  # candidate number -> row of `_phenotypes`
        self._free: list[int] = []
        self._phenotypes = np.empty((0, 0))

    def has_formula(self, key: str) -> bool:
        return key in self._keys.values()

    def has_phenotype(self, phenotype: np.ndarray) -> bool:
        """Whether an individual lies within the L2 distance (over the curve's 1,000 points)."""
        if not self._rows:
            return False
        bound = self._distance**2
        # a few points of the curve rule out most rows; free rows hold NaN, which is less than nothing
        near = np.square(self._phenotypes[:, ::50] - phenotype[::50]).sum(axis=1) < bound
        return bool((np.square(self._phenotypes[near] - phenotype).sum(axis=1) < bound).any())

    def add(self, number: int, individual: Individual) -> None:
        if not self._free:
            more = max(64, len(self._phenotypes))
            self._free = list(range(len(self._phenotypes) + more - 1, len(self._phenotypes) - 1, -1))
            empty = np.full((more, len(individual.phenotype)), np.nan)
            self._phenotypes = np.concatenate((self._phenotypes.reshape(-1, len(individual.phenotype)), empty))
        self._keys[number] = individual.expression.key
        self._rows[number] = row = self._free.pop()
        self._phenotypes[row] = individual.phenotype

    def remove(self, number: int) -> None:
        del self._keys[number]
        row = self._rows.pop(number)
        self._phenotypes[row] = np.nan
        self._free.append(row)

    def keep_only(self, living: Iterable[tuple[int, Individual]]) -> None:
        """Forget all but these."""
        self._keys, self._rows, self._free, self._phenotypes = {}, {}, [], np.empty((0, 0))
        for number, individual in living:
            self.add(number, individual)
