"""Random drafts: what a stream gives depends on the stream alone."""

from __future__ import annotations

from itertools import islice

import numpy as np

from lossmith.search.drafts import RandomDrafts
from lossmith.space.config import SpaceConfig
from lossmith.space.genome import random_genome
from lossmith.space.mutation import Individual, individual_of
from lossmith.verdict import Reason

SPACE = SpaceConfig()


def stream(iteration: int) -> np.random.Generator:
    return np.random.default_rng(100 + iteration)


def drafts(iterations: int = 5) -> RandomDrafts:
    return RandomDrafts(SPACE, stream, iterations)


def shown(found: list[Individual | Reason]) -> list[object]:
    return [draft if isinstance(draft, Reason) else draft.genome for draft in found]


def test_a_stream_gives_its_genomes_in_order_however_it_is_read() -> None:
    rng = stream(2)
    expected = shown([individual_of(random_genome(rng, SPACE)) for _ in range(60)])
    read = drafts()
    assert shown(list(islice(read.of(2), 10))) == expected[:10]
    list(islice(read.of(3), 30))
    list(islice(read.ahead(1, lambda draft: True), 3))
    assert shown(list(islice(read.of(2), 60))) == expected
    read.forget(2)
    assert shown(list(islice(read.of(2), 5))) == expected[:5]


def test_ahead_takes_from_each_later_stream_the_draft_that_decides_it() -> None:
    read = drafts()
    valid = {i: [d for d in islice(read.of(i), 400) if isinstance(d, Individual)] for i in range(5)}
    assert all(len(found) > 2 for found in valid.values())
    assert list(read.ahead(1, lambda draft: True)) == [valid[i][0] for i in (2, 3, 4)]
    refused = {valid[2][0].expression.key, valid[4][0].expression.key, valid[4][1].expression.key}
    passed = {valid[3][0].expression.key}

    def undecided(draft: Individual) -> bool | None:
        return None if draft.expression.key in passed else draft.expression.key not in refused

    assert [d.genome for d in read.ahead(1, undecided)] == [valid[2][1].genome, valid[4][2].genome]
    assert list(read.ahead(4, undecided)) == []
