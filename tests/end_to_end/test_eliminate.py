"""An elimination through the real command line, after a real search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commandline import run_lossmith
from lossmith.ledger import Ledger

QUICK = ["--set=execution={way: fused, slots: 4, dtype: float32}", "--workers=1"]


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "search"
    run_lossmith("search", "--preset=smoke", f"--run={directory}", *QUICK)
    return directory


@pytest.mark.slow  # tests/end_to_end/test_study.py runs the same command among others
def test_the_best_of_a_search_are_eliminated(search: Path, tmp_path: Path) -> None:
    out = tmp_path / "elimination"
    output = run_lossmith("eliminate", search, "--protocol=smoke", f"--run={out}", "--racing", *QUICK)
    with Ledger.read(out) as ledger:
        (content,) = ledger.results("elimination")
        rows = {row.id: row for row in ledger.evaluations()}
        tasks = [task.configuration["data"]["validation_fold"] for task in ledger.tasks()]
    assert tasks == [1, 1]
    assert {row.key.split for row in rows.values()} == {"validation"}
    with Ledger.read(search) as ledger:
        before = {row.id: row for row in ledger.evaluations()}
    assert not {row.key.seed for row in rows.values()} & {row.key.seed for row in before.values()}
    for loss in content["losses"]:
        found = before[loss["evaluation"]]
        assert (found.key.loss, found.score) == (loss["key"], loss["fitness"])
    used = [number for phase in content["phases"] for s in phase["scores"].values() for number in s["evaluations"]]
    assert sorted(used) == sorted(rows)
    (finalist,) = json.loads((out / "finalists.json").read_text())
    assert content["finalists"] == [finalist["key"]]
    assert "Finalists, the best first" in output

    # done: it trains nothing
    assert "Finalists, the best first" in run_lossmith("resume", out)
    with Ledger.read(out) as ledger:
        assert len(list(ledger.evaluations())) == len(rows)
        assert len(ledger.sessions()) == 1
