"""The search page of a set, on loopback."""

import socket
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from surefoot.cli._evaluate import ModelFlags
from surefoot.cli._output import say
from surefoot.cli._pairs._search import CONSE_FLAGS, index_encoder
from surefoot.core import SurefootError
from surefoot.pairs import open_index, places_of, search_server
from surefoot.report import open_in_browser, page_style


def serve(
    directory: Annotated[Path, Parameter(name="SET", help="What pairs run or pairs index wrote.")], /, *,
    port: Annotated[int, Parameter(help="Of this machine alone; 0: any that is free.")] = 7700,
    pictures: Annotated[Path | None, Parameter(help="Where pictures lie, if the set cannot tell.")] = None,
    unsafe: Annotated[float, Parameter(help="Safe mode hides what is more probably unsafe than this.")] = 0.5,
    model: ModelFlags = CONSE_FLAGS,
    show: Annotated[bool, Parameter(name="--open", help="Open the page in a browser.", negative=())] = False,
) -> None:  # fmt: skip
    """See the help of the app."""
    places = places_of(directory)
    if places.index is None:
        raise SurefootError(f"{directory} has no index: make one with 'surefoot pairs index'.")
    with _listening(port) as line, open_index(places.index) as index:
        encoder, place = index_encoder(places.index, index.told, model), pictures or places.pictures
        server = search_server(
            directory.resolve().name, index, encoder, pictures=place, unsafe=unsafe, style=page_style()
        )
        address = f"http://127.0.0.1:{line.getsockname()[1]}/"
        say(f"{index.told.rows:,} pictures are served at {address} until Ctrl-C.")
        if show:
            open_in_browser(address)
        server.run([line])


def _listening(port: int) -> socket.socket:
    if not 0 <= port < 65536:
        raise SurefootError(f"--port is {port}: from 0 to 65,535.")
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise SurefootError(f"Port {port} cannot be had ({error.strerror}): name another with --port.") from None
