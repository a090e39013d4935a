"""The house stands as it is drawn: wings without circles, few arrows, private rooms, files and folders of a size."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "surefoot"
FILES = sorted(SOURCE.rglob("*.py"))
MOST_ARROWS = 46
"""Between wings; those to `core`, which all have, and those of the command line, which calls all, are left out."""


def module_of(file: Path) -> str:
    parts = ("surefoot", *file.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


@cache
def imports(file: Path) -> tuple[tuple[str, str], ...]:
    """(module, name) of everything that a file imports from this package, wherever in the file."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    named = [(str(node.module), one.name) for node in nodes if isinstance(node, ast.ImportFrom) for one in node.names]
    plain = [(one.name, "") for node in nodes if isinstance(node, ast.Import) for one in node.names]
    return tuple((module, name) for module, name in named + plain if module.split(".")[0] == "surefoot")


def wing_of(module: str) -> str:
    return [*module.split("."), ""][1]


def arrows() -> Iterator[tuple[str, str, Path]]:
    for file in FILES:
        for module, _ in imports(file):
            if wing_of(module) and wing_of(module) != wing_of(module_of(file)):
                yield wing_of(module_of(file)), wing_of(module), file


def test_wings_have_no_circle_and_few_arrows() -> None:
    below: dict[str, set[str]] = defaultdict(set)
    for wing, other, _ in arrows():
        below[wing].add(other)
    TopologicalSorter(below).prepare()
    drawn = sorted(
        (wing, other) for wing, others in below.items() for other in others if wing != "cli" and other != "core"
    )
    assert len(drawn) <= MOST_ARROWS, drawn


def test_files_have_no_circle() -> None:
    needs: dict[str, set[str]] = {}
    for file in FILES:
        if file.name != "__init__.py":  # a package's face hands on what lies in it
            found = {f"{module}.{name}" if f"{module}.{name}" in MODULES else module for module, name in imports(file)}
            needs[module_of(file)] = {one for one in found if one in MODULES and MODULES[one].name != "__init__.py"}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(f"These files import each other: {error.args[1]}")


def test_private_rooms_are_imported_by_their_own_wing_alone() -> None:
    strangers = [
        f"{file.relative_to(SOURCE)} imports {module} {name}"
        for file in FILES
        for module, name in imports(file)
        if wing_of(module) and wing_of(module) != wing_of(module_of(file))
        if any(part.startswith("_") for part in chain(module.split(".")[2:], [name] if wing_of(module) else []))
    ]
    assert not strangers


def test_folders_hold_at_most_twelve_files_and_files_450_lines() -> None:
    folders = {
        folder: len([file for file in FILES if file.parent == folder and file.name != "__init__.py"])
        for folder in {file.parent for file in FILES}
    }
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert not {str(folder): count for folder, count in folders.items() if count > 12}
    assert not {str(file): count for file, count in lengths.items() if count >= 450}
