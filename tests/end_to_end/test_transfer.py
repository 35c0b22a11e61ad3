"""A transfer through the real command line, on real digits: stopped, and resumed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from commandline import lossmith_command, run_lossmith
from lossmith.ledger import Ledger

SETTINGS = """
seeds: 3
datasets: {digits: {source: digits, validation_fraction: 0.25}}
models: {convnet: {model: convnet}, resnet: {model: resnet9v2, steps: 8}}
augmentations: {mixup: {augment: {pad: 1, mixup: 0.4}}}
task: {steps: 30, batch_size: 64, epoch_steps: 10}
execution: {way: processes}
"""


def scores(directory: Path) -> dict[str, Any]:
    with Ledger.read(directory) as ledger:
        (content,) = ledger.results("transfer")
    return {cell["name"]: [score["values"] for score in cell["scores"].values()] for cell in content["cells"]}


@pytest.mark.slow  # tests/end_to_end/test_study.py runs the same command among others
def test_a_transfer_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(SETTINGS)
    arguments = ("transfer", f"--config={file}", "--losses", "baikal", "-y*log(yhat) + 0.5*square(y - yhat)")
    with subprocess.Popen(
        lossmith_command(*arguments, f"--run={tmp_path / 'stopped'}", "--workers=1"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("cell 1 of 2, digits/convnet/mixup/scratch: cross_entropy"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        assert process.wait(120) == 130, rest
    assert "stopped; nothing is lost" in rest
    output = run_lossmith("resume", tmp_path / "stopped", "--workers=2")
    assert "cell 2 of 2, digits/resnet/mixup/scratch" in output
    assert "4 comparisons in 2 cells" in output
    found = scores(tmp_path / "stopped")
    assert list(found) == ["digits/convnet/mixup/scratch", "digits/resnet/mixup/scratch"]
    values = [value for cell in found.values() for each in cell for value in each]
    assert len(values) == 2 * 3 * 3
    assert all(0 < value < 1 for value in values)
