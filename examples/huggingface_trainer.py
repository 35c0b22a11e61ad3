"""A Hugging Face Trainer with a loss of Lossmith, on a small vision transformer made from its configuration.

python examples/huggingface_trainer.py [LOSS [EPOCHS]]

The Trainer expects of `compute_loss_func` the part of a whole step's mean: with gradient accumulation (here 2) or
several devices a batch is only a part of the step. So the loss sums, and what the Trainer counted divides.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from transformers import EvalPrediction, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import lossmith


def main(loss: str = "poly1", epochs: str = "12") -> None:
    criterion = lossmith.loss(loss, reduction="sum")

    def compute_loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        total = criterion(outputs.logits, labels)
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)  # None in an evaluation

    def accuracy(prediction: EvalPrediction) -> dict[str, float]:
        return {"accuracy": float((np.argmax(prediction.predictions, 1) == prediction.label_ids).mean())}

    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    examples = [{"pixel_values": images[i].float().view(1, 8, 8) / 16, "labels": labels[i]} for i in order]
    train, test = examples[:1400], examples[1400:]

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        id2label={i: str(i) for i in range(10)},
    )
    model = ViTForImageClassification(config)
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=directory,
                num_train_epochs=int(epochs),
                per_device_train_batch_size=32,
                gradient_accumulation_steps=2,
                learning_rate=5e-3,
                seed=0,
                save_strategy="no",
                report_to="none",
                dataloader_pin_memory=torch.cuda.is_available(),
                disable_tqdm=True,
            ),
            train_dataset=train,  # pyright: ignore[reportArgumentType] - any sequence of dictionaries will do
            eval_dataset=test,  # pyright: ignore[reportArgumentType]
            compute_loss_func=compute_loss,
            compute_metrics=accuracy,
        )
        trainer.train()
        metrics = trainer.evaluate()
    print(f"{criterion}: {100 * metrics['eval_accuracy']:.1f}% of {len(test)} test digits")


if __name__ == "__main__":
    main(*sys.argv[1:])
