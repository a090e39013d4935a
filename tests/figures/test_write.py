"""Figures as files."""

import csv
import json
from pathlib import Path

import pytest

from surefoot.core import Figure, SurefootError
from surefoot.figures import contact_sheet, scaling_curve, write_figure

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@pytest.fixture
def figure() -> Figure:
    points = [{"x": 1.0, "y": 0.5, "low": 0.4, "high": 0.6, "label": "a,b"}, {"x": 10.0, "y": 0.3, "n": 9}]
    return scaling_curve(points, name="f", title="A title", caption="", x_title="x", y_title="y")


def test_the_suffix_names_the_format(figure: Figure, tmp_path: Path) -> None:
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    for suffix, start in starts.items():
        assert write_figure(figure, tmp_path / f"figure.{suffix}").read_bytes().startswith(start)


def test_the_specification_holds_its_data_and_the_table_is_what_is_drawn(figure: Figure, tmp_path: Path) -> None:
    spec = json.loads(write_figure(figure, tmp_path / "figure.json").read_text(encoding="utf-8"))
    assert spec == figure.spec()
    with write_figure(figure, tmp_path / "figure.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["a,b", ""]
    assert [row["low"] for row in rows] == ["0.4", ""]


def test_a_drawing_does_not_depend_on_what_was_drawn_before(figure: Figure, tmp_path: Path) -> None:
    first = write_figure(figure, tmp_path / "a.svg").read_bytes()
    write_figure(figure, tmp_path / "b.svg", theme="dark")
    assert write_figure(figure, tmp_path / "c.svg").read_bytes() == first


def test_the_dark_theme_has_dark_paper(figure: Figure, tmp_path: Path) -> None:
    assert "#14181c" in write_figure(figure, tmp_path / "a.svg", theme="dark").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [360, 680, 1000])
def test_a_file_is_as_wide_as_asked(figure: Figure, tmp_path: Path, width: int) -> None:
    svg = write_figure(figure, tmp_path / "a.svg", width=width).read_text(encoding="utf-8")
    assert abs(float(svg.split('width="')[1].split('"')[0]) - width) <= 2


def test_a_contact_sheet_is_drawn_too_and_its_table_leaves_the_pictures_out(tmp_path: Path) -> None:
    rows = [{"image": PIXEL, "label": "a", "section": "s"}]
    figure = contact_sheet(rows, name="s", title="Sheet", caption="")
    assert write_figure(figure, tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert (
        write_figure(figure, tmp_path / "sheet.csv").read_text(encoding="utf-8") == "part,label,section\npicture,a,s\n"
    )


def test_another_suffix_is_refused_with_the_list(figure: Figure, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"must end in .svg, .png, .pdf, .json, .csv"):
        write_figure(figure, tmp_path / "figure.docx")
