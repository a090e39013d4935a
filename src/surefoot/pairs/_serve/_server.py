"""The server of one set."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.core import SurefootError, check_installed
from surefoot.pairs._search._pictures import picture_of
from surefoot.pairs._search._query import PairIndex
from surefoot.pairs._serve._ask import PairSet
from surefoot.pairs._serve._facets import checked, facets_of, safe_columns

if TYPE_CHECKING:
    from uvicorn import Server

    from surefoot.pairs._search._encoders import PairEncoder


def search_server(
    name: str, index: PairIndex, encoder: PairEncoder, *, pictures: Path | None = None, unsafe: float = 0.5,
    style: str = "",
) -> Server:  # fmt: skip
    """The search page of an index and its API, to be run on a socket: `search_server(...).run([line])`.

    `pictures` is where pictures lie when the rows name no root (it warns where none is found); safe mode hides what
    is more probably unsafe than `unsafe`; `style` is a stylesheet. It answers as localhost alone.
    """
    check_installed(("starlette", "uvicorn", "simplejpeg", "PIL"))
    import uvicorn

    from surefoot.pairs._serve._app import search_app

    rows = index.rows.execute("SELECT root, picture FROM rows ORDER BY hash(id) LIMIT 32").fetchall()
    for root, place in rows:
        with suppress(SurefootError):
            picture_of({"root": root, "picture": place}, pictures)
            break
    else:
        warnings.warn("No picture of this set is found: name the folder where they lie by --pictures.", stacklevel=2)
    pairs = PairSet(
        name=name, index=index, encoder=encoder, pictures=pictures, facets=facets_of(index.rows),
        safe_by=safe_columns(index.rows), threshold=checked("threshold --unsafe", unsafe, float, 0, 1),
    )  # fmt: skip
    app = search_app(pairs, style)
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=1))
