"""DistributedDataParallel over gloo: each process takes its part of a batch, all take the same step.

torchrun --standalone --nproc-per-node 2 examples/ddp.py [LOSS [EPOCHS]]

With parts of equal size, the mean over processes of each one's mean loss is the mean over the whole batch, so that any
number of processes trains the same network, up to rounding.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import lossmith

BATCH = 64  # of all processes together


def main(loss: str = "poly1", epochs: str = "20") -> None:
    dist.init_process_group("gloo")  # torchrun says where, who and how many; "nccl" on GPUs
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = images.float() / 16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:1400], order[1400:]

    dataset = TensorDataset(images[train], labels[train])
    sampler = DistributedSampler(dataset, seed=0)
    loader = DataLoader(dataset, batch_size=BATCH // dist.get_world_size(), sampler=sampler)

    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 10)))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = lossmith.loss(loss)

    for epoch in range(int(epochs)):
        sampler.set_epoch(epoch)
        for batch_images, batch_labels in loader:
            value = criterion(model(batch_images), batch_labels)
            optimizer.zero_grad()
            value.backward()  # averages the gradients of all processes
            optimizer.step()

    if dist.get_rank() == 0:
        with torch.no_grad():
            correct = (model.module(images[test]).argmax(1) == labels[test]).float().mean().item()
        print(f"{dist.get_world_size()} processes, {criterion}: {100 * correct:.1f}% of {len(test)} test digits")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
