"""WideResNet against the figures of its paper and the standard program."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from lossmith.train.dropout import Dropout, set_dropout
from lossmith.train.models import build_model
from lossmith.train.models.wideresnet import WideBlock, wideresnet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(*, seed: int = 0, classes: int = 10, dropout: float = 0.0) -> nn.Module:
    return wideresnet(3, classes, partial(Dropout, dropout, generator(9)), generator(seed), depth=10, widening=1)


@pytest.mark.parametrize(("classes", "expected"), [(10, 36_479_194), (100, 36_536_884)])
def test_parameter_counts_of_28_10(classes: int, expected: int) -> None:
    model = build_model(
        "wideresnet28-10",
        in_channels=3,
        num_classes=classes,
        generator=generator(),
        dropout_generator=generator(),
        dropout=None,
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    blocks = [module for module in model.modules() if isinstance(module, WideBlock)]
    assert [block.conv2.out_channels for block in blocks] == [160] * 4 + [320] * 4 + [640] * 4
    assert [index for index, block in enumerate(blocks) if block.shortcut is not None] == [0, 4, 8]
    assert [index for index, block in enumerate(blocks) if block.conv1.stride == (2, 2)] == [4, 8]
    assert all(block.dropout.probability == 0.0 for block in blocks if isinstance(block.dropout, Dropout))


def test_the_sizes_of_the_groups() -> None:
    sizes: list[tuple[int, ...]] = []
    model = small(classes=7)
    for module in model.modules():
        if isinstance(module, WideBlock):
            module.register_forward_hook(lambda _module, _inputs, outputs: sizes.append(tuple(outputs.shape)))
    assert model(torch.rand(2, 3, 32, 32, generator=generator())).shape == (2, 7)
    assert sizes == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]


def test_a_block_is_the_papers() -> None:
    block = WideBlock(4, 6, 2, nn.Identity()).eval()
    inputs = torch.rand(2, 4, 6, 6, generator=generator())
    assert block.shortcut is not None
    shared = torch.relu(block.norm1(inputs))
    conv = torch.nn.functional.conv2d
    body = conv(
        torch.relu(block.norm2(conv(shared, block.conv1.weight, stride=2, padding=1))), block.conv2.weight, padding=1
    )
    around = conv(shared, block.shortcut.weight, stride=2)
    torch.testing.assert_close(block(inputs), body + around)

    same = WideBlock(4, 4, 1, nn.Identity()).eval()
    assert same.shortcut is None
    inner = conv(torch.relu(same.norm1(inputs)), same.conv1.weight, padding=1)
    torch.testing.assert_close(same(inputs), conv(torch.relu(same.norm2(inner)), same.conv2.weight, padding=1) + inputs)


def test_weights_come_from_the_generator_alone_and_are_the_authors() -> None:
    before = torch.random.get_rng_state()
    model, again, other = small(seed=1), small(seed=1), small(seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(model.get_parameter("0.weight"), other.get_parameter("0.weight"))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            expected = math.sqrt(2 / (module.out_channels * module.kernel_size[0] ** 2))
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.15)
        elif isinstance(module, nn.Linear):
            assert not module.bias.any()
            assert module.weight.abs().max() <= 1 / math.sqrt(module.in_features)


def test_dropout_stands_in_every_block() -> None:
    model = small(dropout=0.3)
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    assert [layer.probability for layer in layers] == [0.3] * 3
    set_dropout(model, 0.1)
    assert [layer.probability for layer in layers] == [0.1] * 3


def test_a_depth_must_fit() -> None:
    with pytest.raises(ValueError, match="depth 11 is not 6 n"):
        wideresnet(3, 10, nn.Identity, generator(), depth=11)
