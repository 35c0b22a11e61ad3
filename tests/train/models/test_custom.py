"""A user's own network: where it is found, where its weights come from, and what is said of one that cannot be used."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from lossmith.errors import ConfigError
from lossmith.train.dropout import ChannelDropout, Dropout
from lossmith.train.models import build_model

_HEAD = "import torch\nfrom torch import nn\n"
_NET = """
def net(in_channels, num_classes):
    first, last = nn.Linear(in_channels * 16, 8), nn.Linear(8, num_classes)
    return nn.Sequential(nn.Flatten(), first, nn.Dropout(0.3), nn.ReLU(), last)
"""
_numbers = itertools.count()

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the working directory and gives its name, which no other test has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: list[str] = []

    def writer(text: str) -> str:
        name = f"lossmith_test_models_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(_HEAD + text)
        names.append(name)
        return name

    yield writer
    for name in names:
        sys.modules.pop(name, None)


def build(name: str, *, seed: int = 0, dropout: float | None = None, weights: str | None = None) -> nn.Module:
    return build_model(
        name,
        in_channels=1,
        num_classes=5,
        generator=torch.Generator().manual_seed(seed),
        dropout_generator=torch.Generator().manual_seed(99),
        dropout=dropout,
        weights=weights,
    )


def test_a_function_in_the_working_directory_is_found_and_called_with_the_datas_sizes(write: Write) -> None:
    path = list(sys.path)
    model = build(f"{write(_NET)}:net")
    assert sys.path == path
    assert model(torch.zeros(2, 1, 4, 4)).shape == (2, 5)
    assert [type(module) for module in model.children()] == [nn.Flatten, nn.Linear, Dropout, nn.ReLU, nn.Linear]


def test_a_module_in_a_package_on_the_python_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "path" / "lossmith_test_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(_HEAD + _NET)
    monkeypatch.syspath_prepend(package.parent)
    assert isinstance(build("lossmith_test_package.nets:net"), nn.Sequential)
    for name in ("lossmith_test_package", "lossmith_test_package.nets"):
        del sys.modules[name]


def test_weights_come_from_the_seed_and_leave_no_trace(write: Write) -> None:
    name = f"{write(_NET)}:net"
    before = torch.random.get_rng_state()
    first, again, other = build(name, seed=1), build(name, seed=1), build(name, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
        assert not torch.equal(value, other.state_dict()[key])


def test_dropout_draws_from_the_generator_and_takes_the_tasks_probability(write: Write) -> None:
    name = f"{write(_NET)}:net"
    assert build(name).get_submodule("2").probability == 0.3
    model = build(name, dropout=0.5)
    assert model.get_submodule("2").probability == 0.5
    before = torch.random.get_rng_state()
    model(torch.ones(4, 1, 4, 4))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_dropout_for_a_model_without_one_is_an_error(write: Write) -> None:
    name = write("def net(in_channels, num_classes):\n    return nn.Linear(in_channels, num_classes)\n")
    with pytest.raises(ConfigError, match=r"a dropout of 0.5 is asked for, but the model has no dropout layer"):
        build(f"{name}:net", dropout=0.5)


def test_a_class_of_the_users_will_do(write: Write) -> None:
    name = write("""
class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.drop = nn.Dropout2d(0.5)
        self.conv = nn.Conv2d(in_channels, num_classes, 3)
    def forward(self, x):
        return self.conv(self.drop(x)).mean((2, 3))
""")
    model = build(f"{name}:Net")
    assert isinstance(model.drop, ChannelDropout)
    assert model(torch.zeros(2, 1, 4, 4)).shape == (2, 5)


@pytest.mark.parametrize(
    ("text", "function", "message"),
    [
        ("", "net", r"_\d+\.py has no 'net'"),
        ("net = 3", "net", r"_\d+\.py cannot call its 'net'"),
        (
            "import lossmith_no_such_thing",
            "net",
            "importing lossmith_test_models_.* raised ModuleNotFoundError: No mod",
        ),
        ("raise RuntimeError('first\\nsecond')", "net", r"importing .* raised RuntimeError: first$"),
        ("raise SystemExit(3)", "net", "importing .* raised SystemExit: 3"),
        ("def net(:", "net", r"importing .* raised SyntaxError: invalid syntax"),
        (
            "def net(classes): ...",
            "net",
            r"net\(in_channels=1, num_classes=5\) raised TypeError: .* unexpected keyword",
        ),
        ("def net(**k): raise ValueError", "net", r"net\(in_channels=1, num_classes=5\) raised ValueError$"),
        ("def net(**k): return 3", "net", "expected a torch.nn.Module, net gave int"),
        ("def net(**k): return nn.ReLU()", "net", "it has no weights to train"),
        ("def net(**k): return nn.LazyLinear(3)", "net", "'weight' has no size yet"),
        (
            "def net(**k): return nn.Sequential(nn.Linear(1, 1), nn.Dropout(1.0))",
            "net",
            "layer '1': dropout probability 1",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(write: Write, text: str, function: str, message: str) -> None:
    name = f"{write(text)}:{function}"
    with pytest.raises(ConfigError, match=message) as caught:
        build(name)
    assert str(caught.value).startswith(f"model '{name}': ")
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no module 'lossmith_nowhere' on the Python path or in .*: check its name"):
        build("lossmith_nowhere.nets:net")
    with pytest.raises(ConfigError, match=r"no module 'json.nets' on the Python path or in"):
        build("json.nets:net")


@pytest.mark.parametrize("name", ["a b:net", ":net", "nets:", "nets:a.b", "nets:net()", "../nets:net", "nets.py:3"])
def test_a_name_of_another_form(name: str) -> None:
    with pytest.raises(ConfigError, match=r"write your own model as 'package.module:function'"):
        build(name)


def test_weights_of_a_file_go_into_a_users_model(write: Write, tmp_path: Path) -> None:
    name = f"{write(_NET)}:net"
    torch.save(build(name, seed=7).state_dict(), tmp_path / "seven.pt")
    loaded, expected = build(name, seed=1, weights="seven.pt"), build(name, seed=7)
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, expected.state_dict()[key])
