"""Where a study finds published data: a folder of the user, else one under `SUREFOOT_DATA`."""

import os
from pathlib import Path

from surefoot.core import SurefootError


def data_folder(given: str, name: str, needed: str) -> Path:
    """The folder that is given, else `name` in `SUREFOOT_DATA`. Raises `SurefootError` with `needed` without either."""
    root = os.environ.get("SUREFOOT_DATA")
    if not given and not root:
        raise SurefootError(needed)
    return Path(given) if given else Path(root or "") / name
