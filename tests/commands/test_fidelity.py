"""`lossmith fidelity` without training: what is refused, what is settled at the start, what is done again."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eliminations import loss_rows, write_search
from fidelities import ImaginedCurves
from lossmith.arguments.fidelity import Fidelity
from lossmith.commands.fidelity import fidelity_command, resume_fidelity, run_fidelity
from lossmith.commands.work import Work
from lossmith.errors import ConfigError, LossmithError, RunError
from lossmith.ledger import Ledger
from lossmith.study.fidelity.config import FidelityConfig, load_preset
from lossmith.study.fidelity.losses import RankedLoss, each_once, zoo_losses

ZOO = each_once(zoo_losses(), 10)
SMALL = ("losses.random=0", "execution.way=processes", "execution.slots=1")


def work(executor: Any = None) -> Work:
    return Work(executor, time.monotonic(), Console(file=io.StringIO(), width=100), 1)


class Zoo(ImaginedCurves):
    """The zoo's losses, the later the better."""

    def __init__(self, config: FidelityConfig) -> None:
        def curve(place: int, task: str, seed: int) -> list[float]:
            return [0.4 + 0.01 * place] * (1 if task == "screen" else 2)

        super().__init__(config, ZOO, curve)


def test_a_study_is_done_once_and_its_page_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_preset("smoke", SMALL)
    directory = tmp_path / "run"
    first, second = Zoo(config), Zoo(config)
    assert run_fidelity(config, directory, work(first)) == 0
    assert len(first.trained) == len(ZOO) * 3
    page = directory / "report" / "index.html"
    assert f"page: {page}" in capsys.readouterr().out
    page.unlink()
    assert resume_fidelity(directory, work(second)) == 0
    assert second.trained == []
    assert page.exists()
    with Ledger.read(directory) as ledger:
        assert [RankedLoss.of(each) for each in ledger.configuration()["losses"]] == ZOO
    # another one's panel beside it
    assert run_fidelity(config, directory, work(second), beside=[directory]) == 0
    assert page.read_text(encoding="utf-8").count("<svg") == 2
    with pytest.raises(RunError, match="holds a fidelity study with other settings"):
        run_fidelity(load_preset("smoke", [*SMALL, "seed=1"]), directory, work(second))


def test_losses_of_a_search_take_part(tmp_path: Path) -> None:
    rows = loss_rows(9)
    write_search(tmp_path / "search", [(row, 0.5 + 0.01 * place) for place, row in enumerate(rows)])
    settings = (*SMALL, "losses.zoo=false", "losses.per_search=6", "top=[1]")
    command = Fidelity(
        preset="smoke", losses=(str(tmp_path / "search"), "cross_entropy"), run=tmp_path / "run", overrides=settings
    )
    config = load_preset("smoke", settings)
    wanted = [rows[place] for place in (8, 6, 5, 3, 2, 0)]
    ranked = [*(RankedLoss("", row, "") for row in wanted), ZOO[0]]
    executor = ImaginedCurves(config, ranked, lambda place, task, seed: [0.5] * (1 if task == "screen" else 2))
    assert fidelity_command(command, work(executor)) == 0
    with Ledger.read(tmp_path / "run") as ledger:
        stored = [RankedLoss.of(each) for each in ledger.configuration()["losses"]]
    assert [each.loss for each in stored[:-1]] == wanted
    assert stored[-1].label == "cross_entropy"


def _refused(tmp_path: Path, **arguments: Any) -> str:
    values = {"preset": "smoke", "run": tmp_path / "run", "overrides": SMALL, **arguments}
    with pytest.raises(LossmithError) as error:
        fidelity_command(Fidelity(**values), work())
    assert not (tmp_path / "run").exists()
    text = str(error.value)
    assert "\n" not in text
    return text


def test_what_is_refused(tmp_path: Path) -> None:
    assert "exclude each other" in _refused(tmp_path, config=tmp_path / "x.yaml")
    assert "unknown fidelity study 'digit' (did you mean 'digits'?)" in _refused(tmp_path, preset="digit")
    assert "cannot read the configuration" in _refused(tmp_path, preset=None, config=tmp_path / "x.yaml")
    assert "--losses: a name, formula" in _refused(tmp_path, losses=(" ",))
    assert "baikl" in _refused(tmp_path, losses=("baikl",))
    none = (*SMALL, "losses.zoo=false")
    assert "0 losses cannot be ranked" in _refused(tmp_path, overrides=none)
    assert "k = 40 of" in _refused(tmp_path, overrides=(*SMALL, "top=[40]"))
    assert "unknown setting 'split'" in _refused(tmp_path, overrides=(*SMALL, "split=test"))
    assert "is not a run" in _refused(tmp_path, beside=(tmp_path,))


def test_another_kind_of_run_is_refused(tmp_path: Path) -> None:
    write_search(tmp_path, [(loss_rows(1)[0], 0.5)])
    config = load_preset("smoke", SMALL)
    with pytest.raises(RunError, match="holds no fidelity study"):
        run_fidelity(config, tmp_path, work())
    with pytest.raises(RunError, match="holds no fidelity study"):
        run_fidelity(config, tmp_path / "new", work(), beside=[tmp_path])


def test_a_model_that_cannot_be_built_is_said_before_anything_is_written(tmp_path: Path) -> None:
    wrong = (*SMALL, "surrogates.0.task={base: digits, model: 'no_such_package:network'}")
    assert "no_such_package" in _refused(tmp_path, overrides=wrong)


def test_data_that_is_missing_is_said_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "preset: smoke\nsurrogates:\n"
        f"  - {{name: far, task: {{base: digits, data: {{source: npz, path: {tmp_path}/none.npz}}}}}}\n",
        encoding="utf-8",
    )
    with pytest.raises(LossmithError, match=r"none\.npz"):
        fidelity_command(Fidelity(config=path, run=tmp_path / "run"), work())
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError):
        fidelity_command(Fidelity(config=path, preset="smoke"), work())
