"""`loss.compile()`: one kernel of the value and its gradient by torch's compiler, for every size of batch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compilers import needs_compiler
from lossmith import loss
from lossmith.errors import LossmithError
from lossmith.losses.module import Loss

# torch's compiler warns of its own use of deprecated parts
pytestmark = [needs_compiler, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def batch(examples: int, classes: int = 6, *, soft: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(examples)
    logits = 2 * torch.randn((examples, classes), generator=generator)
    if soft:
        return logits, torch.softmax(torch.randn((examples, classes), generator=generator), 1)
    return logits, torch.randint(classes, (examples,), generator=generator)


def outcome(module: Loss, logits: Tensor, target: Tensor) -> list[Tensor]:
    leaf = logits.clone().requires_grad_()
    value = module(leaf, target)
    seed = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).view(value.shape)
    return [value.detach(), torch.autograd.grad(value, leaf, seed)[0]]


def pair(name: str, **arguments: Any) -> tuple[Loss, Loss]:
    """(the compiled loss, the eager one)."""
    compiled, eager = (loss(name, **arguments) for _ in range(2))
    compiled.compile()
    return compiled, eager


def same(modules: tuple[Loss, Loss], logits: Tensor, target: Tensor) -> None:
    for ours, theirs in zip(*(outcome(module, logits, target) for module in modules), strict=True):
        assert ours.dtype == theirs.dtype
        scale = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6 * scale)


def compilations() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("soft", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["labels", "soft"])
def test_any_batch_size(soft: bool) -> None:
    torch.compiler.reset()
    modules = pair("baikal")
    start = compilations()
    logits, target = batch(8, soft=soft)
    same(modules, logits, target)
    assert compilations() == start + 1
    for size in (2, 3, 8, 17, 64):
        same(modules, *batch(size, soft=soft))
    assert compilations() == start + 1
    # evaluation needs no gradient and no compiler, second derivatives take the eager way
    assert modules[0](logits, target) == modules[1](logits, target)
    seconds = []
    for module in modules:
        leaf = logits.clone().requires_grad_()
        (first,) = torch.autograd.grad(module(leaf, target), leaf, create_graph=True)
        seconds.append(torch.autograd.grad(first.square().sum(), leaf)[0])
    torch.testing.assert_close(*seconds)


def test_ignored_and_wrong_labels() -> None:
    """Inside compiled code a wrong index would end the process; here it is refused, or ignored, as in cross-entropy."""
    torch.compiler.reset()
    modules = pair("-y * log(yhat)", ignore_index=-1)
    logits, labels = batch(8)
    ignored = labels.clone()
    ignored[3] = -1
    same(modules, logits, ignored)
    for wrong in (6, -2, -100):
        labels[5] = wrong
        with pytest.raises(IndexError, match="out of bounds"):
            modules[0](logits.requires_grad_(), labels)


def test_it_takes_no_arguments() -> None:
    with pytest.raises(LossmithError, match=r"compile\(\) takes no arguments"):
        loss("-y * log(yhat)").compile(dynamic=True)


THREADS = """
import torch
from lossmith import loss

torch.set_num_threads(2)
logits = torch.randn((512, 200), generator=torch.Generator().manual_seed(0), requires_grad=True)
labels = torch.randint(200, (512,), generator=torch.Generator().manual_seed(1))
labels[[3, 500]] = -100
compiled, eager = loss("baikal"), loss("baikal")
compiled.compile()
values = [module(logits, labels) for module in (compiled, eager)]
torch.testing.assert_close(*values)
torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in values))
"""


@pytest.mark.slow
def test_ignored_labels_with_threads() -> None:
    """In a process of its own: an exception inside a thread of the compiled code would end it."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", THREADS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["-y * log(yhat)", "focal", "ngl", "-y * log(yhat) - (1 - y) * log(1 - yhat)", "y * tanh(1 - exp(1 / yhat))"],
)
def test_every_argument(name: str) -> None:
    torch.compiler.reset()
    flip = None if name in ("focal", "ngl") else False
    weight = torch.linspace(0.5, 2.0, 6)
    for reduction, given, smoothing in (("mean", None, 0.0), ("sum", weight, 0.1), ("none", weight, 0.0)):
        modules = pair(name, reduction=reduction, weight=given, label_smoothing=smoothing, flip=flip)
        for soft in (False, True):
            for size in (5, 12):
                same(modules, *batch(size, soft=soft))
    modules = pair(name, flip=flip)
    logits, labels = batch(5)
    same(modules, logits.double(), labels)
    same(modules, torch.stack((logits, -logits), 2), torch.stack((labels, labels.flip(0)), 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["baikal", "focal", "-y * log(yhat) - (1 - y) * log(1 - yhat)"])
def test_saturated_logits(name: str) -> None:
    torch.compiler.reset()
    modules = pair(name, reduction="none", flip=False if "yhat" in name else None)
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [90.0, 0.0, -5.0], [17.0, 0.0, -40.0]])
    for labels in (torch.tensor([0, 0, 0, 0]), torch.tensor([1, 2, 1, 1]), torch.tensor([2, 1, 2, 2])):
        same(modules, logits, labels)
        same(modules, logits, F.one_hot(labels, 3).float())
