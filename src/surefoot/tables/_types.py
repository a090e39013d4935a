"""Which columns of a loaded table hold numbers, and what was done to make them so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.core import counted
from surefoot.tables._load import LoadedTable, quote
from surefoot.tables._numbers import Numbers, parse_numbers, read_number
from surefoot.tables._remarks import Remark, rows_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FEW = 200


def type_columns(
    connection: DuckDBPyConnection, table: LoadedTable, *, keep: Sequence[str] = (), magnitudes: Sequence[str] = ()
) -> tuple[Remark, ...]:
    """Make DOUBLE of the VARCHAR columns of a loaded table in which nine in ten filled cells are numbers.

    The other cells of such a column become NULL and are named, as are words for no value in a column of texts. Columns
    in `keep` stay text; in those of `magnitudes` "1.3B" is a number too. The remarks (`remarks_on`) tell what was not a
    plain number.
    """
    described = connection.execute(f"DESCRIBE {quote(table.name)}").fetchall()
    texts = [name for name, kind, *_ in described if kind == "VARCHAR" and name not in keep]
    decimal = has_decimal_commas(connection, table)
    grouped = _grouped_by_dots(connection, table, texts) if decimal else []
    remarks = [Remark(code="workbook", severity="warning", message=note) for note in table.notes]
    remarks += [_ungrouped(connection, table, name) for name in grouped]
    for name in texts:
        remarks += _typed(connection, table, name, decimal=decimal, magnitudes=name in magnitudes)
    described = connection.execute(f"DESCRIBE {quote(table.name)}").fetchall()
    return (*remarks, *_blank_words(table, [name for name, kind, *_ in described if kind == "VARCHAR"]))


def _blank_words(table: LoadedTable, texts: Sequence[str]) -> Iterator[Remark]:
    """In a column of texts a word such as "None" could be a value: it is said that it was read as none."""
    for name in texts:
        if words := table.blanks.get(name):
            shown = ", ".join(f"'{word}' ({count})" for word, count in sorted(words.items()))
            message = f"{table.source}: column '{name}' has words that are read as no value: {shown}."
            yield Remark(code="blank-words", severity="note", message=message, columns=(name,))


def has_decimal_commas(connection: DuckDBPyConnection, table: LoadedTable) -> bool:
    """Whether a comma is decimal in a loaded table, also in a column that alone leaves it open ("1,300").

    It is where semicolons part its cells, or some column is of numbers with commas of which one can be nothing else.
    """
    if table.semicolons:
        return True
    described = connection.execute(f"DESCRIBE {quote(table.name)}").fetchall()
    texts = [name for name, kind, *_ in described if kind == "VARCHAR"]
    asked = ", ".join(f"coalesce(bool_or(contains({quote(name)}, ',')), false)" for name in texts)
    some = connection.execute(f"SELECT {asked or 'false'} FROM {quote(table.name)}").fetchall()[0]
    return any(_clearly_decimal(connection, table, name) for name, commas in zip(texts, some, strict=False) if commas)


def _clearly_decimal(connection: DuckDBPyConnection, table: LoadedTable, name: str) -> bool:
    around = "[+−-]?({})([eE][+-]?[0-9]+)?( *%)?( *(±|[+]/-) *[0-9,]+)?"
    clear = around.format("0*,[0-9]+|[0-9]+,([0-9]{1,2}|[0-9]{4,})")
    if not _count(connection, table, name, clear):
        return False
    return _count(connection, table, name, around.format("[0-9]*,?[0-9]+")) == _count(connection, table, name, ".*")


def _count(connection: DuckDBPyConnection, table: LoadedTable, name: str, pattern: str) -> int:
    query = f"SELECT count(*) FROM {quote(table.name)} WHERE regexp_full_match({quote(name)}, ?)"
    return int(connection.execute(query, [pattern]).fetchall()[0][0])


def _grouped_by_dots(connection: DuckDBPyConnection, table: LoadedTable, texts: Sequence[str]) -> list[str]:
    """The columns whose dots group thousands ("10.000"): all dots could, and another column has decimal commas."""
    if not any(_count(connection, table, name, "[+-]?[0-9]+,[0-9]+") for name in texts):
        return []
    dotted = {name: _count(connection, table, name, "[+-]?[0-9]+[.][0-9.]+") for name in texts}
    thousands = "[+-]?[1-9][0-9]{0,2}([.][0-9]{3})+"
    return [name for name, dots in dotted.items() if dots and dots == _count(connection, table, name, thousands)]


def _ungrouped(connection: DuckDBPyConnection, table: LoadedTable, column: str) -> Remark:
    """Take the dots between thousands out of a column, and say so."""
    name, home = quote(column), quote(table.name)
    (first,) = connection.execute(f"SELECT min({name}) FROM {home} WHERE contains({name}, '.')").fetchall()[0]
    connection.execute(f"UPDATE {home} SET {name} = replace({name}, '.', '')")
    message = (
        f"{table.source}: column '{column}' has dots between thousands, as other columns have decimal commas: "
        f"'{first}' is read as {str(first).replace('.', '')}."
    )
    return _remark("written-numbers", "note", message, np.array([], dtype=int), column)


def remarks_on(source: str, column: str, cells: Sequence[Any], numbers: Numbers) -> Iterator[Remark]:
    """What a reader must know of a column that was read as numbers.

    `non-numeric`: cells that are not, with their rows. `written-numbers`: how numbers were written where not plainly.
    `percent-sign`: the rows with a percent sign, whose numbers are percentages.
    """
    bad = np.flatnonzero(numbers.bad)
    if len(bad):
        examples = ", ".join(f"'{str(cells[row])[:30]}' in row {row + 1}" for row in bad[:3])
        message = (
            f"{source}: column '{column}' has {counted(len(bad), 'cell')} without a number, now missing ({examples})."
        )
        yield _remark("non-numeric", "warning", message, bad, column)
    for style, row in numbers.styles:
        message = (
            f"{source}: column '{column}' has numbers with {style}: '{str(cells[row])[:30]}' in row {row + 1} is read "
            f"as {numbers.values[row]:.15g}."
        )
        if style.startswith("a letter") and (bare := _without_letter(cells, numbers)):
            message += f" {rows_text(bare, 'have').capitalize()} none, read as written."
        yield _remark("written-numbers", "note", message, np.array([row]), column)
    signs = np.flatnonzero(numbers.percent)
    if len(signs):
        message = f"{source}: column '{column}' has percent signs ({rows_text((signs + 1).tolist())})."
        yield _remark("percent-sign", "note", message, signs, column)


def _without_letter(cells: Sequence[Any], numbers: Numbers) -> list[int]:
    known = np.flatnonzero(np.isfinite(numbers.values)).tolist()
    return [row + 1 for row in known if numbers.values[row] and not str(cells[row]).strip()[-1].isalpha()]


def _remark(code: str, severity: Any, message: str, places: Any, column: str) -> Remark:
    rows = tuple((places + 1).tolist())
    return Remark(code=code, severity=severity, message=message, rows=rows, columns=(column,))


def _typed(
    connection: DuckDBPyConnection, table: LoadedTable, column: str, *, decimal: bool, magnitudes: bool
) -> tuple[Remark, ...]:
    name, home = quote(column), quote(table.name)
    plain = f"coalesce(isfinite(TRY_CAST({name} AS DOUBLE)) AND NOT contains({name}, '_') "
    plain += f"AND NOT regexp_full_match({name}, '0[0-9]+'), false)"
    counts = f"SELECT count({name}), count({name}) FILTER (WHERE NOT {plain}) FROM {home}"
    ((filled, odd),) = connection.execute(counts).fetchall()
    if not filled:
        return ()
    if not odd:
        connection.execute(f"ALTER TABLE {home} ALTER {name} TYPE DOUBLE USING TRY_CAST({name} AS DOUBLE)")
        return ()
    some = f"SELECT DISTINCT {name} FROM {home} WHERE {name} IS NOT NULL AND NOT {plain} LIMIT {_FEW}"
    few = parse_numbers([text for (text,) in connection.execute(some).fetchall()], magnitudes=magnitudes)
    if odd > max(0.1 * filled, 1) and few.bad.mean() > 0.5:
        return ()
    cells = [text for (text,) in connection.execute(f"SELECT {name} FROM {home}").fetchall()]
    numbers = parse_numbers(cells, semicolons=decimal, magnitudes=magnitudes)
    if not numbers.obvious:
        return ()

    connection.create_function(
        "read_number", lambda text: read_number(text, numbers.convention)[0], ["VARCHAR"], "DOUBLE"
    )
    read = f"nullif(read_number({name}), 'nan'::DOUBLE)"
    connection.execute(f"ALTER TABLE {home} ALTER {name} TYPE DOUBLE USING {read}")
    connection.remove_function("read_number")
    return tuple(remarks_on(table.source, column, cells, numbers))
