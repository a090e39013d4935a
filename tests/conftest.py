"""What tests of several wings share: an empty cache, archives, a store in which Steps are made once a session,
and a headless browser."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from surefoot.core import Step, Store, run

Made = Callable[[Step], Path]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores: many tests wait for a server, a browser, or a program that hangs on purpose.

    Neighbours stay with one worker, which makes what they share once; who is done takes from the others.
    """
    if config.option.dist == "no":
        config.option.dist = "worksteal"
    return (os.cpu_count() or 1) + 1


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "empty cache"
    monkeypatch.setenv("SUREFOOT_CACHE", str(directory))
    return directory


@pytest.fixture
def tarball() -> Callable[..., Path]:
    """Write a .tgz, or a .tar, with members by name, and symbolic links before them."""

    def write(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
            for name, target in (links or {}).items():
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return write


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def made(store: Store) -> Made:
    """Make a Step and those it holds, once a session, and give its directory; a failure fails the test."""

    def make(step: Step) -> Path:
        with ThreadPoolExecutor(1) as pool:
            for event in run([step], store, pool):
                assert event.kind not in ("failed", "blocked"), event.error
        return store.path(step)

    return make


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def surefoot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Ended]:
    """Run `surefoot ARGUMENTS` in an empty directory with a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUREFOOT_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    from surefoot.cli import main

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["surefoot", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return Ended(code if isinstance(code, int) else 0, captured.out, captured.err)

    return call


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk of a size, such as "2m"; skips where that is not allowed."""
    place = tmp_path / "small disk"

    def mount(size: str) -> Path:
        place.mkdir()
        line = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place]
        if subprocess.run(line, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk needs root")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium, from the variable SUREFOOT_CHROMIUM or the search path.

    Its loop runs in the thread of the tests as long as it lives, so that it ends with its module.
    """
    names = (os.environ.get("SUREFOOT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on the search path, and SUREFOOT_CHROMIUM does not name one")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()
