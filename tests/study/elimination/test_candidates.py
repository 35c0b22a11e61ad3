"""Who takes part: the best of each search, each function once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from eliminations import loss_rows, protocol, row_of, write_search
from lossmith.config import from_stored
from lossmith.errors import ConfigError
from lossmith.ledger import Ledger
from lossmith.search.seeds import training_seed
from lossmith.study.elimination.candidates import Entry, enter
from lossmith.study.elimination.config import EliminationConfig

LOSSES = loss_rows(8)


def entry(config: EliminationConfig, *directories: Path) -> Entry:
    with contextlib.ExitStack() as stack:
        ledgers = [stack.enter_context(Ledger.read(directory)) for directory in directories]
        return enter([(ledger, from_stored(ledger.configuration(), "stored")) for ledger in ledgers], config)


def keys(found: Entry) -> list[str]:
    return [candidate.loss.key for candidate in found.candidates]


def test_the_best_of_a_search_by_its_fitness(tmp_path: Path) -> None:
    scores = [0.5, 0.9, None, 0.7, 0.9, 0.6]
    config = write_search(tmp_path / "a", list(zip(LOSSES, scores, strict=False)), "seed=3")
    found = entry(protocol("candidates=4", "phenotype_distance=0"), tmp_path / "a")
    assert keys(found) == [LOSSES[place].key for place in (1, 4, 3, 5)]  # one that failed has no fitness
    assert [candidate.fitness for candidate in found.candidates] == [0.9, 0.9, 0.7, 0.6]
    with Ledger.read(tmp_path / "a") as ledger:
        rows = {row.id: row for row in ledger.evaluations()}
    for candidate in found.candidates:
        row = rows[candidate.evaluation]
        assert (row.key.loss, row.score, row.key.seed) == (candidate.loss.key, candidate.fitness, training_seed(3))
    (source,) = found.sources
    assert (source.name, source.seed, source.losses) == (config.name, 3, 4)
    assert Path(source.directory) == tmp_path / "a"
    assert Entry.of(found.stored()) == found


def test_several_searches_and_a_number_for_each(tmp_path: Path) -> None:
    write_search(tmp_path / "a", [(loss, 0.9 - place / 100) for place, loss in enumerate(LOSSES[:4])])
    write_search(tmp_path / "b", [(loss, 0.5 - place / 100) for place, loss in enumerate(LOSSES[2:])], "seed=1")
    found = entry(protocol("candidates=[3, 2]", "phenotype_distance=0"), tmp_path / "a", tmp_path / "b")
    # the third of the first search is the second's best, too: its next ones take the place
    assert keys(found) == [LOSSES[place].key for place in (0, 1, 2, 3, 4)]
    assert [candidate.source for candidate in found.candidates] == [0, 0, 0, 1, 1]
    assert [source.losses for source in found.sources] == [3, 2]


def test_one_function_written_in_two_ways_takes_part_once(tmp_path: Path) -> None:
    one, again, other = row_of("-y*log(yhat)"), row_of("-2*y*log(yhat) + 3*yhat"), row_of("square(y - yhat)")
    assert one.key != again.key
    write_search(tmp_path / "a", [(one, 0.9), (again, 0.8), (other, 0.7)])
    assert keys(entry(protocol(), tmp_path / "a")) == [one.key, other.key]


def test_near_relatives_take_part_once(tmp_path: Path) -> None:
    one, near, far = row_of("-y*log(yhat)"), row_of("-y*log(yhat) - 0.0003*y*yhat"), row_of("square(y - yhat)")
    write_search(tmp_path / "a", [(one, 0.9), (near, 0.8), (far, 0.7)])
    assert keys(entry(protocol(), tmp_path / "a")) == [one.key, far.key]
    assert keys(entry(protocol("phenotype_distance=0"), tmp_path / "a")) == [one.key, near.key, far.key]
    assert keys(entry(protocol("phenotype_distance=100"), tmp_path / "a")) == [one.key]


def test_where_images_are_mixed_only_the_key_tells(tmp_path: Path) -> None:
    one, again = row_of("-y*log(yhat)"), row_of("-2*y*log(yhat) + 3*yhat")
    write_search(tmp_path / "a", [(one, 0.9), (again, 0.8)])
    config = protocol("phases.1.task.augment={mixup: 0.2}")
    assert keys(entry(config, tmp_path / "a")) == [one.key, again.key]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("task.data.validation_fold=1", "search was scored on validation fold 1"),
        ("task.data.split_seed=4", r"phase 'phase 1': data.split_seed is 0, but 4 in the search .*overlap"),
        ("screening.data.test_fraction=0.3", r"data.test_fraction is 0.25, but 0.3"),
    ],
)
def test_images_that_the_search_has_seen(tmp_path: Path, setting: str, message: str) -> None:
    write_search(tmp_path / "a", [(LOSSES[0], 0.9)], setting)
    with pytest.raises(ConfigError, match=message):
        entry(protocol(), tmp_path / "a")


def test_searches_that_cannot_take_part(tmp_path: Path) -> None:
    write_search(tmp_path / "a", [(LOSSES[0], 0.9)])
    write_search(tmp_path / "b", [(LOSSES[0], None)])
    with pytest.raises(ConfigError, match="at least one"):
        entry(protocol())
    with pytest.raises(ConfigError, match="given twice"):
        entry(protocol(), tmp_path / "a", tmp_path / "a")
    with pytest.raises(ConfigError, match="no loss was trained"):
        entry(protocol(), tmp_path / "b")
    with pytest.raises(ConfigError, match="3 numbers, but there are 1 searches"):
        entry(protocol("candidates=[1, 2, 3]"), tmp_path / "a")
