"""A plain training loop with a loss of Lossmith in the place of nn.CrossEntropyLoss.

python examples/plain_loop.py [LOSS [EPOCHS]]

LOSS: a zoo name, a formula, or a JSON file such as runs/demo/best.json
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

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
    criterion = lossmith.loss(loss)  # instead of nn.CrossEntropyLoss()

    for _ in range(int(epochs)):
        for batch in train[torch.randperm(len(train), generator=generator)].split(64):
            value = criterion(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()

    with torch.no_grad():
        correct = (model(images[test]).argmax(1) == labels[test]).float().mean().item()
    print(f"{criterion}: {100 * correct:.1f}% of {len(test)} test digits")


if __name__ == "__main__":
    main(*sys.argv[1:])
