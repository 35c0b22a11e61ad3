"""`lossmith card` as a user runs it."""

from __future__ import annotations

from pathlib import Path

from commandline import run_lossmith


def test_a_card_warns_of_a_loss_for_many_classes(tmp_path: Path) -> None:
    text = run_lossmith("card", "baikal")
    assert "A poor idea for 100 and 1,000 classes" in text
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())
    file = tmp_path / "card.html"
    assert run_lossmith("card", "-y*log(yhat)", "--html", file, "--classes", 3, 30).strip() == str(file)
    first = file.read_text(encoding="utf-8")
    assert "cross_entropy" in first  # the formula's name in the zoo
    assert "all the way up to" in first


def test_what_users_get_wrong(tmp_path: Path) -> None:
    for arguments, part in (
        (["mae", "--classes", "1"], "classes: expected numbers from 2 to 10,000, found 1"),
        (["mae", "--evidence", tmp_path], "is not a run"),
    ):
        error = run_lossmith("card", *arguments, code=2)
        assert len(error.strip().splitlines()) == 1
        assert error.startswith("lossmith: ")
        assert part in error
