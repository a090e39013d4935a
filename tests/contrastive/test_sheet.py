"""Contact sheets and the verbs of data: what is shown, with its makers and licences."""

import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surefoot.cli import app
from surefoot.contrastive import (
    STYLES,
    ClassificationSet,
    Drawings,
    Pretrain,
    ZeroShot,
    style_rows,
    wrong_sheet,
)
from surefoot.core import Measurement, Results, Store, SurefootError, write_record
from surefoot.examples import write_examples


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


def test_wrong_answers_are_shown_with_their_pictures_the_surest_first(tmp_path: Path) -> None:
    pictures = ClassificationSet(drawings=Drawings(style="twemoji"))
    test = ZeroShot(model=Pretrain(data=pictures, model="rn-4", samples=1), data=pictures)
    store = Store(tmp_path)
    for step in (pictures, test):
        store.path(step).mkdir(parents=True)
    greys = np.arange(5, dtype=np.uint8) * 40
    np.save(store.path(pictures) / "images.npy", np.broadcast_to(greys[:, None, None, None], (5, 8, 8, 3)))
    np.save(store.path(pictures) / "labels.npy", np.array([0, 1, 0, 1, 0]))
    for name, rows in {"classes": ["a cat", "a dog"], "class_keys": ["cat", "dog"], "ids": list("vwxyz")}.items():
        (store.path(pictures) / f"{name}.json").write_text(json.dumps(rows))
    columns: dict[str, list[object]] = {
        "example": list("vwxyz"),
        "label": ["cat", "dog", "cat", "dog", "cat"],
        "prediction": ["dog", "dog", "dog", "cat", "dog"],
        "score": [0.0, 1.0, 0.0, 0.0, 0.0],
        "probability": [0.6, 0.99, 0.9, 0.7, 0.6],
    }
    write_examples(store.path(test), columns)
    write_record(store.path(pictures), pictures, ())
    write_record(store.path(test), test, [Measurement(metric="top1", value=0.2, n=5, low=0.1, high=0.6)])
    results = Results(store, (pictures, test))
    figure = wrong_sheet(results, {"held out": results.one(ZeroShot, metric="top1")}, n=3)
    assert [row["label"] for row in figure.table()] == [
        "is: a cat; answered: a dog (90%)",
        "is: a dog; answered: a cat (70%)",
        "is: a cat; answered: a dog (60%)",
    ]
    shown = [Image.open(BytesIO(b64decode(row["image"].partition(",")[2]))).getpixel((0, 0)) for row in figure.table()]
    assert shown == [(80,) * 3, (120,) * 3, (0,) * 3]
    assert {row["section"] for row in figure.table()} == {"held out: 4 wrong"}
    assert {(row["value"], row["low"], row["high"], row["n"]) for row in figure.table()} == {(0.2, 0.1, 0.6, 5)}
    write_examples(store.path(test), columns | {"score": [1.0] * 5})
    (store.path(test) / "record.json").unlink()
    write_record(store.path(test), test, [Measurement(metric="top1", value=1.0, n=5)])
    results = Results(store, (pictures, test))
    with pytest.raises(SurefootError, match="No picture was named wrongly"):
        wrong_sheet(results, {"held out": results.one(ZeroShot, metric="top1")})
