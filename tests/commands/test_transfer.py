"""`lossmith transfer` in this process, with imagined trainings."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from confirmations import make_elimination, make_source
from eliminations import row_of
from lossmith.arguments.transfer import Transfer
from lossmith.commands.transfer import resume_transfer, transfer_command
from lossmith.commands.work import STOPPED
from lossmith.errors import ConfigError, LossmithError, RunError
from lossmith.ledger import EvaluationKey, Ledger
from lossmith.search.seeds import Purpose, stage_seeds
from lossmith.search.serving import EvaluationJob
from lossmith.study.statistics import pairs_needed
from lossmith.train.task import TaskConfig
from scripted import Score, Scripted, work_with

CONFIG = """
seeds: 8
datasets: {digits: {source: digits}, other: {source: digits, split_seed: 1}}
models: {net: {model: convnet}}
augmentations: {plain: {}, shift: {augment: {pad: 1}}}
task: {steps: 30}
execution: {way: processes}
"""
FORMULA = "-y*log(yhat) + 0.5*square(y - yhat)"
CELLS = [f"{data}/net/{change}/scratch" for data in ("digits", "other") for change in ("plain", "shift")]


def score(job: EvaluationJob, task: TaskConfig) -> float:
    """Baikal is worse with shifted images; the formula better with the other data."""
    noise = np.random.default_rng([job.seed % 2**32, *job.loss.key.encode()]).normal(0.0, 1e-4)
    gain = {"zoo:baikal": -0.02 * task.augment.pad, "zoo:cross_entropy": 0.0}.get(
        job.loss.key, 0.02 * task.data.split_seed
    )
    return 0.9 + gain + noise


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(CONFIG)
    return path


def run(
    file: Path, out: Path, *losses: str, by: Score = score, stop_after: int | None = None, **changes: Any
) -> tuple[int, str, Scripted]:
    """Exit code, what was printed on the console, and the executor; `file` may be a run to resume."""
    executor, text = Scripted(by, stop_after), io.StringIO()
    work = work_with(executor, text)
    if file.is_dir():
        return resume_transfer(file, work), text.getvalue(), executor
    return transfer_command(Transfer(config=file, losses=losses, run=out, **changes), work), text.getvalue(), executor


def result(directory: Path) -> dict[str, Any]:
    with Ledger.read(directory) as ledger:
        (content,) = ledger.results("transfer")
    return content


def test_every_loss_is_trained_in_every_cell_with_the_same_seeds(file: Path, tmp_path: Path) -> None:
    code, _, executor = run(file, tmp_path / "out", "baikal", FORMULA)
    assert code == 0
    assert len(executor.jobs) == 4 * 3 * 8
    content = result(tmp_path / "out")
    keys = [loss["key"] for loss in content["losses"]]
    assert keys == ["zoo:cross_entropy", "zoo:baikal", row_of(FORMULA).key]
    assert content["baseline"] == keys[0]
    assert [cell["name"] for cell in content["cells"]] == CELLS
    seeds = stage_seeds(0, Purpose.TRANSFER, 8)
    with Ledger.read(tmp_path / "out") as ledger:
        rows = {row.id: row for row in ledger.evaluations()}
        assert all(task.configuration["data"]["validation_fold"] == 1 for task in ledger.tasks())
    for cell in content["cells"]:
        assert cell["seeds"] == seeds
        assert list(cell["scores"]) == keys
        for key, found in cell["scores"].items():
            own = [rows[number] for number in found["evaluations"]]
            assert [row.key for row in own] == [
                EvaluationKey(key, cell["task_id"], seed, "validation") for seed in seeds
            ]
            assert [row.score for row in own] == found["values"]
            assert [row.nll for row in own] == found["nll"]
            assert [row.ece for row in own] == found["ece"]
    assert content["seconds"] == pytest.approx(sum(row.seconds for row in rows.values()))


def test_losing_cells_are_shown_like_winning_ones(file: Path, tmp_path: Path) -> None:
    _, text, _ = run(file, tmp_path / "out", "baikal", FORMULA, overrides=("seeds=10",))
    content = result(tmp_path / "out")
    verdicts = {(each["cell"], each["loss"][:3]): each["verdict"] for each in content["analysis"]["differences"]}
    for cell in CELLS:
        assert verdicts[cell, "zoo"] == ("worse" if "shift" in cell else "equivalent")
        assert (verdicts[cell, row_of(FORMULA).key[:3]] == "better") == ("other" in cell)
    for cell in CELLS:  # at once when it was finished, and in the table at the end
        assert text.count(f"{cell}: cross_entropy 90.0") == 1
        assert text.count(f"{cell}, validation accuracy, 10 seeds") == 1
    assert text.index("cell 1 of 4") < text.index("cell 4 of 4") < text.index("validation accuracy")
    assert text.count(" worse") >= 2
    assert "8 comparisons in 4 cells: 2 better, 2 worse, 4 equivalent." in text
    assert "mean rank over 2 data sets" in text


def test_stopped_anywhere_it_goes_on_with_what_is_missing(file: Path, tmp_path: Path) -> None:
    code, text, first = run(file, tmp_path / "out", "baikal", stop_after=20)
    assert code == STOPPED
    assert text.count("/scratch: cross_entropy") == 1  # of 16 trainings each, one cell was finished
    code, text, second = run(tmp_path / "out", tmp_path)
    assert code == 0
    keys = [(job.loss.key, job.task, job.seed) for job in (*first.jobs, *second.jobs)]
    assert len(keys) == len(set(keys)) == 4 * 2 * 8
    assert text.count("/scratch: cross_entropy") == 4  # the finished one is shown again
    run(file, tmp_path / "whole", "baikal")
    assert [[score["values"] for score in cell["scores"].values()] for cell in result(tmp_path / "out")["cells"]] == [
        [score["values"] for score in cell["scores"].values()] for cell in result(tmp_path / "whole")["cells"]
    ]


def test_done_it_trains_nothing_and_prints_its_result(file: Path, tmp_path: Path) -> None:
    _, before, _ = run(file, tmp_path / "out", "baikal")
    for source in (file, tmp_path / "out"):
        code, text, executor = run(source, tmp_path / "out", "baikal")
        assert (code, executor.jobs) == (0, [])
        assert before.endswith(text)
    result(tmp_path / "out")  # one, still


def test_an_elimination_stands_for_its_finalists(file: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finalists yet"):
        run(file, tmp_path / "out", str(make_source(tmp_path / "unfinished", kind="elimination")))
    assert not (tmp_path / "out").exists()
    kept = [FORMULA, "-y*log(yhat) + 0.25*square(y - yhat)"]
    eliminated = make_elimination(tmp_path / "eliminated", kept, tmp_path / "search")
    run(file, tmp_path / "out", str(eliminated), "cross_entropy", FORMULA)  # the last two are there already
    labels = [loss["label"] for loss in result(tmp_path / "out")["losses"]]
    assert labels == ["cross_entropy", "found 0", "found 1"]


def test_a_failed_training_is_counted_and_not_compared(file: Path, tmp_path: Path) -> None:
    def fails_once(job: EvaluationJob, task: TaskConfig) -> float | None:
        first = job.seed == stage_seeds(0, Purpose.TRANSFER, 1)[0]
        return None if first and job.loss.key == "zoo:baikal" and not task.augment.pad else score(job, task)

    _, text, _ = run(file, tmp_path / "out", "baikal", by=fails_once)
    assert "1 of 8 pairs failed" in text
    verdicts = [entry["verdict"] for entry in result(tmp_path / "out")["analysis"]["differences"]]
    assert verdicts == ["not comparable", "worse", "not comparable", "worse"]
    assert result(tmp_path / "out")["cells"][0]["scores"]["zoo:baikal"]["values"][0] is None


def test_cells_that_cannot_be_trained_are_refused_before_anything_or_left_out(file: Path, tmp_path: Path) -> None:
    file.write_text(CONFIG.replace("other: {source: digits, split_seed: 1}", "other: {source: npz, path: no.npz}"))
    with pytest.raises(ConfigError, match=r"2 of 4 cells cannot be trained here, such as 'other/net/plain/scratch'"):
        run(file, tmp_path / "out", "baikal")
    assert not (tmp_path / "out").exists()
    code, text, executor = run(file, tmp_path / "out", "baikal", skip_unavailable=True)
    assert (code, len(executor.jobs)) == (0, 2 * 2 * 8)
    assert "note: cell 'other/net/shift/scratch' cannot be trained here: no.npz" in text
    assert "not trained: other/net/shift/scratch: no.npz" in text
    content = result(tmp_path / "out")
    assert ["no.npz" in (cell["error"] or "") for cell in content["cells"]] == [False, False, True, True]
    assert content["cells"][2]["scores"] == {}
    assert {entry["cell"] for entry in content["analysis"]["differences"]} == set(CELLS[:2])
    code, text, executor = run(tmp_path / "out", tmp_path)
    assert (code, executor.jobs) == (0, [])
    result(tmp_path / "out")

    images = np.zeros((40, 8, 8), np.uint8)
    np.savez(tmp_path / "no.npz", x=images, y=np.arange(40) % 2)
    file.write_text(
        CONFIG.replace(
            "digits: {source: digits}, other: {source: digits, split_seed: 1}", "other: {source: npz, path: no.npz}"
        )
    )
    with pytest.raises(
        ConfigError, match=r"no cell can be trained here; the first, 'other/net/plain/scratch': no\.npz"
    ):
        run(file, tmp_path / "none", "baikal", skip_unavailable=True)


def test_too_few_seeds_are_said_at_the_start_and_at_the_end(file: Path, tmp_path: Path) -> None:
    _, text, _ = run(file, tmp_path / "out", "baikal", overrides=("seeds=3",))
    needed = pairs_needed(4)
    words = (
        f"3 seeds cannot tell a difference after Holm over 4 comparisons, however large: at least {needed} are needed."
    )
    assert text.count(words) == 1 + 1
    assert text.index(words) < text.index("cell 1 of 4")


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ((), "no loss to compare with the baseline"),
        (("cross_entropy",), "no loss to compare with the baseline"),
        ((" ",), "--losses: a name, formula, file or run is missing"),
        (("bakal",), "unknown loss 'bakal'"),
    ],
)
def test_losses_that_cannot_be_had(file: Path, tmp_path: Path, losses: tuple[str, ...], message: str) -> None:
    with pytest.raises(LossmithError, match=message):
        run(file, tmp_path / "out", *losses)
    assert not (tmp_path / "out").exists()


def test_another_run_in_the_directory_is_refused(file: Path, tmp_path: Path) -> None:
    run(file, tmp_path / "out", "baikal")
    with pytest.raises(RunError, match="holds a transfer with other settings"):
        run(file, tmp_path / "out", "focal")
    with Ledger.create(tmp_path / "search", {"name": "s", "search": {}}):
        pass
    with pytest.raises(RunError, match="holds no transfer"):
        run(file, tmp_path / "search", "baikal")
    with pytest.raises(ConfigError, match="exclude each other"):
        run(file, tmp_path / "out", "baikal", preset="digits")
