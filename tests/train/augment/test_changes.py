"""Both ways to change parts of a batch give the same."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmith.train.augment.changes import Change, change_all, change_selected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_each_element_by_its_own_change(kinds: list[int]) -> None:
    kinds_B = torch.tensor(kinds)
    batch, extra = torch.arange(2 * len(kinds)).view(-1, 2), torch.arange(len(kinds)) * 10
    changes = [
        Change(kinds_B == 1, lambda part: -part),
        Change(kinds_B == 2, lambda part, more: part + more[:, None], (extra,)),
        Change(kinds_B == 3, lambda part: part * 0),
    ]
    before = batch.clone()
    expected = torch.stack([[row, -row, row + extra[i], row * 0][kinds[i]] for i, row in enumerate(batch)])
    assert torch.equal(change_selected(batch, changes), expected)
    assert torch.equal(change_all(batch, changes), expected)
    assert torch.equal(batch, before)


def test_the_selecting_way_asks_nothing_of_the_others() -> None:
    def only_two(part: torch.Tensor) -> torch.Tensor:
        assert part.tolist() == [1, 3]
        return part + 100

    def never(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("no element was chosen")

    chosen = torch.tensor([False, True, False, True])
    changes = [Change(chosen, only_two), Change(torch.zeros(4, dtype=torch.bool), never)]
    assert change_selected(torch.arange(4), changes).tolist() == [0, 101, 2, 103]
