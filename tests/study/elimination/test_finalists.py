"""The file of finalists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lossmith
from eliminations import entry_of, loss_rows, protocol, run
from lossmith.errors import RunError
from lossmith.study.elimination.finalists import read_finalists, write_finalists

LOSSES = loss_rows(4)


def test_they_are_read_back_as_they_were_trained(tmp_path: Path) -> None:
    place = {loss.key: place for place, loss in enumerate(LOSSES)}
    config = protocol("phases.0.keep=3", "phases.1.keep=2")
    content, _ = run(tmp_path, config, entry_of(LOSSES), lambda key, *_: 0.5 + place[key] / 10)
    path = write_finalists(tmp_path, content)
    assert path == tmp_path / "finalists.json"
    assert read_finalists(path) == [LOSSES[3], LOSSES[2]]
    entries = json.loads(path.read_text())
    provenance = entries[0]["provenance"]
    assert provenance["validation_accuracy"] == pytest.approx(0.8)
    assert (provenance["task"], provenance["seeds"]) == ("digits", 3)
    (tmp_path / "one.json").write_text(json.dumps(entries[0]))
    assert lossmith.loss(tmp_path / "one.json").flip == LOSSES[3].flip


@pytest.mark.parametrize("text", ["{}", "[]", "no", "[1]", '[{"flip": true}]', '[{"flip": true, "nodes": {}}]'])
def test_another_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "finalists.json"
    path.write_text(text)
    with pytest.raises(RunError, match=r"finalists\.json") as caught:
        read_finalists(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot read"):
        read_finalists(tmp_path / "finalists.json")
