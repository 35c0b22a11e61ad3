"""The page as a reader and a browser meet it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossmith.errors import RunError
from lossmith.ledger import EvaluationKey, Ledger
from lossmith.losses.build import loss
from lossmith.report import words
from lossmith.report.curves import shape
from lossmith.report.page import write_report
from lossmith.report.record import SearchRecord
from lossmith.report.sections import BEST
from lossmith.report.snapshot import Snapshot
from lossmith.search.evaluation import expression_row
from lossmith.search.evolution import Candidate, Outcome
from lossmith.search.seeds import training_seed
from lossmith.space.expression import Expression
from lossmith.verdict import Reason

from .conftest import VERSIONS, comparison, config, make_run

_VOID = {"meta", "link", "br", "img", "input", "hr", "line"}
HOSTILE = "<script>alert('x')</script>\"'&$page"


class Page(HTMLParser):
    """A page taken apart: its tables, texts, attributes; closing tags that do not match are errors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tables: list[list[list[str]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self._cell: list[str] | None = None
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in _VOID:
            return
        self._open.append(tag)
        if tag == "script":
            self.scripts.append("")
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
            return
        self.text += data
        if self._cell is not None:
            self._cell.append(data)

    def table(self, first_heading: str, width: int) -> list[list[str]]:
        """The rows of the table whose heading starts so."""
        return next(t[1:] for t in self.tables if t[0][0] == first_heading and len(t[0]) == width)

    def figures(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])


def report(run: Path, out: Path) -> Page:
    return Page(write_report(run, out))


def record_of(run: Path) -> SearchRecord:
    with Ledger.read(run) as ledger:
        record = SearchRecord.of(Snapshot.of(ledger))
    assert record is not None
    return record


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report(finished, tmp_path_factory.mktemp("report"))


def test_it_goes_into_the_run_by_default(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", config(), tells=3)
    assert write_report(run) == run / "report" / "index.html"
    first = {file.name: file.read_bytes() for file in (run / "report").iterdir()}
    write_report(run)
    assert {file.name: file.read_bytes() for file in (run / "report").iterdir()} == first
    assert set(first) == {"index.html", "evaluations.csv", "candidates.csv", "losses.csv"}


def test_the_library_stands_in_the_page_once_and_nothing_is_loaded(page: Page) -> None:
    assert page.source.count("plotly.js v") == 1
    loaded = [(tag, name, value) for tag, name, value in page.attributes if name in ("src", "href", "action", "data")]
    assert loaded
    for tag, name, value in loaded:
        assert (tag, name) == ("a", "href")
        assert value.startswith("#") or re.fullmatch(r"\w+\.csv", value)
    styles = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL)
    assert styles
    assert "url(" not in styles[1]
    assert "@import" not in styles[1]


def test_every_figure_has_its_place_and_uploads_nothing(page: Page) -> None:
    places = {value for tag, name, value in page.attributes if name == "id" and tag == "div"}
    assert set(page.figures()) == places
    for figure in page.figures().values():
        assert "sendChartToCloud" in figure["config"]["modeBarButtonsToRemove"]
        assert figure["config"]["plotlyServerURL"] == ""


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    for _, name, value in page.attributes:
        if (name == "href" and value.startswith("#")) or name == "aria-labelledby":
            assert value.removeprefix("#") in ids


def test_tables_say_what_they_are(page: Page) -> None:
    assert page.source.count("<caption>") == len(page.tables)
    for tag, name, value in page.attributes:
        if tag == "th" and name == "scope":
            assert value in ("row", "col")


def test_the_best_losses_are_the_ledgers(finished: Path, page: Page) -> None:
    record = record_of(finished)
    rows = page.table("Rank", 8)
    assert len(rows) == min(BEST, len(record.ranking)) + 1  # and cross-entropy
    for ranked, row in zip(record.ranking, rows, strict=False):
        assert ranked.candidate is not None
        evaluation = ranked.evaluation
        assert row[0] == str(ranked.rank)
        assert ranked.loss.formula in row[1]
        assert row[2] == f"{100 * ranked.score:.2f}%"
        assert evaluation.nll is not None
        assert evaluation.ece is not None
        assert row[3:5] == [f"{evaluation.nll:.4f}", f"{evaluation.ece:.4f}"]
        assert row[5:7] == [str(ranked.candidate.number), str(ranked.candidate.parent)]
        assert row[7] == ranked.loss.key
    assert rows[-1][1:3] == ["cross-entropy, 1 training", "62.50%"]
    scores = [ranked.score for ranked in record.ranking]
    assert scores == sorted(scores, reverse=True)
    assert len({ranked.loss.key for ranked in record.ranking}) == len(scores)


def test_formulas_are_drawn_and_can_be_copied(finished: Path, page: Page) -> None:
    best = record_of(finished).ranking[0].loss
    copied = [value for _, name, value in page.attributes if name == "data-copy"]
    assert f'lossmith.loss("{best.formula}", flip={best.flip})' in copied
    assert (f"-({best.formula})" if best.flip else best.formula) in copied
    assert loss(best.formula, flip=best.flip).expression == Expression.from_text(best.formula)
    assert page.source.count("<math ") >= 2 * min(BEST, 6)
    assert "picked as the best of" in page.text


def test_every_evaluation_of_the_search_is_a_point(finished: Path, page: Page) -> None:
    record = record_of(finished)
    traces = page.figures()["progress-figure"]["data"]
    points = [number for trace in traces if trace["mode"] == "markers" for number in trace["x"]]
    assert sorted(points) == list(range(1, len(record.evaluations) + 1))
    failed = next(trace for trace in traces if trace["name"] == "did not train")
    assert len(failed["x"]) == sum(row.score is None for row in record.evaluations)
    best = next(trace for trace in traces if trace["name"] == "best so far")
    assert best["text"][-1] == words.percent(record.ranking[0].score)
    line = next(trace for trace in traces if trace["name"].startswith("cross-entropy"))
    assert line["y"] == [37.5, 37.5]  # the error, in percent


def test_verdicts_are_counted_and_explained(finished: Path, page: Page) -> None:
    record = record_of(finished)
    evaluated, drafts = [t[1:] for t in page.tables if t[0] == ["Verdict", "Count", "Share", "Meaning"]]
    assert {row[0]: int(row[1]) for row in evaluated} == {reason.value: n for reason, n in record.verdicts.items()}
    assert [row[3] for row in evaluated] == [Reason(row[0]).message for row in evaluated]
    assert {row[0]: int(row[1].replace(",", "")) for row in drafts} == dict(record.refused)


def test_the_lineage_leads_from_a_random_loss_to_the_best(finished: Path, page: Page) -> None:
    record = record_of(finished)
    steps = record.lineage(record.ranking[0])
    assert steps[0].candidate.stage == "screening"
    assert steps[-1].loss == record.ranking[0].loss
    assert [step.candidate.parent for step in steps[1:]] == [step.candidate.number for step in steps[:-1]]
    for step in steps:
        assert f"Candidate {step.candidate.number}:" in page.text.replace("\n", "")
        if step.candidate.mutation:
            assert words.mutation_words(step.candidate.mutation) in page.text


def test_an_empty_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", config(), tells=0)
    page = report(run, tmp_path / "out")
    assert "0 of 30 candidates scored" in page.text
    assert "No evaluation has finished yet." in page.text
    assert page.figures() == {}
    assert "plotly" not in page.source.replace("js-plotly-plot", "").lower().split("</style>")[1].split("<script>")[0]


def test_a_run_before_its_first_session(tmp_path: Path) -> None:
    run = tmp_path / "run"
    Ledger.create(run, config().model_dump(mode="json")).close()
    assert "No process has written this run yet." in report(run, tmp_path / "out").text


def test_a_run_whose_every_training_failed(tmp_path: Path) -> None:
    def fail(candidate: Candidate) -> Outcome:
        return Outcome(Reason.LOSS_NOT_FINITE)

    run = make_run(tmp_path / "run", config(), fail, tells=5)
    page = report(run, tmp_path / "out")
    assert "No loss has been trained on the search's own task yet." in page.text
    assert len(page.figures()["progress-figure"]["data"][0]["x"]) == 5
    assert Reason.LOSS_NOT_FINITE.message in page.text


def test_a_perfect_score_has_a_place_on_the_logarithmic_axis(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", config(), lambda candidate: Outcome(Reason.OK, 1.0), tells=14)
    figure = report(run, tmp_path / "out").figures()["progress-figure"]
    axis = figure["layout"]["yaxis"]
    (perfect,) = {y for trace in figure["data"] for y in trace["y"]}
    assert perfect > 0
    assert dict(zip(axis["ticktext"], axis["tickvals"], strict=True))["100%"] == perfect


def test_a_run_that_is_being_written(tmp_path: Path) -> None:
    run = config()
    with Ledger.create(tmp_path / "run", run.model_dump(mode="json")) as ledger:
        ledger.begin_session("lossmith search", 1, VERSIONS, 0.0)
        assert "Not finished: 0 of 30" in report(tmp_path / "run", tmp_path / "out").text


def test_names_and_formulas_are_never_markup(tmp_path: Path) -> None:
    run = config(name=HOSTILE)
    run = run.model_copy(update={"task": run.task.model_copy(update={"name": HOSTILE})})
    make_run(tmp_path / "run", run)
    with Ledger.open(tmp_path / "run") as ledger:
        ledger.begin_session(HOSTILE, 1, {"lossmith": HOSTILE, "torch": HOSTILE}, 0.0)
        hostile = expression_row(Expression.from_text("-y*log(yhat)"), False)
        hostile = type(hostile)("key", HOSTILE, False)
        key = EvaluationKey("key", run.task.task_id, training_seed(run.seed), "validation")
        ledger.add_evaluation(hostile, key, reason=Reason.OK, score=0.999, detail=HOSTILE)
        content = comparison()
        content.update(task=HOSTILE, sentence=HOSTILE)
        content["losses"][1].update(label=HOSTILE, formula=HOSTILE, verdict=HOSTILE)
        ledger.add_comparison(content)
    page = report(tmp_path / "run", tmp_path / "out")
    assert len(page.scripts) == 3  # the figures' data, the library, the page's own
    assert "<script>alert" not in page.source
    assert page.text.count(HOSTILE) >= 8
    assert "&lt;script" in json.dumps(page.figures()["progress-figure"])
    assert page.table("Rank", 8)[0][1].startswith(HOSTILE)
    copied = [value for _, name, value in page.attributes if name == "data-copy"]
    assert not any(HOSTILE in value and value.startswith("lossmith.loss") for value in copied)
    assert "criterion = " not in page.text


def test_a_name_that_is_not_unicode_text(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "run", {"name": "half \ud800"}):  # a configuration that no version would write
        pass
    assert "half ?" in report(tmp_path / "run", tmp_path / "out").text


def test_a_comparison(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Ledger.create(run, {"name": "train-digits"}) as ledger:  # a run that is a comparison alone
        ledger.begin_session("lossmith train", 1, VERSIONS, 0.0)
        ledger.add_comparison(comparison())
    page = report(run, tmp_path / "out")
    assert "With 3 paired seeds, there is no evidence." in page.text
    rows = page.table("Loss", 9)
    assert rows[0][1:] == ["96.00% ± 1.00%", "0", "-", "-", "-", "-", "-", "baseline"]
    assert rows[1][3:8] == ["+1.51", "+0.11 to +2.91", "0.500", "0.750", "2"]
    assert rows[2][1:3] == ["-", "3"]
    seeds = page.table("Seed", 4)
    assert seeds[2] == ["13", "97.00%", "failed", "failed"]
    data = page.figures()["comparison-1"]["data"]
    assert data[0]["x"] == pytest.approx([1.51, 1.51])
    assert data[1]["x"] == pytest.approx([1.51])
    assert data[1]["error_x"]["array"] == pytest.approx([1.4])


def test_a_comparison_of_another_form_is_an_error_in_words(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "run", {"name": "train"}) as ledger:
        ledger.add_comparison({"task": "digits"})
    with pytest.raises(RunError, match="comparison in the ledger cannot be read"):
        write_report(tmp_path / "run")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", config(), tells=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot make the report's directory"):
        write_report(run, tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "same_as"),
    [("-y*log(yhat)", "-3*y*log(yhat) + 2*yhat"), ("square(y-yhat)", "square(yhat) - 2*y*yhat + 5")],
)
def test_curves_that_train_alike_look_alike(text: str, same_as: str) -> None:
    one, other = shape(loss(text, flip=False)), shape(loss(same_as, flip=False))
    assert one.target == pytest.approx(other.target, abs=1e-9)
    assert one.others == pytest.approx(other.others, abs=1e-9)
    assert max(np.ptp(one.target), np.ptp(one.others)) == pytest.approx(1)
    assert one.target[-1] == one.others[0] == pytest.approx(0)
    assert one.complete


def test_curves_with_a_pole_are_shown_where_they_are_finite() -> None:
    its_shape = shape(loss("y * log(yhat - 0.5)", flip=True))
    assert not its_shape.complete
    assert np.isnan(its_shape.target[:50]).all()
    assert np.nanmax(its_shape.target) == pytest.approx(1)


def test_a_loss_without_any_gradient_is_flat() -> None:
    its_shape = shape(loss("y + yhat", flip=False))
    assert np.abs(its_shape.target).max() < 1e-9
    assert np.abs(its_shape.others).max() < 1e-9
