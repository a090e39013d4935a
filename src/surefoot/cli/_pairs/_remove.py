"""Screening, removal and its proof, and what a set says of URLs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from surefoot.cli._common import Exit
from surefoot.cli._output import Format, emit
from surefoot.core import SurefootError
from surefoot.pairs import RemovalRequest, explain_urls, remove_pairs, screen_pairs, verify_removal

_Places = Annotated[tuple[Path, ...], Parameter(help="Folders of stages and indexes, or folders of such.")]
_Lists = Annotated[tuple[str, ...], Parameter(help="A file of MD5, SHA-1 or SHA-256, one a line.", negative=())]
_Given = Annotated[tuple[str, ...], Parameter(name="URL... SET", help="URLs, and the folder of a set.")]


def why(given: _Given, /, *, format: Format | None = None) -> None:
    """See the help of the app."""
    if len(given) < 2:
        raise SurefootError("Name a URL at least, and then the folder of the set: surefoot pairs why URL SET.")
    emit(explain_urls(Path(given[-1]), given[:-1]), format)


def screen(places: _Places, /, *, hash_list: _Lists, format: Format | None = None) -> None:
    """See the help of the app."""
    emit(screen_pairs(places, hash_list), format)


def remove(
    places: _Places, /, *,
    url: Annotated[tuple[str, ...], Parameter(help="The URL of a picture.", negative=())] = (),
    hash_list: _Lists = (),
    where: Annotated[str, Parameter(help="An SQL condition, in the last stage with its columns.")] = "",
    verify: Annotated[bool, Parameter(help="Remove nothing: look again for what was removed.", negative=())] = False,
    format: Format | None = None,
) -> int:  # fmt: skip
    """See the help of the app."""
    request = RemovalRequest(urls=url, hash_lists=hash_list, where=where)
    if verify and request != RemovalRequest():
        raise SurefootError("--verify removes nothing: leave out what is to be removed.")
    told = verify_removal(places) if verify else remove_pairs(places, request)
    emit(told, format)
    return Exit.CONTRADICTED if any(row[-1] for row in told.rows) else Exit.HOLDS
