"""`surefoot fit shift`: a user's table on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from surefoot.cli import app
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
    app(["fit", "shift", *map(str, arguments)], result_action="return_value", exit_on_error=False)


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
        (
            ("--x", "clean", "--n", "clean"),
            "SET=NUMBER, for example val=50000; a column of examples is of a long table",
        ),
        (("--x", "clean", "--task", "how"), "both --task and --value"),
        (("--x", "clean", "--show", "lines", "groups", "--format", "tsv"), "name one with --show"),
        (("--x", "clean", "--level", "95"), "level is a share"),
    ],
)
def test_mistakes_are_one_line(table: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(SurefootError, match=message) as error:
        _run(table, *arguments)
    assert "\n" not in str(error.value)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Sixteen models of two families on two sets, the second with fewer examples for some."""
    generator = np.random.default_rng(0)
    rows = [
        f"m{i},f{i // 8},{name},{0.5 + 0.02 * i - drop + generator.normal(0, 0.01):.4f},{n - 900 * (i % 2)}"
        for i in range(16)
        for name, drop, n in (("clean", 0, 5000), ("fog", 0.1, 1000))
    ]
    file = tmp_path / "long.csv"
    file.write_text("model,family,dataset,accuracy,n\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return file


def test_a_long_table_is_recognised_and_its_column_of_examples_read(
    long: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SurefootError, match=r"the table is long: --task dataset --value accuracy\.$"):
        _run(long, "--x", "clean")
    capsys.readouterr()
    _run(long, "--x", "clean", "--task", "dataset", "--value", "accuracy", "--n", "n", "--format", "json")
    models = json.loads(capsys.readouterr().out)["models"]
    width = {one["model"]: one["high"] - one["low"] for one in models}
    # A hundred examples in place of a thousand.
    assert 2.5 < width["m9"] / width["m8"] < 4
    long.write_text(long.read_text().replace(",4100\n", ",0\n", 1))
    with pytest.raises(SurefootError, match=r"column 'n' must hold the examples .*; row 3 does not"):
        _run(long, "--x", "clean", "--task", "dataset", "--value", "accuracy", "--n", "n")


def test_two_families_are_said_and_give_groups_no_interval(long: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read = ("--x", "clean", "--task", "dataset", "--value", "accuracy", "--family", "family", "--cluster")
    _run(long, *read, "--show", "groups", "lines", "--format", "json")
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert "The smallest baseline holds 2 families" in err
    assert found["groups"][0]["low"] is None and found["groups"][0]["points"] is not None
    # Student's t of one degree of freedom on half the difference of the two families' own slopes (the jackknife).
    rows = [line.split(",") for line in long.read_text().splitlines()[1:]]
    x, y = (np.array([float(row[3]) for row in rows if row[2] == name]) for name in ("clean", "fog"))
    slopes = [
        np.polyfit(*(np.log(one[part] / (1 - one[part])) for one in (x, y)), 1)[0] for part in (slice(8), slice(8, 16))
    ]
    line = found["lines"][0]
    error = (sum((slope - line["slope"]) ** 2 for slope in slopes) / 2) ** 0.5
    assert line["slope_high"] - line["slope"] == pytest.approx(12.706 * error, rel=1e-3)


def test_a_baseline_of_one_family_is_said_to_have_no_interval(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line + (",family" if not row else ",only") for row, line in enumerate(table.read_text().splitlines())]
    table.write_text("\n".join(rows) + "\n")
    _run(table, "--x", "clean", "--family", "family", "--cluster", "--show", "lines", "--format", "json")
    out, err = capsys.readouterr()
    assert "The smallest baseline holds 1 family: its line has no interval" in err
    assert json.loads(out)["lines"][0]["slope_low"] is None


def test_what_was_left_out_is_said_on_the_error_stream_and_in_json(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = table.read_text().splitlines()
    cells = [f"{i},{line},{i * 6 + 5}" for i, line in enumerate(lines[1:])]
    table.write_text("\n".join([f",{lines[0]},gpu_hours", *cells]))
    _run(table, "--x", "clean", "--baseline", "how=plain", "--show", "lines", "--format", "json")
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [one["shift"] for one in found["lines"]] == ["fog"]
    assert {one["column"] for one in found["left_out"]} == {"column1", "gpu_hours"}
    assert all(one["reason"] for one in found["left_out"])
    assert "warning: Left out of the shifts: 'gpu_hours'" in err
    _run(table, "--x", "clean", "--shifts", "gpu_hours", "--show", "lines", "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert [one["shift"] for one in found["lines"]] == ["gpu_hours"] and found["left_out"] == []


@pytest.mark.parametrize("option", [("--group", "how"), ("--family", "how", "--cluster")])
def test_blank_groups_and_families_are_refused_with_their_rows(table: Path, option: tuple[str, ...]) -> None:
    table.write_text(table.read_text("utf-8").replace("m3,plain", "m3,").replace("m5,plain", "m5,?"), encoding="utf-8")
    with pytest.raises(SurefootError, match=r"rows 4, 6 have no value in the column 'how'.*--where 'how!='"):
        _run(table, "--x", "clean", *option)
    _run(table, "--x", "clean", "--where", "how!=", *option)
