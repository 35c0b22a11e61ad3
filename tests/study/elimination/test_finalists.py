"""The file of finalists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lossmith
from eliminations import entry_of, loss_rows, protocol, run
from lossmith.errors import RunError
from lossmith.ledger import Ledger
from lossmith.space.expression import Expression
from lossmith.study.elimination.finalists import finalists, write_finalists

LOSSES = loss_rows(4)


def test_they_are_read_back_as_they_were_trained(tmp_path: Path) -> None:
    place = {loss.key: place for place, loss in enumerate(LOSSES)}
    config = protocol("phases.0.keep=3", "phases.1.keep=2")
    content, _ = run(tmp_path, config, entry_of(LOSSES), lambda key, *_: 0.5 + place[key] / 10)
    path = write_finalists(tmp_path, content)
    assert path == tmp_path / "finalists.json"
    entries = json.loads(path.read_text())
    read = [Expression.from_json(json.dumps(entry), "a test") for entry in entries]
    assert [(each.key, entry["flip"]) for each, entry in zip(read, entries, strict=True)] == [
        (loss.key, loss.flip) for loss in (LOSSES[3], LOSSES[2])
    ]
    provenance = entries[0]["provenance"]
    assert provenance["validation_accuracy"] == pytest.approx(0.8)
    assert (provenance["task"], provenance["seeds"]) == ("digits", 3)
    (tmp_path / "one.json").write_text(json.dumps(entries[0]))
    assert lossmith.loss(tmp_path / "one.json").flip == LOSSES[3].flip


def test_they_are_found_in_the_ledger_once_it_has_ended(tmp_path: Path) -> None:
    settings = {"name": "test", "elimination": {}}
    with Ledger.create(tmp_path / "run", settings):
        pass
    with pytest.raises(RunError, match="has no finalists yet; 'lossmith resume"):
        finalists(str(tmp_path / "run"))
    config = protocol("phases.0.keep=3", "phases.1.keep=2")
    place = {loss.key: place for place, loss in enumerate(LOSSES)}
    run(tmp_path / "run", config, entry_of(LOSSES), lambda key, *_: 0.5 + place[key] / 10)
    found = finalists(str(tmp_path / "run"))
    assert found is not None
    assert [each.loss for each in found] == [LOSSES[3], LOSSES[2]]
    assert [each.label for each in found] == [LOSSES[3].minimised, LOSSES[2].minimised]


def test_another_kind_of_run_has_none(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "run", {"name": "test", "transfer": {}}):
        pass
    assert finalists(str(tmp_path / "run")) is None
