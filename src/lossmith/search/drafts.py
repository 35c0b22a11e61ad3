"""Random losses, drawn from one stream for each iteration of the screening stage, and ahead of need where that helps.

Which losses a stream gives, and in which order, depends on the stream alone. So drawing ahead, to fill a batch of the
micro-task, changes nothing but when the work is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from lossmith.space.config import SpaceConfig
from lossmith.space.genome import random_genome
from lossmith.space.mutation import Individual, individual_of
from lossmith.verdict import Reason

MOST = 20_000  # drafts of one stream before the space is given up


@dataclass(slots=True)
class _Stream:
    rng: np.random.Generator
    drawn: list[Individual | Reason] = field(default_factory=list)


class RandomDrafts:
    """What each stream gives: valid individuals, and the reasons why other genomes are none."""

    def __init__(self, space: SpaceConfig, stream: Callable[[int], np.random.Generator], iterations: int) -> None:
        self._space = space
        self._stream = stream
        self._iterations = iterations
        self._streams: dict[int, _Stream] = {}

    def of(self, iteration: int) -> Iterator[Individual | Reason]:
        """The drafts of one iteration's stream, from its first, up to `MOST`."""
        if iteration not in self._streams:
            self._streams[iteration] = _Stream(self._stream(iteration))
        stream = self._streams[iteration]
        for place in range(MOST):
            if place == len(stream.drawn):
                stream.drawn.append(individual_of(random_genome(stream.rng, self._space)))
            yield stream.drawn[place]

    def ahead(self, iteration: int, undecided: Callable[[Individual], bool | None]) -> Iterator[Individual]:
        """From each later stream the draft that decides how it goes on.

        `undecided` says of a draft: True, it is not known whether it will do; None, it will do, so the stream is
        decided; False, it won't, so the next draft counts.
        """
        for later in range(iteration + 1, self._iterations):
            for draft in self.of(later):
                if isinstance(draft, Reason):
                    continue
                answer = undecided(draft)
                if answer:
                    yield draft
                if answer is not False:
                    break

    def forget(self, iteration: int) -> None:
        """Let go of a stream that is not asked again."""
        self._streams.pop(iteration, None)
