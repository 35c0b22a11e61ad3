"""One thread for a while: many small operations are slower on two, and far slower beside busy workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes with one thread in this block.

    A fingerprint took 14 ms on two threads of a machine whose cores train losses, and 0.7 ms on one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
