"""From the numbers on the page to the rows of the ledgers, and back: each is computed again from what it names."""

from __future__ import annotations

import csv
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossmith.ledger import EvaluationRow, Ledger
from lossmith.report.study.page import write_study_report
from lossmith.report.study.trace import Rows, Trace, ranges
from lossmith.study.statistics import bca_interval, minimum_detectable_effect

from .conftest import Page

Ledgers = dict[str, dict[int, EvaluationRow]]
Line = dict[str, str]
STAGES = ("search", "random", "null", "elimination", "elimination-random", "transfer", "confirmation")


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, list[Line]]:
    path = write_study_report(finished, tmp_path_factory.mktemp("report"))
    with (path.parent / "trace.csv").open(encoding="utf-8", newline="") as file:
        return Page(path), list(csv.DictReader(file))


@pytest.fixture(scope="module")
def ledgers(finished: Path) -> Ledgers:
    found: Ledgers = {}
    for stage in STAGES:
        with Ledger.read(finished / stage) as ledger:
            found[f"{stage}/ledger.sqlite"] = {row.id: row for row in ledger.evaluations()}
    return found


def rows_of(line: Line, ledgers: Ledgers, column: str = "evaluations") -> list[EvaluationRow]:
    return [ledgers[line["ledger"]][int(number)] for number in line[column].split()]


def pairs_of(line: Line, ledgers: Ledgers, name: str = "score") -> tuple[np.ndarray, np.ndarray]:
    """The values of the loss and of the baseline, over the seeds with which both trained."""
    both = list(zip(rows_of(line, ledgers), rows_of(line, ledgers, "against_evaluations"), strict=True))
    assert all(a.key.seed == b.key.seed for a, b in both)
    assert {a.key.loss for a, _ in both} == {line["loss"]}
    assert {b.key.loss for _, b in both} == {line["against"]}
    there = [(getattr(a, name), getattr(b, name)) for a, b in both if a.score is not None and b.score is not None]
    return np.array([a for a, _ in there]), np.array([b for _, b in there])


def differences(line: Line, ledgers: Ledgers, name: str = "score") -> np.ndarray:
    a, b = pairs_of(line, ledgers, name)
    return np.round(a - b, 12)


def values(line: Line, ledgers: Ledgers, name: str = "score") -> list[float]:
    return [value for row in rows_of(line, ledgers) if (value := getattr(row, name)) is not None]


def sign_flip_p(found: np.ndarray) -> float:
    """The share of all patterns of signs with a mean at least as far from 0, by brute force."""
    signs = np.array(list(itertools.product((-1, 1), repeat=len(found))))
    means = np.abs((signs * found).mean(axis=1))
    return float((means >= abs(found.mean()) - 1e-12).mean())


def correlation(line: Line, ledgers: Ledgers) -> float | None:
    a, b = pairs_of(line, ledgers)
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 and np.ptp(a) and np.ptp(b) else None


def detectable(line: Line, ledgers: Ledgers, family: Sequence[Line]) -> float | None:
    found = differences(line, ledgers)
    least = 2 / 2 ** len(found)
    level = math.floor(0.05 / len(family) / least) * least
    return float(found.std(ddof=1)) * minimum_detectable_effect(len(found), significance=level) if level else None


def holm(line: Line, ledgers: Ledgers, family: Sequence[Line]) -> float:
    """Holm's p over the family: the figures of the same measure, ledger and baseline."""
    failed = [any(r.score is None for c in COLUMNS for r in rows_of(each, ledgers, c)) for each in family]
    p_values = [
        1.0 if lost else sign_flip_p(differences(each, ledgers)) for each, lost in zip(family, failed, strict=True)
    ]
    order, running = sorted(range(len(family)), key=lambda place: p_values[place]), 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(family) - rank) * p_values[place]))
        if family[place] is line:
            return running
    raise AssertionError


COLUMNS = ("evaluations", "against_evaluations")

MEASURES: dict[str, Callable[[Line, Ledgers], float | None]] = {
    "accuracy": lambda line, of: rows_of(line, of)[0].score,
    "mean accuracy": lambda line, of: float(np.mean(values(line, of))) if values(line, of) else None,
    "SD of accuracy": lambda line, of: float(np.std(values(line, of), ddof=1)),
    "failed trainings": lambda line, of: len(rows_of(line, of)) - len(values(line, of)),
    "failed pairs": lambda line, of: len(rows_of(line, of)) - len(differences(line, of)),
    "mean difference": lambda line, of: float(differences(line, of).mean()),
    "interval low": lambda line, of: float(bca_interval(differences(line, of)[None], seed=0)[0][0]),
    "interval high": lambda line, of: float(bca_interval(differences(line, of)[None], seed=0)[1][0]),
    "p": lambda line, of: sign_flip_p(differences(line, of)),
    "probability of improvement": lambda line, of: float((np.sign(differences(line, of)) + 1).mean() / 2),
    "correlation": correlation,
    "mean NLL": lambda line, of: float(np.mean(values(line, of, "nll"))),
    "mean ECE": lambda line, of: float(np.mean(values(line, of, "ece"))),
    "mean difference of NLL": lambda line, of: float(differences(line, of, "nll").mean()),
    "mean difference of ECE": lambda line, of: float(differences(line, of, "ece").mean()),
    "number of trainings": lambda line, of: len(rows_of(line, of)),
    "trainings in the ledger": lambda line, of: len(of[line["ledger"]]),
    "failed trainings in the ledger": lambda line, of: sum(row.score is None for row in of[line["ledger"]].values()),
    "training steps in the ledger": lambda line, of: sum(row.steps for row in of[line["ledger"]].values()),
    "training seconds in the ledger": lambda line, of: sum(row.seconds for row in of[line["ledger"]].values()),
}
IN_FAMILY: dict[str, Callable[[Line, Ledgers, Sequence[Line]], float | None]] = {
    "adjusted p": holm,
    "minimum detectable effect": detectable,
}
ELSEWHERE = {"mean rank", "wall seconds of the sessions", "trainings that reach the search's best"}  # tested below


def test_every_number_of_the_page_is_that_of_the_rows_it_names(page: tuple[Page, list[Line]], ledgers: Ledgers) -> None:
    families: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
    for line in page[1]:
        families[line["measure"], line["ledger"], line["against"]].append(line)
    found: set[str] = set()
    for line in page[1]:
        measure, told = line["measure"], float(line["value"]) if line["value"] else None
        found.add(measure)
        if measure in ELSEWHERE:
            continue
        if measure in IN_FAMILY:
            family = families[measure, line["ledger"], line["against"]]
            again = IN_FAMILY[measure](line, ledgers, family)
        else:
            again = MEASURES[measure](line, ledgers)
        assert again == (None if told is None else pytest.approx(told, rel=1e-9, abs=1e-9)), line
    assert found == {*MEASURES, *IN_FAMILY, *ELSEWHERE}


def test_what_is_shown_is_what_the_trace_says(page: tuple[Page, list[Line]]) -> None:
    source, lines = page
    assert source.figures == {line["figure"]: line["shown"] for line in lines}
    assert len(lines) > 200
    for line in lines:
        if line["shown"].endswith("%") and line["measure"] in ("accuracy", "mean accuracy"):
            assert line["shown"] == f"{100 * float(line['value']):.2f}%"
        elif line["measure"] in ("mean difference", "interval low", "interval high"):
            assert line["shown"] == f"{100 * float(line['value']):+.2f}"


def test_the_rest_of_the_numbers(page: tuple[Page, list[Line]], ledgers: Ledgers, finished: Path) -> None:
    lines = page[1]
    (reached,) = (line for line in lines if line["measure"] == "trainings that reach the search's best")
    with Ledger.read(finished / "null") as ledger:
        best = ledger.results("null")[-1]["search_best"]
    assert int(reached["value"]) == sum(value >= best for value in values(reached, ledgers))
    assert len(rows_of(reached, ledgers)) == len(ledgers["null/ledger.sqlite"])
    for line in (line for line in lines if line["measure"] == "wall seconds of the sessions"):
        with Ledger.read(finished / Path(line["ledger"]).parent) as ledger:
            assert float(line["value"]) == pytest.approx(sum(session.seconds for session in ledger.sessions()))
    for stage in ("confirmation", "transfer"):
        ranks = {
            line["loss"]: line for line in lines if line["measure"] == "mean rank" and line["ledger"].startswith(stage)
        }
        # one data set: the mean over its cells is ranked; a loss that failed is last
        means = [
            -math.inf
            if any(row.score is None for row in rows_of(line, ledgers))
            else MEASURES["mean accuracy"](line, ledgers)
            for line in ranks.values()
        ]
        again = stats.rankdata([-mean for mean in means if mean is not None])
        assert [float(line["value"]) for line in ranks.values()] == pytest.approx(again.tolist())


def test_every_row_that_is_named_is_of_the_right_split(page: tuple[Page, list[Line]], ledgers: Ledgers) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for line in page[1]:
        if line["measure"] == "SD of accuracy":
            splits[line["ledger"]] |= {row.key.split for row in rows_of(line, ledgers)}
    assert splits == {"confirmation/ledger.sqlite": {"test"}, "transfer/ledger.sqlite": {"validation"}}


# -- the trace itself ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=30))
def test_ranges_say_every_id_in_its_order(ids: list[int]) -> None:
    read: list[int] = []
    for part in ranges(ids).split():
        first, _, last = part.partition("-")
        step = 1 if int(last or first) >= int(first) else -1
        read += range(int(first), int(last or first) + step, step)
    assert read == ids


def test_ranges_are_short() -> None:
    assert ranges(range(3, 90)) == "3-89"
    assert ranges([4, 3, 2, 9]) == "4-2 9"


def test_a_figure_names_its_rows() -> None:
    trace = Trace()
    rows, base = Rows("a/ledger.sqlite", (1, 2)), Rows("a/ledger.sqlite", (7, 8))
    shown = trace.show("+0.5 <", 0.005, "mean difference", rows, loss="k", against="b", less=base)
    assert shown == (
        '<span title="mean difference of evaluations 1-2 against 7-8 in a/ledger.sqlite (f1 in trace.csv)"'
        ' data-figure="f1">+0.5 &lt;</span>'
    )
    assert [figure.number for figure in trace.figures] == [1]
