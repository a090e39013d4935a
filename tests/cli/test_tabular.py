"""`surefoot tabular` as its user sees it: a sweep over a CSV, an audit, and mistakes in one line."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surefoot.cli._tabular import tabular
from surefoot.core import SurefootError

pytest.importorskip("lightgbm")

Answer = tuple[int, str, str]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Answer]:
    """Run `surefoot tabular ARGUMENTS` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUREFOOT_STORE", raising=False)

    def call(*arguments: str) -> Answer:
        try:
            code = tabular(list(arguments), result_action="return_value")
        except SurefootError as error:
            print(f"surefoot: {error}", file=sys.stderr)
            code = 2
        captured = capsys.readouterr()
        return int(code or 0), captured.out, captured.err

    return call


def people(path: Path) -> None:
    generator = np.random.default_rng(0)
    lines = ["skill,noise,sex,race,hired"]
    for row in range(600):
        skill = generator.normal()
        hired = skill + 0.3 * generator.normal() > 0
        lines.append(
            f"{skill:.3f},{generator.normal():.3f},{'FM'[row % 2]},{'ab'[row // 2 % 2]},{'yes' if hired else 'no'}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_sweep_compares_learners_on_a_users_table(command: Callable[..., Answer], tmp_path: Path) -> None:
    people(tmp_path / "people.csv")
    arguments = ["sweep", "people.csv", "--label", "hired", "--sensitive", "sex,race", "--budget", "4", "--splits", "1"]
    code, out, err = command(*arguments, "--learners", "logistic,lightgbm", "--workers", "1")
    assert code == 0, err
    assert out.splitlines()[0].split("\t")[:4] == ["learner", "configurations", "accuracy", "worst group"]
    assert {line.split("\t")[0] for line in out.splitlines()[1:]} == {"Logistic regression", "LightGBM"}
    assert {line.split("\t")[1] for line in out.splitlines()[1:]} == {"4"}
    assert "The label is yes where hired is 'yes', and no for: no." in err
    assert "robust learners" not in err  # none was fitted: no claim is about them
    assert (tmp_path / "sweep-people.html").stat().st_size > 10_000


def test_an_audit_prints_a_line_a_group(command: Callable[..., Answer], tmp_path: Path) -> None:
    rows = "\n".join(f"{row % 2},{0.8 if row % 2 else 0.3},{'FM'[row % 4 > 1]}" for row in range(100))
    (tmp_path / "p.csv").write_text(f"y,p,sex\n{rows}\n", encoding="utf-8")
    code, out, _ = command("audit", "p.csv", "--label", "y", "--score", "p", "--sensitive", "sex")
    assert code == 0
    groups = [line.split("\t")[0] for line in out.splitlines()[1:]]
    assert groups[:3] == ["all rows", "sex F", "sex M"]
    assert groups[3].startswith("worst group")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "none.csv", "--label", "y", "--sensitive", "g"], "There is no file none.csv"),
        (["sweep", "none.csv"], "Name the column to predict"),
        (["sweep", "adult", "--learners", "oak"], "no learner named 'oak'"),
        (["sweep", "adult", "--budget", "0"], "option budget must be at least 1, got 0"),
        (["sweep", "adult", "--rows=-5"], "option rows must be at least 0, got -5"),
        (["sweep", "adult", "--splits", "0"], "option splits must be at least 1"),
        (["audit", "none.csv", "--label", "y", "--score", "p", "--sensitive", "g"], "There is no file none.csv"),
    ],
)
def test_mistakes_are_one_line(command: Callable[..., Answer], arguments: list[str], message: str) -> None:
    code, _, err = command(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
