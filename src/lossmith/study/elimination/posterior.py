"""What scores with shared seeds say of the losses' levels: how probable each is to be among the best.

The model: score = level of the loss + effect of the seed + noise. The seeds are shared, so their effects cancel. The
noise has its own variance for each loss, moderated towards the losses' common one (Smyth, Statistical Applications in
Genetics and Molecular Biology 3, 2004). The levels are Student's t with 2 degrees of freedom around a common centre,
since some losses are much worse than the rest. Their spread has a half-Cauchy prior (Gelman, Bayesian Analysis 1,
2006); spread and centre are integrated out, so where losses hardly differ, their levels are drawn together and nothing
is decided early. With a normal distribution a few bad losses make the others look further apart than they are: in
simulation, up to 10% of the races then dropped one of the best where 5% were stated.

Decisions by the posterior of being among the best: Russo, arXiv 1602.08448; as a compound decision: Gu and Koenker,
Econometrica 91, 2023.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, polygamma

DRAWS = 20_000  # from the posterior
_SPREADS, _CENTRES = 24, 20  # values of the levels' spread and centre
_AT_ONCE = 200_000  # draws of levels, to bound the memory
_LEAST_SHARE = 0.01  # of the mean variance: the least that a loss is taken to have
_TAILS = 1 / -np.log1p(-(np.arange(8) + 0.5) / 8)  # equally probable values of 1 / Exp(1): Student's t with 2 degrees
_SCALE = 3.0  # of the half-Cauchy prior of the levels' spread, in standard errors of a level

Array = npt.NDArray[np.float64]


def levels(scores: Array) -> Array:
    """The level of each loss, less the effects of the seeds, by least squares; in the unit of the scores.

    Where all have the same seeds these are the means. They are comparable where losses have different numbers of seeds,
    too, as means are not: some seeds are kinder than others.

    Args:
        scores: [N, S]; NaN where there is none. A loss without any score has the level -inf.
    """
    there = np.isfinite(scores)
    counts = there.sum(axis=1)
    values = np.where(there, scores, 0.0)
    known = counts > 0
    means = values.sum(axis=1) / np.maximum(counts, 1)
    weights = there / np.maximum(counts, 1)[:, None]
    normal = np.diag(there.sum(axis=0).astype(float)) - there.T.astype(float) @ weights
    effects = np.linalg.lstsq(normal, np.where(there, scores - means[:, None], 0.0).sum(axis=0), rcond=1e-10)[0]
    return np.where(known, means - weights @ effects, -np.inf)


def probability_among_best(scores: Array, keep: int, *, draws: int = DRAWS) -> Array:
    """How probable it is, for each loss, that its level is among the `keep` highest.

    Args:
        scores: [N, S], NaN where there is none; each row has two or more, N > `keep`.
        draws: from the posterior; always the same ones.

    Returns:
        float64 [N] in (0, 1): never 0 or 1, which so many draws could not tell from little.
    """
    count = len(scores)
    there = np.isfinite(scores)
    trained = there.sum(axis=1)
    level = levels(scores)
    level -= level.mean()
    own, freedom, common, prior = _variances(scores, level)
    rng = np.random.default_rng(0)
    squares = (prior * common + freedom * own) / rng.chisquare(prior + freedom, (draws, count)) / trained
    variance, centre = _populations(level, (prior * common + freedom * own) / (prior + freedom) / trained, rng, draws)
    share = variance / (variance + squares)  # of the distance to the centre that is kept
    drawn = centre + share * (level - centre) + np.sqrt(share * squares) * rng.standard_normal((draws, count))
    best = np.argpartition(-drawn, keep - 1, axis=1)[:, :keep]
    return (np.bincount(best.ravel(), minlength=count) + 0.5) / (draws + 1)


def _variances(scores: Array, level: Array) -> tuple[Array, Array, float, float]:
    """The noise: each loss's own variance, its degrees of freedom; the common variance, the freedom that it counts."""
    there = np.isfinite(scores)
    centred = scores - level[:, None]
    effects = np.where(there, centred, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    residuals = np.where(there, centred - effects, 0.0)
    # the residuals of a two-way table have (N - 1) (S - 1) degrees of freedom: each loss's share of them
    freedom = (there.sum(axis=1) - 1) * (len(scores) - 1) / len(scores)
    own = np.square(residuals).sum(axis=1) / freedom
    mean = float((own * freedom).sum() / freedom.sum())
    own = np.maximum(own, max(_LEAST_SHARE * mean, 1e-20))  # scores are counts of images: some agree by chance
    logs = np.log(own) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, freedom / 2).mean())
    # a common variance is known no better than all residuals together tell
    most = float(freedom.sum())
    prior = min(most, 2 * _inverse_trigamma(excess)) if excess > 0 else most
    if prior == most:
        return own, freedom, max(mean, 1e-20), prior
    return own, freedom, float(np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2))), prior


def _populations(level: Array, error: Array, rng: np.random.Generator, draws: int) -> tuple[Array, Array]:
    """Draws of what the levels come from, given their estimates and the squares of their standard errors.

    Returns:
        The variance of each loss's level around the centre, [draws, N], and the centre, [draws, 1].
    """
    unit = float(np.sqrt(np.median(error)))
    spreads = np.geomspace(0.05 * unit, max(30 * unit, 3 * float(np.abs(level).max())), _SPREADS)
    centres = np.linspace(level.min() - unit, level.max() + unit, _CENTRES)
    variances = spreads[:, None] ** 2 * _TAILS  # [S, T]
    total = variances[:, None] + error[:, None]  # [S, N, T]
    far = np.square(level - centres[:, None])[None, :, :, None]  # [1, C, N, 1]
    density = np.exp(-0.5 * far / total[:, None]) / np.sqrt(total[:, None])  # [S, C, N, T]
    logs = np.log(density.sum(axis=3) + 1e-300).sum(axis=2)
    # times the half-Cauchy density; the spread itself for its logarithmic steps
    logs += (np.log(spreads) - np.log1p((spreads / (_SCALE * unit)) ** 2))[:, None]
    chance = np.exp(logs - logs.max()).ravel()
    cells = rng.choice(len(chance), draws, p=chance / chance.sum())
    chosen = np.empty((draws, len(level)))
    weights = np.cumsum(density.reshape(-1, *density.shape[2:]) + 1e-300, axis=2)  # [S * C, N, T]
    step = max(1, _AT_ONCE // len(level))
    for first in range(0, draws, step):
        some = cells[first : first + step]
        known = weights[some]
        drawn = rng.random(known.shape[:2]) * known[:, :, -1]
        tail = (drawn[:, :, None] > known[:, :, :-1]).sum(axis=2)
        chosen[first : first + step] = variances[some[:, None] // _CENTRES, tail]
    return chosen, centres[cells % _CENTRES][:, None]


def _inverse_trigamma(value: float) -> float:
    """The x > 0 with trigamma(x) = `value`, by Newton's steps (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x
