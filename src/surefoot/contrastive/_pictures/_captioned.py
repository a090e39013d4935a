"""Finding pictures with captions: beside each picture, in a table, and in WebDataset shards."""

import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from surefoot.contrastive._pictures._listing import SHARDS, Sample, of_one_split, samples_of, shown_files
from surefoot.contrastive._pictures._photos import (
    MAX_FILE_BYTES,
    SUFFIXES,
    RefusedPictureError,
    read_stored,
    whole_file,
)
from surefoot.contrastive._pictures._table import captioned_rows
from surefoot.core import SurefootError


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """A picture by its name, with its captions (none where none was found) and a way to its bytes."""

    name: str
    captions: tuple[str, ...]
    read: Callable[[], bytes]


def captioned_pictures(path: Path, template: str | None) -> Iterator[Captioned]:
    """The pictures of a folder, of a table (CSV, TSV, JSON Lines, Parquet, ...) or of shards, with their captions.

    In a folder and in shards captions are the lines of the `.txt` of the picture's name, or `caption` in its `.json`;
    in a table the rows of a picture, whose path begins at the table's folder. Where there is none, `template` makes
    one of the name of the folder, in place of `{}`. Raises `SurefootError` for a path that is none of these, and for
    two pictures of one name.
    """
    names: set[str] = set()
    for one in _found(path, template):
        if one.name in names:
            raise SurefootError(f"{path}: two pictures are called {one.name}: give every one a name of its own.")
        names.add(one.name)
        yield one


def _found(path: Path, template: str | None) -> Iterator[Captioned]:
    if path.is_dir():
        shards = of_one_split(path, sorted(file for file in path.iterdir() if file.name.endswith(SHARDS)))
        return _of_shards(shards, template) if shards else _of_folder(path, template)
    if path.name.endswith(SHARDS):
        return _of_shards([path], template)
    if path.is_file():
        return _of_table(path)
    raise SurefootError(f"{path} does not exist: give a folder of pictures, a table of captions or .tar shards.")


def files_read(path: Path) -> list[Path]:
    """The files that hold the pictures and captions: what a digest is taken of."""
    if path.is_dir() or path.name.endswith(SHARDS):
        return [path]
    return [path, *(path.parent / name for name, _ in captioned_rows(path))]


def _of_folder(path: Path, template: str | None) -> Iterator[Captioned]:
    for file in shown_files(path):
        if file.suffix.lower() in SUFFIXES:
            name = file.relative_to(path)
            texts = {suffix: _text_of(file.with_suffix(suffix)) for suffix in (".txt", ".json")}
            said = _captions(name.as_posix(), texts, template)
            yield Captioned(name=name.as_posix(), captions=said, read=lambda file=file: read_stored(whole_file(file)))


def _of_table(path: Path) -> Iterator[Captioned]:
    captions: dict[str, list[str]] = {}
    for name, texts in captioned_rows(path):
        captions.setdefault(name, []).extend(texts)
    for name, texts in captions.items():
        said = tuple(dict.fromkeys(texts))
        yield Captioned(name=name, captions=said, read=lambda name=name: read_stored(whole_file(path.parent / name)))


def _of_shards(shards: Sequence[Path], template: str | None) -> Iterator[Captioned]:
    for shard in shards:
        stem = shard.name.removesuffix(next(end for end in SHARDS if shard.name.endswith(end)))
        try:
            with tarfile.open(shard) as archive:
                for sample in samples_of(shard, archive):
                    member = sample.picture if isinstance(sample, Sample) else None
                    stream = archive.extractfile(member) if member else None
                    if isinstance(sample, Sample) and member and stream:
                        name = f"{stem}/{sample.base}"
                        picture = stream.read() if member.size <= MAX_FILE_BYTES else b""
                        said = _captions(sample.base, sample.texts, template)
                        yield Captioned(name=name, captions=said, read=partial(_within, picture, member.size))
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise SurefootError(f"{shard} is not a readable .tar file ({error}).") from error


def _within(picture: bytes, size: int) -> bytes:
    if size > MAX_FILE_BYTES:
        raise RefusedPictureError(f"it has {size:,} bytes")
    return picture


def _captions(name: str, texts: Mapping[str, str | None], template: str | None) -> tuple[str, ...]:
    lines = [line.strip() for line in (texts.get(".txt") or "").splitlines()]
    try:
        row = json.loads(texts.get(".json") or "{}")
    except (ValueError, RecursionError):
        row = {}
    found = row.get("caption") if isinstance(row, dict) else None
    said = [*lines, *(str(one).strip() for one in (found if isinstance(found, list) else [found]) if one)]
    folder = PurePosixPath(name).parent.name.replace("_", " ")
    made = [template.replace("{}", folder)] if template and folder and not any(said) else []
    return tuple(dict.fromkeys(one for one in (*said, *made) if one))


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8-sig", errors="replace") if path.is_file() else None
