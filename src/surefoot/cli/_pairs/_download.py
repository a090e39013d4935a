"""Pictures of candidates: a polite download, and why URLs failed."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from surefoot.cli._output import Format, counter, emit, say
from surefoot.core import SurefootError
from surefoot.pairs import (
    Manifest,
    Manners,
    PairColumns,
    PictureForm,
    failing_hosts,
    outcomes,
    pairs_directory,
    pairs_from_tables,
    sources_in,
)  # fmt: skip
from surefoot.pairs import download as download_pictures

_ROWS = 10_000  # of a part that is made of a user's table


def download(
    candidates: Annotated[Path, Parameter(help="A stage's output, or a table of URLs and texts in any format.")], /, *,
    out: Annotated[Path, Parameter(help="A new folder, or that of a run to go on with.")],
    url: Annotated[str, Parameter(help="The column of the URLs, of a table.")] = "url",
    text: Annotated[str, Parameter(help="The column of the texts, of a table; '' for none.")] = "text",
    form: Annotated[PictureForm | None, Parameter(name="*")] = None,
    manners: Annotated[Manners | None, Parameter(name="*")] = None,
    format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    if not (manners and manners.contact):
        say("surefoot: no --contact is given: hosts cannot ask you to stop, and more of them will refuse.")
    if not candidates.exists():
        raise SurefootError(f"There are no candidates at {candidates}.")
    with TemporaryDirectory() as place:
        stage = candidates
        if not pairs_directory(candidates):
            stage = Path(place, "candidates")
            read = pairs_from_tables([candidates], stage, columns=PairColumns(url=url, text=text), rows=_ROWS)
            if words := read.faults.get("text_missing_word"):
                say(f"surefoot: {words:,} texts of {candidates} are words such as NA or None: read as no text.")
        _report(
            out,
            download_pictures(sources_in(stage), out, form=form, manners=manners, progress=counter("rows begun")),
            format,
        )


def _report(out: Path, manifest: Manifest, format: Format | None) -> None:
    ended = outcomes(out)
    asked = sum(row[2] for row in ended.rows)
    say(f"{manifest.kept:,} of {asked:,} URLs gave a picture ({manifest.kept / max(asked, 1):.1%}), in {out}.")
    if screened := manifest.faults.get("screened"):
        say(f"{screened:,} were named by a hash list: nothing of them was kept.")
    if again := manifest.reasons.get("download_retryable"):
        say(f"{again:,} may still succeed: run the same command again to ask only these.")
    emit(ended, format)
    if format in (None, "text") and (hosts := failing_hosts(out)).rows:
        sys.stdout.write("\n")
        emit(hosts, format)
