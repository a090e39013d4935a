"""Hash lists: what must not be kept, known by digests alone. A match is counted and shown to nobody."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError
from surefoot.pairs._extract._page import spellings

_DIGESTS = {16: "md5", 20: "sha1", 32: "sha256"}  # bytes, and what has so many


@dataclass(frozen=True)
class HashLists:
    """Sorted digests by length: MD5, SHA-1 and SHA-256 of pictures or of URLs, 16 to 32 bytes an entry."""

    sorted: dict[int, NDArray[np.bytes_]]

    def name(self, data: bytes) -> bool:
        """Whether a list names these bytes, those of a picture as they came or of a URL."""
        return any(self._holds(length, hashlib.new(_DIGESTS[length], data).digest()) for length in self.sorted)

    def name_url(self, url: str) -> bool:
        """Whether a list names a URL, as it is written or as a browser asks for it."""
        return any(self.name(one.encode("utf-8", "replace")) for one in spellings(url))

    def holds(self, digest: str) -> bool:
        """Whether a list has this digest, in hexadecimal digits."""
        return len(digest) // 2 in self.sorted and self._holds(len(digest) // 2, bytes.fromhex(digest))

    def _holds(self, length: int, digest: bytes) -> bool:
        entries = self.sorted[length]
        place = int(np.searchsorted(entries, np.bytes_(digest)))
        return place < len(entries) and bytes(entries[place]) == digest.rstrip(b"\0")


def read_hash_lists(files: Iterable[str]) -> HashLists:
    """Lists of digests in hexadecimal digits, one a line; what follows a comma or a space is left out.

    Raises `SurefootError` for a line that is no digest (without showing it), and for a list without any.
    """
    found: dict[int, bytearray] = {length: bytearray() for length in _DIGESTS}
    for name in files:
        before = sum(map(len, found.values()))
        try:
            with Path(name).open(encoding="utf-8-sig", errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    text = re.split(r"[\s,;]", line.strip(), maxsplit=1)[0]
                    if text and not text.startswith("#"):
                        _take(found, text, f"{name}, line {number}")
        except OSError as error:
            raise SurefootError(f"The hash list {name} cannot be read: {error.strerror}.") from None
        if sum(map(len, found.values())) == before:
            raise SurefootError(f"The hash list {name} holds no digest: nothing would be screened.")
    return HashLists({size: np.sort(np.frombuffer(data, f"S{size}")) for size, data in found.items() if data})


def _take(found: dict[int, bytearray], text: str, where: str) -> None:
    if len(text) // 2 not in _DIGESTS or not re.fullmatch(r"([0-9a-fA-F]{2})+", text):
        raise SurefootError(f"{where} is no MD5, SHA-1 or SHA-256 in hexadecimal digits.")
    found[len(text) // 2] += bytes.fromhex(text)
