"""`surefoot fit shift`: a user's table on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from cyclopts import App

from surefoot.cli._fit._shift import shift
from surefoot.core import SurefootError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve models in percent; three of them above the line."""
    x = np.linspace(50, 85, 12)
    rows = [
        f"m{i},{'robust' if i > 8 else 'plain'},{value:.2f},{0.8 * value - 5 + 8 * (i > 8) + i % 3:.2f}"
        for i, value in enumerate(x)
    ]
    file = tmp_path / "results.csv"
    file.write_text("model,how,clean,fog\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return file


def _run(*arguments: object) -> None:
    app = App(result_action="return_value")
    app.command(shift)
    app(["shift", *map(str, arguments)], exit_on_error=False)


def test_a_pipe_gets_every_model_and_the_remarks_go_to_the_error_stream(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(table, "--x", "clean", "--baseline", "how=plain", "--format", "tsv")
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split("\t")[:4] == ["model", "group", "shift", "x"]
    assert len(lines) == 13
    assert "note: Accuracies were read as percentages. [unit]" in err
    assert "[unknown-size]" in err


def test_text_shows_lines_and_groups(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(table, "--x", "clean", "--baseline", "how=plain", "--group", "how", "--format", "text")
    out = capsys.readouterr().out
    assert "lines\n" in out
    assert "groups\n" in out
    assert "robust" in out


def test_several_sections_are_one_json_object(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit.json"
    _run(table, "--x", "clean", "--baseline", "how=plain", "--show", "lines", "remarks", "--out", out)
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["lines"][0]["shift"] == "fog"
    assert {"severity", "code", "message"} == set(content["remarks"][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--x", "clear"), "no accuracies on 'clear'"),
        (("--x", "clean", "--n", "clean"), "SET=NUMBER"),
        (("--x", "clean", "--task", "how"), "both --task and --value"),
        (("--x", "clean", "--show", "lines", "groups", "--format", "tsv"), "name one with --show"),
        (("--x", "clean", "--level", "95"), "level of intervals"),
    ],
)
def test_mistakes_are_one_line(table: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(SurefootError, match=message) as error:
        _run(table, *arguments)
    assert "\n" not in str(error.value)
