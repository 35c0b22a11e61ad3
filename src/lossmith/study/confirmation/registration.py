"""The registration: what a confirmation will do, written and hashed before it does it.

`registration.json` is canonical JSON: UTF-8, keys sorted, indented by 2, one newline at the end. The hash is that of
the file's bytes, so `sha256sum registration.json` prints it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lossmith.config import ExecutionConfig
from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.ledger import Ledger, LossRow
from lossmith.settings import Settings, validate
from lossmith.train.task import TaskConfig

FILE = "registration.json"
CONFIGURATION = "confirmation"  # key of the ledger's configuration that holds what the user asked for
_REGISTRATION, _SHA256 = "registration", "sha256"  # keys beside it
_ABSENT = object()

Role = Literal["candidate", "control", "baseline"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class RegisteredLoss(Settings):
    """One loss, frozen."""

    key: str
    label: str
    formula: str
    flip: bool | None
    role: Role
    origin: str  # what the user wrote

    @property
    def row(self) -> LossRow:
        return LossRow(self.key, self.formula, self.flip)


class LeftOut(Settings):
    """A finalist of a run that is not confirmed."""

    label: str
    formula: str
    origin: str
    why: str


class RegisteredCell(Settings):
    """A data set with a model and an augmentation."""

    name: str
    dataset: str
    model: str
    augmentation: str
    task: TaskConfig  # on the confirmation's fold; the tuned settings replace its learning rate and weight decay


class RegisteredTuning(Settings):
    """The same for every loss and cell."""

    learning_rates: tuple[float, ...]  # factors of each cell's own
    weight_decays: tuple[float, ...]
    seeds: tuple[Seed, ...]


class RegisteredSource(Settings):
    """A run whose results led to the losses."""

    directory: str
    kind: str
    name: str


class RegisteredPrimary(Settings):
    """The primary hypothesis."""

    loss: str  # key
    cell: str
    statement: str


class RegisteredTrainings(Settings):
    """The compute, in trainings."""

    tuning: int
    testing: int


class Registration(Settings):
    """Everything that decides a confirmation's result, apart from what the trainings give."""

    format: Literal[1] = 1
    version: str  # of Lossmith
    name: str
    primary: RegisteredPrimary
    losses: tuple[RegisteredLoss, ...]  # candidates, controls, baselines
    left_out: tuple[LeftOut, ...]
    baseline: str  # key of the loss that the others are compared with
    cells: tuple[RegisteredCell, ...]
    seed: Seed
    seeds: tuple[Seed, ...]  # of the trainings that are scored on the test images
    tuning: RegisteredTuning
    margin: float
    confidence: float
    comparisons: int  # over which Holm's correction goes: cells times losses beside the baseline
    overlap: float  # share of a cell's test images seen before, from which on it is refused
    null_search: str | None  # the directory of the null search
    sources: tuple[RegisteredSource, ...]
    trainings: RegisteredTrainings
    execution: ExecutionConfig

    def text(self) -> str:
        """The canonical JSON."""
        return canonical(self.model_dump(mode="json"))

    def labels(self) -> dict[str, str]:
        """The label of each loss by key."""
        return {loss.key: loss.label for loss in self.losses}


def canonical(content: Any) -> str:
    """JSON that is the same bytes for the same content."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def sha256(text: str) -> str:
    """64 hexadecimal digits of the UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def create(directory: Path, configuration: Settings, registration: Registration) -> Ledger:
    """The ledger of a new confirmation, with the registration and its hash; then the file.

    Raises:
        RunError: see `Ledger.create`.
    """
    content = {
        "name": registration.name,
        CONFIGURATION: configuration.model_dump(mode="json"),
        _REGISTRATION: registration.model_dump(mode="json"),
        _SHA256: sha256(registration.text()),
    }
    ledger = Ledger.create(directory, content)
    try:
        write_atomically(directory / FILE, registration.text())
    except BaseException:
        ledger.close()
        raise
    return ledger


def registered(ledger: Ledger) -> tuple[Registration, str]:
    """The registration of a ledger and its SHA-256, where neither the file nor the ledger's copy has changed since.

    Raises:
        RunError: the ledger is no confirmation's, or the registration was changed or is missing; one line says which
            field, and what to do.
    """
    stored = ledger.configuration()
    path = ledger.directory / FILE
    if CONFIGURATION not in stored or _REGISTRATION not in stored:
        raise RunError(f"{ledger.directory}: holds no confirmation; give the directory of a 'lossmith confirm'")
    content, digest = stored[_REGISTRATION], str(stored.get(_SHA256))
    text = canonical(content)
    if sha256(text) != digest:
        raise RunError(
            f"{ledger.directory}: the ledger's copy of the registration does not have the registered SHA-256 {digest};"
            " restore the directory from a copy"
        )
    if not path.exists() and not ledger.sessions():
        write_atomically(path, text)  # it was killed between the ledger and the file; nothing has been trained
    _require_unchanged(path, content, text)
    return validate(Registration, content, f"{ledger.directory}: stored registration"), digest


def _require_unchanged(path: Path, content: dict[str, Any], text: str) -> None:
    try:
        found = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot read the registration: {error.strerror}; restore it from a copy") from error
    if found == text.encode():
        return
    remedy = "put back what was registered, or register anew in another directory"
    try:
        changed = difference(content, json.loads(found))
    except ValueError:
        raise RunError(f"{path}: is not the JSON that was registered; {remedy}") from None
    what = changed or "its layout is another, though its content is the same"
    raise RunError(f"{path}: was changed after it was registered: {what}; {remedy}")


def difference(registered: Any, found: Any, where: str = "") -> str:
    """The first field that differs, in words: where, what is found, what was registered; "" where none does."""
    if isinstance(registered, dict) and isinstance(found, dict):
        pairs = [
            (f"{where}.{key}".lstrip("."), registered.get(key, _ABSENT), found.get(key, _ABSENT))
            for key in sorted(registered.keys() | found.keys())
        ]
    elif isinstance(registered, list) and isinstance(found, list) and len(registered) == len(found):
        pairs = [(f"{where}.{place}", *both) for place, both in enumerate(zip(registered, found, strict=True))]
    elif registered is _ABSENT or found is _ABSENT or canonical(registered) != canonical(found):
        return f"'{where}' is {_shown(found)}, registered as {_shown(registered)}"
    else:
        return ""
    return next((words for one in pairs if (words := difference(one[1], one[2], one[0]))), "")


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "missing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "a group"
    return f"{json.dumps(value, ensure_ascii=False):.60}"
