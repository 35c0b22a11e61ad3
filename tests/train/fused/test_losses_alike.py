"""Whatever a loss does, its job gives what it gives alone, and the jobs beside it do not notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bars import LOSSES, FromStep, Outcome, alone, make_dataset, make_task, same_bits, timeless, together
from lossmith.train.data import Dataset
from lossmith.train.engine import Job
from lossmith.train.result import TrainingResult
from lossmith.verdict import Reason

SHORT = {"steps": 6, "epoch_steps": 3}
NEIGHBOURS = [Job(number, LOSSES[number % 4], number) for number in range(3)]


class Breaks(torch.autograd.Function):
    """The identity, whose backward pass raises."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - torch declares *args
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - torch declares *args
        raise RuntimeError("no backward pass")


class Learned(nn.Module):
    """A loss with a weight of its own, and no other gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.weight * functional.cross_entropy(logits.detach(), target)


def dropping(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits + torch.rand_like(logits), target)


def relabelling(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits, target.fill_(0))


def in_place(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits.sub_(1.0), target)


def spoilt_gradient(logits: Tensor, target: Tensor) -> Tensor:
    """A finite value whose gradient is NaN."""
    return functional.cross_entropy(logits, target) + (logits * 0).abs().sqrt().sum()


def refuse(loss: Tensor, logits: Tensor) -> Tensor:
    raise ArithmeticError("refused")


def after(change: Callable[[Tensor, Tensor], Any]) -> Callable[[], FromStep]:
    return lambda: FromStep(4, change)


# what a loss does -> how its training ends
ENDINGS: dict[str, tuple[Callable[[], Any], Reason | str]] = {
    "nan": (after(lambda loss, logits: loss * float("nan")), Reason.LOSS_NOT_FINITE),
    "inf": (after(lambda loss, logits: loss * float("inf")), Reason.LOSS_NOT_FINITE),
    "nan without a gradient": (after(lambda loss, logits: torch.tensor(float("nan"))), Reason.LOSS_NOT_FINITE),
    "inf, and no backward pass": (
        after(lambda loss, logits: Breaks.apply(loss) + float("inf")),
        Reason.LOSS_NOT_FINITE,
    ),
    "no backward pass": (after(lambda loss, logits: Breaks.apply(loss)), "RuntimeError: no backward pass"),
    "raises": (after(refuse), "ArithmeticError: refused"),
    "no tensor": (after(lambda loss, logits: 1.0), "TypeError: the loss gave float, expected a tensor of one number"),
    "nothing": (after(lambda loss, logits: None), "TypeError: the loss gave NoneType, expected a tensor of one number"),
    "a loss per image": (
        after(lambda loss, logits: logits.sum(1)),
        "ValueError: the loss gave a tensor [16], expected one number: take the mean",
    ),
    "integer": (
        after(lambda loss, logits: loss.long()),
        "TypeError: the loss gave a tensor of torch.int64, expected floating point",
    ),
    "complex": (
        after(lambda loss, logits: loss * 1j),
        "TypeError: the loss gave a tensor of torch.complex64, expected floating point",
    ),
    "constant": (after(lambda loss, logits: torch.tensor(1.0)), "ValueError: the loss has no gradient"),
    "detached": (after(lambda loss, logits: loss.detach()), "ValueError: the loss has no gradient"),
    "own weight only": (Learned, "ValueError: the loss has no gradient"),
    "targets in place": (lambda: relabelling, "ValueError: the loss changes its logits or targets in place"),
    "logits in place": (lambda: in_place, ""),  # torch says it first where they are a leaf
    "gradient of nan": (lambda: spoilt_gradient, Reason.LOSS_NOT_FINITE),  # of the next step
    "one number as a list": (after(lambda loss, logits: loss[None]), Reason.OK),
    "float64": (after(lambda loss, logits: loss.double()), Reason.OK),
    "float16": (after(lambda loss, logits: loss.half()), Reason.OK),
    "draws": (lambda: dropping, Reason.OK),
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="module")
def neighbours(dataset: Dataset) -> dict[int, Outcome]:
    """The neighbours without anyone between them."""
    return together(make_task(**SHORT), dataset, NEIGHBOURS, 3)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_loss_ends_as_it_does_alone_and_alone(dataset: Dataset, neighbours: dict[int, Outcome], ending: str) -> None:
    make, expected = ENDINGS[ending]
    single = alone(make_task(**SHORT), dataset, Job(9, make(), 1)).result
    outcomes = together(make_task(**SHORT), dataset, [NEIGHBOURS[0], Job(9, make(), 1), *NEIGHBOURS[1:]], 4)
    fused = outcomes.pop(9).result
    assert all(same_bits(outcomes[job.number], neighbours[job.number]) for job in NEIGHBOURS)
    if isinstance(expected, str):
        for result in (single, fused):
            assert isinstance(result, Exception)
            assert str(timeless(result)).startswith(expected)
    else:
        for result in (single, fused):
            assert isinstance(result, TrainingResult)
            assert result.reason is expected
        assert isinstance(single, TrainingResult)
        assert isinstance(fused, TrainingResult)
        last = 6 if expected is Reason.OK else 1 if ending == "gradient of nan" else 4
        assert fused.steps == single.steps == last
        losses = [[record.train_loss for record in result.curve] for result in (single, fused)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_weights_that_are_not_finite_are_seen_at_the_end_of_the_epoch(dataset: Dataset) -> None:
    """The last step of the epoch spoils the weights of one slot."""
    task, job = (
        make_task(steps=5),
        Job(9, FromStep(4, lambda loss, logits: spoilt_gradient(logits, torch.zeros(16).long())), 0),
    )
    expected = together(task, dataset, NEIGHBOURS, 3)
    found = together(task, dataset, [job, *NEIGHBOURS], 4)
    result = found.pop(9).result
    assert isinstance(result, TrainingResult)
    assert (result.reason, result.steps, result.curve) == (Reason.WEIGHTS_NOT_FINITE, 5, ())
    assert all(same_bits(found[number], expected[number]) for number in expected)


def test_a_loss_that_draws_has_draws_of_its_own_and_leaves_no_trace(dataset: Dataset) -> None:
    """The same with other neighbours that draw, after other draws, and alone."""
    before = torch.random.get_rng_state()
    first = together(make_task(**SHORT), dataset, [Job(0, dropping, 3)], 1)[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.rand(17)
        again = together(
            make_task(**SHORT), dataset, [Job(1, dropping, 2), Job(0, dropping, 3), Job(2, dropping, 3)], 2
        )
    assert same_bits(again[0], first)
    assert same_bits(again[2], first)
    assert not same_bits(again[1], first)
    single = alone(make_task(**SHORT), dataset, Job(0, dropping, 3)).result
    assert isinstance(single, TrainingResult)
    assert isinstance(first.result, TrainingResult)
    losses = [[record.train_loss for record in result.curve] for result in (single, first.result)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_targets_that_are_mixed_are_given_back_as_well(dataset: Dataset) -> None:
    task = make_task(**SHORT, augment={"mixup": 0.4})
    expected = together(task, dataset, NEIGHBOURS, 3)
    found = together(task, dataset, [Job(9, relabelling, 1), *NEIGHBOURS], 4)
    assert all(same_bits(found[number], expected[number]) for number in expected)
