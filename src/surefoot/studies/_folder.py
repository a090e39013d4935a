"""Where a study finds published data: a folder of the user, else one under `SUREFOOT_DATA`."""

import os
from pathlib import Path

from surefoot.core import SurefootError

_NEEDED = """Set SUREFOOT_DATA to the folder that holds 'photos', or give -o photos=DIR: a folder with the photographs
of CIFAR-10 in 'train' and 'test', a folder a class (docs/how-to/pairs-search.md)."""


def data_folder(given: str, name: str, needed: str) -> Path:
    """The folder that is given, else `name` in `SUREFOOT_DATA`. Raises `SurefootError` with `needed` without either."""
    root = os.environ.get("SUREFOOT_DATA")
    if not given and not root:
        raise SurefootError(needed)
    return Path(given) if given else Path(root or "") / name


def photo_archives(given: str) -> tuple[str, str]:
    """Where the photographs of CIFAR-10 lie, for training and for tests: folders, else the archives of these."""
    folder = data_folder(given, "photos", _NEEDED)
    archives = {folder / part: folder / f"cifar10_{part}.tar.gz" for part in ("train", "test")}
    train, test = (str((plain if plain.is_dir() else packed).resolve()) for plain, packed in archives.items())
    return train, test
