"""The controls of a search through the real command line, on real digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from commandline import run_lossmith
from lossmith.commands.searching import search_in
from lossmith.config import load_preset
from lossmith.ledger import Ledger
from scripted import Scripted, work_with

SETTINGS = [
    "search.initial=6",
    "search.population=3",
    "search.iterations=4",
    "task.steps=20",
    "screening.steps=10",
    "screening.stopping=[]",
    "rungs.microtask=null",
    "execution.way=processes",
]


@pytest.mark.slow  # tests/end_to_end/test_study.py runs the same command among others
def test_both_controls_of_a_search(tmp_path: Path) -> None:
    search, null, random = (tmp_path / name for name in ("search", "null", "random"))
    imagined = Scripted(lambda job, task: 0.5 + int(job.loss.key[:4], 16) / 2**17 if job.loss.flip is not None else 0.5)
    assert search_in(load_preset("smoke", SETTINGS), search, work_with(imagined)) == 0

    output = " ".join(run_lossmith("control", "null", search, f"--run={null}", "--workers=1").split())
    assert "The search's best fitness is" in output
    with Ledger.read(null) as ledger:
        (content,) = ledger.results("null")
        assert len(content["values"]) == len(list(ledger.evaluations())) == 7
        assert all(value is not None for value in content["values"])

    output = " ".join(run_lossmith("control", "random", search, f"--run={random}", "--workers=2").split())
    assert "random search 'smoke-random'" in output
    assert "Finished: 13 of 13 candidates scored." in output
    assert "of the random search" in output
    with Ledger.read(random) as ledger:
        stages = [row.stage for row in ledger.candidates() if row.attempt == 0]
    assert stages == ["screening"] * 6 + ["selection"] * 3 + ["random"] * 4
