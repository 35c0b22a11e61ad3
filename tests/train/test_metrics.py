"""Scores against plain definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lossmith.train.data import Split
from lossmith.train.metrics import ECE_BINS, accuracy, predict, score


def naive_ece(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    total = 0.0
    for number in range(ECE_BINS):
        low, high = number / ECE_BINS, (number + 1) / ECE_BINS
        members = [
            (float(row.max()), int(row.argmax()) == int(label))
            for row, label in zip(probabilities, labels, strict=True)
            if low < float(row.max()) <= high
        ]
        if members:
            confidence = sum(value for value, _ in members) / len(members)
            correct = sum(right for _, right in members) / len(members)
            total += len(members) / len(labels) * abs(correct - confidence)
    return total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(2, 12), st.floats(0.1, 5))
def test_scores_follow_their_definitions(seed: int, count: int, classes: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator) * spread
    labels = torch.randint(classes, (count,), generator=generator)
    scores = score(logits, labels)
    assert scores.accuracy == sum(int(row.argmax()) == int(y) for row, y in zip(logits, labels, strict=True)) / count
    assert scores.accuracy == accuracy(logits, labels)
    assert scores.nll == pytest.approx(float(functional.cross_entropy(logits.double(), labels)), rel=1e-9)
    assert scores.ece == pytest.approx(naive_ece(logits.double().softmax(1), labels), abs=1e-9)


def test_extremes() -> None:
    labels = torch.tensor([0, 1, 2, 1])
    perfect = score(torch.eye(3)[labels] * 1e4, labels)
    assert (perfect.accuracy, perfect.nll, perfect.ece) == (1.0, 0.0, 0.0)
    sure_and_wrong = score(torch.eye(3)[(labels + 1) % 3] * 50, labels)
    assert sure_and_wrong.accuracy == 0.0
    assert sure_and_wrong.nll == pytest.approx(50)
    assert sure_and_wrong.ece == pytest.approx(1.0)
    undecided = score(torch.zeros(4, 4), torch.zeros(4, dtype=torch.int64))
    assert undecided.nll == pytest.approx(math.log(4))
    assert undecided.ece == pytest.approx(0.75)


def test_logits_that_are_not_finite_have_no_scores_but_an_accuracy() -> None:
    scores = score(torch.full((3, 2), float("nan")), torch.tensor([0, 1, 1]))
    assert math.isnan(scores.nll)
    assert math.isnan(scores.ece)
    assert 0 <= scores.accuracy <= 1


def test_prediction_leaves_the_mode_and_the_weights_alone() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Dropout(0.5))
    images = torch.arange(1, 4097, dtype=torch.int64).remainder(256).to(torch.uint8).view(1024, 1, 2, 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    logits = predict(model, Split(images, torch.zeros(1024, dtype=torch.int64)), lambda batch: batch.float() / 255)
    assert model.training
    assert logits.shape == (1024, 4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    expected = images.flatten(1).float() / 255 / math.sqrt(1 + 1e-5)
    torch.testing.assert_close(logits, expected)
