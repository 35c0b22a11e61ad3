"""Different changes for different images of a batch.

Legend of the tensor names: B batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Change:
    """Something done to a part of a batch."""

    chosen: Tensor  # bool [B], the elements that it is done to
    function: Callable[..., Tensor]  # of elements of the batch, and of the same elements of `others`
    others: tuple[Tensor, ...] = ()  # [B, ...] each


Combine = Callable[[Tensor, list[Change]], Tensor]


def change_selected(batch: Tensor, changes: list[Change]) -> Tensor:
    """`batch`, [B, ...], after changes of which no two have an element in common, each done to its elements alone.

    The number of elements has to be known, so on a GPU the host would wait for it.
    """
    count, device = batch.shape[0], batch.device
    parts, sources_B = [batch], torch.arange(count, device=device)
    for change in changes:
        rows = change.chosen.nonzero().squeeze(1)
        if rows.numel() > 0:
            parts.append(change.function(*(tensor.index_select(0, rows) for tensor in (batch, *change.others))))
            sources_B[rows] = torch.arange(count, count + rows.numel(), device=device)
            count += rows.numel()
    return torch.cat(parts).index_select(0, sources_B)  # a few times as fast as index_copy for each part


def change_all(batch: Tensor, changes: list[Change]) -> Tensor:
    """The same, each change done to every element and kept where it was chosen: no shape depends on what was chosen."""
    result = batch
    for change in changes:
        chosen = change.chosen.view(-1, *[1] * (batch.ndim - 1))
        result = torch.where(chosen, change.function(batch, *change.others), result)
    return result
