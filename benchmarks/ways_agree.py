"""Cross-entropy trained in three ways: by hand in plain PyTorch, one at a time by the engine, and fused.

    python benchmarks/ways_agree.py TASK [--data PATH] [--steps N] [--seeds N] [--ways plain,processes,fused]

The plain way is what one writes without Lossmith: torch's own layout, loss and optimizer, and no part of the engine but
the network, the data, and the random draws of a seed (initial weights, order of the images, dropout). With those equal,
the ways differ by rounding alone, which training then spreads.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

import torch
from torch import nn

from lossmith.train.batches import Seeds, generator
from lossmith.train.data import Dataset, load_dataset
from lossmith.train.engine import Job, run
from lossmith.train.models import build_model
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.train.schedule import learning_rates
from lossmith.train.task import AugmentConfig, TaskConfig, load_task


def plain(task: TaskConfig, dataset: Dataset, seed: int) -> float:
    """Test accuracy of a plain loop."""
    seeds = Seeds.of(seed)
    model = build_model(
        task.model,
        in_channels=dataset.image_shape[0],
        num_classes=dataset.num_classes,
        generator=generator(seeds.weights),
        dropout_generator=generator(seeds.dropout),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=task.optimizer.learning_rate, eps=task.optimizer.eps)
    criterion = nn.CrossEntropyLoss()
    rates = learning_rates(task.optimizer.learning_rate, task.steps, task.schedule)
    draws = generator(seeds.order)
    passes = math.ceil(task.steps * task.batch_size / len(dataset.train))
    order = torch.cat([torch.randperm(len(dataset.train), generator=draws) for _ in range(passes)])
    for step, chosen in enumerate(order.split(task.batch_size)[: task.steps]):
        images = dataset.train.take(chosen).float() / 255
        loss = criterion(model(images), dataset.train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rates[step]
        optimizer.step()
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(images.float() / 255).argmax(1) for images in dataset.test.chunks(1000)])
    return (predicted == dataset.test.labels).float().mean().item()


def engine(task: TaskConfig, dataset: Dataset, seeds: int, plan: Plan) -> list[float]:
    """Test accuracies, by seed."""
    jobs = iter([Job(seed, nn.CrossEntropyLoss(), seed, "test") for seed in range(seeds)])
    results = dict(run(task, dataset, lambda: next(jobs, None), plan))
    scores: list[float] = []
    for seed in range(seeds):
        result = results[seed]
        if not isinstance(result, TrainingResult) or result.score is None:
            raise SystemExit(f"seed {seed}: {result}")
        scores.append(result.score)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task")
    parser.add_argument("--data")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ways", default="plain,processes,fused")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    values = {"base": given.task, **({"data": {"path": given.data}} if given.data else {})}
    values |= {"steps": given.steps, "stopping": []} if given.steps else {}
    task = load_task(values, "argument")
    if task.augment != AugmentConfig() or task.resize or task.stages:
        raise SystemExit(f"task '{task.name}' changes its images, which the plain loop does not: take another")
    dataset = load_dataset(task.data)
    found: dict[str, list[float]] = {}
    for way in given.ways.split(","):
        if way == "plain":
            found[way] = [plain(task, dataset, seed) for seed in range(given.seeds)]
        else:
            plan = Plan("fused", given.seeds) if way == "fused" else Plan("processes")
            found[way] = engine(task, dataset, given.seeds, plan)
        mean, spread = statistics.mean(found[way]), statistics.stdev(found[way])
        line = " ".join(f"{100 * score:.2f}" for score in found[way])
        print(f"{way:10} test accuracy {100 * mean:.2f} % +- {100 * spread:.2f} over seeds: {line}", flush=True)
        if given.out:
            given.out.write_text(json.dumps({"task": task.model_dump(mode="json"), "scores": found}, indent=1))


if __name__ == "__main__":
    main()
