"""What a reader of a table must know."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from surefoot.core import agreed

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something about a table that its reader must know: a stable code, how grave, a sentence, rows and columns."""

    code: str
    severity: Literal["note", "warning"]
    message: str
    rows: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()


def rows_text(rows: Iterable[int], verb: str = "") -> str:
    """Row numbers in words, cut after eight; with what they do ("have"), of one row as one does."""
    numbers = sorted(rows)
    shown = ", ".join(str(number) for number in numbers[:8])
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{more}{f' {agreed(len(numbers), verb)}' if verb else ''}"


def alike(column: str, values: Iterable[str]) -> Iterator[Remark]:
    """Names values that differ in case, spaces, zeros or Unicode alone, and may be one value written in two ways."""
    written: dict[str, list[str]] = {}
    for value in dict.fromkeys(values):
        written.setdefault(_plain(value), []).append(_shown(value))
    if twice := [same for same in written.values() if len(same) > 1]:
        shown = "; ".join(" and ".join(same) for same in twice)
        message = (
            f"Column {column} has values that differ in case, spaces, zeros or Unicode alone, kept apart: {shown}."
        )
        yield Remark(code="alike", severity="warning", message=message, columns=(column,))


def _plain(value: str) -> str:
    if _NUMBER.fullmatch(value):
        return str(Decimal(value).normalize())  # 1 and 1.0, of any length
    seen = "".join(one for one in value if unicodedata.category(one) != "Cf")  # a space of no width, a mark of order
    return " ".join(unicodedata.normalize("NFC", seen.casefold()).split())


def _shown(value: str) -> str:
    """A value in quotes; with the code points of what would print as another does."""
    plain = value.isprintable() and unicodedata.is_normalized("NFC", value)
    return f"'{value}'" if plain else ascii(value)
