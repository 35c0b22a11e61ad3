"""The registration's file, its hash, and what is refused once it is written."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from confirmations import config, make_source
from lossmith.commands.naming import named_loss
from lossmith.errors import RunError
from lossmith.ledger import FILE as LEDGER
from lossmith.ledger import Ledger
from lossmith.study.confirmation.register import register
from lossmith.study.confirmation.registration import FILE, create, difference, registered


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    asked = config()
    registration, _ = register(asked, named_loss)
    create(tmp_path / "run", asked, registration).close()
    return tmp_path / "run"


def test_the_file_is_canonical_and_its_hash_is_in_the_ledger(directory: Path) -> None:
    found = (directory / FILE).read_bytes()
    with Ledger.read(directory) as ledger:
        registration, sha256 = registered(ledger)
        assert not list(ledger.evaluations())
    assert sha256 == hashlib.sha256(found).hexdigest()
    assert registration.text().encode() == found
    assert found == (json.dumps(json.loads(found), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: r.update(margin=0.01), "'margin' is 0.01, registered as 0.001"),
        (lambda r: r["seeds"].pop(), "'seeds' is a list of 7, registered as a list of 8"),
        (lambda r: r["losses"][0].update(formula="y"), "'losses.0.formula' is \"y\", registered as"),
        (lambda r: r["cells"][0]["task"].update(steps=99), "'cells.0.task.steps' is 99, registered as 30"),
        (lambda r: r.pop("primary"), "'primary' is missing, registered as a group"),
        (lambda r: r.update(more=1), "'more' is 1, registered as missing"),
        (lambda r: r["tuning"]["seeds"].reverse(), "'tuning.seeds.0' is"),
    ],
)
def test_a_changed_registration_is_refused_with_the_field(
    directory: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    change(directory / FILE, edit)
    with Ledger.read(directory) as ledger, pytest.raises(RunError) as caught:
        registered(ledger)
    assert message in str(caught.value)
    assert "put back what was registered, or register anew in another directory" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda text: text.replace("\n", "\r\n"), "its layout is another, though its content is the same"),
        (lambda text: text[:100], "is not the JSON that was registered"),
        (lambda text: "", "is not the JSON that was registered"),
    ],
)
def test_other_bytes_are_refused(directory: Path, content: Callable[[str], str], message: str) -> None:
    path = directory / FILE
    path.write_bytes(content(path.read_text(encoding="utf-8")).encode())
    with Ledger.read(directory) as ledger, pytest.raises(RunError, match=message):
        registered(ledger)


def test_a_change_of_the_ledgers_copy_is_refused(directory: Path) -> None:
    with sqlite3.connect(directory / LEDGER) as connection:
        connection.execute(
            "UPDATE run SET configuration = replace(configuration, '\"margin\": 0.001', '\"margin\": 0.1')"
        )
    connection.close()
    with Ledger.read(directory) as ledger, pytest.raises(RunError, match="does not have the registered SHA-256"):
        registered(ledger)


def test_a_missing_file_is_written_only_before_anything_began(directory: Path) -> None:
    text = (directory / FILE).read_bytes()
    (directory / FILE).unlink()  # as if it had been killed between the ledger and the file
    with Ledger.read(directory) as ledger:
        registered(ledger)
    assert (directory / FILE).read_bytes() == text
    with Ledger.open(directory) as ledger:
        ledger.begin_session("test", 1, {}, time.monotonic())
        (directory / FILE).unlink()
        with pytest.raises(RunError, match="cannot read the registration: No such file"):
            registered(ledger)


def test_another_kind_of_run_is_refused(tmp_path: Path) -> None:
    make_source(tmp_path / "other")
    with Ledger.read(tmp_path / "other") as ledger, pytest.raises(RunError, match="other: holds no confirmation"):
        registered(ledger)


def test_the_first_difference() -> None:
    assert difference({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}) == ""
    assert difference({"a": [1, {"b": 2}]}, {"a": [1, {"b": True}]}) == "'a.1.b' is true, registered as 2"
    assert difference({"a": 1}, {"a": [1]}) == "'a' is a list of 1, registered as 1"
    assert difference({"a": 1}, {"a": 1.0}) == "'a' is 1.0, registered as 1"
