"""The blocks of docs/use.md run, or stand in the example that they are taken from."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python([^\n]*)\n(.*?)```", (ROOT / "docs" / "use.md").read_text(encoding="utf-8"), re.DOTALL)


def test_blocks_run_in_order() -> None:
    program = "\n".join(text for title, text in BLOCKS if not title)
    with torch.random.fork_rng(devices=[]):
        names: dict[str, object] = {}
        exec(compile(program, "docs/use.md", "exec"), names)  # noqa: S102 - our own
    value = names["value"]
    assert isinstance(value, torch.Tensor)
    assert value.isfinite()


def test_quoted_blocks_stand_in_their_examples() -> None:
    quoted = [(title.removeprefix(" file="), text) for title, text in BLOCKS if title]
    assert len(quoted) == 4
    for path, text in quoted:
        indented = (textwrap.indent(text, " " * depth) for depth in (0, 4, 8))
        assert any(block in (ROOT / path).read_text(encoding="utf-8") for block in indented), f"{path}: {text}"
