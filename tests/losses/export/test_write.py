"""What is written: names, docstrings, straight code, LaTeX, JSON and back, and the command."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from latex2mathml.converter import convert

from commandline import run_lossmith
from exports import load
from helpers import accepted_expressions
from lossmith import loss
from lossmith.errors import GraphError, LossmithError
from lossmith.losses.export import export
from lossmith.losses.export.code import DIALECTS, terms
from lossmith.losses.export.sources import SOURCES
from lossmith.losses.export.words import names
from lossmith.losses.kinds import ExampleLoss, ExpressionLoss
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import Expression
from lossmith.space.operators import OPERATORS
from lossmith.version import __version__

GOLDEN = Path(__file__).parents[2] / "golden"
LONGER = (
    "y*i0e(square(yhat) - 1) - y*log_abs(yhat) * sigmoid(1) + tanh(exp(1/yhat)) * square(y - yhat)"  # one of everything
)
PYTHON = ("torch", "jax", "keras")
LOGITS, LABELS = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])


def body(text: str, framework: str = "torch", *, flip: bool = False) -> list[str]:
    return terms(Expression.from_text(text), flip=flip, framework=framework)


def named(name: str, **more: Any) -> Loss:
    expression = Expression.from_text("-y * log(yhat)")
    return ExpressionLoss(name, expression.text, "", expression=expression, **more)


# -- code ------------------------------------------------------------------------------------------------------------


def test_the_table_has_every_operator() -> None:
    assert SOURCES.keys() == OPERATORS.keys()
    assert set(DIALECTS) == set(PYTHON)


@pytest.mark.parametrize(
    ("formula", "lines"),
    [
        ("y - (yhat - y)", ["yhat = F.softmax(logits, -1)", "return y - (yhat - y)"]),
        ("(y - yhat) - y", ["yhat = F.softmax(logits, -1)", "return y - yhat - y"]),
        ("y * -yhat", ["yhat = F.softmax(logits, -1)", "return y * (-yhat)"]),
        ("y / (yhat * y)", ["yhat = F.softmax(logits, -1)", "return y / (y * yhat + EPS)"]),
        ("y - -2.5", ["return y - (-2.5)"]),
        ("-y * log(yhat)", ["log_yhat = log_softmax(logits)", "return -y * log_yhat"]),
        (
            "y * log(1 - yhat)",
            ["log_yhat = log_softmax(logits)", "log_rest = log_one_minus(log_yhat)", "return y * log_rest"],
        ),
        ("yhat / K", ["yhat = F.softmax(logits, -1)", "classes = y.shape[-1]", "return yhat / (classes + EPS)"]),
        ("yhat / (K - 1e-7)", ["yhat = F.softmax(logits, -1)", "classes = y.shape[-1]", "return yhat / classes"]),
        ("sin(yhat + 1.5707963267948966)", ["yhat = F.softmax(logits, -1)", "return torch.cos(yhat)"]),
        ("y * sigmoid(1)", ["t1 = 0.7310585786300049  # sigmoid(1)", "return y * t1"]),
        ("max(y, 0.5)", ["return torch.maximum(y.new_tensor(0.5), y)"]),
        (
            "exp(y * yhat) * tanh(exp(y * yhat))",
            ["yhat = F.softmax(logits, -1)", "t1 = torch.exp(y * yhat)", "return t1 * torch.tanh(t1)"],
        ),
    ],
)  # fmt: skip
def test_code_reads_as_if_written(formula: str, lines: list[str]) -> None:
    assert body(formula) == lines


def test_a_flip_is_a_minus() -> None:
    assert body("y + yhat", flip=True)[-1] == "return -(y + yhat)"
    assert body("2 + 3", flip=True) == ["return torch.full_like(y, -5)"]


def test_only_what_may_overflow_is_guarded() -> None:
    assert not any("guard" in line for line in body("y / yhat + exp(yhat)"))
    assert sum(line.count("guard") for line in body("y * tanh(exp(1 / yhat))")) > 3


@pytest.mark.parametrize("framework", PYTHON)
def test_files_are_clean(framework: str, tmp_path: Path) -> None:
    """They pass ruff and hold nothing that they do not use; their lines are not long."""
    modules = [*map(loss, ZOO), *(loss(e, flip=False) for e in accepted_expressions(40, seed=3))]
    for number, module in enumerate(modules):
        text = export(module, to=framework)
        assert "lossmith" not in text.replace('package="lossmith"', "")  # in no import
        (tmp_path / f"{number}.py").write_text(text)
    rules = ["--isolated", "--select", "E4,E7,E9,F,I,UP,B", "--target-version", "py311", "--line-length", "120"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    for number, module in enumerate(modules):
        tree = ast.parse((tmp_path / f"{number}.py").read_text())
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert defined - read <= {names(module).function, names(module).module}


@pytest.mark.parametrize(("name", "x"), [("focal", "focal"), ("formula", LONGER)])
def test_golden(name: str, x: str) -> None:
    """Two files for people to read; after a change of the writer, read the new ones."""
    text = export(loss(x), to="torch").replace(f"Lossmith {__version__}", "Lossmith VERSION")
    assert text == (GOLDEN / f"exported_{name}.py.txt").read_text()


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function", "module"),
    [
        ("baikal", "baikal_loss", "BaikalLoss"),
        ("my-loss", "my_loss", "MyLoss"),
        ("MyBest", "my_best_loss", "MyBestLoss"),
        ("class", "class_loss", "ClassLoss"),
        ("2nd \u00e9tude; import os", "a_2nd_etude_import_os_loss", "A2ndEtudeImportOsLoss"),
        ('"""\n', "unnamed_loss", "UnnamedLoss"),
        ("x" * 300, f"{'x' * 40}_loss", f"{('x' * 40).capitalize()}Loss"),
    ],
)
def test_names(name: str, function: str, module: str) -> None:
    called = names(named(name))
    assert (called.function, called.module) == (function, module)
    assert called.function.isidentifier()


@pytest.mark.parametrize("framework", PYTHON)
@pytest.mark.parametrize(
    "text", ['"""', "\\", '\\"""; x = 1  # "', 'ends with "', "\\N{BULLET} \\x", "a\nb\r\0c\u2028d"]
)
def test_no_text_escapes_the_docstring(framework: str, text: str) -> None:
    module = named(text)
    module.provenance = {"run": text, text: [text]}
    tree = ast.parse(export(module, to=framework))
    document = ast.get_docstring(tree, clean=False)
    assert document is not None
    assert " ".join("".join(c if c.isprintable() else " " for c in text).split()) in document
    assigned = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    assert not any(isinstance(target, ast.Name) and target.id == "x" for target in assigned)


def test_the_docstring_tells_what_the_loss_is(tmp_path: Path) -> None:
    expression = Expression.from_text("y * log(yhat) / 2")
    path = tmp_path / "best.json"
    path.write_text(expression.to_json(flip=True, provenance={"run": "digits", "validation_accuracy": 0.97}))
    module = loss(path)
    assert module.provenance == {"run": "digits", "validation_accuracy": 0.97}
    document = ast.get_docstring(ast.parse(module.export("torch"))) or ""
    for said in (
        f"f(y, yhat) = -({expression.text})", "a / b stands for a / (b + EPS)", "the minus in front", expression.key,
        "run = digits, validation_accuracy = 0.97", "sum over the classes",
    ):  # fmt: skip
        assert said in document
    focal = ast.get_docstring(ast.parse(loss("focal", gamma=1.5).export("jax"))) or ""
    assert "gamma = 1.5" in focal
    assert "arXiv 1708.02002" in focal


def test_the_loss_s_own_arguments_are_defaults() -> None:
    module = loss("focal", reduction="sum", label_smoothing=0.25, ignore_index=7)
    for framework in ("torch", "jax"):
        text = module.export(framework)
        assert 'reduction: str = "sum"' in text
        assert "label_smoothing: float = 0.25" in text
        assert "ignore_index: int = 7" in text
        assert "= -100" not in text
    text = loss("focal", reduction="none", ignore_index=7).export("keras")
    assert "reduction: str | None = None" in text
    assert "ignore_class: int | None = 7" in text


# -- LaTeX and JSON --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [*ZOO, LONGER, "y * log(yhat)"])
def test_latex(x: str) -> None:
    text = export(loss(x), to="latex")
    equation = text.split(r"\begin{equation}")[1].split(r"\end{equation}")[0]
    assert "<math" in convert(equation)
    assert equation.count("{") == equation.count("}")
    assert (r"\epsilon = 10^{-7}" in text) == (r"\epsilon" in equation)
    assert (r"\hat{y} = \operatorname{softmax}(z)" in text) == (r"\hat{y}" in equation)
    assert "Lower is better." in text


def test_latex_prints_any_name() -> None:
    module = named("100% & $x_1$ \\end{document}\n\\input{x}")
    commented, rest = export(module, to="latex").split(r"\begin{equation}")
    assert all(line.startswith("%") for line in commented.splitlines())
    assert r"\input" not in rest


@pytest.mark.parametrize(("x", "parameters"), [(name, {}) for name in ZOO] + [
    ("focal", {"gamma": 0.5}), ("bi_tempered", {"t1": 0.5, "t2": 2.0}), ("y * log(yhat)", {}), ("-y*log(yhat) / K", {}),
    (LONGER, {}),
])  # fmt: skip
def test_json_reads_back(x: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    module = loss(x, **parameters)
    path = tmp_path / "loss.json"
    path.write_text(export(module, to="json"))
    again = loss(path, label_smoothing=0.1)
    assert (again.name, again.formula, again.flip, again.settings) == (
        module.name, module.formula, module.flip, module.settings,
    )  # fmt: skip
    assert again.expression == module.expression
    assert torch.equal(again(LOGITS, LABELS), loss(x, label_smoothing=0.1, **parameters)(LOGITS, LABELS))
    assert export(loss(path), to="json") == path.read_text()
    with pytest.raises(LossmithError, match="JSON holds the loss alone"):
        export(again, to="json")


def test_json_keeps_an_orientation_that_was_said(tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    path.write_text(export(loss("-y * log(yhat)", flip=True), to="json"))
    assert loss(path).flip
    assert not loss(path, flip=False).flip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": "lossmith-zoo", "version": 1, "name": "focul"}, "unknown zoo loss 'focul' (did you mean 'focal'?)"),
        ({"format": "lossmith-zoo", "version": 2, "name": "focal"}, "version 2 is newer than this program"),
        ({"format": "lossmith-zoo", "name": "focal"}, "expected a version and parameters"),
        ({"format": "lossmith-zoo", "version": 1, "name": ["focal"]}, "unknown zoo loss '['focal']'"),
        ({"format": "lossmith-zoo", "version": 1, "name": "focal", "parameters": [1]}, "expected a version and param"),
        ({"format": "lossmith-zoo", "version": 1, "name": "focal", "parameters": {"weight": 1}}, "unknown parameter"),
        ({"format": "lossmith-zoo", "version": 1, "name": "focal", "parameters": {"gamma": "1"}}, "must be a number"),
        ({"format": "lossmith-other"}, "expected format 'lossmith-expression'"),
        ([1], "expected a mapping of nodes"),
    ],
)  # fmt: skip
def test_wrong_files_are_told(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    path.write_text(json.dumps(content))
    with pytest.raises(LossmithError) as caught:
        loss(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# -- refusals and the command ----------------------------------------------------------------------------------------


def test_refusals() -> None:
    with pytest.raises(LossmithError, match=r"unknown format 'pytorch' \(did you mean 'torch'\?\); use torch, keras, "):
        export(loss("focal"), to="pytorch")
    with pytest.raises(LossmithError, match="class weights belong to the data"):
        export(loss("focal", weight=torch.ones(3)), to="torch")
    mine = ExampleLoss("mine", "mine", "", function=lambda logits, y, dim: (logits * y).sum(dim))
    with pytest.raises(LossmithError, match="no source is known of loss 'mine'"):
        export(mine, to="torch")
    with pytest.raises(GraphError, match="cannot be stored"):
        export(mine, to="json")


def test_the_command(tmp_path: Path) -> None:
    for to in ("latex", "json"):
        assert run_lossmith("export", "baikal", "--to", to) == export(loss("baikal"), to=to)
    path = tmp_path / "baikal.py"
    assert run_lossmith("export", "baikal", "--to", "torch", "--out", path).strip() == str(path)
    logits = LOGITS.clone().requires_grad_()
    torch.testing.assert_close(load(path).baikal_loss(logits, LABELS), loss("baikal")(LOGITS, LABELS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["baikal", "--to", "tensorflow"], "unknown format 'tensorflow'"),
        (["y +", "--to", "torch"], "formula, character 4"),
        (["baikal", "--to", "torch", "--out", "/no/such/place.py"], "/no/such/place.py: cannot write"),
        (["baikal", "--to", "torch", "--out", ""], "--out: name a file"),
        (["/", "--to", "torch"], "/: has no best.json"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], message: str) -> None:
    said = run_lossmith("export", *arguments, code=2)
    assert message in said
    assert len(said.strip().splitlines()) == (3 if "character" in message else 1)  # a formula is shown with a pointer
