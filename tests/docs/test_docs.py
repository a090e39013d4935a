"""The documentation tells the truth: every command is described, and every example runs."""

import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from surefoot.cli import app
from surefoot.cli._common import Exit
from surefoot.core import walk
from surefoot.studies import load_study

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


def test_the_environment_and_the_exit_codes_stand_on_one_page_each() -> None:
    """What a variable sets, and how a command ends, is found without reading the program."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r"SUREFOOT_[A-Z_]+[A-Z]", source))
    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    assert named == set(re.findall(r"SUREFOOT_[A-Z_]+[A-Z]", page))
    gates = (ROOT / "docs" / "how-to" / "gate-a-model-in-ci.md").read_text(encoding="utf-8")
    assert {int(one) for row in re.findall(r"^\| ([\d, ]+) \|", gates, re.MULTILINE) for one in row.split(",")} == {
        int(code) for code in Exit
    }


def test_what_is_printed_is_to_be_pasted_and_needs_no_network() -> None:
    """No quotes that are curled, and no script of mathematics from elsewhere: neither in the pages nor in a help."""
    settings: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    assert settings["smartquotes"] is False
    assert not [one for one in settings["extensions"] if "math" in one]
    for command, text in _helps(app, "surefoot"):
        assert not re.search("[\u201c\u201d\u2018\u2019]|\\$\\$", text), command


def test_the_quickstart_needs_the_extra_that_the_readme_installs_for_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {"pillow": "PIL", "open-clip-torch": "open_clip"}
    given = {re.split(r"[<>=\[]", one)[0].replace("_", "-") for one in [*extras["clip"], *extras["data"]]}
    modules = {names.get(one, one).replace("-", "_") for one in given}
    needed = {module for step in walk(load_study("quickstart", {}).steps) for module in step.requires}
    assert needed <= modules
    assert "pip install -e '.[clip]' && surefoot run quickstart" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "surefoot[all]" not in extras["clip"]
