"""torch.compile over network and loss together: one graph, compiled once, for batches of any size.

python examples/torch_compile.py [LOSS [EPOCHS]]

Needs what torch.compile needs: on a CPU a C++ compiler and Python's headers (Debian: g++, python3-dev).
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import lossmith


def main(loss: str = "poly1", epochs: str = "30") -> None:
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = images.float() / 16
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)
    train, test = order[:1400], order[1400:]

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = lossmith.loss(loss)

    # dynamic: the batch size is a variable of the graph. The backward pass is compiled with it. torch takes sizes that
    # are equal in the first batch for one, so the batch must not be as large as a layer is wide.
    @torch.compile(fullgraph=True, dynamic=True)
    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        return criterion(model(images), labels)

    sizes: set[int] = set()
    for _ in range(int(epochs)):
        for batch in train[torch.randperm(len(train), generator=generator)].split(128):  # the last one has 120
            # After the first batch, anything that would compile again raises instead.
            with torch.compiler.set_stance("fail_on_recompile" if sizes else "default"):
                value = loss_of(images[batch], labels[batch])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            sizes.add(len(batch))

    with torch.no_grad():
        correct = (model(images[test]).argmax(1) == labels[test]).float().mean().item()
    print(f"compiled once for batches of {' and '.join(map(str, sorted(sizes)))}")
    print(f"{criterion}: {100 * correct:.1f}% of {len(test)} test digits")


if __name__ == "__main__":
    main(*sys.argv[1:])
