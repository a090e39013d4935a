"""What the tests of data share: one cache for the session, filled through the registries, and a store with drawings."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from surefoot.core import Step, Store, run
from surefoot.data import EMOJIBASE, STYLES, Drawings, fetch
from surefoot.data._concepts import Emoji, read_emoji
from surefoot.data._drawings import read_style
from surefoot.data._iconify import Icon

SIZE = 24
STYLES_DRAWN = ("emojione", "emojione-monotone", "fluent-emoji-high-contrast")

Made = Callable[[Step], Path]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of all tests here: SUREFOOT_CACHE where it is set, else a new one that lasts for the session."""
    chosen = os.environ.get("SUREFOOT_CACHE")
    directory = Path(chosen) if chosen else tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUREFOOT_CACHE", str(directory))
        yield directory


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "empty cache"
    monkeypatch.setenv("SUREFOOT_CACHE", str(directory))
    return directory


@pytest.fixture
def tarball() -> Callable[..., Path]:
    """Write a .tgz with members by name, and symbolic links before them."""

    def write(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
        with tarfile.open(path, "w:gz") as archive:
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
def emoji() -> dict[str, Emoji]:
    return read_emoji(fetch(EMOJIBASE))


@pytest.fixture(scope="session")
def styles_read() -> dict[str, tuple[tuple[Icon, ...], dict[str, Emoji]]]:
    """The drawings of every style, and what they show."""
    return {name: read_style(style, 48) for name, style in STYLES.items()}


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


@pytest.fixture(scope="session")
def drawn(made: Made) -> dict[str, Drawings]:
    """Three styles, drawn small."""
    steps = {name: Drawings(style=name, size=SIZE) for name in STYLES_DRAWN}
    for step in steps.values():
        made(step)
    return steps
