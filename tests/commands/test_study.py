"""`lossmith study`, all but the training itself, whose scores are scripted; and the page that it ends with."""

from __future__ import annotations

import csv
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from confirmations import null_score
from lossmith.arguments.study import Study
from lossmith.commands.study import resume_study, run_study
from lossmith.commands.work import STOPPED, Work
from lossmith.errors import ConfigError, RunError
from lossmith.ledger import FILE, Ledger
from lossmith.report.study.page import write_study_report
from lossmith.search.serving import EvaluationJob
from lossmith.train.task import TaskConfig
from scripted import Score, Scripted, work_with

ONE_BY_ONE = [
    f"{stage}.execution={{way: processes}}" for stage in ("search", "elimination", "transfer", "confirmation")
]
SETTINGS = (*ONE_BY_ONE, "search.rungs.microtask=null", "search.search.iterations=6", "confirmation.seeds=10")
STAGES = ("search", "random", "null", "elimination", "elimination-random", "transfer", "confirmation")


def scripted(score: Score = null_score, stop_after: int | None = None) -> tuple[Work, list[EvaluationJob]]:
    """A work whose executors train nothing, and what they were given; after so many jobs Ctrl-C comes."""
    jobs: list[EvaluationJob] = []

    def counted(job: EvaluationJob, task: TaskConfig) -> float | None:
        jobs.append(job)
        if len(jobs) == stop_after:
            signal.raise_signal(signal.SIGINT)
        return score(job, task)

    return work_with(Scripted(counted), another=lambda: Scripted(counted)), jobs


def run(directory: Path, work: Work, *more: str) -> int:
    return run_study(Study("study-smoke", run=directory, overrides=(*SETTINGS, *more)), work)


def planted(job: EvaluationJob, task: TaskConfig) -> float:
    """Of the evolved losses every third is better by two points."""
    better = not job.loss.key.startswith("zoo:") and int(job.loss.key, 16) % 3 == 0
    return null_score(job, task) + (9 / 450 if better else 0.0)


@pytest.fixture(scope="module")
def null_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A finished study in which all losses are alike, and how many trainings it took."""
    directory = tmp_path_factory.mktemp("null") / "study"
    work, jobs = scripted()
    assert run(directory, work) == 0
    return directory, len(jobs)


def contents(directory: Path) -> dict[str, Any]:
    """What every stage found."""
    found: dict[str, Any] = {}
    for stage in STAGES:
        with Ledger.read(directory / stage) as ledger:
            found[stage] = [(row.key, row.score) for row in ledger.evaluations()]
    return found


def test_a_study_of_losses_that_are_alike_ends_without_evidence(null_study: tuple[Path, int]) -> None:
    page = (null_study[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert "No evidence that a found loss is better than cross_entropy." in page
    assert "Evidence that a found loss" not in page
    assert 'src="http' not in page
    assert "<script" not in page


def test_a_study_with_better_losses_finds_one(tmp_path: Path) -> None:
    work, _ = scripted(planted)
    assert run(tmp_path / "s", work, "confirmation.seeds=14") == 0
    page = (tmp_path / "s" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Evidence that a found loss is better than cross_entropy" in page


@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.62, 0.7, 0.8, 0.97])
def test_a_study_that_is_stopped_anywhere_goes_on_to_the_same_end(
    null_study: tuple[Path, int], tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, count = null_study
    directory = tmp_path / "study"
    work, _ = scripted(stop_after=int(share * count))
    assert run(directory, work) == STOPPED
    assert f"lossmith resume {directory}" in capsys.readouterr().out
    work, jobs = scripted()
    assert resume_study(directory, work) == 0
    assert 0 < len(jobs) < count
    assert {stage: sorted(rows, key=str) for stage, rows in contents(directory).items()} == {
        stage: sorted(rows, key=str) for stage, rows in contents(whole).items()
    }


def test_a_finished_study_trains_nothing_more(null_study: tuple[Path, int]) -> None:
    work, jobs = scripted()
    assert run(null_study[0], work) == 0
    assert jobs == []


def test_another_setting_is_refused(null_study: tuple[Path, int]) -> None:
    with pytest.raises(RunError, match="holds a study with other settings"):
        run(null_study[0], scripted()[0], "confirmation.margin=0.002")


def test_no_image_is_scored_by_two_stages_that_should_not_share_it(null_study: tuple[Path, int]) -> None:
    folds = {}
    for stage in STAGES:
        with Ledger.read(null_study[0] / stage) as ledger:
            tasks = {task.task_id: task.configuration["data"]["validation_fold"] for task in ledger.tasks()}
            splits = {(row.key.split, tasks[row.key.task]) for row in ledger.evaluations()}
        folds[stage] = splits
    first, second = {("validation", 0)}, {("validation", 1)}
    assert folds == {
        **dict.fromkeys(("search", "random", "null"), first),
        **dict.fromkeys(("elimination", "elimination-random", "transfer"), second),
        "confirmation": {("validation", 2), ("test", 2)},
    }


def test_the_tables_name_evaluations_of_their_ledgers(null_study: tuple[Path, int]) -> None:
    report = null_study[0] / "report"
    with (report / "trace.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["ledger"].split("/")[0] for row in rows} == set(STAGES)
    for row in rows:
        with Ledger.read(null_study[0] / Path(row["ledger"]).parent) as ledger:
            known = {evaluation.id for evaluation in ledger.evaluations()}
        assert {int(number) for number in row["evaluations"].split()} <= known
    with (report / "confirmation.csv").open(encoding="utf-8", newline="") as file:
        compared = list(csv.DictReader(file))
    with Ledger.read(null_study[0] / "confirmation") as ledger:
        (result,) = ledger.results("confirmation")
    assert [float(row["difference"]) for row in compared if row["difference"]] == [
        each["mean"] for each in result["analysis"]["differences"]
    ]
    tex = (report / "confirmation.tex").read_text(encoding="utf-8")
    assert tex.count(r"\\") == len(compared) + 1
    assert r"\bottomrule" in tex
    assert not re.search(r"(?<!\\)[%&_#]", tex.split(r"\toprule")[1].replace(" & ", " "))


def test_a_study_that_is_not_finished_has_a_page_that_says_so(null_study: tuple[Path, int], tmp_path: Path) -> None:
    work, _ = scripted(stop_after=3)
    assert run(tmp_path / "s", work) == STOPPED
    page = write_study_report(tmp_path / "s").read_text(encoding="utf-8")
    assert "nothing is confirmed yet" in page
    assert "This stage has not been run." in page
    alone = write_study_report(null_study[0] / "elimination", tmp_path / "alone").read_text(encoding="utf-8")
    assert "Finalists, the best first" in alone
    assert "The verdict" not in alone


def test_a_changed_registration_stops_the_study(null_study: tuple[Path, int], tmp_path: Path) -> None:
    work, _ = scripted(stop_after=null_study[1] - 3)
    assert run(tmp_path / "s", work) == STOPPED
    path = tmp_path / "s" / "confirmation" / "registration.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"margin": 0.001', '"margin": 0.01'))
    with pytest.raises(RunError, match=r"registration\.json"):
        resume_study(tmp_path / "s", scripted()[0])


def test_what_users_get_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give the name of a study"):
        run_study(Study(), scripted()[0])
    (tmp_path / FILE).write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        run(tmp_path, scripted()[0])
