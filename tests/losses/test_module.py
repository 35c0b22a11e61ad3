"""What a module must do besides computing: state, copies, pickles, compilation."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from lossmith import loss
from lossmith.losses.module import Loss

Criterion = Callable[[Tensor, Tensor], Tensor]
NAMES = (
    *("-y * log(yhat)", "y * log(yhat)", "cross_entropy", "label_smoothing", "focal", "poly1", "baikal"),
    *("ngl", "nce_mae"),
)


def value_and_gradient(module: Criterion, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    value = module(leaf, target)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


def same(a: Criterion, b: Criterion, rtol: float = 0.0, atol: float = 0.0) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(6, 5, generator=generator)
    soft = torch.softmax(torch.randn(6, 5, generator=generator), 1)
    for target in (torch.tensor([0, 1, 2, 3, 4, -100]), torch.tensor([0, 1, 2, 3, 4, 4]), soft):
        for ours, theirs in zip(
            value_and_gradient(a, logits, target), value_and_gradient(b, logits, target), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_state(name: str, weighted: bool) -> None:
    weight = torch.rand(5) if weighted else None
    module, reference = loss(name, weight=weight), nn.CrossEntropyLoss(weight=weight)
    assert list(module.state_dict()) == list(reference.state_dict())
    assert not list(module.parameters())
    module.load_state_dict(reference.state_dict())
    moved = module.double().weight
    assert (moved is not None and moved.dtype == torch.float64) if weighted else moved is None
    for key in ("ignore_index", "reduction", "label_smoothing"):
        assert getattr(module, key) == getattr(reference, key)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles(name: str) -> None:
    module = loss(name, weight=torch.rand(5), label_smoothing=0.1)
    same(module, copy.deepcopy(module))
    same(module, pickle.loads(pickle.dumps(module)))  # noqa: S301 - our own bytes
    stream = io.BytesIO()
    torch.save(module, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=False)
    same(module, loaded)
    assert (loaded.name, loaded.formula, loaded.expression, loaded.flip) == (
        module.name,
        module.formula,
        module.expression,
        module.flip,
    )


def test_logits_are_left_as_they_are() -> None:
    logits, soft = torch.randn(4, 5), torch.softmax(torch.randn(4, 5), 1)
    before = logits.clone(), soft.clone()
    for name in NAMES:
        loss(name, label_smoothing=0.1)(logits, soft)
    assert torch.equal(logits, before[0])
    assert torch.equal(soft, before[1])


def test_memory_layout_changes_nothing() -> None:
    logits = torch.randn(5, 4).t()
    target = torch.tensor([0, 1, 2, 3])
    images = torch.randn(2, 5, 3, 3).to(memory_format=torch.channels_last)
    labels = torch.randint(5, (2, 3, 3))
    for name in NAMES:
        torch.testing.assert_close(loss(name)(logits, target), loss(name)(logits.contiguous(), target))
        torch.testing.assert_close(loss(name)(images, labels), loss(name)(images.contiguous(), labels))


def test_base_class_is_abstract() -> None:
    module = Loss("name", "formula", "latex")
    with pytest.raises(NotImplementedError):
        module(torch.randn(2, 3), torch.tensor([0, 1]))
    with pytest.raises(NotImplementedError):
        module.curves(torch.tensor([0.5]))


def test_gradient_accumulates_through_a_model() -> None:
    """Called exactly as cross-entropy is, in a training step; equal weights afterwards."""
    models = [nn.Linear(8, 3) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    inputs, target = torch.randn(16, 8), torch.randint(3, (16,))
    for model, criterion in zip(models, (loss("-y * log(yhat)"), nn.CrossEntropyLoss()), strict=True):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            criterion(model(inputs), target).backward()
            optimizer.step()
    torch.testing.assert_close(models[0].weight, models[1].weight)


COMPILED = (
    "-y * log(yhat)",
    "focal",
    "yhat / K - y * log(yhat)",
    "exp(yhat * y + (1 - 2)) / yhat + tanh(exp(1 / yhat))",
)


# torch's compiler warns of its own use of deprecated parts
compiles = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@compiles
@pytest.mark.parametrize("name", COMPILED)
def test_compiled(name: str) -> None:
    torch.compiler.reset()
    module = loss(name, weight=torch.rand(5), label_smoothing=0.1, flip=None if name == "focal" else False)
    same(torch.compile(module, fullgraph=True), module, rtol=1e-5, atol=1e-6)


@compiles
def test_compiled_once_for_all_batch_sizes() -> None:
    torch.compiler.reset()
    module = loss("-y * log(yhat)")
    frames = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=frames)
    compilations = []
    for size in (8, 13, 64):
        logits, target = torch.randn(size, 10), torch.randint(10, (size,))
        for ours, theirs in zip(
            value_and_gradient(compiled, logits, target), value_and_gradient(module, logits, target), strict=True
        ):
            torch.testing.assert_close(ours, theirs)
        compilations.append(frames.frame_count)
    assert compilations[0] == compilations[-1]
