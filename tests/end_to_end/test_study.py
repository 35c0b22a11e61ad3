"""`lossmith study` through the command line, training included: stopped once, resumed, shown and reported."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from commandline import lossmith_command, run_lossmith
from lossmith.ledger import FILE, Ledger

STAGES = ("search", "random", "null", "elimination", "elimination-random", "transfer", "confirmation")
FEWER = ("search.search.iterations=4", "confirmation.seeds=8", "search.search.initial=8", "search.search.population=4")


def evaluations(run: Path) -> int:
    if not (run / FILE).exists():
        return 0
    with Ledger.read(run) as ledger:
        return len(list(ledger.evaluations()))


def test_a_study_from_its_search_to_its_report(tmp_path: Path) -> None:
    directory = tmp_path / "study"
    settings = [f"--set={text}" for text in FEWER]
    with subprocess.Popen(
        lossmith_command("study", "study-smoke", f"--run={directory}", *settings), stdout=subprocess.PIPE, text=True
    ) as study:
        deadline = time.monotonic() + 300
        while evaluations(directory / "search") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        study.send_signal(signal.SIGINT)
        stopped, _ = study.communicate(timeout=120)
    assert study.returncode == 130
    assert f"lossmith resume {directory}" in stopped
    output = run_lossmith("resume", directory)
    assert f"report: {directory / 'report' / 'index.html'}" in output
    for stage in STAGES:
        with Ledger.read(directory / stage) as ledger:
            assert list(ledger.evaluations())
    page = (directory / "report" / "index.html").read_text(encoding="utf-8")
    assert "What was asked and registered" in page
    assert "This stage" not in page  # none is missing or unfinished
    assert "Primary hypothesis" in run_lossmith("show", directory)
    moved = tmp_path / "moved"
    directory.rename(moved)
    assert str(moved / "report" / "index.html") in run_lossmith("report", moved)
