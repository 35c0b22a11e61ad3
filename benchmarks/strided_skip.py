"""Forward and backward pass of resnet9v2 with its skips subsampled and convolved, against strided convolutions.

    python benchmarks/strided_skip.py [ROUNDS]

One thread, channels_last, 128 images of 32x32; the ways alternate. Processor time, so other programs matter less; the
ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import sys
import time
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lossmith.train.models import build_model
from lossmith.train.models.layers import Subsample
from lossmith.train.models.resnet9v2 import PreActivationBlock

WARM_UP = 5


class Indexed(nn.Module):
    """The same positions by plain indexing."""

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return features_BCHW[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)


def network(subsample: type[nn.Module], stride: int) -> nn.Module:
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    model = build_model(
        "resnet9v2", in_channels=3, num_classes=10, generator=generators[0], dropout_generator=generators[1]
    )
    for block in model.modules():
        if isinstance(block, PreActivationBlock):
            block.add_module("subsample", subsample())
            block.skip.stride = (stride, stride)
    return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing from the stub


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    ways = {
        "strided 1x1 convolution": network(nn.Identity, 2),
        "indexed, then 1x1 convolution": network(Indexed, 1),
        "Subsample, then 1x1 convolution": network(Subsample, 1),
    }
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(128, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (128,), generator=generator)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + WARM_UP):
        for name, model in ways.items():
            model.zero_grad(set_to_none=True)
            started = time.thread_time()
            cross_entropy(model(images), labels).backward()
            seconds[name].append(time.thread_time() - started)
    reference = seconds["strided 1x1 convolution"][WARM_UP:]
    for name, values in seconds.items():
        own = values[WARM_UP:]
        ratio = median(strided / value for strided, value in zip(reference, own, strict=True))
        print(f"{1e3 * median(own):7.2f} ms  {ratio:5.3f} times as fast  {name}")


if __name__ == "__main__":
    main()
