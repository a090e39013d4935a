"""What was removed from a folder, known by digests with a key, which say nothing without it."""

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError

TOMBS, KEY = "removed.json", "removed.key"


def digest(key: bytes, value: bytes) -> str:
    """24 hexadecimal digits."""
    return blake2b(value, key=key, digest_size=12).hexdigest()


def tombs(folder: Path) -> tuple[bytes, Any]:
    """The key of a folder, and what its `removed.json` says. Raises `SurefootError` where either is not there."""
    try:
        return bytes.fromhex((folder / KEY).read_text()), json.loads((folder / TOMBS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SurefootError(
            f"{folder} has no {TOMBS} with its {KEY}: nothing was removed there, or the key is lost."
        ) from None
