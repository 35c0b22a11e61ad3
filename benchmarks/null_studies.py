"""How often the statistics of a study are wrong, and what they find, in simulated studies.

    python benchmarks/null_studies.py [--studies 1000]

Prints the tables of docs/evidence.md, in about ten minutes on one core. A simulated study has cells (a data set each),
losses and paired seeds; a score is the share of 1,000 test images that are right, with what the seed does to every
loss of a cell and what it does to each (standard deviation 0.6 points together, correlation 0.8). All the verdicts are
from `lossmith.study.analysis.analyse`, as in a real study.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lossmith.study.analysis import SIGNIFICANCE, Analysis, CellScores, analyse
from lossmith.study.statistics import (
    attainable,
    bca_interval,
    differences,
    equivalence,
    minimum_detectable_effect,
    pairs_needed,
    power,
    sign_flip,
)

BASELINE = "baseline"
Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Mean 0, variance 1, skewness -2: now and then a training that goes badly."""
    return 1 - rng.exponential(size=shape)


@dataclass(frozen=True, slots=True)
class Form:
    """What is simulated."""

    losses: int = 5  # beside the baseline
    cells: int = 4
    seeds: int = 20
    sd: float = 0.006  # of a score over seeds
    correlation: float = 0.8  # of paired scores
    images: int = 1000  # 0: scores are not rounded to whole images
    noise: Noise = normal  # of the candidates' own part
    spread: float = 1.0  # of the candidates' own part, against the baseline's

    @property
    def difference_sd(self) -> float:
        """Of a paired difference."""
        return self.sd * math.sqrt((1 - self.correlation) * (1 + self.spread**2))


def study(form: Form, rng: np.random.Generator, gains: Sequence[float] = ()) -> list[CellScores]:
    """The scores of one study; the first losses are better than the baseline by `gains` in every cell."""
    keys = [BASELINE, *(f"loss {number + 1}" for number in range(form.losses))]
    means = np.array([0.0, *gains, *[0.0] * (form.losses - len(gains))])
    cells = []
    for cell in range(form.cells):
        shared = math.sqrt(form.correlation) * rng.normal(size=form.seeds)
        own = np.concatenate(
            [normal(rng, (1, form.seeds)), form.spread * form.noise(rng, (form.losses, form.seeds))]
        ) * math.sqrt(1 - form.correlation)
        # the cell's own level, so that means do not all lie on whole images alike
        scores = 0.9 + rng.uniform(-0.05, 0.05) + means[:, None] + form.sd * (shared + own)
        if form.images:
            scores = np.round(scores * form.images) / form.images
        by_key = dict(zip(keys, scores.tolist(), strict=True))
        cells.append(CellScores(f"cell {cell + 1}", f"data {cell + 1}", by_key))
    return cells


def analysed(form: Form, rng: np.random.Generator, gains: Sequence[float] = ()) -> Analysis:
    cells = study(form, rng, gains)
    return analyse(cells, list(cells[0].scores), BASELINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    print("| found with 80% power: pairs | 1 comparison | 4 | 20 |")
    print("| --- | --- | --- | --- |")
    for n in (6, 10, 20, 40, 64):
        print(f"| {n} | {' | '.join(_detectable(n, comparisons) for comparisons in (1, 4, 20))} |")
    print()
    print("| null studies: losses x cells x seeds | any 'better' or 'worse' | Friedman p < 5% |")
    print("| --- | --- | --- |")
    for name, form in {
        "5 x 4 x 20": Form(),
        "7 x 4 x 20": Form(losses=7),
        "5 x 1 x 10": Form(cells=1, seeds=10),
        "5 x 4 x 12": Form(seeds=12),
        "3 x 8 x 40 (random patterns)": Form(losses=3, cells=8, seeds=40),
        "5 x 4 x 20, correlation 0": Form(correlation=0.0),
        "5 x 4 x 20, 10,000 images, SD 0.2 points": Form(images=10_000, sd=0.002),
        "5 x 4 x 20, candidates with twice the noise": Form(spread=2.0),
        "5 x 4 x 20, candidates' noise skewed": Form(noise=skewed),
    }.items():
        print(f"| {name} | {_null(form, studies)} |", flush=True)
    print()
    print("| planted in 5 x 4 x 20: loss 1 gains | found in a cell | by theory | in every cell | any other found |")
    print("| --- | --- | --- | --- | --- |")
    for gain in (0.001, 0.002, 0.003, 0.004, 0.005):
        print(f"| {100 * gain:.1f} points | {_planted(Form(), gain, studies)} |", flush=True)
    print()
    print("| one comparison: pairs | effect (SD) | sign-flip finds | paired t at the level attained | at 5% |")
    print("| --- | --- | --- | --- | --- |")
    for n in (6, 10, 20, 40):
        for effect in (0.5, 1.0, 1.5):
            print(f"| {n} | {effect} | {_power(n, effect, studies)} |", flush=True)
    print()
    print("| equivalence: pairs | difference at the margin: called equivalent | difference 0: called equivalent |")
    print("| --- | --- | --- |")
    for n in (2, 3, 5, 10, 20, 40):
        print(f"| {n} | {_equivalence(n, 0.001, 10 * studies)} | {_equivalence(n, 0.0, 10 * studies)} |", flush=True)
    print()
    print("| 95% intervals: pairs | BCa covers the mean | Student's t | BCa, skewed | Student's t, skewed |")
    print("| --- | --- | --- | --- | --- |")
    for n in (3, 5, 10, 20, 40):
        print(f"| {n} | {_coverage(n, normal, 4 * studies)} | {_coverage(n, skewed, 4 * studies)} |", flush=True)


def share(hits: int, of: int) -> str:
    """A share with its 95% Wilson interval."""
    interval = stats.binomtest(hits, of).proportion_ci(method="wilson")
    return f"{hits / of:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _detectable(n: int, comparisons: int) -> str:
    if n < pairs_needed(comparisons):
        return "-"
    return f"{minimum_detectable_effect(n, significance=attainable(n, SIGNIFICANCE / comparisons)):.2f}"


def _null(form: Form, studies: int) -> str:
    rng = np.random.default_rng(0)
    wrong = friedman = 0
    for _ in range(studies):
        analysis = analysed(form, rng)
        wrong += any(found.verdict in {"better", "worse"} for found in analysis.differences)
        friedman += analysis.friedman is not None and analysis.friedman < SIGNIFICANCE
    return f"{share(wrong, studies)} | {share(friedman, studies) if form.cells > 1 else '-'}"


def _planted(form: Form, gain: float, studies: int) -> str:
    rng = np.random.default_rng(0)
    cells = every = others = 0
    for _ in range(studies):
        differences = analysed(form, rng, [gain]).differences
        found = [d.verdict == "better" for d in differences if d.loss == "loss 1"]
        cells += sum(found)
        every += all(found)
        others += any(d.verdict in {"better", "worse"} for d in differences if d.loss != "loss 1")
    family = form.losses * form.cells
    # rounding to whole images adds a variance of 1/12 to each score
    sd = math.hypot(form.difference_sd, math.sqrt(1 / 6) / form.images)
    theory = power(gain / sd, form.seeds, significance=SIGNIFICANCE / family)
    of_cells = studies * form.cells
    return f"{cells / of_cells:.1%} | {theory:.1%} | {share(every, studies)} | {share(others, studies)}"


def _power(n: int, effect: float, studies: int) -> str:
    rng = np.random.default_rng(0)
    hits = sum(sign_flip(rng.normal(effect, 1, n), seed=0) < SIGNIFICANCE for _ in range(studies))
    return f"{share(hits, studies)} | {power(effect, n, significance=attainable(n)):.1%} | {power(effect, n):.1%}"


def _equivalence(n: int, difference: float, trials: int) -> str:
    """With the paired scores of `Form`, but less noise, so that something is equivalent at all."""
    rng = np.random.default_rng(0)
    form = Form(losses=1, cells=1, seeds=n, sd=0.002)
    hits = 0
    for _ in range(trials):
        (cell,) = study(form, rng, [difference])
        paired = differences(*(np.array(cell.scores[key], float) for key in ("loss 1", BASELINE)))
        hits += equivalence(paired, 0.001) < SIGNIFICANCE
    return share(hits, trials)


def _coverage(n: int, noise: Noise, trials: int) -> str:
    rows = noise(np.random.default_rng(0), (trials, n))
    low, high = bca_interval(rows, seed=0)
    student = stats.t.interval(0.95, n - 1, rows.mean(axis=1), stats.sem(rows, axis=1))
    bca, t = (np.mean((bounds[0] <= 0) & (bounds[1] >= 0)) for bounds in ((low, high), student))
    return f"{bca:.1%} | {t:.1%}"


if __name__ == "__main__":
    main()
