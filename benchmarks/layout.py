"""Training steps per second of plain training in torch's two memory layouts, as a ratio in one run.

    python benchmarks/layout.py [TASK]

One thread; the layouts alternate, and the best of several rounds is taken.
"""

from __future__ import annotations

import sys

import torch
from torch import nn

from lossmith.train import single
from lossmith.train.data import load_dataset
from lossmith.train.task import load_task

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
ROUNDS = 4


def main() -> None:
    torch.set_num_threads(1)
    task = load_task(sys.argv[1] if len(sys.argv) > 1 else "digits-screen", "argument")
    dataset = load_dataset(task.data)
    best = dict.fromkeys(LAYOUTS, float("inf"))
    for _ in range(ROUNDS):
        for name, layout in LAYOUTS.items():
            single.LAYOUT = layout
            result = single.train(task, dataset, nn.CrossEntropyLoss(), seed=0)
            best[name] = min(best[name], result.seconds / result.steps)
    for name, seconds in best.items():
        print(f"{1e3 * seconds:7.2f} ms a step  {best['contiguous'] / seconds:5.2f}  {name}")


if __name__ == "__main__":
    main()
