"""What a reader of a table must know."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from surefoot.core import agreed


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
