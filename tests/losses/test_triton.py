"""The Triton kernels against the eager path.

Verified without a GPU: values and gradients in Triton's interpreter, which runs the kernels' own source with numpy, and
that Triton's compiler makes machine code of them for NVIDIA GPUs, without spilling registers. What only a GPU can show
is in the tests marked `gpu`: rounding of its approximate exponential, logarithm and division, the launch itself, one
compilation for all sizes of batch, wrong labels, speed. They have not been run yet; no GPU was at hand.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import lossmith
from lossmith.errors import LossmithError
from lossmith.losses import triton_kernel
from lossmith.losses.program import program
from lossmith.space.expression import Expression
from triton_cases import error, expected, logits_and_target, operator_expressions

HERE = Path(__file__).parent
# The tests' environment installs Triton on Linux on x86-64, so continuous integration skips nothing; elsewhere there
# may be none, and without it there is nothing to test.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed; pip has it for Linux alone"
)


def script(name: str, tmp_path: Path) -> Any:
    """What a script prints: another process, since Triton reads its environment once."""
    environment = dict(os.environ, TRITON_CACHE_DIR=str(tmp_path), OMP_NUM_THREADS="1")
    environment["PYTHONPATH"] = str(HERE.parent)
    command = [sys.executable, HERE / name]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_interpreted(tmp_path: Path) -> None:
    """Operations, operators, zoo, random losses; hard, smoothed and soft targets; weights; 1 to 17,000 classes."""
    parts: dict[str, list[tuple[str, float]]] = script("triton_interpreted.py", tmp_path)
    assert {part: len(cases) >= 8 for part, cases in parts.items()} == dict.fromkeys(
        ("operations", "losses", "long_rows", "modules"), True
    )
    assert not [case for cases in parts.values() for case in cases if not case[1] <= 1]


def test_compiled(tmp_path: Path) -> None:
    """To machine code: nothing spilt (libraries keep some bytes of their own), wide loads, labels checked."""
    for found in script("triton_compiled.py", tmp_path):
        assert found["stack"] <= 128, found
        assert found["lines"] < 12_000, found
        assert found["checks"] == found["labels"], found
        assert found["vectors"] or found["classes"] < 16, found
        assert found["not_specialised"] == ["rows"], found


def test_the_eager_path_serves_what_the_kernel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "is_cuda", True)
    monkeypatch.setattr(triton_kernel, "_installed", lambda: True)
    run = program(Expression.from_text("-y*log(yhat)"))
    logits = torch.randn(4, 10)
    assert triton_kernel.usable(run, logits, 1)
    assert triton_kernel.usable(run, logits.bfloat16(), 1)
    assert not triton_kernel.usable(program(Expression.from_text("y*exp(1/yhat)")), logits, 1)
    assert not triton_kernel.usable(run, logits.double(), 1)
    assert not triton_kernel.usable(run, logits[:, :5], 1)
    assert not triton_kernel.usable(run, logits[0], 0)
    assert not triton_kernel.usable(run, logits[None], 1)
    monkeypatch.setenv("LOSSMITH_TRITON", "0")
    assert not triton_kernel.usable(run, logits, 1)


def test_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU Triton has no driver: the error says what failed and how to do without."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    run = program(Expression.from_text("-y*log(yhat)"))
    with pytest.raises(LossmithError, match=r"its Triton kernel for 10 classes failed: .*LOSSMITH_TRITON=0"):
        triton_kernel.evaluate(run, torch.randn(4, 10), torch.zeros(4, 1, dtype=torch.int64), (1.0, 0.0), None)


# -- on a GPU ----------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["hard", "smooth", "soft"])
@pytest.mark.parametrize("classes", [1, 2, 10, 1000, 17_000])
def test_on_a_gpu(classes: int, kind: str) -> None:
    """Twice what is allowed in the interpreter: the hardware's exponential rounds more."""
    for seed, expression in enumerate(operator_expressions()):
        dtype = (torch.float32, torch.bfloat16, torch.float16)[seed % 3]
        logits, y, targets, weight = logits_and_target(classes, kind, seed % 2 == 0, dtype, seed)
        run = program(expression)
        if run.guarded:
            continue
        weight_on_gpu = None if weight is None else weight.cuda()
        value, gradient = triton_kernel.evaluate(run, logits.cuda(), y.cuda(), targets, weight_on_gpu)
        assert error((value.cpu(), gradient.cpu()), expected(expression, logits, y, targets, weight)) <= 2, expression


@pytest.mark.gpu
def test_module_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(64, 100, device="cuda", requires_grad=True)
    labels = torch.randint(100, (64,), device="cuda")
    labels[:5] = -100
    for name in ("focal", "-y*log(yhat) + sin(yhat)"):
        results = []
        for switch in ("1", "0"):
            monkeypatch.setenv("LOSSMITH_TRITON", switch)
            value = lossmith.loss(name, label_smoothing=0.1)(logits, labels)
            results.append(torch.cat([value.reshape(1), torch.autograd.grad(value, logits)[0].reshape(-1)]))
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-7)


@pytest.mark.gpu
def test_one_compilation_for_all_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    loss = lossmith.loss("-y*log(yhat) + 0.123*sin(yhat)")
    counts = []
    for examples in (128, 1, 2, 16, 17, 5000):
        logits = torch.randn(examples, 333, device="cuda", requires_grad=True)
        loss(logits, torch.zeros(examples, dtype=torch.int64, device="cuda")).backward()
        counts.append(len(list(tmp_path.rglob("*.cubin"))))
    assert counts == [1] * len(counts)


@pytest.mark.gpu
def test_a_wrong_label_on_a_gpu() -> None:
    """As in torch: a device-side assertion."""
    code = (
        "import torch, lossmith\n"
        "logits = torch.randn(4, 10, device='cuda', requires_grad=True)\n"
        "print(lossmith.loss('-y*log(yhat)')(logits, torch.full((4,), 10, device='cuda')).item())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "assert" in done.stderr


@pytest.mark.gpu
def test_throughput_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the time and the bytes moved a second; asserts nothing of them."""
    logits = torch.randn(4096, 1000, device="cuda")
    labels = torch.randint(1000, (4096, 1), device="cuda")
    for text in ("-y*log(yhat)", "-y*log(yhat) - (1-y)*log(1-yhat)", "sin(yhat)*y - i0(y + yhat)"):
        run = program(Expression.from_text(text))
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        for _ in range(10):
            triton_kernel.evaluate(run, logits, labels, (1.0, 0.0), None)
        start.record()
        for _ in range(100):
            triton_kernel.evaluate(run, logits, labels, (1.0, 0.0), None)
        end.record()
        torch.cuda.synchronize()
        seconds = start.elapsed_time(end) / 1e5
        with capsys.disabled():
            moved = 2 * logits.numel() * 4 / seconds / 1e9
            print(f"\n{text}: {seconds * 1e6:.0f} us, {moved:.0f} GB/s of logits read and gradient written")
        assert seconds > 0
