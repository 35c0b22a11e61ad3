"""`docs/zoo.md` says what the table says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lossmith import loss
from lossmith.losses.optimum import optimum
from lossmith.losses.user import read
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import number_text

DOCUMENT = Path(__file__).parents[2] / "docs" / "zoo.md"


def plain(text: str) -> str:
    return " ".join(text.split())


def sections() -> dict[str, str]:
    """The text below each `### name`."""
    parts = re.split(r"^#{2,3} (.*)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {heading.strip("`"): plain(body) for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("name", ZOO)
def test_every_loss(name: str) -> None:
    entry, text = ZOO[name], sections()[name]
    for said in (f"`{entry.formula}`", entry.reference, entry.note, entry.soft):
        assert plain(said) in text
    for parameter in entry.parameters:
        assert f"`{parameter.name}` = {number_text(parameter.default)} ({parameter.range_text})" in text


def test_the_order_is_the_table_s() -> None:
    assert [heading for heading in sections() if heading in ZOO] == list(ZOO)


def test_where_each_is_least() -> None:
    rows = re.findall(r"^\| ([\w ]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", DOCUMENT.read_text(), re.M)
    named = {name: numbers for name, *numbers in rows}
    others = named.pop("all others")
    for name in set(ZOO) - {"taylorglo"}:
        assert named.get(name, others) == [f"{optimum(loss(name), classes):.2f}" for classes in (2, 10, 100, 1000)]


def test_the_example_of_a_file(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "losses.toml").write_text(example, encoding="utf-8")
    assert list(read(tmp_path / "losses.toml")) == list(tomllib.loads(example))
