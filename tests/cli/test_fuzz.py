"""Random options and damaged files for every verb: one sentence and a documented exit code, never a traceback.

The seed is fixed; raise SUREFOOT_FUZZ (cases a verb) and SUREFOOT_FUZZ_SEED by hand to look for what is rarer.
"""

import json
import os
import random
import re
import shutil
import struct
import sys
import typing
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from surefoot.cli import app, main

CASES = int(os.environ.get("SUREFOOT_FUZZ", "3"))
SEED = int(os.environ.get("SUREFOOT_FUZZ_SEED", "20260101"))
STUDY = Path(__file__).with_name("arithmetic_study.py")
NUMBERS = ["-3", "0", "1", "2", "0.5", "-1e-9", "nan", "inf", "1e400", "many", "", "[/x]"]
WORDS = [
    "",
    "x",
    "y",
    "loss",
    "[/weights]",
    "[blue]x",
    "%s {0}",
    "é\u2028",
    "'",
    '"',
    "a\tb",
    "=",
    "x=",
    "x=1",
    "-",
    "..",
    "9" * 300,
]
BAD = re.compile(r'Traceback|File "|\.py:\d+: |<[a-z_.]+ object at 0x')


def verbs(commands: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in commands:
        if not name.startswith("-"):
            command = commands[name]
            inner = [one for one in command if not one.startswith("-")]
            yield from verbs(command, (*path, name)) if inner else [((*path, name), command)]


def files(place: Path) -> list[str]:
    """Whole and damaged files of every format that a verb may read."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    whole = struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.0, 2.0)
    rows = "\n".join(f"{size},{size**-0.5},m{size % 3}" for size in range(1, 30))
    contents: dict[str, bytes] = {
        "empty": b"",
        "empty.csv": b"",
        "noise.parquet": bytes(range(256)),
        "noise.safetensors": b"\xff" * 64,
        "cut.safetensors": whole[:-3],
        "whole.safetensors": whole,
        "long.safetensors": struct.pack("<Q", 2**60) + header,
        "whole.csv": f"x,loss,name\n{rows}\n".encode(),
        "head.csv": b"x,loss,name\n",
        "ragged.csv": b"x,loss\n1\n2,3,4\n[/x],nan\n",
        "latin.csv": "x,loss\n1,\xe9\n".encode("latin-1"),
        "cut.json": b'{"format": 1, "root": ',
        "list.json": b"[1, [2]]",
        "deep.json": b"[" * 5000,
        "merge.yaml": b"merge_method: linear\nmodels:\n  - model: whole.safetensors\n    parameters: {weight: 1}\n",
        "wrong.yaml": b"merge_method: [/x]\nmodels: 7\n",
        "cut.yaml": b"models: [a, {b: ",
        "wrong_of_fuzz.py": b"def study(:",
        "raising_of_fuzz.py": b"def study(*, x: int = 1):\n    raise KeyError('x')",
        "classes.txt": b"cat\ndog\n",
    }
    for name, content in contents.items():
        (place / name).write_bytes(content)
    (place / "folder").mkdir()
    (place / "loop").symlink_to(place / "loop")
    return [*contents, "folder", "loop", "not there", "new.csv", "new.xyz", "/proc/none/x", "new.json"]


def value(chance: random.Random, hint: Any, paths: list[str]) -> list[str]:
    """One value for an option of this type, often a wrong one."""
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return [str(chance.choice([*options, *WORDS[:6]]))]
    if typing.get_origin(hint) is tuple:
        return [text for _ in range(chance.randint(1, 2)) for text in value(chance, options[0], paths)]
    if len(options) > 0:
        return value(chance, options[0], paths)
    if hint is bool:
        return []
    return [chance.choice(NUMBERS if hint in (int, float) else paths if hint is Path else [*WORDS, *paths])]


def arguments(chance: random.Random, command: App, paths: list[str]) -> list[str]:
    given: list[str] = []
    for argument in command.assemble_argument_collection():
        name = argument.names[0] if argument.names else ""
        positional = not name.startswith("-")
        if name in ("*", "--pool", "--open", "--store") or (not positional and chance.random() < 0.6):
            continue
        found = value(chance, argument.hint, paths)
        if name == "STUDY":
            found = [chance.choice([str(STUDY), *paths, *WORDS])]
        elif name == "--option":
            found = [
                chance.choice(
                    ["count=3", "adds=1,13", "bound=nan", "bound=inf", "count=", "x", "=", "mistake=name", "width=-1"]
                )
            ]
        given += [text for one in found for text in ([one] if positional else [name, one])] or [name]
    return given


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the small study was run."""
    place = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["surefoot", "run", str(STUDY), "--pool", "here", "--no-open", "--store", "whole"])
        with pytest.raises(SystemExit):
            main()
    return place / "whole"


def damage(chance: random.Random, store: Path) -> str:
    """Delete, cut, empty or fill with noise one file of the store, or put something strange beside it."""
    path = chance.choice(sorted(item for item in store.rglob("*") if item.is_file()))
    way = chance.choice(["delete", "cut", "empty", "noise", "null", "list", "folder", "stranger"])
    if way == "stranger":
        (store / "stranger.file").write_text("x")
        (store / "a.kind" / ("f" * 20)).mkdir(parents=True, exist_ok=True)
        return "a stranger"
    content = path.read_bytes()
    path.unlink()
    if way == "folder":
        path.mkdir()
    elif way != "delete":
        path.write_bytes(
            {
                "cut": content[: len(content) // 2],
                "empty": b"",
                "noise": b"\xff\x00" * 9,
                "null": b"null",
                "list": b"[]",
            }[way]
        )
    return f"{way} {path.relative_to(store)}"


def tried(given: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is wrong with how the command ended, or ''."""
    monkeypatch.setattr(sys, "argv", ["surefoot", *given])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    said = capsys.readouterr()
    if code not in (0, 1, 2):
        return f"exit code {code}: {said.err[-600:]}"
    if code == 2 and not said.err.strip():
        return "exit code 2 without a word"
    return "" if not BAD.search(said.err) else said.err[-600:]


def report(found: list[str]) -> None:
    assert not found, "\n\n".join([f"{len(found)} ended badly", *found[:12]])


@pytest.mark.parametrize(
    ("path", "command"), list(verbs(app)), ids=lambda item: "-".join(item) if isinstance(item, tuple) else ""
)
def test_random_options_for_every_verb(
    path: tuple[str, ...],
    command: App,
    *,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    whole_store: Path,
) -> None:
    chance = random.Random(f"{SEED} {path}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUREFOOT_STORE", str(shutil.copytree(whole_store, tmp_path / "store")))
    paths = files(tmp_path)
    found = []
    for _ in range(CASES):
        given = [*path, *arguments(chance, command, paths), *(["--no-open"] if path[0] in ("run", "report") else [])]
        given += ["--pool", "here"] if path[0] in ("run", "check") else []
        wrong = tried(given, capsys, monkeypatch)
        found += [f"surefoot {' '.join(map(repr, given))}\n{wrong}"] if wrong else []
    report(found)


STORE_VERBS: dict[str, Callable[[str], list[str]]] = {
    "plan": lambda key: ["plan", str(STUDY)],
    "run": lambda key: ["run", str(STUDY), "--pool", "here", "--no-open"],
    "why": lambda key: ["why", str(STUDY), "-o", "count=3"],
    "check": lambda key: ["check", str(STUDY)],
    "report": lambda key: ["report", str(STUDY), "--no-open"],
    "show": lambda key: ["show", key],
    "table": lambda key: ["table", "--rows", "metric"],
    "compare": lambda key: ["compare", key, key],
    "stale": lambda key: ["stale"],
    "export": lambda key: ["export", "all.sqlite"],
    "clean": lambda key: ["clean", "--keep", str(STUDY), "--yes"],
}


@pytest.mark.parametrize("verb", STORE_VERBS)
def test_damaged_stores_for_every_verb_of_a_store(
    verb: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, whole_store: Path
) -> None:
    chance = random.Random(f"{SEED} {verb}")
    monkeypatch.chdir(tmp_path)
    found = []
    for case in range(CASES):
        store = tmp_path / f"store {case}"
        shutil.copytree(whole_store, store)
        key = chance.choice(sorted(path.name for path in store.glob("*/*") if len(path.name) == 20))
        done = [
            damage(chance, store)
            for _ in range(chance.randint(1, 2))
            if any(item.is_file() for item in store.rglob("*"))
        ]
        monkeypatch.setenv("SUREFOOT_STORE", str(store))
        wrong = tried(STORE_VERBS[verb](key), capsys, monkeypatch)
        found += [f"{verb} after {done}\n{wrong}"] if wrong else []
        shutil.rmtree(store)
    report(found)
