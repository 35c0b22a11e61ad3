"""Each example, through its own main in a process of its own, learns to read digits.

A loss that hands back no gradient, or one with the wrong sign, leaves a network at about 10%.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from compilers import needs_compiler

EXAMPLES = Path(__file__).parents[2] / "examples"
EVOLVED = "-y*log_abs(yhat) + sin(y - yhat)*square(yhat)"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def run(*arguments: object) -> str:
    """What an example printed."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def accuracy(output: str) -> float:
    """In percent."""
    found = re.search(r"([\d.]+)% of 397 test digits", output)
    assert found is not None, output
    return float(found[1])


@pytest.mark.parametrize("loss", ["-y*log(yhat)", EVOLVED])
def test_plain_loop(loss: str) -> None:
    assert accuracy(run(EXAMPLES / "plain_loop.py", loss, 12)) > 90


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["poly1", "baikal", "focal", "label_smoothing", "cross_entropy"])
def test_plain_loop_with_published_losses(loss: str) -> None:
    assert accuracy(run(EXAMPLES / "plain_loop.py", loss, 12)) > 90


def test_bf16_autocast() -> None:
    assert accuracy(run(EXAMPLES / "bf16_autocast.py", EVOLVED, 10)) > 88


@pytest.mark.slow
@needs_compiler
def test_torch_compile() -> None:
    output = run(EXAMPLES / "torch_compile.py", EVOLVED, 20)
    assert "compiled once for batches of 120 and 128" in output
    assert accuracy(output) > 88


def test_ddp() -> None:
    output = run(*TORCHRUN, 2, EXAMPLES / "ddp.py", EVOLVED, 8)
    assert "2 processes" in output
    assert accuracy(output) > 88


@pytest.mark.slow
def test_ddp_ends_where_one_process_does() -> None:
    one, two = (run(*TORCHRUN, n, EXAMPLES / "ddp.py", EVOLVED, 8) for n in (1, 2))
    assert abs(accuracy(one) - accuracy(two)) < 0.6  # two of the 397 digits: the rounding differs


@pytest.mark.slow
def test_lightning_trainer_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "digits.ckpt"
    first = run(EXAMPLES / "lightning_trainer.py", EVOLVED, 4, checkpoint)
    assert "88 steps" in first  # 4 epochs of 22
    # Read as an untrusted file is: tensors and plain values only.
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["hyper_parameters"] == {"loss": EVOLVED}
    assert saved["state_dict"]["criterion.weight"].shape == (10,)

    resumed = run(EXAMPLES / "lightning_trainer.py", EVOLVED, 12, checkpoint)
    assert "264 steps" in resumed
    assert accuracy(resumed) > 90
    assert accuracy(resumed) > accuracy(first)


def test_huggingface_trainer() -> None:
    assert accuracy(run(EXAMPLES / "huggingface_trainer.py", EVOLVED, 10)) > 85
