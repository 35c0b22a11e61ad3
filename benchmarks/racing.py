"""Races compared: how often each drops a loss that is truly among the best, and how many trainings it saves.

    python benchmarks/racing.py [--trials N] [--shapes 24-8-6,...] [--every]
    python benchmarks/racing.py --recorded [--trials N]

A shape is losses-keep-seeds. Scores are simulated: level of the loss + effect of the seed + noise, in units of the
noise. The seeds are shared; the noise has heavy tails, differs from loss to loss, and is rounded to the grain of a few
hundred validation images. Each kind of levels is a population (`POPULATIONS`).

error    share of the trials in which a loss that is truly among the best was dropped before its last seed
used     trainings, as a share of those of all seeds for all losses
regret   mean level of the truly best minus that of the losses kept, in units of the noise
saving   trainings saved against as many fixed seeds as have the same regret (interpolated)

`--recorded` draws from scores that were measured: 24 losses of a search on digits, 12 seeds, two tasks
(`benchmarks/data/racing.json`). There the truth is the mean over all 12 seeds.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from lossmith.study.elimination.racing import Race

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Look = Callable[[Array, int], tuple[Mask, Mask]]  # scores [n, r] of the undecided, room -> whom to drop, whom to keep

RECORD = Path(__file__).parent / "data" / "racing.json"
ERROR = 0.05
ERRORS = (ERROR, 0.2)  # of the posterior race
DRAWS = 2_000
SHAPES = ((24, 8, 6), (24, 8, 12), (8, 4, 6), (100, 25, 6))


# -- what is simulated -------------------------------------------------------------------------------------------------


def _slippage(n: int, keep: int) -> Array:
    return np.where(np.arange(n) < keep, 2.0, 0.0)


def _bad(n: int, rng: np.random.Generator) -> Array:
    return 0.5 * rng.standard_normal(n) - 6.0 * (rng.random(n) < 0.33)


POPULATIONS: dict[str, Callable[[int, int, np.random.Generator], Array]] = {
    "equal": lambda n, keep, rng: np.zeros(n),
    "normal, SD 0.5": lambda n, keep, rng: 0.5 * rng.standard_normal(n),
    "normal, SD 1": lambda n, keep, rng: rng.standard_normal(n),
    "normal, SD 2": lambda n, keep, rng: 2.0 * rng.standard_normal(n),
    "skewed": lambda n, keep, rng: -1.5 * rng.exponential(1.0, n),
    "a third bad": lambda n, keep, rng: _bad(n, rng),
    "two levels": lambda n, keep, rng: _slippage(n, keep),
}


def scores_of(level: Array, seeds: int, rng: np.random.Generator) -> Array:
    """[N, seeds]."""
    n = len(level)
    own = np.exp(0.4 * rng.standard_normal(n) - 0.08)[:, None]
    noise = own * rng.standard_t(5, (n, seeds)) / math.sqrt(5 / 3)
    return np.round((level[:, None] + 3.0 * rng.standard_normal(seeds) + noise) / 0.7) * 0.7


# -- the races ---------------------------------------------------------------------------------------------------------


def _significant(scores: Array, critical: float) -> Mask:
    """[i, j]: loss i is better than loss j by a paired t test."""
    pairs = scores[:, None] - scores[None]
    error = pairs.std(axis=2, ddof=1) / math.sqrt(scores.shape[1])
    return pairs.mean(axis=2) > critical * np.maximum(error, 1e-9)


def paired_t(n: int, keep: int, seeds: int) -> Look:
    """Paired t tests of all pairs, Bonferroni over pairs and looks (as in Hoeffding races, Maron and Moore 1994)."""

    def look(scores: Array, room: int) -> tuple[Mask, Mask]:
        share = ERROR / (seeds - 2) / (keep * (n - keep))
        better = _significant(scores, float(stats.t.isf(share, scores.shape[1] - 1)))
        return better.sum(axis=0) >= room, better.sum(axis=1) >= len(scores) - room

    return look


@functools.cache
def _range_quantile(error: float, losses: int, freedom: int) -> float:
    return float(stats.studentized_range.isf(error, losses, freedom))


def pooled_range(n: int, keep: int, seeds: int) -> Look:
    """Tukey's studentized range with the variance of all losses together; the error is shared out over the looks."""

    def look(scores: Array, room: int) -> tuple[Mask, Mask]:
        left, given = scores.shape
        freedom = 1 << int(math.log2((left - 1) * (given - 1)))  # rounded down: the quantile takes long
        critical = _range_quantile(ERROR / (seeds - 2), n, freedom)
        mean = scores.mean(axis=1)
        residuals = scores - scores.mean(axis=0) - mean[:, None] + mean.mean()
        error = math.sqrt(float((residuals**2).sum()) / ((left - 1) * (given - 1)) / given)
        better = mean[:, None] - mean[None] > critical * error
        return better.sum(axis=0) >= room, better.sum(axis=1) >= left - room

    return look


def friedman(n: int, keep: int, seeds: int) -> Look:
    """F-race (Birattari et al. 2002): Friedman's test, then Conover's against the loss at the cut, at each look."""

    def look(scores: Array, room: int) -> tuple[Mask, Mask]:
        left, given = scores.shape
        nobody = np.zeros(left, bool)
        ranks = stats.rankdata(scores, axis=0)
        sums = ranks.sum(axis=1)
        spread = float((ranks**2).sum()) - given * left * (left + 1) ** 2 / 4
        if left < 3 or spread <= 0:
            return nobody, nobody
        statistic = (left - 1) * float(((sums - given * (left + 1) / 2) ** 2).sum()) / spread
        if stats.chi2.sf(statistic, left - 1) > ERROR:
            return nobody, nobody
        freedom = (given - 1) * (left - 1)
        variance = 2 * given * (1 - statistic / (given * (left - 1))) * spread / freedom
        far = float(stats.t.isf(ERROR / 2, freedom)) * math.sqrt(max(variance, 1e-12))
        order = np.sort(sums)[::-1]
        return order[room - 1] - sums > far, sums - order[room] > far

    return look


Outcome = tuple[list[int], int, list[int]]  # kept, trainings, dropped before the last seed


def race(scores: Array, keep: int, look: Look) -> Outcome:
    n, seeds = scores.shape
    left, kept, early, used, given = np.arange(n), [], [], 2 * n, 2
    for given in range(2, seeds + 1):
        if given > 2:
            used += len(left)
        if given == seeds:
            break
        drop, accept = look(scores[left, :given], keep - len(kept))
        early += left[drop].tolist()
        kept += left[accept & ~drop].tolist()
        left = left[~(drop | accept)]
        if len(kept) >= keep or len(kept) + len(left) <= keep:
            break
    order = left[np.argsort(-scores[left, :given].mean(axis=1), kind="stable")]
    room = max(0, keep - len(kept))
    if given < seeds:
        early += order[room:].tolist()
    return kept + order[:room].tolist(), used, early


def posterior(scores: Array, keep: int, error: float) -> Outcome:
    """Lossmith's own race."""
    n, seeds = scores.shape
    names = [str(place) for place in range(n)]
    own = Race(names, keep, seeds=seeds, error=error, draws=DRAWS)
    used = 0
    while wanted := own.ask():
        used += len(wanted)
        own.tell({(name, seed): float(scores[int(name), seed]) for name, seed in wanted})
    kept = [int(name) for name, decision in own.decisions.items() if decision.kept]
    early = [int(name) for name, decision in own.decisions.items() if decision.early and not decision.kept]
    return kept, used, early


def halving(scores: Array, keep: int) -> Outcome:
    """Sequential halving (Karnin et al. 2013) down to `keep`, with half of the trainings; it states no error rate."""
    n, seeds = scores.shape
    left, given, used, early = np.arange(n), 0, 0, []
    rounds = max(1, math.ceil(math.log2(n / keep)))
    for number in range(rounds):
        more = min(seeds - given, max(1, int(n * seeds / 2 / (len(left) * rounds))))
        given, used = given + more, used + more * len(left)
        size = keep if number == rounds - 1 else max(keep, math.ceil(len(left) / 2))
        order = left[np.argsort(-scores[left, :given].mean(axis=1), kind="stable")]
        left = order[:size]
        early += order[size:].tolist() if given < seeds else []
    return left.tolist(), used, early


def fixed(scores: Array, keep: int, seeds: int) -> Outcome:
    order = np.argsort(-scores[:, :seeds].mean(axis=1), kind="stable")
    return order[:keep].tolist(), len(scores) * seeds, []


# -- the comparison ----------------------------------------------------------------------------------------------------

Trial = tuple[Array, Array]  # levels [N], scores [N, S]


def simulated(shape: tuple[int, int, int], population: str, trials: int) -> Iterator[Trial]:
    n, keep, seeds = shape
    for trial in range(trials):
        rng = np.random.default_rng([*shape, list(POPULATIONS).index(population), trial])
        level = POPULATIONS[population](n, keep, rng)
        yield level, scores_of(level, seeds, rng)


def recorded(table: Array, seeds: int, trials: int) -> Iterator[Trial]:
    """Other choices of the seeds, in other orders; the unit is the noise."""
    residuals = table - table.mean(axis=0) - table.mean(axis=1)[:, None] + table.mean()
    unit = math.sqrt(float((residuals**2).sum()) / (table.shape[0] - 1) / (table.shape[1] - 1))
    for trial in range(trials):
        chosen = np.random.default_rng(trial).permutation(table.shape[1])[:seeds]
        yield table.mean(axis=1) / unit, table[:, chosen] / unit


def compare(trials: Iterator[Trial], keep: int) -> dict[str, Array]:
    """By race: its error, its share of the trainings, its regret; means over the trials, [3]."""
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    looks: dict[str, Look] = {}
    for level, scores in trials:
        n, seeds = scores.shape
        looks = looks or {name: make(n, keep, seeds) for name, make in LOOKS.items()}
        best = set(np.flatnonzero((level[None] >= level[:, None]).sum(axis=1) <= keep).tolist())  # beyond doubt
        mean = float(np.sort(level)[::-1][:keep].mean())
        outcomes = {f"{count} seeds": fixed(scores, keep, count) for count in range(1, seeds + 1)}
        outcomes |= {name: race(scores, keep, look) for name, look in looks.items()}
        outcomes |= {f"posterior {error}": posterior(scores, keep, error) for error in ERRORS}
        outcomes["halving"] = halving(scores, keep)
        for name, (kept, used, early) in outcomes.items():
            wrong = any(place in best for place in early)
            found[name].append((wrong, used / (n * seeds), mean - float(level[kept].mean())))
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}


LOOKS: dict[str, Callable[[int, int, int], Look]] = {
    "paired t": paired_t,
    "pooled range": pooled_range,
    "F-race": friedman,
}
RACES = (*LOOKS, *(f"posterior {error}" for error in ERRORS), "halving")


def saving(result: dict[str, Array], name: str, seeds: int) -> float | None:
    """Against the fixed number of seeds that has the same regret; None where all losses are equally good."""
    regrets = [float(result[f"{count} seeds"][2]) for count in range(1, seeds + 1)]
    wanted, used = float(result[name][2]), float(result[name][1])
    if max(regrets) == 0:
        return None
    falling = np.minimum.accumulate(regrets)
    equal = float(np.interp(-wanted, -falling, np.arange(1, seeds + 1)))
    return 1 - used * seeds / equal


def lines(title: str, results: list[dict[str, Array]], seeds: int) -> None:
    print(f"{title}\n  {'race':14s} {'error':>7s} {'worst':>7s} {'used':>6s} {'regret':>7s} {'saving':>7s}")
    full = np.mean([result[f"{seeds} seeds"] for result in results], axis=0)
    print(f"  {'all seeds':14s} {'-':>7s} {'-':>7s} {full[1]:6.0%} {full[2]:7.3f} {'-':>7s}")
    for name in RACES:
        rows = np.array([result[name] for result in results])
        savings = [found for result in results if (found := saving(result, name, seeds)) is not None]
        error, used, regret = rows.mean(axis=0)
        gained = f"{sum(savings) / len(savings):7.0%}" if savings else f"{'-':>7s}"
        print(f"  {name:14s} {error:7.1%} {rows[:, 0].max():7.1%} {used:6.0%} {regret:7.3f} {gained}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--shapes", default=",".join("-".join(map(str, shape)) for shape in SHAPES))
    parser.add_argument("--every", action="store_true", help="a table for each population")
    parser.add_argument("--recorded", action="store_true")
    options = parser.parse_args()
    if options.recorded:
        content = json.loads(RECORD.read_text(encoding="utf-8"))
        for task, record in content["tasks"].items():
            table = np.array(record["scores"])
            for keep, seeds in ((8, 3), (8, 6), (4, 6), (8, 12)):
                result = compare(recorded(table, seeds, options.trials), keep)
                lines(f"{task}: {len(table)} losses, keep {keep}, {seeds} seeds", [result], seeds)
        return
    for text in options.shapes.split(","):
        n, keep, seeds = map(int, text.split("-"))
        results = {name: compare(simulated((n, keep, seeds), name, options.trials), keep) for name in POPULATIONS}
        for name in POPULATIONS if options.every else ():
            lines(f"{n} losses, keep {keep}, {seeds} seeds, {name}", [results[name]], seeds)
        lines(f"{n} losses, keep {keep}, {seeds} seeds, {len(results)} populations", list(results.values()), seeds)


if __name__ == "__main__":
    main()
