"""Torch's global generators, as one training sees them.

The engine itself draws from generators of its own. A user's layer or loss may draw from torch's global ones: each
training then has a state of theirs that follows from its seed, and leaves no trace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from lossmith.train.batches import Seeds


class GlobalRandomness:
    """The state of torch's global generators (the CPU's, and that of `device`) in one training."""

    def __init__(self, seeds: Seeds, device: torch.device) -> None:
        seed = int(seeds.dropout.generate_state(2)[1])
        self._device = device
        self._state = torch.Generator().manual_seed(seed).get_state()
        self._on_gpu = torch.Generator(device).manual_seed(seed).get_state() if device.type == "cuda" else None

    def enter(self) -> None:
        """Draws from now on are this training's."""
        torch.random.set_rng_state(self._state)
        if self._on_gpu is not None:
            torch.cuda.set_rng_state(self._on_gpu, self._device)

    def leave(self) -> None:
        """Remember what was drawn since `enter`."""
        self._state = torch.random.get_rng_state()
        if self._on_gpu is not None:
            self._on_gpu = torch.cuda.get_rng_state(self._device)


@contextlib.contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Afterwards torch's global generators (the CPU's, and that of `device`) are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
