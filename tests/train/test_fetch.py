"""The download of Fashion-MNIST, against a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lossmith.errors import DataError
from lossmith.train.data import FASHION_MNIST_URL, fetch_fashion_mnist
from lossmith.train.data.fashion import PUBLISHED_MD5

CONTENT = {"one.gz": b"1" * 200_000, "two.gz": b"22"}
CHECKSUMS = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in CONTENT.items()}


class Quiet(SimpleHTTPRequestHandler):
    served: list[str]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the overridden method's name
        self.served.append(self.path)


@pytest.fixture
def served() -> list[str]:
    return []


@pytest.fixture
def server(tmp_path: Path, served: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of CONTENT."""
    monkeypatch.setenv("no_proxy", "*")
    root = tmp_path / "server"
    root.mkdir()
    for name, content in CONTENT.items():
        (root / name).write_bytes(content)
    handler = type("Handler", (Quiet,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(root))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_fetches_every_file_and_tells_progress(server: str, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    target = tmp_path / "deep" / "cache"
    returned = fetch_fashion_mnist(
        target,
        progress=lambda name, received, total: told.append((name, received, total)),
        base_url=server + "/",
        checksums=CHECKSUMS,
    )
    assert returned == target
    assert {file.name: file.read_bytes() for file in target.iterdir()} == CONTENT
    for name, content in CONTENT.items():
        received = [count for told_name, count, total in told if told_name == name and total == len(content)]
        assert received == sorted(received)
        assert received[-1] == len(content)


def test_keeps_what_is_intact_and_replaces_what_is_not(server: str, tmp_path: Path, served: list[str]) -> None:
    (tmp_path / "one.gz").write_bytes(CONTENT["one.gz"])
    (tmp_path / "two.gz").write_bytes(b"torn")
    told: list[str] = []
    fetch_fashion_mnist(tmp_path, progress=lambda name, *_: told.append(name), base_url=server, checksums=CHECKSUMS)
    assert served == ["/two.gz"]
    assert (tmp_path / "two.gz").read_bytes() == CONTENT["two.gz"]
    assert told == ["one.gz", "two.gz"]


def test_a_wrong_checksum_leaves_nothing_behind(server: str, tmp_path: Path) -> None:
    target = tmp_path / "cache"
    with pytest.raises(DataError, match=r"one\.gz: the download is damaged \(MD5 sum .*, expected 0{32}\); try again"):
        fetch_fashion_mnist(target, base_url=server, checksums={"one.gz": "0" * 32})
    assert not target.exists()


def test_an_interrupt_leaves_nothing_behind(server: str, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        fetch_fashion_mnist(target, progress=interrupt, base_url=server, checksums=CHECKSUMS)
    assert not target.exists()


def test_a_missing_file_and_no_network_are_data_errors(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.gz: cannot download \(.*\); check the network, or .*dataset-fashion"):
        fetch_fashion_mnist(tmp_path / "a", base_url=server, checksums={"no.gz": "0" * 32})
    with pytest.raises(DataError, match=r"cannot download \(.*refused.*\); check the network"):
        fetch_fashion_mnist(tmp_path / "b", base_url="http://127.0.0.1:1", checksums=CHECKSUMS)


def test_a_place_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file/cache: cannot make the directory"):
        fetch_fashion_mnist(tmp_path / "file" / "cache", checksums={})


def test_the_published_place_is_secure_and_complete() -> None:
    assert FASHION_MNIST_URL.startswith("https://")
    assert len(PUBLISHED_MD5) == 4
    assert all(len(digest) == 32 for digest in PUBLISHED_MD5.values())
