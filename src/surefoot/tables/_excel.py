"""The first sheet of an Excel workbook (.xlsx) as rows of text, by the standard library alone."""

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from surefoot.core import SurefootError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LARGEST_MEMBER = 512 << 20
_TRUTH = {"1": "true", "0": "false"}


def excel_rows(file: Path, shown: str) -> list[list[str]]:
    """The cells of the first sheet, values as stored (a date is a number of days), empty rows left out."""
    try:
        with zipfile.ZipFile(file) as book:
            sheets = sorted(
                (name for name in book.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name)),
                key=lambda name: int("".join(filter(str.isdigit, name))),
            )
            if not sheets:
                raise SurefootError(f"{shown} is an archive without a sheet of Excel.")
            texts = _texts(book, shown)
            rows = [_row(row, texts) for row in _parsed(book, sheets[0], shown).iter(f"{_MAIN}row")]
    except (zipfile.BadZipFile, ElementTree.ParseError, EOFError, ValueError, IndexError) as error:
        raise SurefootError(f"{shown} is not an Excel workbook ({error}). Save it as CSV.") from None
    filled = [row for row in rows if any(row)]
    width = max((len(row) for row in filled), default=0)
    return [row + [""] * (width - len(row)) for row in filled]


def _parsed(book: zipfile.ZipFile, name: str, shown: str) -> ElementTree.Element:
    if book.getinfo(name).file_size > _LARGEST_MEMBER:
        raise SurefootError(f"{shown} unpacks to more than {_LARGEST_MEMBER >> 20} MiB: save it as CSV.")
    return ElementTree.fromstring(book.read(name))


def _texts(book: zipfile.ZipFile, shown: str) -> list[str]:
    name = "xl/sharedStrings.xml"
    if name not in book.namelist():
        return []
    items = _parsed(book, name, shown).iter(f"{_MAIN}si")
    return ["".join(part.text or "" for part in item.iter(f"{_MAIN}t")) for item in items]


def _row(row: ElementTree.Element, texts: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_MAIN}c"):
        place = _column(cell.get("r", "")) if cell.get("r") else len(cells)
        cells += [""] * (place - len(cells))
        value, kind = cell.findtext(f"{_MAIN}v") or "", cell.get("t")
        if kind == "s":
            value = texts[int(value)]
        elif kind == "inlineStr":
            value = "".join(part.text or "" for part in cell.iter(f"{_MAIN}t"))
        elif kind == "b":
            value = _TRUTH.get(value, value)
        elif kind == "e":
            value = ""
        cells.append(value)
    return cells


def _column(reference: str) -> int:
    """The place of a cell such as AB12, from 0."""
    place = 0
    for letter in re.match("[A-Z]*", reference.upper())[0]:  # type: ignore[index]
        place = 26 * place + ord(letter) - 64
    return min(place, 1 << 14) - 1
