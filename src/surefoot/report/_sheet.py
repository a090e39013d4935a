"""A page without a script: an opening sentence, sections of sentences, a drawing and a table, and the method."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markupsafe import Markup

from surefoot import __version__
from surefoot.report._page import asset, templates, write_page


@dataclass(frozen=True, kw_only=True)
class Section:
    """Sentences, a drawing ('' for none), and a table or none, of numbers but for long cells and the first."""

    title: str
    anchor: str
    sentences: tuple[str, ...]
    still: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    text: bool = False

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """How each column is set: as text where it is the first, or a cell of it is long."""
        long = [any(len(row[column]) > 12 for row in self.rows) for column in range(len(self.columns))]
        return tuple("text" if self.text or not column or long[column] else "number" for column in range(len(long)))


def write_sheet(
    path: Path,
    *,
    kind: str,
    source: str,
    opening: str,
    leads: Sequence[str],
    facts: Sequence[str],
    sections: Sequence[Section],
    notes: Sequence[str],
    method: Sequence[str],
) -> Path:
    """Write the page as one HTML file that opens from disk and loads nothing; returns its path.

    All text is escaped. `kind` names what it is ("audit"), `source` what it is of. Raises `SurefootError` when the file
    cannot be written.
    """
    shown = {"kind": kind, "source": source, "opening": opening, "leads": leads, "facts": facts, "sections": sections}
    shown |= {"notes": notes, "method": method, "version": __version__, "style": Markup(asset("report.css"))}
    return write_page(path, templates().get_template("sheet.html.j2").render(shown))
