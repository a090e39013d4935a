"""What the intervals of a report are, in sentences that stand in the page and in the documentation."""

from pathlib import Path

_TEXT = (Path(__file__).parent / "templates" / "method.txt").read_text(encoding="utf-8")
METHOD_NOTES: tuple[tuple[str, str], ...] = tuple(
    (title, " ".join(text.split("\n")))
    for title, _, text in (note.partition("\n") for note in _TEXT.strip().split("\n\n"))
)
"""Title and text of each note."""
