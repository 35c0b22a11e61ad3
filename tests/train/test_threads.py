from __future__ import annotations

import pytest
import torch

from lossmith.train.threads import one_thread


def test_the_number_of_threads_is_one_inside_and_what_it_was_afterwards() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
