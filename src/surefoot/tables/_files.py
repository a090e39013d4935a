"""From what a user names to a plain file that DuckDB can read: unpacked, limited, and of a known kind."""

import csv
import gzip
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedIOBase
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal

from surefoot.core import SurefootError
from surefoot.tables._excel import read_sheet

LARGEST_BYTES = 16 << 30
"""The most bytes that a table may hold, unpacked, unless the caller says otherwise."""
_PANDAS = ({"columns", "index", "data"}, {"schema", "data"})
"""The keys of pandas' orientations "split" and "table"; "columns" and "index" are objects of objects."""
Kind = Literal["csv", "json", "parquet", "arrow"]
FileKind = Literal["csv", "json", "parquet", "arrow", "text", "excel"]
_MARKS: tuple[tuple[bytes, FileKind], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"PK", "excel"),
    (b"[", "json"),
    (b"{", "json"),
)
_SUFFIXES: dict[FileKind, str] = {
    "csv": ".csv .tsv",
    "text": ".txt .md",
    "json": ".json .jsonl .ndjson",
    "parquet": ".parquet",
    "arrow": ".arrow .feather",
    "excel": ".xlsx",
}
_KINDS: dict[str, FileKind] = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_LARGEST_IN_MEMORY = 512 << 20
_BLOCK = 4 << 20
_RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?")


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A plain file of a kind that DuckDB reads, how messages call it, and what its reader must know."""

    path: Path
    kind: Kind
    shown: str
    notes: tuple[str, ...] = ()


@contextmanager
def opened(path: Path | str, largest_bytes: int) -> Iterator[TableFile]:
    """The file, `.gz` unpacked, Excel and Markdown as CSV, `-` read from stdin, all within the limit of bytes."""
    with TemporaryDirectory() as folder:
        file, shown, suffix = _plain(Path(path), Path(folder), largest_bytes)
        kind = _KINDS[suffix] if suffix else _guessed(file)
        if kind == "excel":
            sheet = read_sheet(file, shown)
            yield replace(_as_csv(sheet.rows, Path(folder), sheet.shown), notes=sheet.notes)
        elif kind == "text" and (tables := _markdown(file)):
            others = f"{shown}: the first of {len(tables)} Markdown tables was read; the others were not."
            notes = (others,) if len(tables) > 1 else ()
            yield replace(_as_csv(tables[0], Path(folder), shown), notes=notes)
        elif kind == "json":
            yield TableFile(path=_records(file, Path(folder), shown), kind="json", shown=shown)
        else:
            yield TableFile(path=file, kind="csv" if kind == "text" else kind, shown=shown)


def _plain(path: Path, folder: Path, largest_bytes: int) -> tuple[Path, str, str]:
    """The unpacked file, its name in messages, and its suffix ('' for stdin)."""
    if str(path) in ("-", "/dev/stdin"):
        _copied(sys.stdin.buffer, folder / "stdin", largest_bytes, "The standard input")
        return folder / "stdin", "The standard input", ""
    if not path.is_file():
        raise SurefootError(f"There is no file '{path}'.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = (suffixes[:-1] if packed else suffixes)[-1:]
    if not suffix or suffix[0] not in _KINDS:
        raise SurefootError(f"{path} is not a table I can read: its name must end in {', '.join(_KINDS)} (or .gz).")
    if path.stat().st_size > largest_bytes:
        raise SurefootError(f"{path} is larger than the limit of {largest_bytes / 2**20:,.0f} MiB; cut it down first.")
    if path.stat().st_size == 0:
        raise SurefootError(f"{path} is empty: it has no header line and no rows.")
    if packed:
        with gzip.open(path) as stream:
            _copied(stream, folder / f"unpacked{suffix[0]}", largest_bytes, str(path))
        return folder / f"unpacked{suffix[0]}", str(path), suffix[0]
    return path, str(path), suffix[0]


def _copied(stream: BufferedIOBase | IO[bytes], to: Path, largest_bytes: int, shown: str) -> None:
    left = largest_bytes
    try:
        with to.open("wb") as out:
            while block := stream.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise SurefootError(f"{shown} unpacks to more than the limit of {largest_bytes / 2**20:,.0f} MiB.")
                out.write(block)
    except (OSError, EOFError) as error:
        raise SurefootError(f"{shown} cannot be read: {error}.") from None
    if left == largest_bytes:
        raise SurefootError(f"{shown} is empty: it has no header line and no rows.")


def _guessed(file: Path) -> FileKind:
    """The kind of a file without a name, by its first bytes."""
    with file.open("rb") as stream:
        start = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    kinds: list[FileKind] = [kind for mark, kind in _MARKS if start.startswith(mark)]
    return kinds[0] if kinds else "text"


def _markdown(file: Path) -> list[list[list[str]]]:
    """The rows of each Markdown table in a text; none where none begins in its first 4 MiB."""
    with file.open("rb") as stream:
        start = stream.read(_BLOCK)
        if not any(_is_rule(line) for line in _lines(start)):
            return []
        lines = _lines(start + stream.read())
    tables: list[list[list[str]]] = []
    end = 0
    for place, line in enumerate(lines):
        if place > end and _is_rule(line) and "|" in lines[place - 1]:
            body = list(takewhile(lambda line: "|" in line, lines[place + 1 :]))
            tables.append([_cells(row) for row in (lines[place - 1], *body)])
            end = place + len(body)  # a row of dashes alone lacks its values
    return tables


def _lines(text: bytes) -> list[str]:
    return [line.strip() for line in text.decode("utf-8-sig", errors="replace").splitlines()]


def _is_rule(line: str) -> bool:
    return "|" in line and _RULE.fullmatch(line) is not None


def _cells(line: str) -> list[str]:
    parts = line.replace("\\|", "\0").removeprefix("|").removesuffix("|").split("|")
    return [part.replace("\0", "|").strip().strip("*`") for part in parts]


def _as_csv(rows: Sequence[Sequence[str]], folder: Path, shown: str) -> TableFile:
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return TableFile(path=folder / "rows.csv", kind="csv", shown=shown)


def _records(file: Path, folder: Path, shown: str) -> Path:
    """The file, or for an object of columns a list of objects beside it. Raises where columns differ in length."""
    with file.open("rb") as stream:
        start = stream.read(1 << 16).decode("utf-8-sig", errors="replace").lstrip()
    if not start.startswith("{") or file.stat().st_size > _LARGEST_IN_MEMORY:
        return file
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return file
    if not isinstance(content, dict) or not content:
        return file
    if content.keys() in _PANDAS or all(isinstance(cells, dict) for cells in content.values()):
        raise SurefootError(f"{shown} is as pandas' to_json() writes it: save it with to_json(orient='records').")
    if not all(isinstance(cells, list) for cells in content.values()):
        return file
    lengths = {name: len(cells) for name, cells in content.items()}
    if len(set(lengths.values())) > 1:
        raise SurefootError(f"{shown} has columns of different lengths: {lengths}.")
    rows = [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]
    (folder / "records.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder / "records.json"
