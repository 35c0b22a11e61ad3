"""The page of a study as a reader and a browser meet it, finished or not, whole or a stage alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from confirmations import null_score
from lossmith.arguments.showing import Report
from lossmith.commands.showing import report
from lossmith.errors import RunError
from lossmith.ledger import Ledger
from lossmith.report.study.page import write_study_report
from lossmith.report.study.reading import StudyRecord, is_staged
from lossmith.report.study.verdict import headline
from lossmith.search.serving import EvaluationJob
from lossmith.train.task import TaskConfig

from .conftest import Page, change_ledger, change_result, make_study

FILES = {
    "index.html", "trace.csv", "scores.csv", "compute.csv", "confirmation.csv", "controls.csv", "transfer.csv",
    "confirmation.tex", "calibration.tex", "transfer.tex", "elimination.tex", "elimination-random.tex", "losses.tex",
    "compute.tex",
}  # fmt: skip
STAGES = ("search", "random", "null", "elimination", "elimination-random", "transfer", "confirmation")


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_study_report(finished, tmp_path_factory.mktemp("report")))


def result_of(stage: Path, kind: str) -> dict:
    with Ledger.read(stage) as ledger:
        return ledger.results(kind)[-1]


# -- the page --------------------------------------------------------------------------------------------------------


def test_it_goes_into_the_study_by_default_and_is_the_same_each_time(copied: Path) -> None:
    assert write_study_report(copied) == copied / "report" / "index.html"
    first = {file.name: file.read_bytes() for file in (copied / "report").iterdir()}
    write_study_report(copied)
    assert {file.name: file.read_bytes() for file in (copied / "report").iterdir()} == first
    assert set(first) == FILES


def test_it_needs_no_network_and_no_scripts_and_is_small(page: Page) -> None:
    assert "<script" not in page.source
    assert "script-src" not in page.source
    assert len(page.source.encode()) < 300_000
    for tag, name, value in page.attributes:
        if name in ("src", "href", "action", "data"):
            assert (tag, name) == ("a", "href")
            assert value.startswith("#") or re.fullmatch(r"[\w-]+\.(csv|tex)", value)
    style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "prefers-color-scheme: dark" in style[1]


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    for _, name, value in page.attributes:
        if (name == "href" and value.startswith("#")) or name == "aria-labelledby":
            assert value.removeprefix("#") in ids


def test_the_sections_stand_in_their_order(page: Page) -> None:
    sections = [value for tag, name, value in page.attributes if tag == "section" and name == "id"]
    assert sections == [
        "verdict", "asked", "confirmation", "controls", "elimination", "transfer", "search", "compute",
    ]  # fmt: skip


def test_pictures_are_drawn_of_every_kind(page: Page) -> None:
    titles = re.findall(r'<svg viewBox="[^"]*" role="img" class="study"><title>([^<]*)</title>', page.source)
    assert titles == [
        "Differences to cross_entropy on digits",
        "Training on digits",
        "Scores of cross-entropy with other seeds",
        "Differences to cross_entropy on digits/convnet/shift/scratch",
        "Best validation accuracy so far",
    ]


def test_the_registration_is_shown(page: Page, finished: Path) -> None:
    with Ledger.read(finished / "confirmation") as ledger:
        stored = ledger.configuration()
    assert stored["sha256"] in page.text
    assert "the file still has this hash" in page.text
    for seed in stored["registration"]["seeds"]:
        assert str(seed) in page.text
    assert "learning rate x 1, 3, weight decay 0: 2 settings x 1 seed" in page.text


def test_every_loss_has_a_row_of_the_same_size_in_every_cell(page: Page, finished: Path) -> None:
    result = result_of(finished / "confirmation", "confirmation")
    (table,) = [t for t in page.tables if t[0][1] == "Accuracy, mean ± SD" and len(t) == 1 + len(result["losses"])]
    verdicts = [row[6] for row in table[1:]]
    assert verdicts[0] == "baseline"
    assert sorted(verdicts[1:]) == sorted(each["verdict"] for each in result["analysis"]["differences"])
    assert {"worse", "not comparable", "no evidence"} <= set(verdicts)


def test_verdicts_are_counted_and_told_in_words(page: Page, finished: Path) -> None:
    result = result_of(finished / "confirmation", "confirmation")
    assert "No evidence: it was not shown that" in page.text
    assert "No evidence that a found loss is better than cross_entropy." in page.text
    assert "0 better, 1 worse, 0 equivalent, 0 no evidence, 1 not comparable" in page.text  # the baselines
    assert "focal is worse than cross_entropy" in page.text
    assert len(result["sentences"]) == page.source.count("<li>On ") + page.source.count("<li>Against a control") + 2


def test_no_path_of_this_machine_is_on_the_page(page: Page, finished: Path) -> None:
    assert str(finished) not in page.source


def test_a_better_loss_is_told_as_plainly(tmp_path: Path) -> None:
    def planted(job: EvaluationJob, task: TaskConfig) -> float:
        return null_score(job, task) + (0.0 if job.loss.key.startswith("zoo:") else 20 / 450)

    page = Page(write_study_report(make_study(tmp_path / "study", planted)))
    assert "Better: there is evidence that" in page.text
    assert "Evidence that a found loss is better than cross_entropy: L1 on digits." in page.text
    assert 'class="answer better"' in page.source


@pytest.mark.parametrize(
    ("verdict", "begins"),
    [
        ("better", "Better: there is evidence that L1 beats"),
        ("worse", "Worse: there is evidence that L1 falls short of"),
        ("equivalent", "Equivalent: L1 and"),
        ("no evidence", "No evidence: it was not shown that L1 differs from"),
        ("not comparable", "Not comparable: trainings with L1 or"),
    ],
)
def test_each_verdict_has_a_headline(verdict: str, begins: str) -> None:
    found = headline(verdict, "L1", "cross_entropy", "digits")  # type: ignore[arg-type] - the parameters are verdicts
    assert found.startswith(f"{begins} cross_entropy")


def test_names_cannot_break_out(copied: Path) -> None:
    path, hostile = copied / "study.json", "<script>alert('x')</script>\"&"
    content = json.loads(path.read_text())
    content["configuration"]["name"] = hostile
    path.write_text(json.dumps(content))
    change_result(copied / "transfer", lambda text: text.replace('"label": "cross_entropy"', '"label": "<b>&\\"_"'))
    page = Page(write_study_report(copied))
    assert "<script" not in page.source
    assert hostile in page.text


# -- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", range(len(STAGES)))
def test_a_study_that_is_not_finished_says_so_in_each_place(copied: Path, there: int) -> None:
    for stage in STAGES[there:]:
        shutil.rmtree(copied / stage)
    page = Page(write_study_report(copied))
    assert f"Not finished: {there} of 7 stages are done" in page.text
    assert "There is no verdict: nothing is confirmed yet." in page.text
    assert "Nothing is registered yet." in page.text
    for stage in STAGES[there:]:
        assert f"This stage has not been run. Nothing is known of '{stage}'." in page.text or stage == "random"
    for stage in STAGES[:there]:
        assert f"Nothing is known of '{stage}'" not in page.text


def test_a_study_without_controls_and_transfer_says_so(copied: Path) -> None:
    path = copied / "study.json"
    content = json.loads(path.read_text())
    content["configuration"] |= {"transfer": None, "random_search": False, "null_search": False}
    content["configuration"]["confirmation"] |= {"controls": [], "null_search": None}
    path.write_text(json.dumps(content))
    page = Page(write_study_report(copied))
    assert "Finished: all 3 stages are done." in page.text
    assert page.text.count("This study has no such stage.") == 3  # null search, random search, transfer


@pytest.mark.parametrize("stage", ["null", "elimination", "transfer", "confirmation"])
def test_a_stage_without_its_result_has_none_on_the_page(copied: Path, stage: str) -> None:
    change_ledger(copied / stage, "DELETE FROM results")
    path = write_study_report(copied)
    page = Page(path)
    assert f"This stage is not finished: '{stage}' has" in page.text
    assert f"lossmith resume {copied}" in page.text
    trace = (path.parent / "trace.csv").read_text(encoding="utf-8").splitlines()
    assert {line.split(",")[3] for line in trace if f",{stage}/ledger.sqlite," in line} == {
        "trainings in the ledger",
        "failed trainings in the ledger",
        "training steps in the ledger",
        "training seconds in the ledger",
        "wall seconds of the sessions",
    }


def test_a_confirmation_under_way_shows_its_registration_and_no_score(copied: Path) -> None:
    change_ledger(copied / "confirmation", "DELETE FROM results")
    page = Page(write_study_report(copied))
    assert "The registered question: On digits," in page.text
    assert "No test result is shown before all of them are there" in page.text
    assert "test images, 10 seeds" not in page.text


def test_a_changed_registration_is_told(copied: Path) -> None:
    with (copied / "confirmation" / "registration.json").open("a") as file:
        file.write(" ")
    page = Page(write_study_report(copied))
    assert "the file is missing or no longer has this hash" in page.text


def test_ranks_over_several_data_sets_are_drawn(copied: Path) -> None:
    assert "There is no critical-difference diagram" in Page(write_study_report(copied)).text

    def change(text: str) -> str:
        result = json.loads(text)
        result["analysis"] |= {"critical_difference": 2.5, "friedman": 0.04}
        for each in result["analysis"]["overall"]:
            each |= {"p": 0.01, "p_adjusted": 0.02}
        return json.dumps(result)

    change_result(copied / "confirmation", change)
    page = Page(write_study_report(copied))
    assert "<title>Critical-difference diagram</title>" in page.source
    assert "critical difference 2.50" in page.text
    assert "Friedman's p = 0.040" in page.text
    assert "p = 0.020 after Holm" in page.text


# -- a stage alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "sections", "told"),
    [
        ("elimination", ["verdict", "asked", "elimination", "compute"], "Finalists, the best first"),
        ("transfer", ["verdict", "asked", "transfer", "compute"], "In 1 cell, against cross_entropy"),
        ("confirmation", ["verdict", "asked", "confirmation", "compute"], "The registered question"),
        ("null", ["verdict", "controls", "compute"], "of cross-entropy alone reach the best fitness of the search"),
    ],
)
def test_a_stage_has_a_page_of_its_own(
    finished: Path, tmp_path: Path, stage: str, sections: list[str], told: str
) -> None:
    assert is_staged(finished / stage)
    page = Page(write_study_report(finished / stage, tmp_path))
    assert [value for tag, name, value in page.attributes if tag == "section" and name == "id"] == sections
    assert told in page.text
    assert "This study has no such stage" not in page.text
    assert "(f1 in trace.csv)" in page.source


@pytest.mark.parametrize("stage", ["elimination", "transfer", "confirmation"])
def test_a_stage_alone_that_is_not_finished_says_so(copied: Path, stage: str) -> None:
    change_ledger(copied / stage, "DELETE FROM results")
    page = Page(write_study_report(copied / stage))
    assert f"lossmith resume {copied / stage}" in page.text
    assert f"This stage is not finished: '{stage}' has" in page.text


def test_the_command_finds_the_report_that_fits(copied: Path) -> None:
    sizes = {}
    for name in (".", "elimination", "search"):
        page = report(Report(copied / name))
        assert page == copied / name / "report" / "index.html"
        sizes[name] = (page.parent / "candidates.csv").exists()
    assert sizes == {".": False, "elimination": False, "search": True}
    assert '<a href="../search/report/index.html">' in write_study_report(copied).read_text(encoding="utf-8")


def test_too_few_seeds_for_any_verdict_are_told(page: Page) -> None:
    assert "3 seeds cannot tell a difference after Holm over 1 comparison, however large" in page.text


def test_a_search_is_no_stage_with_a_page_here(finished: Path) -> None:
    assert not is_staged(finished / "search")
    assert is_staged(finished)


# -- what cannot be believed -----------------------------------------------------------------------------------------


def test_a_result_that_says_another_score_than_its_ledger_is_refused(copied: Path) -> None:
    result = result_of(copied / "confirmation", "confirmation")
    scores = next(iter(result["cells"][0]["scores"].values()))
    change_ledger(copied / "confirmation", "UPDATE evaluations SET score = 0.5 WHERE id = ?", scores["evaluations"][0])
    with pytest.raises(
        RunError, match=rf"of evaluation {scores['evaluations'][0]}, confirmation/ledger.sqlite says 0.5"
    ):
        write_study_report(copied)


def test_a_fitness_that_the_search_does_not_hold_is_refused(copied: Path) -> None:
    number = result_of(copied / "elimination", "elimination")["losses"][0]["evaluation"]
    change_ledger(copied / "search", "UPDATE evaluations SET score = 0.25 WHERE id = ?", number)
    with pytest.raises(RunError, match=r"search/ledger\.sqlite says 0\.25"):
        write_study_report(copied)


def test_an_evaluation_that_is_gone_is_refused(copied: Path) -> None:
    change_ledger(copied / "null", "DELETE FROM evaluations WHERE id = 1")
    with pytest.raises(RunError, match=r"names evaluation 1, which null/ledger\.sqlite does not hold"):
        write_study_report(copied)


@pytest.mark.parametrize(
    ("stage", "before", "after", "told"),
    [
        ("confirmation", '{"format": 1, "registration"', '{"format": 2, "registration"', "format 2"),
        ("elimination", '{"format": 1', '{"format": "x"', "format 'x'"),
        ("transfer", '"baseline": "zoo:cross_entropy"', '"baseline": "zoo:other"', "the baseline is 'zoo:other'"),
        ("transfer", '"seconds": ', '"seconds": NaN, "was": ', "seconds"),
        ("null", '"values": [', '"values": [0.5, ', "not one evaluation per score"),
        ("confirmation", '"verdict": "worse"', '"verdict": "splendid"', "verdict"),
        ("confirmation", '"key": "zoo:focal"', '"key": "zoo:poly1"', "names 'zoo:poly1'"),
        ("confirmation", '"ece": {"mean"', '"other": {"mean"', "lacks a measure"),
        ("confirmation", '"p_adjusted"', '"p_corrected"', "p_adjusted"),
    ],
)
def test_a_form_that_this_version_does_not_know_is_refused(
    copied: Path, stage: str, before: str, after: str, told: str
) -> None:
    change_result(copied / stage, lambda text: text.replace(before, after, 1))
    with pytest.raises(RunError, match=re.escape(told)) as error:
        write_study_report(copied)
    assert "cannot be read by this version" in str(error.value)
    assert "\n" not in str(error.value)
    assert f"{stage}: the result" in str(error.value)


def test_another_kind_of_run_in_a_stage_s_place_is_refused(copied: Path) -> None:
    shutil.rmtree(copied / "transfer")
    shutil.copytree(copied / "null", copied / "transfer")
    with pytest.raises(RunError, match="holds a null, not the transfer of the study"):
        StudyRecord.of(copied)


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        is_staged(tmp_path)
    with pytest.raises(RunError):
        write_study_report(tmp_path)


def test_a_place_that_cannot_be_written_is_told(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot make the report's directory"):
        write_study_report(finished, tmp_path / "file")
