"""Mixed precision: the network in bfloat16 under torch.autocast, the loss in float32.

python examples/bf16_autocast.py [LOSS [EPOCHS]]

As with nn.CrossEntropyLoss, nothing else has to be done: the loss takes bfloat16 logits, computes in float32, returns
float32, and hands a bfloat16 gradient back to the network. bfloat16 has the exponents of float32, so that no gradient
scaler is needed. On a CPU without instructions for bfloat16 it is slower than float32.
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import lossmith


def main(loss: str = "poly1", epochs: str = "20") -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    images, labels = (torch.from_numpy(array).to(device) for array in load_digits(return_X_y=True))
    images = images.float() / 16
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator).to(device)
    train, test = order[:1400], order[1400:]

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 10)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = lossmith.loss(loss).to(device)

    for _ in range(int(epochs)):
        for batch in train[torch.randperm(len(train), generator=generator).to(device)].split(64):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                value = criterion(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()

    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
        correct = (model(images[test]).argmax(1) == labels[test]).float().mean().item()
    print(f"{criterion}: {100 * correct:.1f}% of {len(test)} test digits")


if __name__ == "__main__":
    main(*sys.argv[1:])
