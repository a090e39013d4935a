"""The documentation tells the truth: every command is described, and every example runs."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from surefoot.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
BLOCK = re.compile(r"^```(?P<language>\w+)(?P<flags>[^\n]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(page: Path, language: str) -> list[str]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [match["code"] for match in found if match["language"] == language and "not-run" not in match["flags"]]


def _pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if _blocks(page, language)]


def _helps(commands: App, path: str) -> Iterator[tuple[str, str]]:
    """Every command that does something, with its help; groups such as `surefoot fit` are gone into."""
    for name in commands:
        if not name.startswith("-"):
            command = commands[name]
            inner = [one for one in command if not one.startswith("-")]
            yield from _helps(command, f"{path} {name}") if inner else [(f"{path} {name}", str(command.help))]


@pytest.mark.parametrize(("command", "text"), list(_helps(app, "surefoot")))
def test_the_help_of_every_command_has_an_example_of_it(command: str, text: str) -> None:
    assert f"Example: {command}" in text


def test_the_reference_of_the_commands_is_made_from_the_program() -> None:
    page = app.generate_docs()
    assert all(command in page for command, _ in _helps(app, "surefoot"))


@pytest.mark.parametrize("page", _pages_with("python"), ids=lambda page: page.name)
def test_the_python_examples_of_a_page_run_one_after_another(page: Path, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text("\n".join(_blocks(page, "python")), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("page", _pages_with("shell"), ids=lambda page: page.name)
def test_the_shell_examples_of_a_page_run_one_after_another(page: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in "\n".join(_blocks(page, "shell")).replace("\\\n", " ").splitlines():
        if line.strip():
            ended = subprocess.run(
                line, shell=True, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
            )
            assert ended.returncode == 0, f"{shlex.quote(line)}\n{ended.stderr}"
