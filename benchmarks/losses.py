"""Forward and backward time of losses, as ratios to F.cross_entropy with probabilities as targets, in one run.

    python benchmarks/losses.py [BATCH CLASSES]

One thread; the variants are interleaved, and the median of many rounds is taken, since machines are noisy.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

import lossmith

LOSSES = [
    "cross_entropy",
    "-y*log(yhat)",
    "focal",
    "poly1",
    "baikal",
    "-y*log_abs(yhat) + sin(y - yhat)*square(yhat)",
]
ROUNDS = 300


def seconds(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> float:
    began = time.perf_counter()
    loss(logits, target).backward()
    elapsed = time.perf_counter() - began
    logits.grad = None
    return elapsed


def main() -> None:
    torch.set_num_threads(1)
    batch, classes = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (128, 10)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, classes, generator=generator, requires_grad=True)
    target = torch.randn(batch, classes, generator=generator).softmax(1)
    variants: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"F.cross_entropy": F.cross_entropy}
    variants |= {text: lossmith.loss(text) for text in LOSSES}
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, loss in variants.items():
            times[name].append(seconds(loss, logits, target))
    reference = statistics.median(times["F.cross_entropy"])
    print(f"[{batch}, {classes}], one thread, forward + backward, median of {ROUNDS}")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{1e6 * median:9.0f} us  {median / reference:5.2f}  {name}")


if __name__ == "__main__":
    main()
