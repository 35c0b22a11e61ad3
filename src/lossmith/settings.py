"""Strict settings: frozen pydantic models, read from YAML, whose errors are one line and name the nearest key."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lossmith.errors import ConfigError, nearest


class Settings(BaseModel):
    """Base of every configuration record: unknown keys are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def digest(self) -> str:
        """16 hexadecimal digits that identify these settings, equal in every process and on every machine."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


S = TypeVar("S", bound=Settings)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but 1e-3 is a number (as in YAML 1.2), not a text."""


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> Any:
    """The value that a YAML text holds; raises `yaml.YAMLError`."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except (ValueError, RecursionError) as error:  # an impossible date, an endless number, brackets without end
        raise yaml.YAMLError(str(error).splitlines()[0]) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if content is None:
        raise ConfigError(f"{path}: the configuration is empty")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(content).__name__}")
    return content


def validate(model: type[S], values: dict[str, Any], where: str) -> S:
    """`values` as a `model`; `where` (a file or preset name) starts the error message.

    Raises:
        ConfigError: one line with the first problem: where, which key, what is expected, the nearest known key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = [str(part) for part in first["loc"]]
        key = ".".join(location)
        if first["type"] == "extra_forbidden":
            hint = nearest(location[-1], _keys_at(model, location[:-1]))
            raise ConfigError(f"{where}: unknown setting '{key}'{hint}") from error
        shown = "" if first["type"] == "missing" else f", found {first['input']!r:.80}"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "model_type":
            message = "expected a group of settings"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if not key:  # settings that do not go together: the message names them
            raise ConfigError(f"{where}: {message}{more}") from error
        raise ConfigError(f"{where}: setting '{key}': {message}{shown}{more}") from error


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """The keys that the record at `location` inside `model` knows."""
    current: type[BaseModel] | None = model
    for part in location:
        field = current.model_fields.get(part) if current else None
        if field is None:
            continue  # an index into a list: the element type was already taken from the list's annotation
        current = _record_in(field.annotation)
    return list(current.model_fields) if current else []


def _record_in(annotation: Any) -> type[BaseModel] | None:
    """The settings record that a field's annotation holds, looking through optionals and sequences."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _record_in(argument))), None)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with the values of `over`; mappings present in both are merged in turn."""
    found = dict(under)
    for key, value in over.items():
        below = under.get(key)
        found[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return found


@dataclass(frozen=True, slots=True)
class Presets:
    """The YAML files of one folder of `lossmith/presets`, by name."""

    folder: str
    what: str  # one of them, in messages

    def names(self) -> list[str]:
        """Sorted."""
        return sorted(file.name.removesuffix(".yaml") for file in self._files().iterdir() if ".yaml" in file.name)

    def values(self, name: str, where: str = "") -> dict[str, Any]:
        """The settings of a preset as written, not validated.

        Raises:
            ConfigError: there is none of this name; `where`, an option or a file, starts the message.
        """
        known = self.names()
        if name not in known:
            start = f"{where}: " if where else ""
            hint = nearest(name, known)
            raise ConfigError(f"{start}unknown {self.what} '{name}'{hint}; there are {', '.join(known)}")
        return parse_yaml(self._files().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))

    def under(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        """`values`; where they name a `preset`, over its values, of which each one that is in both is replaced whole.

        Raises:
            ConfigError: see `values`.
        """
        own = dict(values)
        return {**self.values(str(own.pop("preset")), where), **own} if "preset" in own else own

    def _files(self) -> Traversable:
        return resources.files("lossmith").joinpath("presets", self.folder)


def overridden(
    values: Mapping[str, Any],
    where: str,
    overrides: Sequence[str],
    opened: Callable[[tuple[str, ...], object], object] = lambda path, value: value,
) -> tuple[dict[str, Any], str]:
    """A copy of `values` with 'key.subkey=value' texts applied (see `override_setting`), and what errors say of it."""
    own = copy.deepcopy(dict(values))
    for text in overrides:
        override_setting(own, text, opened)
    return own, f"{where} with {' '.join(overrides)}" if overrides else where


def override_setting(
    values: dict[str, Any],
    override: str,
    opened: Callable[[tuple[str, ...], object], object] = lambda path, value: value,
) -> None:
    """Apply a 'key.subkey=value' text to a mapping of settings; the value is read as YAML.

    Args:
        values: changed in place; groups of settings that are missing are made.
        override: the text. The entries of a list are counted from 0: 'phases.0.keep=5'.
        opened: gives what stands at a place (its path and value are given) whose part is to be set.

    Raises:
        ConfigError: the text does not fit.
    """
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"override '{override}': expected KEY=VALUE, such as search.iterations=100")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override '{override}': the value is not valid YAML") from error
    place: Any = values
    for depth, part in enumerate(path):
        group = ".".join(path[:depth])
        if isinstance(place, list):
            if not part.isdecimal() or int(part) >= len(place):
                raise ConfigError(
                    f"override '{override}': '{group}' has the entries 0 to {len(place) - 1}, no '{part}'"
                )
            index: Any = int(part)
        elif isinstance(place, dict):
            index = part
        else:
            raise ConfigError(f"override '{override}': '{group}' is not a group of settings")
        if depth == len(path) - 1:
            place[index] = value
            return
        below = place[index] if isinstance(place, list) else place.get(index)
        place[index] = opened(path[: depth + 1], {} if below is None else below)
        place = place[index]
