"""The random streams under a search's seed, each with a spawn key of its own, so that none repeats another.

0, 1   random losses and mutations (search/evolution.py)
2      the training seed of the search
3      the training seeds of comparisons
4-9    those of each stage that comes after a search (`Purpose`)
10     the seed of its control, a random search
11     the random losses of such a search's last stage (search/evolution.py)
"""

from __future__ import annotations

import enum

import numpy as np

SCREENING_STREAM, EVOLUTION_STREAM, _TRAINING, _COMPARISON = range(4)
_CONTROL, RANDOM_STREAM = 10, 11


class Purpose(enum.IntEnum):
    """What training seeds are for, after a search; the seeds of two purposes have nothing in common."""

    ELIMINATION = 4
    FIDELITY = 5
    TRANSFER = 6
    TUNING = 7
    CONFIRMATION = 8
    NULL_SEARCH = 9


def training_seed(seed: int) -> int:
    """The seed of every training of a search: one for all, so that candidates differ in the loss alone."""
    return _integers(seed, _TRAINING, 1)[0]


def comparison_seeds(seed: int, count: int) -> list[int]:
    """`count` training seeds that the search under `seed` did not use; the first ones are the same for every count."""
    return _integers(seed, _COMPARISON, count)


def stage_seeds(seed: int, purpose: Purpose, count: int) -> list[int]:
    """`count` training seeds for a stage under `seed`; the first ones are the same for every count."""
    return _integers(seed, purpose, count)


def control_seed(seed: int) -> int:
    """The seed of the random search that is the control of the search under `seed`."""
    return _integers(seed, _CONTROL, 1)[0]


def _integers(seed: int, stream: int, count: int) -> list[int]:
    words = np.random.SeedSequence(seed, spawn_key=(stream,)).generate_state(count, np.uint64)
    return [int(word >> 1) for word in words]  # 63 bits: SQLite's integers are signed
