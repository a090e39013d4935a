"""Mistakes of users, hostile text and broken outputs: one line and the right exit code, never a traceback."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Verb = Callable[..., Any]
STUDY = Path(__file__).with_name("arithmetic_study.py")
HOSTILE = """
from dataclasses import dataclass
from surefoot.core import Claim, Step, Study, verdict_above

@dataclass(frozen=True, kw_only=True)
class Bad(Step):
    text: str = "[/weights] [blue]x[/blue] :smile: \\x1b[2J"

    def make(self, out, inputs):
        raise ValueError(f"look at {self.text}")

def study(*, seeds: int = 2, sizes: tuple[int, ...] = (1, 2), fast: bool = False) -> Study:
    claim = Claim(name="c", sentence="A [red]claim[/red] [/x]", check=lambda results: verdict_above(0.1, 0.05, 0.2, 3))
    return Study(name="hostile", title="S", summary="s", steps=(Bad(),), claims=(claim,))
"""


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with outputs of choice."""
    code = "from surefoot.cli import main; main()"
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, **{"stdout": -1, "stderr": -1, **options})


def test_text_of_steps_errors_and_claims_is_printed_as_it_is(surefoot: Verb, tmp_path: Path) -> None:
    (tmp_path / "hostile_study.py").write_text(HOSTILE)
    ended = surefoot("run", "hostile_study.py", "--pool", "here", "--no-open")
    assert "look at [/weights] [blue]x[/blue] :smile: \ufffd[2J" in ended.err
    assert "A [red]claim[/red] [/x]" in ended.out
    assert (ended.code, "\x1b[2J" in ended.err + ended.out) == (1, False)


LAWS = "fit scaling t.csv --x n --y e"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{LAWS} --at np.float64(3)", "'np.float64(3)' is no place to predict at"),
        (f"{LAWS} --optimal soon", "'soon' is no place to predict at"),
        (f"{LAWS} --optimal 1e9 --cost nan", "must be above 0; got nan"),
        (f"{LAWS} --at 1e9 --show points", "print a table each: give one of them"),
        (f"{LAWS} --out law.foo", "No format for law.foo"),
        (f"{LAWS} --out nowhere/law.tsv", "its folder is not there"),
        (f"{LAWS} --format parquet", "Parquet is not text"),
        (f"{LAWS} --figure law.gif", "the name must end in .svg"),
        (f"{LAWS} --figure nowhere/law.svg", "its folder is not there"),
        ("fit scaling t.csv --x n d --y e --figure law.svg", "A figure shows a law of one x"),
        ("fit curve t.csv --x n --y e --at 0", "give numbers above 0 for n"),
        ("fit shift t.csv --x n --out law", "No format for law"),
        ("fit shift t.csv --x n --show lines models --format csv", "Several sections are printed as text or JSON"),
        ("fit shift t.csv --x n --figure law.bmp", "the name must end in .svg"),
        ("compare a.parquet b.parquet --out x.foo", "No format for x.foo"),
        ("table --out x.foo", "No format for x.foo"),
        ("check quickstart --run --format parquet", "Parquet is not text"),
        ("reading score p.json d.json --out x.foo", "No format for x.foo"),
        ("reading enough p.parquet --out x.foo", "No format for x.foo"),
        ("reading evaluate --model m --data d.json --out x.foo", "No format for x.foo"),
        ("multihop replay r.jsonl --figure x.gif", "the name must end in .svg"),
        ("multihop gap --model m --questions q.json --out run.json", "must end in .jsonl or .jsonl.gz"),
        ("tabular audit p.csv --score s --sensitive g --format parquet", "Parquet is not text"),
        ("evaluate --model m --images nowhere", '"nowhere" does not exist'),
        ("evaluate --model m --images . --classes nowhere", '"nowhere" does not exist'),
        ("evaluate --model m --images . --templates nowhere.txt", "The templates nowhere.txt cannot be read"),
        ("evaluate --model m --images . --templates one.txt", "has no {} for the name of the class"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_before_any_file_is_read(
    surefoot: Verb, tmp_path: Path, arguments: str, message: str
) -> None:
    (tmp_path / "one.txt").write_text("a photo\n")
    ended = surefoot(*arguments.split())
    assert message in ended.err
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)


def test_bars_on_a_terminal_interpret_no_markup(tmp_path: Path) -> None:
    (tmp_path / "hostile_study.py").write_text(HOSTILE)
    environment = os.environ | {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "300"}
    ended = process("run", "hostile_study.py", "--pool", "here", "--no-open", cwd=tmp_path, env=environment)
    assert "look at [/weights] [blue]x[/blue] :smile: \ufffd[2J" in ended.stderr
    assert ended.returncode == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def study(:", "SyntaxError: invalid syntax (wrong_study.py, line 1)."),
        ("import surefoot\n\nx = undefined", "NameError: name 'undefined' is not defined (wrong_study.py, line 3)."),
        ("import not_there_at_all", "There is no Python module 'not_there_at_all' here."),
        ("x = 1", "expected a function named 'study'"),
        ("def study():\n    return 1 / 0", "built: ZeroDivisionError: division by zero (wrong_study.py, line 2)."),
        ("def study():\n    return 7", "returned int, not a Study"),
        ("import sys\nsys.exit(0)", "cannot be read: SystemExit: 0 (wrong_study.py, line 2)."),
        ("def study():\n    raise SystemExit(0)", "built: SystemExit: 0 (wrong_study.py, line 2)."),
        (
            "from surefoot.core import Claim, Study\n"
            "twice = (Claim(name='d', sentence='', check=print),) * 2\n"
            "def study():\n    return Study(name='s', title='', summary='', steps=(), claims=twice)",
            "two of its claims are named 'd': give each its own name.",
        ),
        (
            "from surefoot.core import Study\n"
            "def study():\n    return Study(name='s', title='', summary='', steps=(1,))",
            "its steps must all be Steps, got 1.",
        ),
        ("def study(*, a: 'Nowhere' = 1):\n    return 7", "an option whose type cannot be found"),
    ],
)  # fmt: skip
def test_a_study_file_that_is_wrong_says_where(surefoot: Verb, tmp_path: Path, code: str, message: str) -> None:
    sys.modules.pop("wrong_study", None)
    (tmp_path / "wrong_study.py").write_text(code)
    ended = surefoot("plan", "wrong_study.py")
    assert message in ended.err
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", STUDY, "--workers", "-3"), "Must be >= 1"),
        (("plan", STUDY, "--workers", "0"), "Must be >= 1"),
        (("check", STUDY, "--stirct"), "--stirct"),
        (("chekc", STUDY), "chekc"),
        (("check", STUDY, "--format", "xx[/b]"), 'Invalid value "xx[/b]"'),
        (("plan", STUDY, "-o", "count=2", "-o", "count=3"), "Option count was given more than once"),
        (("report", STUDY, "--out", "/proc/none/x.html", "--no-open"), "cannot be written"),
        (("table", "--values", "zzz"), "--columns and --values need --rows"),
        (("compare", "a.parquet", "b.parquet", "--cluster", ""), "What follows --cluster is empty"),
        (("weights", "merge", "x.yml", ""), "What follows x.yml is empty: a variable of the shell that is not set?"),
        (("",), "What follows surefoot is empty"),
        (("plan", "a.b.py"), "There is no study file"),
    ],
)
def test_a_mistake_in_the_call_is_one_line_and_exit_code_2(
    surefoot: Verb, arguments: tuple[object, ...], message: str
) -> None:
    ended = surefoot(*arguments)
    assert message in ended.err
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", [("plan", STUDY), ("--help",), ("check", STUDY)])
def test_a_full_device_as_output_is_said(verb: tuple[object, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = process(*verb, stdout=full, cwd=tmp_path)
    assert ended.returncode == 2
    assert "The output cannot be used: No space left on device." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_reader_that_goes_away_ends_the_command_quietly_and_not_green(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = process("check", STUDY, stdout=write, cwd=tmp_path)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_terminal_that_knows_no_check_mark_shows_the_verdict_all_the_same(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    (tmp_path / "hostile_study.py").write_text(HOSTILE)
    ended = process("run", "hostile_study.py", "--pool", "here", "--no-open", cwd=tmp_path, env=environment)
    assert "\\u2713 supported" in ended.stdout


def test_a_fault_is_one_line_with_its_place_and_a_code_of_its_own(
    surefoot: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot.cli._study.plan_of", lambda *given: 1 / 0)
    ended = surefoot("plan", STUDY)
    assert "ZeroDivisionError: division by zero (" in ended.err
    assert (ended.code, "Traceback" in ended.err) == (70, False)


WARNS = """import warnings
        warnings.simplefilter("default")
        warnings.warn("mind\\x1b the\\ngap")
        return []"""


def test_a_warning_of_a_worker_is_told_as_one_of_the_command(tmp_path: Path) -> None:
    warned = HOSTILE.replace('raise ValueError(f"look at {self.text}")', WARNS)
    (tmp_path / "worker_study.py").write_text(warned)
    ended = process("run", "worker_study.py", "--workers", "1", "--no-open", cwd=tmp_path)
    assert "surefoot: warning: mind\ufffd the gap\n" in ended.stderr
    assert "UserWarning" not in ended.stderr
    assert "warnings.warn(" not in ended.stderr


def test_a_warning_is_told_without_a_line_of_source(surefoot: Verb, tmp_path: Path) -> None:
    (tmp_path / "warning_study.py").write_text(HOSTILE + "\n\nimport warnings\nwarnings.warn('mind the [gap]')\n")
    ended = process("plan", "warning_study.py", cwd=tmp_path)
    assert "mind the [gap]" in ended.stderr
    assert "warnings.warn(" not in ended.stderr


def test_the_studies_are_listed_with_a_line_each(surefoot: Verb) -> None:
    lines = dict(line.split("\t") for line in surefoot("studies", "--format", "tsv").out.splitlines())
    assert lines["study"] == "about"
    assert "drawings" in lines["quickstart"]


def test_the_help_of_run_with_a_study_shows_its_options_with_defaults(surefoot: Verb, tmp_path: Path) -> None:
    (tmp_path / "optioned_study.py").write_text(HOSTILE)
    said = surefoot("run", "optioned_study.py", "--help").out
    assert "Options of optioned_study.py (-o name=value):" in said
    rows = [line.split() for line in said[said.index("Options of") :].splitlines()[1:]]
    assert rows == [["seeds", "int", "2"], ["sizes", "tuple[int,", "...]", "1,2"], ["fast", "bool", "False"]]
    assert "seeds" in surefoot("check", "quickstart", "-h").out
    assert surefoot("run", "--help").code == 0


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version_is_told(surefoot: Verb, flag: str) -> None:
    from surefoot import __version__

    assert surefoot(flag).out.strip() == __version__


def test_the_shell_can_complete_the_commands(surefoot: Verb) -> None:
    from surefoot.cli import app

    assert "quickstart" not in (script := app.generate_completion(shell="bash"))
    assert all(verb in script for verb in ("check", "--strict", "studies"))
