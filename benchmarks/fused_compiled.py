"""Does torch.compile pay for losses that are trained at once? Steps of each kind in turns, on one thread.

    python benchmarks/fused_compiled.py TASK [--data PATH] [--slots K] [--rounds N]

Compiling takes from half a minute to several.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from lossmith.bench.engine.data import find_task, timed
from lossmith.train.data import Dataset, load_dataset
from lossmith.train.engine import Job
from lossmith.train.fused.stream import Stream
from lossmith.train.memory import keep_memory
from lossmith.train.task import TaskConfig


def begun(task: TaskConfig, dataset: Dataset, slots: int, *, compiled: bool) -> Stream:
    """A stream whose slots have all made a first step."""
    stream = Stream(task, dataset, slots, torch.device("cpu"), torch.float32, compiled=compiled)
    jobs = iter([Job(number, nn.CrossEntropyLoss(), 0) for number in range(slots)])
    stream.fill(lambda: next(jobs, None))
    began = time.perf_counter()
    list(stream.step())
    print(f"{'compiled' if compiled else 'as it is'}: first step {time.perf_counter() - began:.1f} s", flush=True)
    return stream


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    task = timed(find_task(given.task, given.data, synthetic=False))
    dataset = load_dataset(task.data)
    streams = {compiled: begun(task, dataset, given.slots, compiled=compiled) for compiled in (False, True)}
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(given.rounds):
        for compiled, stream in streams.items():
            began = time.process_time()  # of this process: what else the machine does hardly matters
            list(stream.step())
            seconds[compiled].append(time.process_time() - began)
    plain, compiled = (statistics.median(seconds[kind]) for kind in (False, True))
    ratio = f"{plain / compiled:.2f} times"
    print(f"step of {given.slots} losses: {1e3 * plain:.1f} ms, compiled {1e3 * compiled:.1f} ms: {ratio}")


if __name__ == "__main__":
    main()
