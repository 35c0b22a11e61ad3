"""`lossmith control` in this process, with imagined trainings."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from lossmith.arguments.controls import Control, ControlNull, ControlRandom
from lossmith.commands.controls import resume_null, run_control
from lossmith.commands.searching import search_in
from lossmith.commands.work import STOPPED, Work
from lossmith.config import RunConfig, load_preset
from lossmith.errors import RunError
from lossmith.ledger import Ledger
from lossmith.search.best import of_search
from lossmith.search.seeds import Purpose, control_seed, stage_seeds, training_seed
from lossmith.search.serving import EvaluationJob
from lossmith.train.task import TaskConfig
from scripted import Score, Scripted, work_with

SETTINGS = [
    "search.initial=8",
    "search.population=4",
    "search.iterations=6",
    "rungs.microtask=null",
    "execution={way: processes}",
]
CROSS_ENTROPY = "zoo:cross_entropy"


def score(job: EvaluationJob, task: TaskConfig) -> float | None:
    """Of cross-entropy the seed decides; of other losses the loss, and one in eight fails."""
    if job.loss.key == CROSS_ENTROPY:
        return 0.5 + job.seed % 1000 / 10_000
    number = int(job.loss.key[:8], 16)
    return None if number % 8 == 0 else 0.5 + number % 1000 / 10_000


def config() -> RunConfig:
    return load_preset("smoke", SETTINGS)


def working(by: Score = score, stop_after: int | None = None) -> tuple[Work, io.StringIO, Scripted]:
    executor, text = Scripted(by, stop_after), io.StringIO()
    return work_with(executor, text), text, executor


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search; do not write into it."""
    directory = tmp_path_factory.mktemp("runs") / "search"
    assert search_in(config(), directory, working()[0]) == 0
    return directory


def null(of: Path, out: Path, **changes: Any) -> tuple[int, str, Scripted]:
    work, text, executor = working(**changes)
    code = resume_null(of, work) if out == of else run_control(Control(ControlNull(of, run=out)), work)
    return code, text.getvalue(), executor


def random(of: Path, out: Path, **changes: Any) -> tuple[int, str, Scripted]:
    work, text, executor = working(**changes)
    return run_control(Control(ControlRandom(of, run=out)), work), text.getvalue(), executor


def result(directory: Path) -> dict[str, Any]:
    with Ledger.read(directory) as ledger:
        (content,) = ledger.results("null")
    return content


def own_trainings(directory: Path, run: RunConfig) -> list[Any]:
    """The evaluations that a search made on its own task."""
    with Ledger.read(directory) as ledger:
        return [row for row in of_search(ledger.evaluations(), run) if row.key.task == run.task.task_id]


# -- the null search ---------------------------------------------------------------------------------------------------


def test_a_null_search_trains_cross_entropy_as_often_as_the_search_trained_losses(
    searched: Path, tmp_path: Path
) -> None:
    code, text, executor = null(searched, tmp_path / "null")
    count, content = len(own_trainings(searched, config())), result(tmp_path / "null")
    assert code == 0
    assert count > 6  # selected ones, children, and retries
    assert {job.loss.key for job in executor.jobs} == {CROSS_ENTROPY}
    seeds = stage_seeds(0, Purpose.NULL_SEARCH, count)
    assert [job.seed for job in executor.jobs] == seeds
    assert training_seed(0) not in seeds
    assert {job.task for job in executor.jobs} == {config().task.task_id}
    with Ledger.read(tmp_path / "null") as ledger:
        rows = {row.id: row for row in ledger.evaluations()}
    assert [rows[number].score for number in content["evaluations"]] == content["values"]
    assert [rows[number].key.seed for number in content["evaluations"]] == seeds
    assert content["best"] == max(content["values"])
    assert content["search_best"] == max(row.score for row in own_trainings(searched, config()) if row.score)
    assert content["search_baseline"] == pytest.approx(0.5 + training_seed(0) % 1000 / 10_000)
    assert (content["of"], content["task"]) == (str(searched), "digits")
    assert f"the best of {count} trainings of cross-entropy with other seeds {100 * content['best']:.2f}%" in text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.4, ["; 0 of them reach the search's best.", "That the loss beats cross-entropy does not follow"]),
        (0.99, ["trainings of cross-entropy with other seeds 99.00%", "As high a best comes from seeds alone"]),
    ],
)
def test_what_the_floor_says(searched: Path, tmp_path: Path, value: float, words: list[str]) -> None:
    _, text, executor = null(searched, tmp_path / "null", by=lambda job, task: value)
    assert all(each in text for each in words)
    if value > 0.9:
        assert f"; {len(executor.jobs)} of them reach the search's best." in text


def test_where_nothing_trains_there_is_no_floor(searched: Path, tmp_path: Path) -> None:
    code, text, _ = null(searched, tmp_path / "null", by=lambda job, task: None)
    assert code == 0
    assert "so there is no floor" in text
    assert result(tmp_path / "null")["best"] is None


def test_a_stopped_null_search_goes_on_and_is_done_once(searched: Path, tmp_path: Path) -> None:
    out = tmp_path / "null"
    code, _, first = null(searched, out, stop_after=4)
    assert code == STOPPED
    code, text, second = null(out, out)
    assert code == 0
    seeds = [job.seed for job in (*first.jobs, *second.jobs)]
    assert len(seeds) == len(set(seeds)) == len(own_trainings(searched, config()))
    for of in (out, searched):
        code, again, third = null(of, out)
        assert (code, third.jobs) == (0, [])
        assert text.endswith(again)
    result(out)


def test_a_search_that_is_not_finished_has_no_null(tmp_path: Path) -> None:
    assert search_in(config(), tmp_path / "search", working(stop_after=10)[0]) == STOPPED
    with pytest.raises(RunError, match=r"is not finished.*'lossmith resume .*search' goes on with it"):
        null(tmp_path / "search", tmp_path / "null")
    assert not (tmp_path / "null").exists()


def test_other_runs_are_refused(searched: Path, tmp_path: Path) -> None:
    null(searched, tmp_path / "null")
    with pytest.raises(RunError, match="holds a null, not a search"):
        null(tmp_path / "null", tmp_path / "other")
    with pytest.raises(RunError, match="holds no null search"):
        null(searched, searched.parent / "search")
    seeded = config().model_copy(update={"seed": 1})
    search_in(seeded, tmp_path / "seeded", working()[0])
    with pytest.raises(RunError, match="holds the null search of another search"):
        null(tmp_path / "seeded", tmp_path / "null")


# -- the random search -------------------------------------------------------------------------------------------------


def test_a_random_search_has_the_same_tasks_and_numbers_and_other_losses(searched: Path, tmp_path: Path) -> None:
    code, text, _ = random(searched, tmp_path / "random")
    assert code == 0
    with Ledger.read(searched) as ledger:
        evolved, before = ledger.configuration(), list(ledger.candidates())
        plans = [task.plan for task in ledger.tasks()]
    with Ledger.read(tmp_path / "random") as ledger:
        drawn, after = ledger.configuration(), list(ledger.candidates())
        assert [task.plan for task in ledger.tasks()] == plans
    assert drawn["seed"] == control_seed(evolved["seed"])
    assert drawn["search"] == {**evolved["search"], "method": "random"}
    assert {key for key in drawn if drawn[key] != evolved[key]} == {"name", "seed", "search"}
    assert not {row.loss for row in before} & {row.loss for row in after}
    counts = [[row.stage for row in rows if row.attempt == 0] for rows in (before, after)]
    assert [stage.replace("evolution", "random") for stage in counts[0]] == counts[1]
    run = RunConfig.model_validate(drawn)
    best = max(row.score for row in own_trainings(tmp_path / "random", run) if row.score)
    assert (
        f"{100 * best:.2f}% in {len(own_trainings(tmp_path / 'random', run))} trainings of the random search." in text
    )


def test_a_stopped_random_search_goes_on_and_is_done_once(searched: Path, tmp_path: Path) -> None:
    out = tmp_path / "random"
    assert random(searched, out, stop_after=9)[0] == STOPPED
    code, text, _ = random(searched, out)
    assert code == 0
    assert "Best fitness:" in text
    assert random(searched, out)[2].jobs == []
    random(searched, tmp_path / "whole")
    assert _losses(out) == _losses(tmp_path / "whole")


def test_a_random_search_has_no_random_search(searched: Path, tmp_path: Path) -> None:
    random(searched, tmp_path / "random")
    with pytest.raises(RunError, match="is a random search itself"):
        random(tmp_path / "random", tmp_path / "again")
    other = config().model_copy(update={"seed": 5})
    search_in(other, tmp_path / "other", working()[0])
    with pytest.raises(RunError, match="holds another search; use another --run"):
        random(tmp_path / "other", tmp_path / "random")


def _losses(directory: Path) -> list[str]:
    with Ledger.read(directory) as ledger:
        return [row.loss for row in ledger.candidates()]
