"""Torch's global generators, as one training sees them."""

from __future__ import annotations

import torch

from bars import CPU
from lossmith.train.batches import Seeds
from lossmith.train.randomness import GlobalRandomness, kept


def test_two_trainings_draw_in_turns_and_each_goes_on_where_it_was() -> None:
    with kept(CPU):
        GlobalRandomness(Seeds.of(1), CPU).enter()
        expected = torch.rand(6)
        GlobalRandomness(Seeds.of(2), CPU).enter()
        others = torch.rand(4)
        one, two = (GlobalRandomness(Seeds.of(seed), CPU) for seed in (1, 2))
        found: list[torch.Tensor] = []
        for training, count in ((one, 2), (two, 4), (one, 3), (one, 1)):
            training.enter()
            found.append(torch.rand(count))
            training.leave()
    assert torch.equal(torch.cat([found[0], found[2], found[3]]), expected)
    assert torch.equal(found[1], others)


def test_what_is_kept_is_as_it_was() -> None:
    before = torch.random.get_rng_state()
    with kept(CPU):
        GlobalRandomness(Seeds.of(1), CPU).enter()
        torch.rand(3)
        assert not torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(torch.random.get_rng_state(), before)
