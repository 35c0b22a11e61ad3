"""A confirmation through the real command line, on real digits: registered, tuned, tested, and refused once changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from commandline import run_lossmith
from lossmith.ledger import Ledger


def test_a_confirmation_of_a_formula_on_digits(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text("base: digits\nsteps: 30\nstopping: []\n", encoding="utf-8")
    run = tmp_path / "run"
    printed = run_lossmith(
        "confirm",
        "--losses",
        "-y*log(yhat) + 0.5*square(y - yhat)",
        "--cells",
        tmp_path / "tiny.yaml",
        "--seeds",
        6,
        "--run",
        run,
        "--set=baselines=[cross_entropy]",
        "--set=tuning={learning_rates: [0.1, 1], weight_decays: [0], seeds: 1}",
        "--set=execution.way=processes",
        "--workers=1",
    )
    sha256 = hashlib.sha256((run / "registration.json").read_bytes()).hexdigest()
    assert f"confirmation 'confirmation' in {run}: registered, sha256 {sha256}" in printed
    assert "trainings: 16: 4 to tune (2 losses x 1 cell x 2 settings x 1 seed), 12 on the test images" in printed
    assert "Primary hypothesis: On tiny, with 6 paired seeds," in " ".join(printed.split())
    with Ledger.read(run) as ledger:
        rows = list(ledger.evaluations())
        (found,) = ledger.results("confirmation")
    assert [row.key.split for row in rows].count("test") == 12
    assert all(row.reason.ok and row.steps == 30 for row in rows)
    assert found["sha256"] == sha256
    (difference,) = found["analysis"]["differences"]
    assert difference["n"] == 6
    scores = found["cells"][0]["scores"]
    assert all(
        0.1 < value < 1 and nll > 0
        for one in scores.values()
        for value, nll in zip(one["values"], one["nll"], strict=True)
    )
    # a tenth of the rate is too little for 30 steps
    assert [one["chosen"] for one in found["cells"][0]["tuning"].values()] == [1, 1]

    path = run / "registration.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"margin": 0.001', '"margin": 0.01'), encoding="utf-8")
    refused = run_lossmith("resume", run, code=2)
    assert refused == (
        f"lossmith: {path}: was changed after it was registered: 'margin' is 0.01, registered as 0.001; put back what"
        " was registered, or register anew in another directory\n"
    )
