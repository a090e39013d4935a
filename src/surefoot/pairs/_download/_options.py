"""What a download can be told: the form of the pictures, and the manners of the asking."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from surefoot.core import SurefootError
from surefoot.pairs._download._address import PORTS

Resize = Literal["border", "keep_ratio", "crop", "none"]
Layout = Literal["webdataset", "files", "parquet"]


@dataclass(frozen=True, kw_only=True)
class PictureForm:
    """The form in which pictures are kept, as JPEG without metadata, turned upright."""

    size: int = 256
    """Pixels of a side."""
    resize: Resize = "border"
    """Fitted into a square on white, the shorter side made so long, the middle square cut out, or left."""
    quality: int = 95
    """Of the JPEG."""
    exact: bool = False
    """Decode JPEGs in full, not at the smallest of their own scales that is large enough."""
    max_bytes: int = 10_000_000
    """The largest body."""
    max_pixels: int = 89_478_484
    """The most pixels, by the header."""
    layout: Layout = "webdataset"
    """Tars, single files, or a column of the Parquet files."""

    def __post_init__(self) -> None:
        for name, most in {"size": 8192, "quality": 100, "max_bytes": 1 << 30, "max_pixels": 1 << 30}.items():
            if not 1 <= getattr(self, name) <= most:
                raise SurefootError(f"'{name}' lies between 1 and {most:,}, not at {getattr(self, name):,}.")
        for name, choices in (("resize", get_args(Resize)), ("layout", get_args(Layout))):
            if getattr(self, name) not in choices:
                raise SurefootError(f"'{name}' is one of {', '.join(choices)}, not {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How to ask. Nothing of this changes a picture, so that none of it is part of what a Step is."""

    contact: str = ""
    """A URL or e-mail address for those who are asked; it goes into the user agent."""
    per_host: int = 2
    """Requests to a host at once."""
    connections: int = 64
    """Requests at once."""
    timeout: float = 30.0
    """Seconds of a request."""
    retries: int = 1
    """Times that a failed request is made again."""
    deadline: float = 3600.0
    """Seconds for a part of the rows; what is left then is retryable."""
    patience: int = 10
    """Failures in a row after which a host is left for a later run."""
    opt_outs: int = 10
    """Reserved pictures after which a host is never asked again."""
    do_not_ask: str = ""
    """The file of such hosts, which runs may share. Default: do-not-ask.txt beside the parts."""
    hash_list: tuple[str, ...] = ()
    """Files of MD5, SHA-1 or SHA-256, of pictures or URLs, that are not kept."""
    decoders: int = 0
    """Programs that decode. Default: the number of cores."""
    allow_private: bool = False
    """Ask private addresses and any port: for servers of your own."""

    def __post_init__(self) -> None:
        least = {"per_host": 1, "connections": 1, "retries": 0, "patience": 1, "opt_outs": 1, "decoders": 0}
        wrong = [name for name, low in least.items() if getattr(self, name) < low]
        wrong += [name for name in ("timeout", "deadline") if not 0 < getattr(self, name) < 1e7]
        if wrong:
            raise SurefootError(f"'{wrong[0]}' may not be {getattr(self, wrong[0])}: give a larger number.")
        if re.search(r"[^ -~]", self.contact):
            raise SurefootError("The contact goes into a header: use plain ASCII, a URL or an e-mail address.")

    @property
    def ports(self) -> range | tuple[int, ...]:
        """The ports that may be asked: with `allow_private`, which is for tests and one's own servers, any."""
        return range(1, 65536) if self.allow_private else PORTS
