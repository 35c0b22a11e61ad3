"""A fidelity study through the real command line, on real digits."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from commandline import run_lossmith
from lossmith.ledger import Ledger


@pytest.mark.slow  # a minute or more
def test_a_study_of_the_zoo_and_random_losses(tmp_path: Path) -> None:
    run = tmp_path / "run"
    named = ("cross_entropy", "focal", "-y*log(yhat) + 0.5*square(y - yhat)")
    settings = ("losses.zoo=false", "losses.random=3", "top=[1, 3]", "execution={way: processes}")
    printed = run_lossmith(
        "fidelity", "--preset", "smoke", "--losses", *named, "--run", run, *(f"--set={each}" for each in settings)
    )
    assert f"fidelity study 'smoke' in {run}" in printed
    assert f"page: {run / 'report' / 'index.html'}" in printed
    with Ledger.read(run) as ledger:
        rows = list(ledger.evaluations())
        (found,) = ledger.results("fidelity")
    assert len(rows) == found["evaluations"] == 3 * len(found["losses"])
    assert {row.key.split for row in rows} == {"validation"}
    assert [loss["source"] for loss in found["losses"]] == ["named"] * 3 + ["random"] * 3
    assert [entry["name"] for entry in found["surrogates"]] == ["screen", "expensive at 20"]
    early, whole = found["surrogates"][1]["cost"], found["expensive"]["cost"]
    assert 0 < early["seconds"] < whole["seconds"]
    assert found["surrogates"][0]["cost"]["seconds"] > 0
    with (run / "report" / "surrogates.csv").open(encoding="utf-8") as stream:
        assert [row["kind"] for row in csv.DictReader(stream)] == ["task", "early", "itself", "halves"]
