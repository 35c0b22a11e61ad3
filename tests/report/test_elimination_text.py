"""What the terminal shows of an elimination."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from eliminations import entry_of, loss_rows, protocol, run
from lossmith.report.elimination_text import elimination_summary

LOSSES = loss_rows(14)
PLACE = {loss.key: place for place, loss in enumerate(LOSSES)}


def shown(content: dict[str, object]) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(elimination_summary(content))
    return text.getvalue()


@pytest.mark.parametrize("racing", [(), ("racing={}",)])
def test_phases_scores_and_finalists(tmp_path: Path, racing: tuple[str, ...]) -> None:
    def score(key: str, task: str, seed: int) -> float | None:
        return None if key == LOSSES[0].key else 0.5 + PLACE[key] / 100

    config = protocol("phases.0.keep=3", "phases.0.seeds=4", "phases.1.keep=2", *racing)
    content, _ = run(tmp_path, config, entry_of(LOSSES), score)
    text = shown(content)
    assert "Elimination: search (14 losses)" in text
    assert "phase 1: task 'digits-screen', 14 losses" in text
    assert "63.00%" in text
    assert "and 2 more" in text
    assert text.index(f"  1. {content['losses'][13]['label']}") < text.index(f"  2. {content['losses'][12]['label']}")
    assert ("racing: " in text) == ("racing saved about" in text) == bool(racing)


def test_losses_that_failed(tmp_path: Path) -> None:
    content, _ = run(tmp_path, protocol(), entry_of(LOSSES[:4]), lambda key, *_: 0.5 if key == LOSSES[1].key else None)
    assert "2 failed" in shown(content)
