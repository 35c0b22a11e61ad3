"""The subsampling skip against a strided convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lossmith.train.models.layers import Subsample
from lossmith.train.models.resnet9v2 import PreActivationBlock


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 7), (1, 1), (2, 1)])
def test_subsample_is_the_slice_and_so_is_its_gradient(height: int, width: int, layout: torch.memory_format) -> None:
    inputs = images(2, 3, height, width).contiguous(memory_format=layout).requires_grad_()
    outputs = Subsample()(inputs)
    assert torch.equal(outputs, inputs[:, :, ::2, ::2])
    assert outputs.is_contiguous(memory_format=layout)
    weights = images(*outputs.shape)
    (own,) = torch.autograd.grad((outputs * weights).sum(), inputs)
    (sliced,) = torch.autograd.grad((inputs[:, :, ::2, ::2] * weights).sum(), inputs)
    assert torch.equal(own, sliced)
    assert own.is_contiguous(memory_format=layout)
    assert torch.autograd.gradcheck(Subsample(), inputs)


def test_subsample_passes_nan_of_the_positions_it_keeps_alone() -> None:
    inputs = torch.zeros(1, 1, 4, 4)
    inputs[0, 0, 1, 1] = torch.nan
    assert not Subsample()(inputs).isnan().any()
    inputs[0, 0, 2, 2] = torch.nan
    assert Subsample()(inputs).isnan().sum() == 1


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 7)])
def test_the_skip_is_a_convolution_of_stride_two(height: int, width: int) -> None:
    block = PreActivationBlock(3, 4).double()
    inputs = images(2, 3, height, width).requires_grad_()
    strided = nn.Conv2d(3, 4, kernel_size=1, stride=2).double()
    strided.load_state_dict(block.skip.state_dict())
    skip, expected = block.skip(block.subsample(inputs)), strided(inputs)
    torch.testing.assert_close(skip, expected, rtol=1e-12, atol=1e-12)
    weights = images(*skip.shape)
    found = torch.autograd.grad((skip * weights).sum(), [inputs, *block.skip.parameters()])
    wanted = torch.autograd.grad((expected * weights).sum(), [inputs, *strided.parameters()])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_the_skip_adds_no_name_to_the_weights() -> None:
    assert [name for name in PreActivationBlock(3, 4).state_dict() if not name.startswith("body.")] == [
        "skip.weight",
        "skip.bias",
    ]
