"""What a reader of a table must know."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something about a table that its reader must know: a stable code, how grave, a sentence, rows and columns."""

    code: str
    severity: Literal["note", "warning"]
    message: str
    rows: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()


def rows_text(rows: Iterable[int]) -> str:
    """Row numbers in words, cut after eight."""
    numbers = sorted(rows)
    shown = ", ".join(str(number) for number in numbers[:8])
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{more}"
