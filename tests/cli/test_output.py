"""What a table is in each format: a reader of that format gets back the cells that were there."""

import csv
import io
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from rich.console import Console

from surefoot.cli._output import Format, check_place, emit, say
from surefoot.core import SurefootError, Table

Printed = Callable[..., Any]
HOSTILE = Table(("a,b", 'say "x"\tor | y'), (("1,5", "p|q\nr"), ('"', 1 / 3), (None, float("nan"))))


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """The text of a table in a format."""

    def call(form: Format, table: Table = HOSTILE) -> str:
        emit(table, form)
        return capsys.readouterr().out

    return call


def test_csv_comes_back_whatever_is_in_a_cell(printed: Printed) -> None:
    head, *rows = csv.reader(io.StringIO(printed("csv")))
    assert head == ["a,b", 'say "x" or | y']
    assert rows == [["1,5", "p|q r"], ['"', repr(1 / 3)], ["", "nan"]]


def test_tsv_has_a_line_a_row_and_a_tab_between_columns_only(printed: Printed) -> None:
    assert [line.split("\t") for line in printed("tsv").splitlines()] == [
        ["a,b", 'say "x" or | y'],
        ["1,5", "p|q r"],
        ['"', repr(1 / 3)],
        ["", "nan"],
    ]


def test_a_pipe_in_a_cell_of_markdown_begins_no_column(printed: Printed) -> None:
    lines = printed("markdown").splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert cells[0] == ["a,b", 'say "x" or \\| y']
    assert cells[2:] == [["1,5", "p\\|q r"], ['"', "0.333333"], ["", "nan"]]


def test_json_has_null_for_what_is_not_finite(printed: Printed) -> None:
    def refused(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    table = Table(("x",), ((float("nan"),), (float("inf"),), (-float("inf"),), (1 / 3,)))
    assert [row["x"] for row in json.loads(printed("json", table), parse_constant=refused)] == [None, None, None, 1 / 3]


def test_parquet_guesses_no_type_from_the_letters_of_a_text(tmp_path: Path) -> None:
    columns = ("day", "whole", "part", "yes", "huge", "nothing", "1", "a b")
    table = Table(
        columns, (("2020-01-01", 1, 1, True, 2**70, None, "07", "x"), ("2021-01-01", 2, 0.5, None, 1, None, "8", ""))
    )
    for rows in (table.rows, ()):
        emit(Table(columns, rows), out=tmp_path / "t.parquet")
        read = parquet.read_table(tmp_path / "t.parquet")
        assert read.column_names == [*columns]
        assert [tuple(row.values()) for row in read.to_pylist()] == [(*row[:4], str(row[4]), *row[5:]) for row in rows]
    for twice in ("a", "A"):
        with pytest.raises(SurefootError, match="differ by more than case"):
            emit(Table(("a", twice), ((1, 2),)), out=tmp_path / "t.parquet")
    with pytest.raises(SurefootError, match="Two columns are called 'a', and one would be lost"):
        emit(Table(("a", "a"), ((1, 2),)), out=tmp_path / "t.json")


def test_marks_of_latex_are_text_in_a_cell(printed: Printed) -> None:
    table = Table(("a_b", "c"), (("5 % & $x$ #1", "{y}^2~\\z"),))
    assert r"a\_b & c \\" in printed("latex", table)
    assert r"5 \% \& \$x\$ \#1 & \{y\}\textasciicircum{}2\textasciitilde{}\textbackslash{}z \\" in printed(
        "latex", table
    )
    lines = printed("latex", Table(("[1]", "x<3"), (("*", "a|b"), ("[2]\n\n", ">")))).splitlines()
    assert lines[2] == r"{[}1] & x\textless{}3 \\"  # what begins a line is no option of the end of the one before
    assert lines[4:6] == [r"{*} & a\textbar{}b \\", r"{[}2] & \textgreater{} \\"]


def test_large_numbers_stay_apart_and_a_row_is_one_line_for_people_too(printed: Printed) -> None:
    table = Table(("name", "size"), (("a\nb", 1234567.0), ("c", 1234568.0), ("d", 1 / 3)))
    told = [["name", "size"], ["a b", "1234567"], ["c", "1234568"], ["d", "0.333333"]]
    assert [re.split(r"  +", line) for line in printed("text", table).splitlines()] == told
    assert [line.strip("| ").split(" | ") for line in printed("markdown", table).splitlines()][2:] == told[1:]


def test_a_name_that_contradicts_the_format_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"t\.parquet is a name for parquet, and --format says csv"):
        check_place(tmp_path / "t.parquet", "csv")
    with pytest.raises(SurefootError, match=r"t\.JSON is a name for json"):
        emit(HOSTILE, "csv", tmp_path / "t.JSON")
    assert not list(tmp_path.iterdir())
    for name in ("t.csv", "t.dat", "t.txt"):
        emit(HOSTILE, "csv", tmp_path / name)
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 1


def test_text_for_people_acts_on_no_terminal(printed: Printed) -> None:
    assert "\x1b" not in printed("text", Table(("name",), (("\x1b[2Jgone",),)))


def test_a_long_path_is_not_broken_into_lines_beside_the_bars() -> None:
    shown = io.StringIO()
    say(f"/{'x' * 100} [b]kept[/b]", Console(file=shown, width=40))
    assert shown.getvalue() == f"/{'x' * 100} [b]kept[/b]\n"


def test_no_command_writes_over_what_it_reads_or_what_is_no_file(surefoot: Printed, tmp_path: Path) -> None:
    table, examples = tmp_path / "t.csv", tmp_path / "b.json"
    table.write_text("x,y\n1,2\n")
    examples.write_text("[]")
    (tmp_path / "t.json").symlink_to("b.json")
    for command in (
        ("fit", "scaling", "t.csv", "--x", "x", "--y", "y", "--out", "t.csv"),
        ("fit", "scaling", "./t.csv", "--x", "x", "--y", "y", "--figure", "t.csv"),
        ("compare", "old=t.csv", "new=b.json", "--out", "t.json"),
        ("data", "list", "--out", "/dev/full"),
    ):
        code, _, err = surefoot(*command)
        assert (code, err.count("\n")) == (2, 1), err
        assert "is read by this command" in err or "cannot be written" in err, err
    assert (table.read_text(), examples.read_text()) == ("x,y\n1,2\n", "[]")


def test_a_dash_a_pipe_and_the_shells_process_take_a_table(surefoot: Printed, tmp_path: Path) -> None:
    printed = surefoot("data", "list")[1]
    assert surefoot("data", "list", "--out", "-")[:2] == (0, printed)
    assert surefoot("data", "list", "--out", "/dev/stdout", "--format", "tsv")[:2] == (0, printed)
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        assert surefoot("data", "list", "--out", pipe)[:2] == (0, "")
        assert read.result().splitlines()[0] == printed.splitlines()[0].replace("\t", ",")


def test_help_shows_no_option_that_empties_another(surefoot: Printed) -> None:
    for verb in ("evaluate", "reading evaluate", "pairs download", "table"):
        code, out, _ = surefoot(*verb.split(), "--help")
        assert code == 0 and "--" in out and "--empty" not in out
