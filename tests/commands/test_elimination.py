"""`lossmith eliminate` in this process, with imagined trainings: stopping, going on, and what users get wrong."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eliminations import Imagined, loss_rows, write_search
from lossmith.arguments.elimination import Eliminate
from lossmith.commands.elimination import resume_elimination, run_eliminate
from lossmith.commands.work import STOPPED, Work
from lossmith.errors import ConfigError, DataError, LossmithError, RunError
from lossmith.execution.base import Completed
from lossmith.ledger import Ledger

LOSSES = loss_rows(4)
PLACE = {loss.key: place for place, loss in enumerate(LOSSES)}
# nothing is measured
PLAIN = ("execution={way: processes, dtype: float32, compile: false}", "phenotype_distance=0")


class Interrupted(Imagined):
    """Ctrl-C while a certain training runs."""

    def __init__(self, after: int) -> None:
        super().__init__(lambda key, *_: 0.5 + PLACE[key] / 10)
        self._after = after

    def wait(self, timeout: float | None = None) -> list[Completed]:
        if len(self.trained) == self._after:
            self._after = -1
            os.kill(os.getpid(), signal.SIGINT)
            return []
        return super().wait(timeout)


def work(executor: Any = None) -> tuple[Work, io.StringIO]:
    text = io.StringIO()
    return Work(executor, time.monotonic(), Console(file=text, width=160), 1), text


def command(*directories: Path, run: Path, **changes: Any) -> Eliminate:
    values = {"protocol": "smoke", "overrides": PLAIN, **changes}
    return Eliminate(directories, run=run, **values)


@pytest.fixture
def found(tmp_path: Path) -> Path:
    write_search(tmp_path / "search", [(loss, 0.9 - place / 100) for place, loss in enumerate(LOSSES)])
    return tmp_path / "search"


def test_stopped_by_ctrl_c_it_goes_on_and_is_done_once(
    found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_eliminate(command(found, run=out), work(first := Interrupted(5))[0]) == STOPPED
    assert f"lossmith resume {out}" in capsys.readouterr().out
    assert len(first.trained) == 5
    assert not (out / "finalists.json").exists()

    assert resume_elimination(out, work(second := Interrupted(-1))[0]) == 0
    assert len(second.trained) == 4 * 2 + 2 * 3 - 5
    assert (out / "finalists.json").exists()

    # done: nothing to train with
    again, text = work()
    assert run_eliminate(command(found, run=out), again) == 0
    assert "Finalists" in text.getvalue()
    assert resume_elimination(out, work()[0]) == 0
    with Ledger.read(out) as ledger:
        assert len(ledger.results("elimination")) == 1


def test_the_search_may_go_on_meanwhile(found: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_eliminate(command(found, run=out), work(Interrupted(5))[0]) == STOPPED
    with Ledger.open(found) as ledger:
        ledger.begin_session("test", 1, {}, time.monotonic())
        (row, *_) = ledger.evaluations()
        better = loss_rows(5)[4]
        key = type(row.key)(better.key, row.key.task, row.key.seed, row.key.split)
        ledger.add_evaluation(better, key, reason=row.reason, score=0.99)
    assert run_eliminate(command(found, run=out), work(Interrupted(-1))[0]) == 0
    with Ledger.read(out) as ledger:
        assert better.key not in ledger.losses()


def test_it_says_where_a_search_gives_too_few(found: Path, tmp_path: Path) -> None:
    overrides = (*PLAIN, "candidates=9")
    begun, text = work(Interrupted(-1))
    assert run_eliminate(command(found, run=tmp_path / "out", overrides=overrides), begun) == 0
    assert "gives 4 losses, not 9" in text.getvalue()
    assert "not finished" in text.getvalue()


def refused(kind: type[LossmithError], match: str, asked: Eliminate) -> None:
    with pytest.raises(kind, match=match) as caught:
        run_eliminate(asked, work()[0])
    assert "\n" not in str(caught.value)


def test_a_phase_whose_data_or_extra_is_missing(found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    second = "phases.1.task={base: digits, data: {source: npz, path: nowhere.npz}}"
    refused(DataError, r"nowhere\.npz", command(found, run=out, overrides=(*PLAIN, second)))
    monkeypatch.setitem(sys.modules, "timm", None)
    second = "phases.1.task={base: digits, model: effnetv2s}"
    refused(ConfigError, r"'effnetv2s' needs the package timm", command(found, run=out, overrides=(*PLAIN, second)))
    assert not out.exists()


def test_directories_that_do_not_fit(found: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    refused(ConfigError, "name at least one run", command(run=out))
    refused(RunError, "nowhere", command(tmp_path / "nowhere", run=out))
    write_search(other, [(LOSSES[0], 0.9)], "seed=5")
    refused(RunError, "holds no elimination", command(found, run=other))
    assert run_eliminate(command(found, run=out), work(Interrupted(-1))[0]) == 0
    refused(RunError, "is not a search|not a search", command(out, run=tmp_path / "next"))
    refused(RunError, "other searches", command(other, run=out))
    refused(RunError, "other settings", command(found, run=out, overrides=(*PLAIN, "seed=1")))


def test_options_that_exclude_each_other(found: Path, tmp_path: Path) -> None:
    both = command(found, run=tmp_path / "out", config=tmp_path / "a.yaml")
    refused(ConfigError, "--protocol and --config", both)
    few = command(found, run=tmp_path / "out", racing=True, overrides=(*PLAIN, "phases.1.seeds=2"))
    refused(ConfigError, "--racing: racing decides after 2 seeds", few)
