"""Contact sheets and the verbs of data: what is shown, with its makers and licences."""

import re
from pathlib import Path

import pytest
from PIL import Image

from surefoot.cli import app
from surefoot.contrastive import (
    STYLES,
    style_rows,
)
from surefoot.core import SurefootError


def run(*words: str) -> None:
    app(["data", *words], result_action="return_value")


def test_a_sheet_credits_every_style() -> None:
    rows = style_rows(["emojione", "emojione-monotone"], 14)
    labels = [[row["label"] for row in rows[:14]], [row["label"] for row in rows[14:]]]
    assert labels[0] == labels[1]
    assert all(row["image"].startswith("data:image/png;base64,") for row in rows)
    assert all("CC-BY-4.0" in row["section"] for row in rows)
    assert {row["section"].partition(":")[0] for row in rows} == {"EmojiOne 2", "EmojiOne 2, line drawings"}


def test_list_names_every_style_with_its_licence(capsys: pytest.CaptureFixture[str]) -> None:
    run("list")
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    table = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert [row["name"] for row in table] == [*STYLES, "words"]
    assert table[0] | {"cached": ""} == {
        "name": "noto",
        "pictures": "3819",
        "concepts": "1459",
        "licence": "Apache-2.0",
        "cached": "",
        "megabytes": "3.1",
        "author": "Google Inc",
        "source": "@iconify-json/noto 1.2.9",
    }


def test_get_brings_a_style_with_its_words(empty_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("get", "emojione")
    printed = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == ["words", "emojione"]
    assert "Fetching emojione (0.7 MB)" in printed.err
    assert len([path for path in empty_cache.rglob("*") if path.is_file()]) == 2
    run("get", "emojione")
    assert capsys.readouterr().err == ""
    with pytest.raises(SurefootError, match=r"no data named 'nope'\. There are: all, words, noto"):
        run("get", "emojione", "nope")


def test_show_draws_styles_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine" / "cat").mkdir(parents=True)
    Image.new("RGB", (90, 60), "red").save(tmp_path / "mine" / "cat" / "a.jpg")
    (tmp_path / "mine" / "cat" / "b.jpg").write_bytes(b"broken")
    out = tmp_path / "sheet.html"
    run("show", "emojione", str(tmp_path / "mine"), "--out", str(out), "--count", "5")
    assert capsys.readouterr().out.strip() == str(out)
    page = out.read_text()
    assert page.count("<image ") == 6
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "CC-BY-4.0" in page
    assert "1 others cannot be decoded" in page
    run("show", "emojione", "--out", str(tmp_path / "sheet.png"), "--count", "5")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "'nope' is neither a drawing style"),
        (["emojione", "--out", "sheet.gif"], r"is a \.html, \.svg, \.png or \.pdf file, not sheet\.gif"),
        (["emojione", "--count", "0"], "count from 1 to"),
    ],
)
def test_show_says_what_is_wrong(words: list[str], message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        run("show", *words)
