"""What the terminal shows."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from lossmith.errors import LossmithError
from lossmith.ledger import Ledger
from lossmith.losses.build import loss
from lossmith.losses.zoo import ZOO
from lossmith.report import live, terminal
from lossmith.report.record import SearchRecord
from lossmith.report.snapshot import Snapshot
from lossmith.search.evolution import Stage
from lossmith.search.run import Progress
from lossmith.verdict import Reason

from .conftest import VERSIONS, comparison, config, make_run


def shown(renderable: RenderableType, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def progress(**changes: object) -> Progress:
    state = Progress(
        total=320,
        stage=Stage.EVOLUTION,
        told=120,
        evaluated=100,
        best=0.9733,
        best_formula="y * " * 100 + "yhat",
        verdicts=Counter({Reason.OK: 90, Reason.BELOW_THRESHOLD: 10}),
        rate=4.25,
        seconds_left=80.0,
    )
    for name, value in changes.items():
        setattr(state, name, value)
    return state


def test_a_run(finished: Path) -> None:
    with Ledger.read(finished) as ledger:
        text = shown(terminal.run_summary(ledger), 200)
        record = SearchRecord.of(Snapshot.of(ledger))
    assert record is not None
    assert "Finished: 30 of 30" in text
    for ranked in record.ranking[:10]:
        assert ranked.loss.formula in text
        assert f"{100 * ranked.score:.2f}%" in text
    assert "Search overhead: " in text
    assert "picked as the best of" in text


@pytest.mark.parametrize("tells", [0, 3])
def test_a_run_that_has_nothing_to_show_yet(tmp_path: Path, tells: int) -> None:
    with Ledger.read(make_run(tmp_path / "run", config(name="[red]x[/nothing]"), tells=tells)) as ledger:
        text = shown(terminal.run_summary(ledger))
    assert f"Not finished: {tells} of 30" in text
    assert "[red]x[/nothing]" in text


def test_a_run_that_is_a_comparison(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "run", {"name": "train"}) as ledger:
        ledger.begin_session("lossmith train", 1, VERSIONS, 0.0)
        ledger.add_comparison(comparison())
        text = shown(terminal.run_summary(ledger), 200)
    assert "label of abc" in text
    assert "+0.11 to +2.91" in text
    assert "With 3 paired seeds" in text


@pytest.mark.parametrize("name", ZOO)
def test_every_loss_of_the_zoo(name: str) -> None:
    text = shown(terminal.loss_summary(name), 400)
    assert ZOO[name].reference in text
    assert ("p_t" if ZOO[name].template is None else "f1(p)") in text
    assert name in shown(terminal.zoo_table())


def test_a_formula() -> None:
    text = shown(terminal.loss_summary("log(yhat)*y"))
    assert "ok: accepted" in text
    assert "-1 times the expression" in text
    assert "0.69315" in text  # -ln 1/2
    assert text == shown(terminal.loss_summary(loss("log(yhat)*y")))


def test_a_formula_that_is_no_loss_is_shown_with_the_reason() -> None:
    assert Reason.NO_TARGET.message in shown(terminal.loss_summary("1 + yhat"), 200)
    assert Reason.NO_PREDICTION.message in shown(terminal.loss_summary("1 / y"), 200)


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(LossmithError, match="unknown loss 'cros_entropy'"):
        terminal.loss_summary("cros_entropy")


def test_a_terminal_of_ascii_alone() -> None:
    buffer = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=buffer, width=100, color_system=None)
    console.print(terminal.loss_summary("cross_entropy"))
    buffer.flush()


def test_progress_without_a_terminal_is_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    with live.LiveProgress(console) as display:
        for told in range(250):  # 25 seconds
            now[0] += 0.1
            display.update(progress(told=told))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3  # two on the way, and the last state
    assert lines[-1].startswith("evolution 249/320 (78%), 4.2 evaluations/s, best 97.33% y * y")
    assert lines[-1].endswith("90 ok, 10 below_threshold, 1 min 20 s left")
    assert "\x1b" not in console.file.getvalue()


def test_progress_on_a_terminal_fits_its_width() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with live.LiveProgress(console) as display:
        display.update(progress())
        display.update(progress(best=None, best_formula="", seconds_left=None, verdicts=Counter()))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "120/320" in text
    assert "97.33%" in text
    assert "none yet on the search's own task" in text
    assert all(len(line) <= 80 for line in shown(display._drawing(), 80).splitlines())


def test_there_are_four_redraws_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    drawn: list[float] = []
    with live.LiveProgress(console) as display:
        monkeypatch.setattr(display, "_show", lambda: drawn.append(now[0]))
        for _ in range(1_000):  # two seconds
            now[0] += 0.002
            display.update(progress())
    assert 8 <= len(drawn) - 1 <= 9  # and the last state, at the end


def test_progress_that_is_never_told_anything() -> None:
    for force in (True, False):
        console = Console(file=io.StringIO(), force_terminal=force)
        with live.LiveProgress(console), live.TrainingProgress("training", Console(file=io.StringIO())):
            pass


def test_progress_of_comparisons_and_downloads() -> None:
    for force in (True, False):
        console = Console(file=io.StringIO(), width=100, force_terminal=force, color_system=None)
        with live.TrainingProgress("training", console) as training:
            training.update(0, 8)
            training.update(2, 8)
        with live.DownloadProgress(console) as download:
            download.update("a.gz", 500_000, None)
            download.update("b.gz", 1_500_000, 3_000_000)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert "2/8" in text
        assert "0.5 MB" in text
        assert "1.5/3.0 MB" in text
