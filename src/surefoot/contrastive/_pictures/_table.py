"""Tables of pictures: in each row the path of one, beginning at the table's folder, and its caption or its class."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from surefoot.core import SurefootError, in_memory
from surefoot.tables import database, load_table, parquet_note, quote

PICTURE_COLUMNS = ("path", "filepath", "file_name", "filename", "image_path", "image", "file")
CAPTION_COLUMNS = ("caption", "text", "title", "sentence", "raw")
LABEL_COLUMNS = ("cls", "label", "class", "labels", "fine_label", "target", "class_name")


def captioned_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The path of each row's picture, as it stands there, and its captions."""
    for name, told in _rows(path, CAPTION_COLUMNS, "captions")[0]:
        yield name, [str(one) for one in (told if isinstance(told, list) else [told]) if one]


def labelled_rows(path: Path) -> Iterator[tuple[str, str]]:
    """The path of each row's picture and its class: that of the row, or, without such a column, its folder."""
    rows, column, kind = _rows(path, LABEL_COLUMNS, exclusive=True)
    names = class_names(path, column, kind) if column else []
    for number, (name, label) in enumerate(rows, 1):
        yield name, class_of(label, names, f"{path}, row {number}") if column else PurePosixPath(name).parent.name


def check_one_class(path: Path, rows: Any) -> None:
    """Raise `SurefootError` where two columns of one kind give a picture different classes; rows of DuckDB."""
    lower = {column.lower(): quote(column) for column in reversed(rows.columns)}
    first, *others = [lower[name] for name in LABEL_COLUMNS if name in lower] or [""]
    for one in others:
        alike = " = ".join(f"regexp_replace(typeof({part}), '.*INT(EGER)?$', 'INT')" for part in (first, one))
        if rows.filter(f"{alike} AND CAST({first} AS VARCHAR) <> CAST({one} AS VARCHAR)").limit(1).fetchall():
            raise SurefootError(f"{path}: the columns {first} and {one} give different classes: take one out.")


def class_names(file: Path, column: str, kind: str) -> list[str]:
    """The names behind the numbers of the labels, where a Parquet file says them as data sets of Hugging Face do.

    Raises for a column of a kind that no class has.
    """
    if kind != "VARCHAR" and not kind.endswith("INT") and not kind.endswith("INTEGER"):
        raise SurefootError(f"{file}: the column '{column}' is {kind}, and a class is a text or a whole number.")
    note: Any = None
    if file.suffix == ".parquet":
        with in_memory() as connection:
            note = parquet_note(connection, file, "huggingface")
    try:
        return [*map(str, note["info"]["features"][column]["names"])]
    except (KeyError, TypeError):
        return []


def class_of(label: str | int | None, names: Sequence[str], place: str) -> str:
    """The class of a row. Raises `SurefootError` where it has none, or one beyond the names of the file."""
    if label is None or not str(label).strip() or (isinstance(label, int) and label < 0):
        raise SurefootError(f"{place} has no label: leave such rows out, or the column where captions alone are asked.")
    if not names or isinstance(label, str):
        return str(label)
    if label >= len(names):
        raise SurefootError(f"{place} has the label {label}, and the file names {len(names)} classes.")
    return names[label]


def _rows(
    path: Path, columns: Sequence[str], needed: str = "", *, exclusive: bool = False
) -> tuple[list[tuple[str, Any]], str, str]:
    """Path and cell of each row, the column that was found ('' for none, which is refused where `needed`), its kind.

    Of `exclusive` columns a second one must say the same.
    """
    with database() as connection:
        table = load_table(connection, path, name="pairs")
        lower = {column.lower(): column for column in reversed(table.columns)}
        pictures, told = (
            next((lower[name] for name in names if name in lower), "") for names in (PICTURE_COLUMNS, columns)
        )
        if not pictures or (needed and not told):
            also = f" and one of {needed} ({', '.join(columns)})" if needed else ""
            raise SurefootError(
                f"{path} needs a column of pictures ({', '.join(PICTURE_COLUMNS)}){also}; it has "
                f"{', '.join(table.columns)}."
            )
        cell = quote(told) if told else "NULL"
        if exclusive:
            check_one_class(path, connection.table("pairs"))
        found = connection.execute(f"SELECT CAST({quote(pictures)} AS VARCHAR), {cell} FROM pairs")
        kind = str((found.description or [])[1][1])
        rows = found.fetchall()
    if unnamed := next((number for number, row in enumerate(rows, 1) if not row[0]), None):
        raise SurefootError(f"{path}: row {unnamed} names no picture.")
    return rows, told, kind
