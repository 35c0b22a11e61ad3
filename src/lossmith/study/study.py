"""A study: the whole road from a search to a verdict, as settings and as a directory.

The stages, in order, each with a ledger in a directory of its own:

    search               losses evolve                                 validation fold 0
    random               random search at equal compute                fold 0
    null                 cross-entropy with other seeds                fold 0
    elimination          the best of the search are selected           fold 1
    elimination-random   the best of the random search, alike          fold 1
    transfer             the finalists elsewhere                       fold 1
    confirmation         registered, tuned (fold 2), then tested       the test images, once
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lossmith.config import RunConfig, load_run
from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.settings import Presets, Settings, overridden, read_yaml, validate
from lossmith.study.confirmation.config import ConfirmationConfig, confirmation_of
from lossmith.study.elimination.config import EliminationConfig, elimination_of
from lossmith.study.transfer.config import TransferConfig, transfer_of

FILE = "study.json"
FORMAT = 1
SEARCH, RANDOM, NULL, ELIMINATION, ELIMINATION_RANDOM, TRANSFER, CONFIRMATION = (
    "search",
    "random",
    "null",
    "elimination",
    "elimination-random",
    "transfer",
    "confirmation",
)


class StudyConfig(Settings):
    """The settings of all stages. Where `transfer` and `confirmation` name a stage, they mean its directory."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    search: RunConfig
    random_search: bool = True  # whether there is a random search, which goes through the same elimination
    null_search: bool = True  # whether there is a null search
    elimination: EliminationConfig
    transfer: TransferConfig | None = None
    confirmation: ConfirmationConfig

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        named = {*self.confirmation.losses, *self.confirmation.controls, *self.confirmation.sources}
        named |= {self.confirmation.null_search} if self.confirmation.null_search else set()
        named |= set(self.transfer.losses) if self.transfer else set()
        for stage in (RANDOM, NULL, ELIMINATION_RANDOM, TRANSFER):
            if stage in named and stage not in self.stages:
                raise ValueError(f"'{stage}' is named, but this study has no such stage: add it, or name another")
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        """The directories of the stages, in order."""
        random = (RANDOM, ELIMINATION_RANDOM) if self.random_search else ()
        there = {SEARCH, *random, *([NULL] if self.null_search else []), ELIMINATION, CONFIRMATION}
        there |= {TRANSFER} if self.transfer else set()
        every = (SEARCH, RANDOM, NULL, ELIMINATION, ELIMINATION_RANDOM, TRANSFER, CONFIRMATION)
        return tuple(stage for stage in every if stage in there)


def resolved(text: str, directory: Path) -> str:
    """What a FROM text of a study means: a stage's name is its directory in `directory`."""
    stages = (SEARCH, RANDOM, NULL, ELIMINATION, ELIMINATION_RANDOM, TRANSFER)
    return str(directory / text) if text in stages else text


def confirmation_in(config: StudyConfig, directory: Path) -> ConfirmationConfig:
    """The confirmation of a study in `directory`: all earlier stages are its sources."""
    own = config.confirmation
    return own.model_copy(
        update={
            "losses": tuple(resolved(text, directory) for text in own.losses),
            "controls": tuple(resolved(text, directory) for text in own.controls),
            "sources": tuple(
                dict.fromkeys(
                    [
                        *(str(directory / stage) for stage in config.stages if stage not in (NULL, CONFIRMATION)),
                        *(resolved(text, directory) for text in own.sources),
                    ]
                )
            ),
            "null_search": None if own.null_search is None else resolved(own.null_search, directory),
        }
    )


def transfer_in(config: TransferConfig, directory: Path) -> TransferConfig:
    """The transfer of a study in `directory`."""
    return config.model_copy(update={"losses": tuple(resolved(text, directory) for text in config.losses)})


# -- reading and writing ---------------------------------------------------------------------------------------------


_PRESETS = Presets("studies", "study")


def preset_names() -> list[str]:
    """The names of the studies that come with Lossmith."""
    return _PRESETS.names()


def load_preset(name: str, overrides: Sequence[str] = ()) -> StudyConfig:
    """The study `name`, with overrides as in `load_file`.

    Raises:
        ConfigError: no such preset, or an override that does not fit.
    """
    return _build({"name": name, **_PRESETS.values(name)}, f"study '{name}'", overrides)


def load_file(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """The study in a YAML file.

    Args:
        path: the file. `search`, `elimination` and `transfer` are each the name of a preset, or settings, which may
            start from one with `preset: NAME`; `confirmation` is settings.
        overrides: 'key.subkey=value' texts, applied over the file; values are read as YAML.

    Raises:
        ConfigError: one line with the file and the first setting that is wrong.
    """
    return _build({"name": path.stem, **read_yaml(path)}, str(path), overrides)


def _build(values: Mapping[str, Any], where: str, overrides: Sequence[str]) -> StudyConfig:
    parts: dict[str, list[str]] = {stage: [] for stage in _BUILD}  # overrides of the settings of a stage
    rest: list[str] = []
    for text in overrides:
        stage, dot, within = text.partition(".")
        if dot and stage in parts and values.get(stage) is not None:
            parts[stage].append(within)
        else:
            rest.append(text)
    own, where = overridden(values, where, rest)
    for stage, build in _BUILD.items():
        part = own.get(stage)
        if isinstance(part, str) and stage != CONFIRMATION:
            part = {"preset": part}
        if isinstance(part, Mapping):
            own[stage] = build({"name": own["name"], **part}, f"{where}: '{stage}'", parts[stage]).model_dump(
                mode="json"
            )
    return validate(StudyConfig, own, where)


_BUILD: dict[str, Callable[[Mapping[str, Any], str, Sequence[str]], Settings]] = {
    SEARCH: load_run,
    ELIMINATION: elimination_of,
    TRANSFER: transfer_of,
    CONFIRMATION: confirmation_of,
}


def write_study(directory: Path, config: StudyConfig) -> None:
    """Begin a study in `directory`.

    Raises:
        RunError: the directory holds something else, or cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        others = sorted(entry.name for entry in directory.iterdir())
    except OSError as error:
        raise RunError(f"{directory}: cannot make the study's directory: {error.strerror or error}") from error
    if others:
        raise RunError(f"{directory}: is not empty ({others[0]}, ...); use another --run directory")
    content = {"format": FORMAT, "created": time.time(), "configuration": config.model_dump(mode="json")}
    write_atomically(directory / FILE, json.dumps(content, indent=1))


def read_study(directory: Path) -> StudyConfig:
    """The settings of the study in `directory`.

    Raises:
        RunError: it holds none, or one of another version.
    """
    path = directory / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot read the study: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunError(f"{path}: is no study of this version; update Lossmith")
    return validate(StudyConfig, content.get("configuration", {}), str(path))


def is_study(directory: Path) -> bool:
    return (directory / FILE).is_file()
