"""A race: seeds are given to the losses that are still undecided, until it is clear which are the best `keep`.

After each round a hierarchical model says, of every loss, how probable it is that its true level (its mean score over
all seeds) is among the `keep` highest. A loss with next to no chance is dropped, one that is all but certain is kept,
and neither is trained further. Every early decision is charged with the probability that it is wrong, and all charges
of a race together stay below `error`. Posterior probabilities are averages over what the later seeds may bring, so the
sum holds whenever one stops to look, and no correction for the number of looks is needed: as far as the model is
right, `error` bounds the mean number of losses that are truly among the best and are dropped before their last seed,
and so the probability that there is one. What is undecided after the last seed is decided by the scores as they are,
as without a race.

The model is in `posterior.py`. `benchmarks/racing.py` compares this with other races and measures its error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossmith.study.elimination.posterior import DRAWS, levels, probability_among_best


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a candidate."""

    kept: bool
    seeds: int  # how many it was trained with
    early: bool  # decided by the race, before the last seed
    probability: float | None  # of being among the best when it was decided; None where no round has looked at it


class Race:
    """Asks for scores, is told them, and decides. Nothing in it is random: the same scores give the same decisions."""

    def __init__(
        self,
        candidates: Sequence[str],
        keep: int,
        *,
        seeds: int,
        least: int = 2,
        error: float = 0.05,
        draws: int = DRAWS,
    ) -> None:
        """
        Args:
            candidates: their names, the one that wins a tie first.
            keep: how many are to be found, at least 1; where there are no more candidates, all are kept unless they
                fail.
            seeds: the most per candidate, at least 1.
            least: seeds that each has before anything is decided, at least 2: one tells nothing of the noise.
            error: in (0, 1): the mean number of candidates truly among the best that may be dropped early.
            draws: from the posterior, for each look.

        Raises:
            ValueError: an argument is out of its range, or a name comes twice.
        """
        if len(set(candidates)) < len(candidates):
            raise ValueError("a candidate comes twice")
        if keep < 1 or seeds < 1 or least < 2 or not 0 < error < 1:
            raise ValueError(f"keep {keep}, seeds {seeds}, least {least}, error {error}: out of range")
        self._names = list(candidates)
        self._keep, self._seeds, self._least, self._error, self._draws = keep, seeds, least, error, draws
        self._scores = np.full((len(candidates), seeds), np.nan)
        self._failed = np.zeros(len(candidates), bool)
        self._undecided = np.ones(len(candidates), bool)
        self._probability: list[float | None] = [None] * len(candidates)
        self._decisions: dict[str, Decision] = {}
        self._given = 0  # seeds of those that are undecided
        self._spent = 0.0
        self._asked: set[tuple[str, int]] = set()
        self._next()

    def ask(self) -> list[tuple[str, int]]:
        """The scores that are wanted next: (candidate, number of the seed from 0), seed by seed. None: it is over."""
        return sorted(self._asked, key=lambda each: (each[1], self._names.index(each[0])))

    def tell(self, scores: Mapping[tuple[str, int], float | None]) -> None:
        """Take the scores that `ask` wants, all of them; None: the training failed, and the candidate is dropped.

        Raises:
            ValueError: others are told, or a score is not a finite number.
        """
        if scores.keys() != self._asked:
            raise ValueError("expected exactly the scores that were asked for")
        for (name, seed), score in scores.items():
            place = self._names.index(name)
            if score is None:
                self._failed[place] = True
            elif not np.isfinite(score):
                raise ValueError(f"the score of {name} is {score}")
            else:
                self._scores[place, seed] = score
        self._given = 1 + max((seed for _, seed in self._asked), default=self._given - 1)
        for place in np.flatnonzero(self._failed & self._undecided).tolist():
            self._decide(place, kept=False, early=False)
        self._look()
        self._next()

    @property
    def decisions(self) -> dict[str, Decision]:
        """What became of each candidate that is decided, in the order given."""
        return {name: self._decisions[name] for name in self._names if name in self._decisions}

    @property
    def spent(self) -> float:
        """What the early decisions were charged, at most `error`."""
        return self._spent

    @property
    def _room(self) -> int:
        return self._keep - sum(decision.kept for decision in self._decisions.values())

    def _next(self) -> None:
        """Say what is wanted next, or end the race."""
        open_places = np.flatnonzero(self._undecided).tolist()
        room = self._room
        self._asked = set()
        if not self._given:  # even where all are kept: it may fail, and its score orders it
            until = min(self._least, self._seeds)
        elif len(open_places) <= room or room == 0 or self._given == self._seeds:
            last = self._given == self._seeds
            level = levels(self._scores)
            order = sorted(open_places, key=lambda place: (-round(level[place], 9), place))
            for rank, place in enumerate(order):
                self._decide(place, kept=rank < room, early=not last)
            return
        else:
            until = self._given + 1
        self._asked = {(self._names[place], seed) for place in open_places for seed in range(self._given, until)}

    def _look(self) -> None:
        """Decide what is clear before the last seed."""
        alive = np.flatnonzero(~self._failed)
        if self._given < self._least or self._given == self._seeds or len(alive) <= self._keep:
            return
        chance = probability_among_best(self._scores[alive], self._keep, draws=self._draws)
        undecided: list[tuple[float, int, float]] = []
        for p, place in zip(chance.tolist(), alive.tolist(), strict=True):
            if self._undecided[place]:
                undecided.append((min(p, 1 - p), place, p))
                self._probability[place] = p
        # the clearest first; what they leave of their shares is the others'
        for left, (wrong, place, p) in zip(range(len(undecided), 0, -1), sorted(undecided), strict=True):
            if wrong > (self._error - self._spent) / left or not 0 < self._room < left:
                break
            self._spent += wrong
            self._decide(place, kept=p > 0.5, early=True)

    def _decide(self, place: int, *, kept: bool, early: bool) -> None:
        seeds = int(np.isfinite(self._scores[place]).sum()) if not self._failed[place] else self._given
        self._decisions[self._names[place]] = Decision(kept, seeds, early, self._probability[place])
        self._undecided[place] = False
