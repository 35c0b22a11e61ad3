"""One of two DDP processes over gloo, for test_use.py: python ddp_gradients.py RANK DIRECTORY.

Holds its half of a batch of 16; the class weights of rank 1 are wrong until DDP broadcasts the buffers of rank 0.
Writes the averaged gradient, the buffer it found, and the result of the joined batch in one process, to
DIRECTORY/rankRANK.pt.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import lossmith

LOSSES = ("-y*log(yhat)", "baikal", "-y*log_abs(yhat) + sin(y - yhat)*square(yhat)")


class Classifier(nn.Module):
    """Network and loss in one module, so that DDP sees the loss's buffer."""

    def __init__(self, loss: str, weight: Tensor, reduction: str) -> None:
        super().__init__()
        self.network = nn.Linear(8, 10).double()
        self.criterion = lossmith.loss(loss, weight=weight, reduction=reduction)

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self.criterion(self.network(inputs), labels)


def compare(rank: int, loss: str, reduction: str, *, weighted: bool) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(16, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (16,), generator=generator)
    weight = torch.rand(10, generator=generator, dtype=torch.float64) if weighted else torch.ones(10).double()
    torch.manual_seed(0)
    alone = Classifier(loss, weight, reduction)
    part = copy.deepcopy(alone)
    assert part.criterion.weight is not None
    if rank == 1:
        part.criterion.weight.fill_(7.0)
    parallel = DistributedDataParallel(part)
    parallel(inputs[rank::2], labels[rank::2]).backward()
    alone(inputs, labels).backward()
    result = {"buffer": part.criterion.weight, "weight": weight}
    for key, model in (("parallel", part), ("alone", alone)):
        gradient = model.network.weight.grad
        assert gradient is not None
        # DDP averages over processes, so a sum comes out as half of what one process finds.
        result[key] = gradient * 2 if key == "parallel" and reduction == "sum" else gradient
    return result


def main(rank: str, directory: str) -> None:
    where = Path(directory)
    dist.init_process_group("gloo", init_method=f"file://{where / 'store'}", rank=int(rank), world_size=2)
    found = {
        f"{loss}, {reduction}": compare(int(rank), loss, reduction, weighted=reduction == "sum")
        for loss in LOSSES
        for reduction in ("mean", "sum")
    }
    torch.save(found, where / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
