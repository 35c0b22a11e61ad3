"""Loss cards on the terminal and as a page, and the evidence that ledgers hold."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from lossmith.errors import LossmithError, RunError
from lossmith.ledger import EvaluationKey, Ledger, LossRow
from lossmith.losses.build import loss
from lossmith.losses.zoo import ZOO
from lossmith.report.card import CardView, card_view
from lossmith.report.card_evidence import gather
from lossmith.report.card_page import page, typeset, write_card
from lossmith.report.card_svg import Series, line_plot, ticks, value_range
from lossmith.report.card_terminal import card_text
from lossmith.search.evaluation import expression_row, zoo_row
from lossmith.space.expression import Expression
from lossmith.study.statistics import paired_difference
from lossmith.verdict import Reason

from .conftest import VERSIONS, config, make_run
from .test_page import HOSTILE, Page

CROSS_ENTROPY, MAE = zoo_row("cross_entropy"), zoo_row("mae")
SMALL = (2, 10)


def ledger_with(
    directory: Path, trained: Sequence[tuple[LossRow, int, float | None]], *, split: str = "test", task: str = "a" * 16
) -> Path:
    """A comparison's ledger: (loss, seed, accuracy or None where it failed)."""
    new = not directory.exists()
    with Ledger.create(directory, {"name": "train"}) if new else Ledger.open(directory) as ledger:
        ledger.begin_session("lossmith train", 1, VERSIONS, 0.0)
        ledger.add_task(task, f"task {task[0]}", {}, "checksum")
        for row, seed, score in trained:
            key = EvaluationKey(row.key, task, seed, split)
            if score is None:
                ledger.add_evaluation(row, key, reason=Reason.LOSS_NOT_FINITE)
            else:
                ledger.add_evaluation(row, key, reason=Reason.OK, score=score, nll=2 - score, ece=(1 - score) / 2)
    return directory


def shown(view: CardView, width: int = 80, *, ascii_only: bool = False) -> str:
    if ascii_only:
        buffer = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        Console(file=buffer, width=width, color_system=None).print(card_text(view))
        buffer.flush()
        assert isinstance(buffer.buffer, io.BytesIO)
        return buffer.buffer.getvalue().decode("ascii")
    console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None)
    console.print(card_text(view))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


# -- evidence ----------------------------------------------------------------------------------------------------------

SCORES = [0.95, 0.97, 0.96, 0.98, 0.94, 0.96, 0.95, 0.97]
GAINS = [0.010, 0.020, 0.015, 0.005, 0.012, 0.018, 0.011, 0.009]
PAIRED = [
    *((CROSS_ENTROPY, seed, score) for seed, score in enumerate(SCORES)),
    *((MAE, seed, score + gain) for seed, (score, gain) in enumerate(zip(SCORES, GAINS, strict=True))),
]


def test_paired_evidence(tmp_path: Path) -> None:
    directory = ledger_with(tmp_path / "run", PAIRED)
    (found,) = gather(loss("mae"), [directory])
    assert (found.run, found.task, found.split) == (str(directory), "task a", "test")
    assert (found.seeds, found.failed, found.pairs, found.searched) == (8, 0, 8, False)
    accuracy, nll, ece = found.measured
    expected = paired_difference([a + b for a, b in zip(SCORES, GAINS, strict=True)], SCORES, seed=0)
    assert accuracy.difference == expected
    assert accuracy.baseline == pytest.approx(sum(SCORES) / 8)
    assert nll.difference is not None
    assert nll.difference.mean == pytest.approx(-expected.mean)
    assert ece.mean == pytest.approx((1 - sum(SCORES) / 8 - expected.mean) / 2)
    assert "there is evidence that it is better than cross-entropy (+1.25 points" in found.sentence
    assert "p = 0.008, 8 pairs" in found.sentence  # 2 / 2^8


def test_the_formula_of_a_published_loss_finds_its_evidence_and_the_other_way_round(tmp_path: Path) -> None:
    named = ledger_with(tmp_path / "named", PAIRED)
    formula = loss("y * (1 - yhat)")
    assert formula.expression is not None
    own = expression_row(formula.expression, False)
    written = [(own if row is MAE else row, seed, score) for row, seed, score in PAIRED]
    spelt = ledger_with(tmp_path / "spelt", written)
    for asked in (formula, loss("mae")):
        found = gather(asked, [named, spelt])
        assert [each.run for each in found] == [str(named), str(spelt)]
        assert found[0].measured == found[1].measured


def test_the_baseline_is_found_as_a_formula_too(tmp_path: Path) -> None:
    written = expression_row(Expression.from_text("-y*log(yhat)"), False)
    rows = [(written if row is CROSS_ENTROPY else row, seed, score) for row, seed, score in PAIRED]
    directory = ledger_with(tmp_path / "run", rows)
    (found,) = gather(loss("mae"), [directory])
    assert found.pairs == 8


def test_another_orientation_or_other_parameters_are_another_loss(tmp_path: Path) -> None:
    expression = Expression.from_text("y * (1 - yhat)")
    rows = [(expression_row(expression, True), 0, 0.5), (zoo_row("focal"), 0, 0.9)]
    directory = ledger_with(tmp_path / "run", rows)
    assert gather(loss("y * (1 - yhat)"), [directory]) == []
    assert gather(loss("focal", gamma=1.0), [directory]) == []
    assert gather(loss("focal", label_smoothing=0.1), [directory]) == []
    assert len(gather(loss("focal"), [directory])) == 1


def test_failures_and_missing_pairs_are_told(tmp_path: Path) -> None:
    rows = [(row, seed, None if row is MAE and seed == 3 else score) for row, seed, score in PAIRED]
    (found,) = gather(loss("mae"), [ledger_with(tmp_path / "run", rows)])
    assert (found.seeds, found.failed, found.pairs) == (8, 1, 7)
    assert "8 seeds (1 failed): not comparable, since 1 seed failed or has no pair" in found.sentence


def test_too_little_to_compare(tmp_path: Path) -> None:
    alone = ledger_with(tmp_path / "alone", [(MAE, 1, 0.9), (CROSS_ENTROPY, 2, 0.8)])
    few = ledger_with(tmp_path / "few", [row for row in PAIRED if row[1] < 4])
    failed = ledger_with(tmp_path / "failed", [(MAE, 1, None)])
    first, second, third = gather(loss("mae"), [alone, few, failed])
    assert first.measured[0].difference is None
    assert first.measured[0].baseline == 0.8
    assert "accuracy 90.00%; too few seeds in common" in first.sentence
    assert "too few seeds to tell it from cross-entropy" in second.sentence
    assert "it did not train" in third.sentence


def test_no_evidence_of_a_difference(tmp_path: Path) -> None:
    base = dict(enumerate(SCORES))
    rows = [(r, s, base[s] + (0.01 if s % 2 else -0.01) if r is MAE else v) for r, s, v in PAIRED]
    (found,) = gather(loss("mae"), [ledger_with(tmp_path / "run", rows)])
    assert "there is no evidence that it differs from cross-entropy" in found.sentence


def test_tasks_and_splits_are_kept_apart(tmp_path: Path) -> None:
    ledger_with(tmp_path / "run", PAIRED)
    ledger_with(tmp_path / "run", PAIRED[:10], split="validation")
    directory = ledger_with(tmp_path / "run", PAIRED, task="b" * 16)
    found = gather(loss("mae"), [directory])
    assert [(each.task, each.split, each.pairs) for each in found] == [
        ("task a", "test", 8),
        ("task a", "validation", 2),
        ("task b", "test", 8),
    ]


def test_cross_entropy_is_not_compared_with_itself(tmp_path: Path) -> None:
    (found,) = gather(loss("cross_entropy"), [ledger_with(tmp_path / "run", PAIRED)])
    assert found.measured[0].difference is None
    assert found.measured[0].mean == found.measured[0].baseline
    assert found.sentence.endswith("8 seeds: accuracy 96.00%.")


def test_a_search_may_have_picked_its_loss(finished: Path) -> None:
    with Ledger.read(finished) as ledger:
        before = [row for row in ledger.evaluations() if not row.key.loss.startswith("zoo:") and row.score is not None]
        picked = ledger.loss(before[-1].key.loss)
    found = gather(loss(Expression.from_text(picked.formula), flip=bool(picked.flip)), [finished])
    assert found
    assert all(each.searched and "flatters it" in each.sentence for each in found)


def test_a_directory_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        gather(loss("mae"), [tmp_path])


# -- the view ----------------------------------------------------------------------------------------------------------


def test_the_best_loss_of_a_run_comes_with_its_provenance_and_evidence(tmp_path: Path) -> None:
    directory = make_run(tmp_path / "run", config())
    with Ledger.read(directory) as ledger:
        row = next(row for row in ledger.evaluations() if row.score is not None)
        best = ledger.loss(row.key.loss)
    content = Expression.from_text(best.formula).to_json(flip=best.flip, provenance={"run": "smoke", "task": "t"})
    with pytest.raises(RunError, match=r"holds no best\.json; let its search go on"):
        card_view(str(directory), classes=SMALL)
    (directory / "best.json").write_text(content, encoding="utf-8")
    of_run, of_file = (card_view(str(place), classes=SMALL) for place in (directory, directory / "best.json"))
    assert of_run.card.provenance == of_file.card.provenance == (("run", "smoke"), ("task", "t"))
    assert of_run.evidence
    assert (of_file.evidence, of_file.sought) == ((), ())
    assert json.loads(content)["key"] == of_run.card.key
    assert "run smoke" in flat(shown(of_run))
    with pytest.raises(RunError, match="name a loss, or a run"):
        card_view(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [("nosuch", "unknown loss 'nosuch'"), ("yhat + 1", "does not read y"), ("y * log(", "the formula ends")],
)
def test_a_text_that_names_no_loss(text: str, problem: str) -> None:
    with pytest.raises(LossmithError, match=problem):
        card_view(text)


@pytest.mark.parametrize("name", ["focal", "bi_tempered", "log(yhat) * y"])
def test_the_python_line_makes_the_loss(name: str) -> None:
    line = card_view(name, classes=(2,)).python
    again = re.fullmatch(r'lossmith\.loss\("(.*?)"(?:, flip=(True|False))?\)', line)
    assert again is not None
    made = loss(again[1], flip=None if again[2] is None else again[2] == "True")
    assert (made.expression, made.flip) == (loss(name).expression, loss(name).flip)


def test_parameters_that_python_cannot_be_told() -> None:
    assert card_view(loss("bi_tempered", t1=0.9), classes=(2,)).python == ""
    assert "label_smoothing=0.1)" in card_view(loss("mae", label_smoothing=0.1), classes=(2,)).python


# -- the terminal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cross_entropy", "baikal", "taylorglo", "normalised_cross_entropy", "nce_rce"])
def test_a_card_fits_eighty_columns(name: str, tmp_path: Path) -> None:
    directory = ledger_with(tmp_path / "run", PAIRED)
    view = card_view(name, evidence=[directory])
    text = shown(view)
    assert all(len(line) <= 80 for line in text.splitlines())
    for part in (*view.card.warnings, *view.card.findings, ZOO[name].note, ZOO[name].reference):
        assert flat(part) in flat(text)
    assert "…" not in text
    assert "SGD rate" in text
    if name != "cross_entropy":
        assert "No evaluation of this loss in" in flat(text)


def test_baikal_on_the_terminal() -> None:
    text = shown(card_view("baikal"))
    assert "! A poor idea for 100 and 1,000 classes" in text
    assert re.search(r"^ +100 +0\.10 +1 +falls +x 0\.01 +2\.51e6 *$", text, re.MULTILINE)
    assert "cross-entropy" in text


def test_evidence_on_the_terminal(tmp_path: Path) -> None:
    text = shown(card_view("mae", classes=SMALL, evidence=[ledger_with(tmp_path / "run", PAIRED)]), 100)
    assert "evidence that it is better than cross-entropy" in flat(text)
    assert re.search(r"accuracy, % +97\.25 +96\.00 +\+1\.25 +\+0\.84 to \+1\.66", text)
    assert re.search(r"NLL, nats +1\.0275 +1\.0400 +-0\.0125", text)


def test_a_terminal_of_ascii_alone() -> None:
    assert "A poor idea" in shown(card_view("baikal"), ascii_only=True)


# -- the page ----------------------------------------------------------------------------------------------------------


def page_of(view: CardView, directory: Path) -> Page:
    return Page(write_card(view, directory / "card.html"))


@pytest.mark.parametrize("name", ["cross_entropy", "baikal", "nce_rce"])
def test_a_page_loads_nothing_and_is_well_formed(name: str, tmp_path: Path) -> None:
    view = card_view(name, evidence=[ledger_with(tmp_path / "run", PAIRED)])
    made = page_of(view, tmp_path)
    assert len(made.source) < 150_000
    assert "<script" not in made.source
    for tag, attribute, value in made.attributes:
        if attribute in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert value.startswith("#"), (tag, attribute, value)
        assert not attribute.startswith("on")
    assert "url(" not in made.source
    assert "@import" not in made.source
    assert "default-src 'none'" in made.source
    ids = [value for _, attribute, value in made.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))
    assert not set(re.findall(r"NaN|\bnan\b|\binf\b", made.source))


def test_the_page_says_what_the_card_says(tmp_path: Path) -> None:
    view = card_view("baikal", evidence=[ledger_with(tmp_path / "run", [(zoo_row("baikal"), 1, 0.9)])])
    made = page_of(view, tmp_path)
    for sentence in (*view.card.warnings, *view.card.findings):
        assert typeset(sentence) in made.source
    assert made.tables[0][0][0] == "Classes K"
    assert [row[0] for row in made.tables[0][1:]] == ["2", "10", "100", "1,000"]
    assert [row[1] for row in made.tables[0][1:]] == ["0.71", "0.32", "0.10", "0.032"]
    assert "accuracy 90.00%" in made.text
    assert ZOO["baikal"].note in made.text
    assert made.source.count('<svg viewBox="0 0 340 230"') == 6
    assert 'lossmith.loss("baikal")' in made.text


def test_names_and_formulas_are_never_markup(tmp_path: Path) -> None:
    content = json.loads(Expression.from_text("-y*log(yhat)").to_json())
    content["provenance"] = {HOSTILE: HOSTILE}
    (tmp_path / "best.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / HOSTILE.replace("/", "")).mkdir()
    run = ledger_with(tmp_path / HOSTILE.replace("/", "") / "run", PAIRED)
    made = page_of(card_view(str(tmp_path / "best.json"), classes=SMALL, evidence=[run]), tmp_path)
    assert "<script" not in made.source
    assert HOSTILE in made.text


def test_a_page_of_a_broken_loss(tmp_path: Path) -> None:
    made = page_of(card_view(loss("yhat * log(y - 2)", flip=False), classes=SMALL), tmp_path)
    assert "Cannot begin to learn" in made.text
    assert "finite nowhere" in made.text


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write"):
        write_card(card_view("mae", classes=(2,)), tmp_path / "none" / "card.html")


def test_the_same_page_every_time() -> None:
    assert page(card_view("ngl", classes=SMALL)) == page(card_view("ngl", classes=SMALL))


# -- figures and texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("p_t -> 0, like 1 ln(1/p_t)", "<i>p<sub>t</sub></i> → 0, like 1 ln(1/<i>p<sub>t</sub></i>)"),
        ("3.54e6 and 1e-8", "3.54·10<sup>6</sup> and 10<sup>&minus;8</sup>"),
        ("x 0.10", "&times; 0.10"),
        ("a < b & max x 3e5x", "a &lt; b &amp; max &times; 3e5x"),
    ],
)
def test_mathematics_in_html(plain: str, written: str) -> None:
    assert typeset(plain) == written


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.3, 5.2, [0, 2, 4]),
        (-1.1, 1.1, [-1, -0.5, 0, 0.5, 1]),
        (100, 1100, [200, 400, 600, 800, 1000]),
        (-3e-9, 3e-9, [-2e-9, 0, 2e-9]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_the_range_of_a_plot_leaves_poles_out() -> None:
    low, high = value_range([[1e300, *[x / 100 for x in range(100)], float("nan")]])
    assert -0.1 < low <= 0.02
    assert 0.95 <= high < 1.2
    assert value_range([[float("nan")]]) == (0, 1)
    low, high = value_range([[3.0] * 5])
    assert low < 3 < high


def test_a_gap_breaks_a_line_and_a_pole_is_cut_off() -> None:
    x = [0, 0.25, 0.5, 0.75, 1]
    plot = line_plot("x", [Series(x, [0, float("nan"), 1, 1e300, float("inf")], "own", "this")], "p", "")
    (path,) = re.findall(r'd="(M[^"]*)" class="curve own"', plot)
    assert path.count("M") == 2
    assert "e+" not in path
    assert "inf" not in plot
