"""A LightningModule with the loss inside, and a checkpoint to go on from.

python examples/lightning_trainer.py [LOSS [EPOCHS [CHECKPOINT]]]

EPOCHS are all, with those before the checkpoint. The trainer goes on from CHECKPOINT if that file is there, and writes
it at the end. The loss is made of its text, which is what `save_hyperparameters` keeps: so the checkpoint holds plain
values and tensors (class weights are a buffer of the loss), and is read without unpickling code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lossmith


class Classifier(lightning.LightningModule):
    def __init__(self, loss: str, class_weight: Tensor | None = None) -> None:
        super().__init__()
        self.save_hyperparameters("loss")
        self.network = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 10))
        self.criterion = lossmith.loss(loss, weight=class_weight)  # moves to the trainer's device with the module

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        return self.criterion(self.network(images), labels)

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        self.log("accuracy", (self.network(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def main(loss: str = "poly1", epochs: str = "20", checkpoint: str = "") -> None:
    lightning.seed_everything(0, verbose=False)

    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    order = torch.randperm(len(images))
    dataset = TensorDataset(images[order].float() / 16, labels[order])
    train = TensorDataset(*dataset[:1400])
    test = TensorDataset(*dataset[1400:])
    class_weight = 1400 / (10 * train.tensors[1].bincount(minlength=10).float())  # rare digits count for more

    model = Classifier(loss, class_weight)
    trainer = lightning.Trainer(
        max_epochs=int(epochs), logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    resumed = checkpoint if Path(checkpoint).is_file() else None
    trainer.fit(model, DataLoader(train, batch_size=64, shuffle=True), ckpt_path=resumed, weights_only=True)
    if checkpoint:
        trainer.save_checkpoint(checkpoint)

    (metrics,) = trainer.test(model, DataLoader(test, batch_size=len(test)), verbose=False)
    share = f"{100 * metrics['accuracy']:.1f}% of {len(test)} test digits"
    print(f"{trainer.global_step} steps, {model.criterion}: {share}")


if __name__ == "__main__":
    main(*sys.argv[1:])
