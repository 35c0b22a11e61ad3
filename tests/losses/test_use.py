"""A loss inside other people's training code: copies, checkpoints, autocast, scaling, compilation, DDP, torch.func."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compilers import needs_compiler
from lossmith import loss

EVOLVED = "-y*log_abs(yhat) + sin(y - yhat)*square(yhat)"
LOSSES = ("cross_entropy", "focal", "baikal", "-y*log(yhat)", EVOLVED)
CLASSES = 10

# torch's compiler warns of its own use of deprecated parts
compiles = pytest.mark.filterwarnings("ignore::DeprecationWarning")
every_loss = pytest.mark.parametrize("name", LOSSES)


def batch(size: int, *, soft: bool = False, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs [size, 8], and labels or (mixup) probabilities."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 8, generator=generator)
    labels = torch.randint(CLASSES, (size,), generator=generator)
    if not soft:
        return inputs, labels
    share, hot = 0.3, nn.functional.one_hot(labels, CLASSES).float()
    return inputs, share * hot + (1 - share) * hot.flip(0)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.SiLU(), nn.Linear(12, CLASSES))


def gradients(model: nn.Module, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(model.parameters())))


class Classifier(nn.Module):
    """Network and loss in one module, as in Lightning."""

    def __init__(self, name: str, weight: Tensor | None = None) -> None:
        super().__init__()
        self.network = network()
        self.criterion = loss(name, weight=weight)

    def forward(self, inputs: Tensor, target: Tensor) -> Tensor:
        return self.criterion(self.network(inputs), target)


# -- a part of a module ----------------------------------------------------------------------------------------------


@every_loss
def test_a_submodule_is_moved_copied_pickled_and_saved_with_its_module(name: str) -> None:
    inputs, labels = batch(6)
    model = Classifier(name, torch.rand(CLASSES))
    expected = model(inputs, labels)
    assert [key for key in model.state_dict() if key.startswith("criterion")] == ["criterion.weight"]
    assert torch.equal(copy.deepcopy(model)(inputs, labels), expected)
    assert torch.equal(pickle.loads(pickle.dumps(model))(inputs, labels), expected)  # noqa: S301 - our own bytes

    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    other = Classifier(name, torch.ones(CLASSES))
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(other(inputs, labels), expected)

    assert model.double()(inputs.double(), labels).dtype == torch.float64
    assert model.to("meta")(inputs.to("meta"), labels.to("meta")).shape == ()


@every_loss
def test_a_copy_shares_nothing(name: str) -> None:
    model = Classifier(name, torch.ones(CLASSES))
    twin = copy.deepcopy(model)
    assert twin.criterion.weight is not None
    twin.criterion.weight.zero_()
    assert model.criterion.weight is not None
    assert torch.equal(model.criterion.weight, torch.ones(CLASSES))


# -- precision -------------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("soft", [False, True])
def test_autocast(name: str, dtype: torch.dtype, soft: bool) -> None:
    inputs, target = batch(16, soft=soft)
    model, criterion = network(), loss(name)
    with torch.autocast("cpu", dtype=dtype):
        logits = model(inputs)
        value = criterion(logits, target)
    assert (logits.dtype, value.dtype) == (dtype, torch.float32)
    (on_logits,) = torch.autograd.grad(value, logits, retain_graph=True)
    assert on_logits.dtype == dtype
    assert all(gradient.dtype == torch.float32 for gradient in gradients(model, value))
    # What the loss itself loses is the rounding of its inputs and of the gradient it hands back, no more.
    exact = logits.detach().float().requires_grad_()
    expected = criterion(exact, target)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(on_logits, torch.autograd.grad(expected, exact)[0].to(dtype), rtol=1e-2, atol=1e-3)


@every_loss
def test_gradient_scaler(name: str) -> None:
    """A scaled float16 step is the step of float32, within the precision of float16."""
    inputs, labels = batch(16)
    models = [network() for _ in range(2)]
    criterion = loss(name)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.01) for model in models]
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    with torch.autocast("cpu", dtype=torch.float16):
        value = criterion(models[0](inputs), labels)
    scaler.scale(value).backward()
    scaler.step(optimizers[0])
    scaler.update()
    assert scaler.get_scale() == 256.0  # no overflow, so the step was taken
    criterion(models[1](inputs), labels).backward()
    optimizers[1].step()
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=1e-2)
        assert not torch.equal(a, torch.zeros_like(a))


# -- batches in parts ------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("soft", [False, True])
def test_gradient_accumulation(name: str, soft: bool) -> None:
    """The sum over micro-batches of unequal size, divided by all examples, is the mean over the whole batch."""
    inputs, target = batch(14, soft=soft)
    model = network().double()
    inputs, target = inputs.double(), target.double() if soft else target
    whole = gradients(model, loss(name)(model(inputs), target))
    summed = loss(name, reduction="sum")
    for part_inputs, part_target in zip(inputs.split(5), target.split(5), strict=True):
        (summed(model(part_inputs), part_target) / len(inputs)).backward()
    for parameter, expected in zip(model.parameters(), whole, strict=True):
        torch.testing.assert_close(parameter.grad, expected)


def test_ddp_averages_to_the_gradient_of_the_joined_batch(tmp_path: Path) -> None:
    script = Path(__file__).with_name("ddp_gradients.py")
    processes = [
        subprocess.Popen([sys.executable, script, str(rank), tmp_path], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    for rank in range(2):
        found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert len(found) == 6
        for case, result in found.items():
            assert torch.equal(result["buffer"], result["weight"]), f"{case}: DDP did not broadcast the class weights"
            torch.testing.assert_close(
                result["parallel"], result["alone"], msg=lambda text, case=case: f"{case}: {text}"
            )


# -- torch.compile ---------------------------------------------------------------------------------------------------


def follow(name: str, *, soft: bool, backend: str) -> None:
    """A compiled step does as the eager one for several batch sizes."""
    model, criterion = network(), loss(name, label_smoothing=0.1)

    def step(inputs: Tensor, target: Tensor) -> Tensor:
        return criterion(model(inputs), target)

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=backend)
    for size in (6, 13, 64):
        inputs, target = batch(size, soft=soft, seed=size)
        with torch.compiler.set_stance("default" if size == 6 else "fail_on_recompile"):
            value = compiled(inputs, target)
        expected = step(inputs, target)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(gradients(model, value), gradients(model, expected), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@compiles
@every_loss
@pytest.mark.parametrize("soft", [False, True])
def test_a_whole_step_is_one_graph_for_all_batch_sizes(name: str, soft: bool) -> None:
    torch.compiler.reset()
    follow(name, soft=soft, backend="aot_eager")


@compiles
@needs_compiler
def test_a_whole_step_through_inductor() -> None:
    torch.compiler.reset()
    follow(EVOLVED, soft=True, backend="inductor")


# -- torch.func ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's batching of scatter is a loop
@every_loss
def test_gradients_of_single_examples(name: str) -> None:
    """vmap over grad, as for influence functions or differential privacy."""
    inputs, labels = batch(5)
    model, criterion = network(), loss(name)
    parameters: dict[str, Tensor] = dict(model.named_parameters())

    def of_one(values: dict[str, Tensor], example: Tensor, label: Tensor) -> Tensor:
        return criterion(torch.func.functional_call(model, values, (example[None],)), label[None])

    each = torch.func.vmap(torch.func.grad(of_one), (None, 0, 0))(parameters, inputs, labels)
    expected = gradients(model, criterion(model(inputs), labels))
    for ours, theirs in zip(each.values(), expected, strict=True):
        torch.testing.assert_close(ours.mean(0), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's forward mode uses torch.jit.script itself
@every_loss
def test_hessian(name: str) -> None:
    """Forward over reverse, as torch.func.hessian does it, against reverse over reverse."""
    _, labels = batch(3)
    criterion = loss(name)
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = labels % 4

    def value(logits: Tensor) -> Tensor:
        return criterion(logits, labels)

    expected = torch.autograd.functional.hessian(value, logits)
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(torch.func.hessian(value)(logits), expected)
