"""What the documents and examples show works."""

from __future__ import annotations

import re
from pathlib import Path

from lossmith.config import load_file
from lossmith.train.task import TaskConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_readme_s_python_runs() -> None:
    (program,) = _blocks("python")
    exec(compile(program, "README.md", "exec"), {})  # noqa: S102 - our own


def test_the_readme_s_configuration_is_valid(tmp_path: Path) -> None:
    (text,) = _blocks("yaml")
    path = tmp_path / "run.yaml"
    path.write_text(text)
    config = load_file(path)
    assert isinstance(config.task, TaskConfig)
    assert (config.seed, config.search.iterations, config.task.model) == (7, 1000, "resnet9v2")


def test_links_in_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
