"""Members of packages are read into memory under limits; hostile archives write nothing and read nothing else."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from surefoot.core import SurefootError
from surefoot.registry import read_members

Tarball = Callable[..., Path]


def test_named_members_are_read_from_a_tarball_and_from_a_wheel(tmp_path: Path, tarball: Tarball) -> None:
    members = {"package/a.json": b"[1]", "package/b.json": b"[2]"}
    tgz = tarball(tmp_path / "a.tgz", members)
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    for path in (tgz, tmp_path / "a.whl"):
        assert read_members(path, ["package/b.json"]) == {"package/b.json": b"[2]"}
        assert read_members(path, members) == members


def test_a_member_that_is_not_there_is_named(tmp_path: Path, tarball: Tarball) -> None:
    with pytest.raises(SurefootError, match=r"a\.tgz has no file named package/c\.json"):
        read_members(tarball(tmp_path / "a.tgz", {"package/a.json": b""}), ["package/c.json"])


def test_paths_that_escape_have_no_effect(tmp_path: Path, tarball: Tarball) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = tarball(folder / "a.tgz", {"../evil": b"x", "/tmp/evil-surefoot": b"x", "ok": b"fine"})
    assert read_members(path, ["ok"]) == {"ok": b"fine"}
    assert sorted(tmp_path.rglob("*")) == [folder, path]
    assert not Path("/tmp/evil-surefoot").exists()


def test_a_link_is_never_followed(tmp_path: Path, tarball: Tarball) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = tarball(tmp_path / "a.tgz", {}, links={"package/icons.json": str(secret)})
    with pytest.raises(SurefootError, match="has no file named"):
        read_members(path, ["package/icons.json"])


def test_a_decompression_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, tarball: Tarball) -> None:
    zeros = bytes(64 << 20)
    tgz = tarball(tmp_path / "bomb.tgz", {"skipped": zeros, "wanted": b"1"})
    with zipfile.ZipFile(tmp_path / "bomb.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wanted", zeros)
    for path in (tgz, tmp_path / "bomb.whl"):
        assert path.stat().st_size < 1 << 20
        with pytest.raises(SurefootError, match=r"more than 8 MB .* decompression bomb"):
            read_members(path, ["wanted"], max_bytes=8 << 20)


@pytest.mark.parametrize("kept", [0, 10, 300, 900])
def test_a_truncated_package_is_said_to_be_damaged(kept: int, tmp_path: Path, tarball: Tarball) -> None:
    path = tarball(tmp_path / "a.tgz", {"a": bytes(range(256)) * 8, "b": b"end"})
    path.write_bytes(path.read_bytes()[: min(kept, path.stat().st_size - 20)])
    with pytest.raises(SurefootError, match=r"is damaged|has no file named b"):
        read_members(path, ["b"])


def test_bytes_that_are_no_archive_are_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    for content in (b"not an archive", gzip.compress(b"not a tar file" * 100)):
        path.write_bytes(content)
        with pytest.raises(SurefootError, match="is damaged"):
            read_members(path, ["a"])
