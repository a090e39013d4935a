"""Results for people and for pipes: aligned text, TSV, CSV, JSON, Markdown, LaTeX or a Parquet file."""

import csv
import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from surefoot.core import SurefootError, Table, file_place, is_stream, write_bytes, write_text

if TYPE_CHECKING:
    from rich.console import Console

    from surefoot.tables import Remark

Format = Literal["text", "tsv", "csv", "json", "markdown", "latex", "parquet"]

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # an escape sequence in a name would act on the terminal


def plain(text: str) -> str:
    """The text without control characters but line breaks and tabs."""
    return _CONTROL.sub("\ufffd", text)


def say(text: str, console: "Console | None" = None) -> None:
    """Print text of users, Steps and errors on standard error as it is: no markup, no control characters.

    While bars are shown, `console` is theirs.
    """
    clean = plain(text)
    with suppress(OSError):
        if console:
            console.print(clean, markup=False, highlight=False, emoji=False, soft_wrap=True)
        elif sys.stderr is not None:
            print(clean, file=sys.stderr, flush=True)


def say_remarks(remarks: "Iterable[Remark]") -> None:
    for remark in remarks:
        say(f"{remark.severity}: {remark.message} [{remark.code}]")


def counter(what: str) -> Callable[[int, int], None]:
    """Shows on a terminal how many of all are done, in one line."""

    def told(done: int, total: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done:,} of {total:,} {what} are done" + ("\n" if done == total else ""))
            sys.stderr.flush()

    return told


def check_place(out: Path | None, form: Format | None = None) -> None:
    """Raise before long work for a file that cannot be written after it."""
    chosen_format(form, out)
    if out is not None and not is_stream(out):
        check_file(out)


def check_file(out: Path | None) -> None:
    """Raise before long work where no file can be written, whatever its format."""
    if out is not None and not file_place(out).parent.is_dir():
        raise SurefootError(f"{out} cannot be written: its folder is not there.")


def emit(table: Table, form: Format | None = None, out: Path | None = None) -> None:
    """Print a table or write it to `out`. Without `form`: by the suffix of `out`, text on a terminal, TSV in a pipe."""
    chosen = chosen_format(form, out)
    if chosen == "parquet" and out:
        _write_parquet(table, out)
        return
    writers: Mapping[str, Callable[[Table], str]] = {
        "text": _text, "tsv": _tsv, "csv": _csv, "json": _json, "markdown": _markdown, "latex": _latex,
    }  # fmt: skip
    text = writers[chosen](table)
    if out:
        write_text(out, text)
    else:
        sys.stdout.write(plain(text) if chosen == "text" else text)


_OF_SUFFIX: Mapping[str, Format] = {
    ".tsv": "tsv", ".csv": "csv", ".md": "markdown", ".json": "json", ".tex": "latex", ".parquet": "parquet",
    ".txt": "text",
}  # fmt: skip


def chosen_format(form: Format | None, out: Path | None = None) -> Format:
    """What is written: as named, by the suffix of `out`, text on a terminal, or TSV in a pipe."""
    known = _OF_SUFFIX.get(out.suffix.lower()) if out else None
    if out is None or (is_stream(out) and not known):
        return form or ("text" if out is None and sys.stdout.isatty() else "tsv")
    if form and known not in (None, "text", form):
        raise SurefootError(f"{out} is a name for {known}, and --format says {form}: leave one out, or rename it.")
    if not (form or known):
        raise SurefootError(f"No format for {out}: its suffix must be one of {', '.join(_OF_SUFFIX)}.")
    return form or known or "text"


def _cell(value: Any) -> str:
    """In one line: whole numbers in full, so that large ones stay apart, other floats with six digits."""
    if not isinstance(value, float):
        return _exact(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _tsv(table: Table) -> str:
    return "".join("\t".join(map(_exact, row)) + "\n" for row in (table.columns, *table.rows))


def _exact(value: Any) -> str:
    """Every digit, and no tab or line break: a pipe must get back what was measured."""
    text = "" if value is None else repr(value) if isinstance(value, float) else str(value)
    return " ".join(text.split()) if any(mark in text for mark in "\t\r\n") else text


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([*map(_exact, row)] for row in (table.columns, *table.rows))
    return text.getvalue()


def _markdown(table: Table) -> str:
    rows = [[_cell(value) for value in row] for row in (table.columns, *table.rows)]
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    ruled = [lines[0], " | ".join("---" for _ in table.columns), *lines[1:]]
    return "".join(f"| {line} |\n" for line in ruled)


def _json(table: Table) -> str:
    records = [{name: finite(value) for name, value in record.items()} for record in table.records()]
    return json.dumps(records, indent=1, ensure_ascii=False, default=str, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """The value, or None for a number that JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(table: Table) -> str:
    lines = [[_cell(value) for value in row] for row in (table.columns, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [bool(column) and all(isinstance(cell, (int, float)) for cell in column) for column in _columns(table)]
    return "".join("  ".join(map(_pad, line, widths, numeric)).rstrip() + "\n" for line in lines)


def _columns(table: Table) -> list[list[Any]]:
    return [[row[place] for row in table.rows if row[place] is not None] for place in range(len(table.columns))]


def _pad(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def _latex(table: Table) -> str:
    named = {"\\": "backslash", "<": "less", ">": "greater", "|": "bar", "~": "asciitilde", "^": "asciicircum"}
    # A bracket or star that begins a line would be an option of the line's end before it.
    escape = str.maketrans(
        {mark: f"\\{mark}" for mark in "&%$#_{}"}
        | {mark: f"\\text{name}{{}}" for mark, name in named.items()}
        | {mark: f"{{{mark}}}" for mark in "[*"}
    )
    lines = [[_cell(value).translate(escape) for value in row] for row in [table.columns, *table.rows]]
    body = [" & ".join(line) + r" \\" for line in lines]
    head = rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}"
    return "\n".join([head, r"\hline", body[0], r"\hline", *body[1:], r"\hline", r"\end{tabular}", ""])


def _write_parquet(table: Table, out: Path) -> None:
    import tempfile

    import duckdb

    from surefoot.tables import quote

    if len({name.casefold() for name in table.columns}) < len(table.columns):
        raise SurefootError(f"{out} cannot be written: Parquet needs names of columns that differ by more than case.")
    with tempfile.TemporaryDirectory() as folder:
        draft, made = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        rows = ({f"c{at}": finite(value) for at, value in enumerate(row)} for row in table.rows)
        draft.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows), encoding="utf-8")
        kinds = {f"c{at}": _parquet_type(column) for at, column in enumerate(_columns(table))}
        read = duckdb.read_json(str(draft), format="newline_delimited", columns=kinds)
        read.project(", ".join(map("{} AS {}".format, kinds, map(quote, table.columns)))).write_parquet(str(made))
        write_bytes(out, made.read_bytes())


def _parquet_type(column: list[Any]) -> str:
    """The type that holds what stands in a column: never guessed from the letters of a text."""
    kinds = {type(value) for value in column}
    if kinds == {bool}:
        return "BOOLEAN"
    if kinds == {int}:
        return "BIGINT" if all(abs(value) < 1 << 63 for value in column) else "VARCHAR"
    return "DOUBLE" if kinds <= {int, float} else "VARCHAR"
