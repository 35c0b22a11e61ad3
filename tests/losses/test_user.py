"""`losses.toml`: found, read, refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console, RenderableType

from commandline import run_lossmith
from lossmith import loss
from lossmith.errors import InvalidLossError, LossmithError
from lossmith.ledger import Ledger, LossRow
from lossmith.losses.user import files, find, names, user_losses
from lossmith.report.terminal import loss_summary, zoo_table
from lossmith.space.expression import Expression

LOGITS, LABELS = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
TEXT = """
[mine]
formula = "-y * log(yhat) + yhat / K"
reference = "Doe 2024, table 3"
note = "least at yhat = 1"
latex = '-y \\ln \\hat{y} + \\hat{y} / K'

[turned]
formula = "y * log(yhat)"

[unchecked]
formula = "y * log(yhat)"
flip = false
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(the project's file, the user's file), both in empty directories; the first is the current one."""
    project, home = tmp_path / "project", tmp_path / "home"
    (home / "lossmith").mkdir(parents=True)
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    return project / "losses.toml", home / "lossmith" / "losses.toml"


def test_by_name(places: tuple[Path, Path]) -> None:
    places[0].write_text(TEXT)
    module = loss("mine", label_smoothing=0.1)
    reference = loss("-y * log(yhat) + yhat / K", label_smoothing=0.1)
    assert torch.equal(module(LOGITS, LABELS), reference(LOGITS, LABELS))
    assert (module.name, module.formula, module.expression) == ("mine", reference.formula, reference.expression)
    assert module.to_latex() == r"-y \ln \hat{y} + \hat{y} / K"
    assert loss(" turned ").flip is True  # by the check
    assert loss("turned").to_latex().startswith("-")
    assert loss("unchecked").flip is False
    assert loss("unchecked", flip=True).flip is True
    assert torch.equal(loss("unchecked")(LOGITS, LABELS), -loss("turned")(LOGITS, LABELS))


def test_the_project_s_file_wins(places: tuple[Path, Path]) -> None:
    places[1].write_text('[mine]\nformula = "square(y - yhat)"\n[other]\nformula = "-y * log(yhat)"\n')
    assert loss("mine").formula == "square(y - yhat)"
    places[0].write_text(TEXT)
    assert loss("mine").formula == Expression.from_text("-y * log(yhat) + yhat / K").text
    assert loss("other").name == "other"
    assert names() == ["mine", "turned", "unchecked", "other"]
    assert [entry.file for entry in user_losses().values()] == [Path("losses.toml")] * 3 + [places[1]]


def test_no_file_no_loss() -> None:
    assert find("mine") is None
    assert names() == []
    with pytest.raises(InvalidLossError, match="unknown loss 'mine'"):
        loss("mine")


def test_without_xdg_the_default_is_config_in_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/path"):  # the standard: relative paths are to be ignored
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert files()[1] == tmp_path / ".config" / "lossmith" / "losses.toml"


def test_unknown_names_are_told_what_there_is(places: tuple[Path, Path]) -> None:
    places[0].write_text(TEXT)
    with pytest.raises(InvalidLossError) as caught:
        loss("turnd")
    assert "did you mean 'turned'?" in str(caught.value)
    assert "losses.toml has mine, turned, unchecked" in str(caught.value)
    with pytest.raises(LossmithError, match="only zoo losses take parameters"):
        loss("mine", gamma=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[focal]\nformula = 'y'", "losses.toml: [focal]: is a loss of the zoo; give your loss another name"),
        ("[yhat]\nformula = 'y'", "losses.toml: [yhat]: is a name of the formula language; give your loss another"),
        ("[K]\nformula = 'y'", "losses.toml: [K]: is a name of the formula language"),
        ("['a b']\nformula = 'y'", "losses.toml: [a b]: a loss is named with letters"),
        ("mine = 'y'", "losses.toml: mine: expected a table: [mine] and below it formula"),
        ("[mine]", "losses.toml: [mine]: formula is missing"),
        ("[mine]\nformula = 3", "losses.toml: [mine]: formula must be a text, found 3"),
        ("[mine]\nformula = 'y'\nflip = 1", "losses.toml: [mine]: flip must be true or false, found 1"),
        (
            "[mine]\nformla = 'y'",
            "losses.toml: [mine]: unknown key 'formla' (did you mean 'formula'?); keys are formula",
        ),
        (
            "[mine]\nformula = 'y * lg(yhat)'",
            "losses.toml: [mine]: formula, character 5: unknown name 'lg' (did you mean 'log'?)",
        ),
        ("[mine", "losses.toml: cannot read the losses: "),
        ("[mine]\nformula = 'yhat'", "losses.toml: [mine]: 'yhat' is not a loss: the loss does not read y"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(places: tuple[Path, Path], text: str, message: str) -> None:
    places[0].write_text(text)
    with pytest.raises(LossmithError) as caught:
        loss("mine")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert loss("focal").name == "focal"  # the zoo does not read the file


def test_files_that_cannot_be_read(places: tuple[Path, Path]) -> None:
    places[1].write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LossmithError, match="cannot read the losses: "):
        loss("mine")
    places[1].unlink()
    places[1].mkdir()
    with pytest.raises(LossmithError, match="cannot read the losses: Is a directory"):
        loss("mine")


def shown(content: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=300).print(content)
    return stream.getvalue()


def test_the_list_says_where_each_is_from(places: tuple[Path, Path]) -> None:
    places[0].write_text(TEXT)
    places[1].write_text('[other]\nformula = "-y * log(yhat)"\n')
    listed = shown(zoo_table())
    assert "Your losses, of losses.toml" in listed
    assert f"Your losses, of {places[1]}" in listed
    assert "-y * log(yhat) + yhat / K" in listed
    assert "Doe 2024, table 3" in listed
    assert "least at yhat = 1" in shown(loss_summary("mine"))


def test_a_ledger_holds_the_formula(places: tuple[Path, Path]) -> None:
    """Not the name: the file may change tomorrow."""
    places[0].write_text(TEXT)
    run_lossmith("train", "--task", "digits-screen", "--loss", "mine", "--run", "run", "--workers", 1)
    expression = Expression.from_text("-y * log(yhat) + yhat / K")
    with Ledger.read(Path("run")) as ledger:
        rows = ledger.losses()
    assert rows == {expression.key: LossRow(expression.key, expression.text, False)}
