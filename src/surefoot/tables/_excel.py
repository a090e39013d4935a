"""The first visible sheet of an Excel workbook (.xlsx) as rows of text, by the standard library alone."""

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

from surefoot.core import SurefootError, counted

_LARGEST_MEMBER = 512 << 20
_TRUTH = {"1": "true", "0": "false"}
_BUILT_IN = {9: "0%", 10: "0%"} | dict.fromkeys((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)), "d")
"""Excel's own formats of shares and of times, which no file spells out."""
_NO_CODE = re.compile(r'"[^"]*"|\[(?![hms]+\])[^\]]*\]|[\\_*].', re.IGNORECASE)
_ABOVE_ONE = re.compile(r"[+-]?[\d.,]+%|[+-]?0*(?:[2-9]|1[.,]?0*[1-9]|[1-9]\d)[\d.,]*(?:[eE]\+?\d+)?")
Place = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The rows of a sheet, all of one width, how messages call it, and what its reader must know."""

    rows: list[list[str]]
    shown: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Book:
    texts: list[str]
    codes: list[str]
    first: datetime


def read_sheet(file: Path, shown: str) -> Sheet:
    """The first sheet that is not hidden: dates in words, cells that are merged downwards filled, empty rows left out.

    A share in a percent format has the sign where its column has numbers above 1 or signs, too; a formula that was
    saved without its value stays one. Noted are other sheets, hidden rows and columns, and errors.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            member, shown, notes = _chosen(archive, shown)
            root = _parsed(archive, member, shown)
            return _sheet(root, _book(archive, shown), shown, notes)
    except (zipfile.BadZipFile, ElementTree.ParseError, EOFError, ValueError, LookupError, StopIteration) as error:
        raise SurefootError(f"{shown} is not an Excel workbook ({error}). Save it as CSV.") from None


def _chosen(archive: zipfile.ZipFile, shown: str) -> tuple[str, str, list[str]]:
    """The member that holds the first visible sheet, how to call it, and which sheets are not read."""
    links = _parsed(archive, "xl/_rels/workbook.xml.rels", shown).iter("Relationship")
    members = {link.attrib["Id"]: link.attrib["Target"] for link in links if link.attrib["Type"].endswith("/worksheet")}
    sheets = [
        (sheet.attrib["name"], members[place], sheet.get("state", "visible") == "visible")
        for sheet in _parsed(archive, "xl/workbook.xml", shown).iter("sheet")
        if (place := next(value for key, value in sheet.attrib.items() if key.endswith("}id"))) in members
    ]
    name, member, _ = next(sheet for sheet in sheets if sheet[2])
    member = member.removeprefix("/") if member.startswith("/") else f"xl/{member}"
    if len(sheets) == 1:
        return member, shown, []
    others = ", ".join(f"'{other}'{'' if visible else ' (hidden)'}" for other, _, visible in sheets if other != name)
    note = f"{shown}: the sheet '{name}' is read, the first that is not hidden; not read: {others}."
    return member, f"{shown} (sheet '{name}')", [note]


def _book(archive: zipfile.ZipFile, shown: str) -> _Book:
    there = archive.namelist()
    texts, codes = [], []
    if (name := "xl/sharedStrings.xml") in there:
        texts = [_text(item) for item in _parsed(archive, name, shown).iter("si")]
    if (name := "xl/styles.xml") in there:
        styles = _parsed(archive, name, shown)
        own = {int(one.attrib["numFmtId"]): one.attrib["formatCode"] for one in styles.iter("numFmt")}
        found = [int(one.get("numFmtId", "0")) for one in styles.iterfind("cellXfs/xf")]
        codes = [_NO_CODE.sub("", (_BUILT_IN | own).get(one, "")) for one in found]
    properties = _parsed(archive, "xl/workbook.xml", shown).find("workbookPr")
    late = properties is not None and properties.get("date1904") in ("1", "true")
    return _Book(texts=texts, codes=codes, first=datetime(1904, 1, 1) if late else datetime(1899, 12, 30))


def _parsed(archive: zipfile.ZipFile, name: str, shown: str) -> ElementTree.Element:
    """A member as XML, whose names lose the namespace: that of strict workbooks is another."""
    if archive.getinfo(name).file_size > _LARGEST_MEMBER:
        raise SurefootError(f"{shown} unpacks to more than {_LARGEST_MEMBER >> 20} MiB: save it as CSV.")
    root = ElementTree.fromstring(archive.read(name))
    for part in root.iter():
        part.tag = part.tag.rpartition("}")[2]
    return root


def _text(item: ElementTree.Element) -> str:
    """The text of a cell, without how it is to be pronounced."""
    return "".join(part.text or "" for part in (*item.iterfind("t"), *item.iterfind("r/t")))


def _sheet(root: ElementTree.Element, book: _Book, shown: str, notes: list[str]) -> Sheet:
    cells: dict[Place, str] = {}
    shares, large, lost, row = {}, set[int](), [], 0
    for line in root.iter("row"):
        row, column = int(line.get("r", row + 1)), 0
        for cell in line.iter("c"):
            column = _column(cell.attrib["r"]) if cell.get("r") else column + 1
            cells[row, column] = value = _value(cell, book)
            if "%" in _code(cell, book) and cell.get("t", "n") == "n":
                shares[row, column] = value
            elif _ABOVE_ONE.fullmatch(value):
                large.add(column)
            if cell.get("t") == "e":
                lost.append(f"{cell.get('r', '')} {cell.findtext('v')}")
    cells |= {place: f"{100 * float(value):.15g}%" for place, value in shares.items() if place[1] in large and value}
    _fill(cells, [one.attrib["ref"] for one in root.iter("mergeCell")])
    if lost:
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        notes.append(
            f"{shown}: {counted(len(lost), 'cell', 'hold')} an error, read as empty: {', '.join(lost[:5])}{more}."
        )
    return Sheet(rows=_rows(cells), shown=shown, notes=(*notes, *_hidden(root, shown)))


def _hidden(root: ElementTree.Element, shown: str) -> Iterator[str]:
    for kind, words in (("row", "rows"), ("col", "columns")):
        if any(one.get("hidden") in ("1", "true") for one in root.iter(kind)):
            yield f"{shown}: hidden {words} are read as the others are: delete those that are not to count."


def _rows(cells: dict[Place, str]) -> list[list[str]]:
    filled = [place for place, value in cells.items() if value]
    width = max((column for _, column in filled), default=0)
    rows = sorted({row for row, _ in filled})
    return [[cells.get((row, column), "") for column in range(1, width + 1)] for row in rows]


def _code(cell: ElementTree.Element, book: _Book) -> str:
    style = int(cell.get("s", "0"))
    return book.codes[style] if style < len(book.codes) else ""


def _value(cell: ElementTree.Element, book: _Book) -> str:
    value, kind = cell.findtext("v") or "", cell.get("t", "n")
    if kind == "s":
        return book.texts[int(value)]
    if kind == "inlineStr":
        return "".join(map(_text, cell.iterfind("is")))
    if kind == "b":
        return _TRUTH.get(value, value)
    if not value and kind != "str" and (formula := cell.find("f")) is not None:
        return f"={formula.text or '...'}"
    if kind == "n" and value and re.search("[dmyhs]", _code(cell, book), re.IGNORECASE):
        return _time(float(value), book.first)
    return "" if kind == "e" else value


def _time(days: float, first: datetime) -> str:
    """A number of days as a date, a date and time, or (of less than a day) a time, in words that are no number."""
    try:
        when = first + timedelta(seconds=round(days * 86400))
    except OverflowError:
        return f"{days:g} days"
    if 0 <= days < 1:
        return when.time().isoformat()
    return when.isoformat(" ") if days % 1 else when.date().isoformat()


def _fill(cells: dict[Place, str], merged: Sequence[str]) -> None:
    """Cells merged downwards all hold the value of the first."""
    last = max((row for row, _ in cells), default=0)
    for reference in merged:
        start, _, end = reference.partition(":")
        (top, column), bottom = _place(start), _place(end or start)[0]
        for row in range(top + 1, min(bottom, last) + 1):
            cells[row, column] = cells.get((top, column), "")


def _place(reference: str) -> Place:
    return int(reference.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")), _column(reference)


def _column(reference: str) -> int:
    """The place of a cell such as AB12, from 1."""
    place = 0
    for letter in re.match("[A-Z]*", reference.upper())[0]:  # type: ignore[index]
        place = 26 * place + ord(letter) - 64
    return min(place, 1 << 14)
