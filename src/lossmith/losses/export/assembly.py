"""One Python file out of parts: what its roots need of a module of `parts`, and the imports, in the module's order."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class _Import:
    """One imported name."""

    name: str
    start: str  # of the statement: 'import ', or 'from module import '
    text: str  # the rest of it: 'x' or 'x as y'
    rank: int  # 0 __future__, 1 the standard library, 2 the rest


@dataclass(frozen=True, slots=True)
class _Part:
    """A definition at the top level of a module, with the comments above it."""

    text: str
    defines: frozenset[str]
    reads: frozenset[str]


def assemble(
    framework: str,
    *,
    roots: Collection[str],
    renamed: Mapping[str, str],
    settings: Mapping[str, str],
    instead: Mapping[str, str],
    replaced: Mapping[str, str],
    docstring: str,
) -> str:
    """The source text of a file.

    Args:
        framework: the module of `parts`.
        roots: what the file must define; of the rest it has only what these read, directly or not.
        renamed: new texts for words of the module, as it stands.
        settings: new texts for other stretches of it.
        instead: the definition whose place another one takes, by the name of that other.
        replaced: the new text of a definition, by its name after renaming.
        docstring: of the file.
    """
    source = resources.files("lossmith.losses.export.parts").joinpath(f"{framework}.py").read_text(encoding="utf-8")
    for old, new in settings.items():
        if old not in source:
            raise AssertionError(f"export: the parts for {framework} have no '{old}'")
        source = source.replace(old, new)
    imports, parts = _read(re.sub(r"\b\w+\b", lambda word: renamed.get(word[0], word[0]), source))
    for taken, taker in ((place, name) for name, place in instead.items()):
        texts = [part.text for part in parts if taken not in part.defines]
        parts = [_part(re.sub(rf"\b{taker}\b", taken, text)) for text in texts]
    parts = [next((_part(replaced[name]) for name in part.defines & replaced.keys()), part) for part in parts]
    kept = _reached(parts, roots)
    read = frozenset[str]().union(*(part.reads for part in kept))
    blocks = [_docstring(docstring)]
    for rank in range(3):
        statements: dict[str, list[str]] = {}
        for used in (i for i in imports if i.rank == rank and (i.name in read or rank == 0)):
            statements.setdefault(used.start if used.start != "import " else f"import {used.text}", []).append(
                used.text
            )
        blocks.append("\n".join(_statement(start, names) for start, names in statements.items()))
    text = "\n\n".join(block for block in blocks if block)
    constants = True  # whether nothing but constants went before
    for part in kept:
        constants = constants and not part.text.startswith(("def ", "class ", "@"))
        text += "\n\n" if constants else "\n\n\n"
        text += part.text
    return f"{text}\n"


def _read(source: str) -> tuple[list[_Import], list[_Part]]:
    lines = source.splitlines()
    imports: list[_Import] = []
    parts: list[_Part] = []
    end = 0  # of the statement before: the comments between belong to what follows them
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.extend(_imports(node))
        elif not isinstance(node, ast.Expr):  # the module's docstring
            parts.append(_part("\n".join(lines[end : node.end_lineno])))
        end = node.end_lineno or end
    return imports, parts


def _statement(start: str, names: list[str]) -> str:
    return start if start.startswith("import ") else start + ", ".join(names)


def _imports(node: ast.Import | ast.ImportFrom) -> Iterable[_Import]:
    module = node.module if isinstance(node, ast.ImportFrom) else None
    for alias in node.names:
        top = (module or alias.name).split(".")[0]
        rank = 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 2
        start = "import " if module is None else f"from {module} import "
        yield _Import(alias.asname or alias.name, start, ast.unparse(alias), rank)


def _part(text: str) -> _Part:
    text = text.strip("\n")
    tree = ast.parse(text)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    defines = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defines |= {name.id for node in tree.body if isinstance(node, ast.Assign) for name in names if name in node.targets}
    return _Part(text, frozenset(defines), frozenset(name.id for name in names) - defines)


def _reached(parts: list[_Part], roots: Collection[str]) -> list[_Part]:
    """The parts that define the roots, and what they read, in order."""
    wanted = set(roots)
    for _ in parts:  # each round adds at least one, or all are there
        wanted.update(*(part.reads for part in parts if part.defines & wanted))
    return [part for part in parts if part.defines & wanted]


def _docstring(text: str) -> str:
    """Any text as a docstring: what could end it, or is an escape, is escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"') if re.search(r'\\|"""|"$', text) else text
    return f'"""{escaped}\n"""' if "\n" in escaped else f'"""{escaped}"""'
