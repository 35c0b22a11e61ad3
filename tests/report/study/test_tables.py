"""The CSV and LaTeX files beside a study's page."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmith.ledger import Ledger
from lossmith.report.study.latex import escaped
from lossmith.report.study.page import write_study_report

STAGES = ("search", "random", "null", "elimination", "elimination-random", "transfer", "confirmation")


@pytest.fixture(scope="module")
def report(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study_report(finished, tmp_path_factory.mktemp("report")).parent


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float | None:
    return float(text) if text else None


@pytest.mark.parametrize("stage", ["confirmation", "transfer"])
def test_differences_are_those_of_the_analysis_in_full(report: Path, finished: Path, stage: str) -> None:
    with Ledger.read(finished / stage) as ledger:
        result = ledger.results(stage)[-1]
    found = {(line["cell"], line["loss"]): line for line in lines(report / f"{stage}.csv")}
    cells = [cell for cell in result["cells"] if cell.get("error") is None]
    assert set(found) == {(cell["name"], key) for cell in cells for key in cell["scores"]}
    for each in result["analysis"]["differences"]:
        line = found[each["cell"], each["loss"]]
        names = {"difference": "mean", "sd_difference": "sd", "p_holm": "p_adjusted"}
        names |= {name: name for name in ("low", "high", "p", "detectable", "correlation")}
        assert {column: number(line[column]) for column in names} == {c: each[name] for c, name in names.items()}
        assert number(line["improvement"]) == each["improvement"]["value"]
        assert (line["verdict"], int(line["pairs"])) == (each["verdict"], each["n"])
    for cell in cells:
        for key, scores in cell["scores"].items():
            line = found[cell["name"], key]
            assert [int(each) for each in line["evaluations"].split()] == scores["evaluations"]
            assert line["ledger"] == f"{stage}/ledger.sqlite"


def test_every_score_is_there_once_with_its_row(report: Path, finished: Path) -> None:
    found = lines(report / "scores.csv")
    by_stage: dict[str, dict[int, Any]] = {}
    for stage in STAGES:
        with Ledger.read(finished / stage) as ledger:
            by_stage[stage] = {row.id: row for row in ledger.evaluations()}
    seen = {(line["stage"], int(line["evaluation"])) for line in found}
    assert len(seen) == len(found)
    # a search's cross-entropy is not asked for by the search itself; everything else is there
    missing = {(stage, key) for stage, rows in by_stage.items() for key in rows} - seen
    assert {(stage, by_stage[stage][key].key.loss) for stage, key in missing} <= {
        ("search", "zoo:cross_entropy"),
        ("random", "zoo:cross_entropy"),
    }
    for line in found:
        row = by_stage[line["stage"]][int(line["evaluation"])]
        assert (number(line["accuracy"]), number(line["nll"]), number(line["ece"])) == (row.score, row.nll, row.ece)
        assert (line["loss"], int(line["seed"]), line["split"]) == (row.key.loss, row.key.seed, row.key.split)
    rates = {float(line["learning_rate"]) for line in found if line["stage"] == "confirmation"}
    assert rates == {0.003, 0.009}


def test_compute_is_that_of_the_ledgers(report: Path, finished: Path) -> None:
    found = {line["stage"]: line for line in lines(report / "compute.csv")}
    assert tuple(found) == STAGES
    for stage, line in found.items():
        with Ledger.read(finished / stage) as ledger:
            rows = list(ledger.evaluations())
        assert int(line["trainings"]) == len(rows)
        assert float(line["training_seconds"]) == pytest.approx(sum(row.seconds for row in rows))
        assert line["state"] == "done"


def test_latex_tables_are_whole(report: Path) -> None:
    files = sorted(report.glob("*.tex"))
    assert len(files) == 7
    for path in files:
        text = path.read_text(encoding="ascii")
        columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
        assert columns
        rules = [
            text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}", r"\end{table}")
        ]
        assert rules == sorted(rules)
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 1
        for row in rows:
            assert row.count(" & ") == len(columns[1]) - 1, path.name
            assert not re.search(r"(?<![\\ ])&|(?<!\\)[%#_]|\^|~", row.replace(" & ", " ")), row
        assert plain_braces(text) == 0


def plain_braces(text: str) -> int:
    """Braces that are opened less those that are closed, those that are printed not counted."""
    bare = text.replace(r"\{", "").replace(r"\}", "")
    return bare.count("{") - bare.count("}")


@given(st.text(max_size=60))
def test_escaped_text_is_ascii_that_latex_prints(text: str) -> None:
    found = escaped(text)
    assert found.isascii()
    assert "\n" not in found
    assert plain_braces(found) == 0
    bare = re.sub(r"\\text\w+\{(U\+[0-9A-F]+)?\}|\\[{}$&#%_]|\$\\pm\$", "", found)
    assert not set(bare) & set('\\{}$&#%_^~<>|"')


def test_escapes_are_the_usual_ones(report: Path) -> None:
    assert escaped(r"a_b & 5% {x}^2 \cmd") == (r"a\_b \& 5\% \{x\}\textasciicircum{}2 \textbackslash{}cmd")
    assert " & $-$" in (report / "confirmation.tex").read_text(encoding="ascii")
    assert escaped("1 ± 2, é") == r"1 $\pm$ 2, \texttt{U+00E9}"
