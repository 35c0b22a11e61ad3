"""`lossmith confirm`, all but the training itself, whose scores are scripted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from confirmations import CANDIDATE, config, make_elimination, make_null, make_source, null_score, row, tiny
from lossmith.arguments.confirmation import Confirm
from lossmith.commands.confirmation import resume_confirmation, run_confirm, run_confirmation
from lossmith.commands.work import STOPPED
from lossmith.errors import ConfigError, DataError, RunError
from lossmith.ledger import Ledger
from lossmith.report.confirmation_text import summary
from lossmith.search.serving import EvaluationJob
from lossmith.study.confirmation.config import ConfirmationConfig
from lossmith.train.task import TaskConfig
from scripted import Scripted, work_with

KEY = row(CANDIDATE).key


def confirmed(directory: Path, asked: ConfirmationConfig, score: Any = null_score) -> tuple[dict[str, Any], Scripted]:
    executor = Scripted(score)
    assert run_confirmation(asked, directory, work_with(executor)) == 0
    return result(directory), executor


def result(directory: Path) -> dict[str, Any]:
    with Ledger.read(directory) as ledger:
        (found,) = ledger.results("confirmation")
    return found


def text(content: dict[str, Any], width: int = 80) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(summary(content))
    return captured.get()


def planted(job: EvaluationJob, task: TaskConfig) -> float:
    return null_score(job, task) + (9 / 450 if job.loss.key == KEY else 0.0)


def best_at_twice(job: EvaluationJob, task: TaskConfig) -> float:
    """Every loss trains best at another rate than the task's own: focal at the double, the others at the half."""
    best = 0.006 if job.loss.key == "zoo:focal" else 0.0015
    return 0.9 - abs(task.optimizer.learning_rate - best)


def test_a_null_study_ends_with_no_evidence(tmp_path: Path) -> None:
    asked = config(
        losses=[f"-y*log(yhat) + {number}*square(y - yhat)" for number in range(1, 6)],
        cells=[tiny(), tiny("other", model="resnet9v2")],
        seeds=12,
    )
    found, _ = confirmed(tmp_path / "run", asked)
    verdicts = Counter(each["verdict"] for each in found["analysis"]["differences"])
    assert verdicts == {"no evidence": 12}
    assert sum("there is no evidence that" in sentence for sentence in found["sentences"]) == 12
    assert not any("there is evidence" in sentence for sentence in found["sentences"])


def test_a_planted_better_loss_is_found_and_no_other(tmp_path: Path) -> None:
    found, executor = confirmed(tmp_path / "run", config(losses=["baikal", CANDIDATE], seeds=12), planted)
    verdicts = {each["loss"]: each["verdict"] for each in found["analysis"]["differences"]}
    assert verdicts == {KEY: "better", "zoo:baikal": "no evidence", "zoo:focal": "no evidence"}
    assert f"there is evidence that {CANDIDATE} is better than cross_entropy (+" in " ".join(found["sentences"])
    assert found["sentences"][0].startswith("Primary hypothesis: On tiny, with 12 paired seeds, there is no evidence")
    # what was trained: tuning on validation images, then each loss with the same fresh seeds on the test images
    jobs = [(job.split, job.loss.key, job.seed) for job in executor.jobs]
    tuning = found["registration"]["tuning"]
    assert len(jobs) == 4 * 3 * 2 + 4 * 12
    assert [split for split, _, _ in jobs] == ["validation"] * 24 + ["test"] * 48
    assert {seed for split, _, seed in jobs if split == "validation"} == set(tuning["seeds"])
    tested = Counter((key, seed) for split, key, seed in jobs if split == "test")
    assert set(tested.values()) == {1}
    assert {seed for _, seed in tested} == set(found["registration"]["seeds"])


def test_each_loss_is_tested_at_its_own_tuned_setting(tmp_path: Path) -> None:
    found, executor = confirmed(tmp_path / "run", config(), best_at_twice)
    (cell,) = found["cells"]
    rates = {key: one["grid"][one["chosen"]]["learning_rate"] for key, one in cell["tuning"].items()}
    assert rates == {KEY: 0.0015, "zoo:cross_entropy": 0.0015, "zoo:focal": 0.006}
    for key, scores in cell["scores"].items():
        tuned = cell["tuning"][key]
        assert scores["task_id"] == tuned["grid"][tuned["chosen"]]["task_id"]
        assert {job.task for job in executor.jobs if job.loss.key == key and job.split == "test"} == {scores["task_id"]}
    (low, high) = [each for each in found["sentences"] if each.startswith("Tuned to the ")]
    assert "lowest learning rate" in low
    assert "focal on tiny" in high


def test_every_figure_can_be_traced_to_the_ledger(tmp_path: Path) -> None:
    found, _ = confirmed(tmp_path / "run", config())
    with Ledger.read(tmp_path / "run") as ledger:
        rows = {row.id: row for row in ledger.evaluations()}
    (cell,) = found["cells"]
    traced = set()
    for key, scores in cell["scores"].items():
        for place, number in enumerate(scores["evaluations"]):
            own = rows[number]
            assert (own.key.loss, own.key.split, own.key.task) == (key, "test", scores["task_id"])
            assert own.key.seed == found["registration"]["seeds"][place]
            assert (own.score, own.nll, own.ece) == tuple(scores[name][place] for name in ("values", "nll", "ece"))
            traced.add(number)
        for point in cell["tuning"][key]["grid"]:
            assert [rows[number].score for number in point["evaluations"]] == point["values"]
            assert {rows[number].key.split for number in point["evaluations"]} == {"validation"}
            traced |= set(point["evaluations"])
    assert traced == set(rows)
    assert found["seconds"] == pytest.approx(sum(row.seconds for row in rows.values()))
    assert json.loads(json.dumps(found)) == found


def test_calibration_stands_beside_accuracy(tmp_path: Path) -> None:
    found, _ = confirmed(tmp_path / "run", config(), planted)
    measures = found["calibration"]["cells"][0]["losses"]
    own = found["cells"][0]["scores"][KEY]
    assert measures[KEY]["nll"]["mean"] == pytest.approx(sum(own["nll"]) / 8)
    difference = measures[KEY]["nll"]["difference"]
    accuracy = next(each for each in found["analysis"]["differences"] if each["loss"] == KEY)
    assert difference["mean"] == pytest.approx(-accuracy["mean"])  # the script's NLL is 1 - accuracy
    assert difference["low"] < difference["mean"] < difference["high"]
    assert measures[KEY]["ece"]["difference"] == {"n": 8, "mean": 0.0, "low": 0.0, "high": 0.0}
    assert measures["zoo:cross_entropy"]["nll"]["difference"] is None


def test_a_loss_that_never_trains_is_not_comparable(tmp_path: Path) -> None:
    def score(job: EvaluationJob, task: TaskConfig) -> float | None:
        return None if job.loss.key == KEY else null_score(job, task)

    found, _ = confirmed(tmp_path / "run", config(), score)
    verdicts = {each["loss"]: each["verdict"] for each in found["analysis"]["differences"]}
    assert verdicts[KEY] == "not comparable"
    assert "is not comparable with cross_entropy: 8 of them failed" in found["sentences"][0]
    assert found["calibration"]["cells"][0]["losses"][KEY]["nll"] == {"mean": None, "n": 0, "difference": None}
    assert "not comparable" in text(found)


@pytest.mark.parametrize("stop_after", [5, 18, 30])  # in tuning, at its end, in the test
def test_stopped_and_resumed_it_gives_the_same(tmp_path: Path, stop_after: int) -> None:
    whole, _ = confirmed(tmp_path / "whole", config())
    executor = Scripted(null_score, stop_after)
    assert run_confirmation(config(), tmp_path / "run", work_with(executor)) == STOPPED
    with Ledger.read(tmp_path / "run") as ledger:
        assert not ledger.results("confirmation")
    again = Scripted(null_score)
    assert resume_confirmation(tmp_path / "run", work_with(again)) == 0
    jobs = [*executor.jobs, *again.jobs]
    assert len({(job.loss.key, job.task, job.seed, job.split) for job in jobs}) == 3 * 3 * 2 + 3 * 8
    assert len(again.jobs) <= 18 + 24 - stop_after + 1  # the last before the interrupt may not have been recorded
    assert result(tmp_path / "run") == whole


def test_a_changed_registration_is_refused_between_stop_and_resume(tmp_path: Path) -> None:
    run_confirmation(config(), tmp_path / "run", work_with(Scripted(null_score, 30)))
    path = tmp_path / "run" / "registration.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"margin": 0.001', '"margin": 0.01'), encoding="utf-8")
    executor = Scripted(null_score)
    with pytest.raises(RunError, match=r"'margin' is 0\.01, registered as 0\.001"):
        resume_confirmation(tmp_path / "run", work_with(executor))
    assert not executor.jobs


def test_it_is_registered_before_anything_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tiny("flowers", data={"source": "folder", "path": str(tmp_path / "none")})
    del missing["base"]
    cells = [{**missing, "model": "convnet"}]
    executor = Scripted(null_score)
    assert run_confirmation(config(cells=cells), tmp_path / "run", work_with(executor), register_only=True) == 0
    printed = capsys.readouterr().out
    assert "registered, sha256 " in printed
    assert "trainings: 42: 18 to tune (3 losses x 1 cell x 3 settings x 2 seeds), 24 on the test images" in printed
    assert "time: not known before the first trainings" in printed
    with pytest.raises(DataError, match="none"):
        resume_confirmation(tmp_path / "run", work_with(executor))
    assert (tmp_path / "run" / "registration.json").exists()
    assert not executor.jobs


def test_the_time_is_estimated_from_the_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_source(tmp_path / "search", kind="search")  # 0.01 seconds a step
    asked = config(sources=[str(source)])
    run_confirmation(asked, tmp_path / "run", work_with(Scripted(null_score)), register_only=True)
    assert f"time: about {42 * 30 * 0.01 / 2:.2f} s of training with 2 workers" in capsys.readouterr().out


def test_what_is_done_is_only_printed(tmp_path: Path) -> None:
    confirmed(tmp_path / "run", config())
    again = Scripted(null_score)
    assert run_confirmation(config(), tmp_path / "run", work_with(again)) == 0
    assert resume_confirmation(tmp_path / "run", work_with(again)) == 0
    assert not again.jobs
    with pytest.raises(RunError, match=r"other settings: 'seeds' is 9, registered as 8; 'lossmith confirm"):
        run_confirmation(config(seeds=9), tmp_path / "run", work_with(again))


def test_a_study_that_was_moved_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(study: Path) -> ConfirmationConfig:
        return config(losses=[str(study / "elimination")], null_search=str(study / "null"))

    before = tmp_path / "before"
    search = make_source(before / "search", kind="search", seeds=(5,))
    make_elimination(before / "elimination", [CANDIDATE], search)
    make_null(before / "null", [0.9], 0.95)
    assert (
        run_confirmation(asked(before), before / "confirmation", work_with(Scripted(null_score)), register_only=True)
        == 0
    )
    before.rename(tmp_path / "after")
    monkeypatch.chdir(tmp_path)
    found, _ = confirmed(Path("after/confirmation"), asked(Path("after")))
    assert found["luck"]["beaten"]
    assert [source["shared"] for source in found["overlaps"][0]["sources"]] == [0, 0, 0]
    make_elimination(tmp_path / "other" / "elimination", [CANDIDATE], tmp_path / "after" / "search")
    changed = config(losses=["other/elimination"], null_search="after/null")
    with pytest.raises(RunError, match=r"other settings: 'losses\.0' is \"other/elimination\", registered as"):
        run_confirmation(changed, Path("after/confirmation"), work_with(Scripted(null_score)))


def test_an_earlier_confirmation_as_a_source_is_refused(tmp_path: Path) -> None:
    confirmed(tmp_path / "run", config())
    with pytest.raises(ConfigError, match="is not fresh"):
        run_confirmation(config(sources=[str(tmp_path / "run")]), tmp_path / "again", work_with(Scripted(null_score)))
    # nor with other seeds: its losses were scored on the test images
    executor = Scripted(null_score)
    with pytest.raises(DataError, match=r"450 of its 450 test images .* were used by"):
        run_confirmation(config(sources=[str(tmp_path / "run")], seed=1), tmp_path / "more", work_with(executor))
    assert not executor.jobs


def test_test_images_that_a_search_used_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    source = make_source(tmp_path / "search", kind="search", split_seed=1)
    executor = Scripted(null_score)
    for _ in range(2):  # the first time, and when it is tried again
        with pytest.raises(DataError, match=r"test images .* were used by"):
            run_confirmation(config(sources=[str(source)]), tmp_path / "run", work_with(executor))
    assert not executor.jobs


@pytest.mark.parametrize(("best", "beaten"), [(0.93, True), (0.91, False)])
def test_the_controls_are_part_of_the_result(tmp_path: Path, best: float, beaten: bool) -> None:
    search = make_source(tmp_path / "search", kind="search", seeds=(5,))
    control = make_elimination(tmp_path / "elimination-random", ["-y*log(yhat) + 3*square(y - yhat)"], search)
    null = make_null(tmp_path / "null", [0.9, None, 0.92, 0.91], best)
    found, _ = confirmed(tmp_path / "run", config(controls=[str(control)], null_search=str(null)))
    assert [loss["role"] for loss in found["losses"]] == ["candidate", "control", "baseline", "baseline"]
    assert len(found["analysis"]["differences"]) == 3
    (key,) = [loss["key"] for loss in found["losses"] if loss["role"] == "control"]
    against = found["controls"][key]
    assert [(each["loss"], each["n"]) for each in against["differences"]] == [(KEY, 8)]
    assert against["baseline"] == key
    (sentence,) = [each for each in found["sentences"] if each.startswith("Against a control: On tiny,")]
    assert f"that {CANDIDATE} differs from found 0" in sentence
    luck = found["luck"]
    assert (luck["trained"], luck["best"], luck["search_best"], luck["beaten"]) == (3, 0.92, best, beaten)
    assert luck["as_good"] == (0 if beaten else 2)
    (sentence,) = [each for each in found["sentences"] if each.startswith("Luck floor")]
    assert ("is above what luck alone gave" in sentence) == beaten
    assert ("2 of them reach the search's best: luck alone can explain that score" in sentence) == (not beaten)
    (cell,) = found["overlaps"]
    assert {one["directory"] for one in cell["sources"]} == {str(control), str(search), str(null)}


def test_the_terminal_shows_it_in_eighty_columns(tmp_path: Path) -> None:
    found, _ = confirmed(tmp_path / "run", config(), planted)
    shown = text(found)
    assert "…" not in shown
    assert "tiny: digits, convnet, augmentation pad 1; 8 seeds" in shown
    for part in ("cross_entropy", "baseline", "better", "95% interval", "NLL", found["sha256"]):
        assert part in shown
    with pytest.raises(RunError, match="update Lossmith"):
        summary({**found, "format": 2})


def test_all_settings_of_a_cell_are_trained_by_one_plan(tmp_path: Path) -> None:
    run_confirmation(config(), tmp_path / "run", work_with(Scripted(null_score, 3)))
    with Ledger.open(tmp_path / "run") as ledger:
        tasks = ledger.tasks()
        assert len(tasks) == 3
        assert len({json.dumps(task.plan) for task in tasks}) == 1
        ledger.set_plan(tasks[0].task_id, {**(tasks[0].plan or {}), "why": "changed since"})
    resume_confirmation(tmp_path / "run", work_with(Scripted(null_score)))
    with Ledger.read(tmp_path / "run") as ledger:
        assert [(task.plan or {})["why"] for task in ledger.tasks()].count("changed since") == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (Confirm(), "give --losses and --cells, or a --config FILE, or the directory"),
        (Confirm(losses=("baikal",)), "give --losses and --cells"),
        (Confirm(Path("runs/x"), seeds=3), "runs/x: what it does is registered, so it takes no options"),
        (Confirm(losses=("baikal",), cells=("nowhere",)), "no task preset 'nowhere'"),
        (Confirm(losses=("no_such_loss",), cells=("digits",)), "no_such_loss"),
        (Confirm(losses=("baikal",), cells=("digits",), overrides=("seeds",)), "expected KEY=VALUE"),
    ],
)
def test_a_wrong_command_line_is_refused(tmp_path: Path, command: Confirm, message: str) -> None:
    if command.directory is None:
        command = replace(command, run=tmp_path / "run")
    with pytest.raises(Exception, match=message.replace("?", r"\?")) as caught:
        run_confirm(command, work_with(Scripted(null_score)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_command_line_changes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("losses: [baikal]\ncells: [digits]\nmargin: 0.002\n", encoding="utf-8")
    command = Confirm(
        config=path,
        losses=(CANDIDATE,),
        seeds=9,
        seed=4,
        run=tmp_path / "run",
        register_only=True,
        overrides=("tuning.seeds=1", "baselines=[cross_entropy]"),
    )
    assert run_confirm(command, work_with(Scripted(null_score))) == 0
    found = json.loads((tmp_path / "run" / "registration.json").read_text(encoding="utf-8"))
    assert (found["name"], found["margin"], len(found["seeds"]), found["seed"]) == ("mine", 0.002, 9, 4)
    assert [loss["label"] for loss in found["losses"]] == [CANDIDATE, "cross_entropy"]
    assert len(found["tuning"]["seeds"]) == 1
