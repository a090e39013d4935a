"""Finding labelled pictures: folders with a class each, tables of names and classes, and WebDataset shards."""

import csv
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from surefoot.contrastive._pictures._photos import MAX_FILE_BYTES, SUFFIXES, Stored
from surefoot.core import SurefootError, digest_of

MAX_LABEL_BYTES = 1 << 20
_LABEL_SUFFIXES = (".cls", ".json", ".txt")  # the first of them that says a class decides
_JSON_KEYS = ("cls", "class", "label", "class_name", "caption")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One picture: its stable name, the raw name of its class, and where its bytes lie."""

    name: str
    label: str
    stored: Stored


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """Class names by what they belong to: a picture's name, a folder's name, or a class number; in the file's order."""

    of: dict[str, str]
    names: tuple[str, ...]


def list_pictures(path: Path) -> list[Labelled]:
    """The labelled pictures of a folder (a class each subfolder), of a WebDataset shard, or of a folder of shards.

    They come in the order of their names. Raises `SurefootError` when there is nothing to read.
    """
    if path.is_file():
        return list(_shard(path))
    if not path.is_dir():
        raise SurefootError(f"{path} does not exist: give a folder of pictures or a .tar file.")
    shards = sorted(path.glob("*.tar"))
    found = [item for shard in shards for item in _shard(shard)] if shards else list(_folder(path))
    if not found:
        raise SurefootError(f"{path} holds no pictures. These are read: {', '.join(sorted(SUFFIXES))}.")
    return found


def content_digest(path: Path, classes: Path | None) -> str:
    """The SHA-256 of the names and contents of everything that `list_pictures` reads, and of the table of classes."""
    digest = sha256()
    files = [path] if path.is_file() else [*sorted(path.glob("*.tar"))] or sorted(_pictures_below(path))
    for file in [*files, *([classes] if classes else [])]:
        name = file.relative_to(path).as_posix() if path.is_dir() and file.is_relative_to(path) else file.name
        digest.update(f"{name}\0{digest_of(file)}\n".encode())
    return digest.hexdigest()


def read_classes(path: Path) -> ClassTable:
    """A table of classes: TSV or CSV rows of name and class, or one class name a line (the number of the line from 0
    is then the class number). A first row of the words "name" and "class" is a heading. Raises `SurefootError` with
    the line for a row that is not one or two cells.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SurefootError(f"The table of classes {path} cannot be read as UTF-8 text: {error}.") from error
    tabs = "\t" in text
    lines = list(enumerate(csv.reader(text.splitlines(), delimiter="\t" if tabs else ","), 1))
    rows = [(number, [cell.strip() for cell in row]) for number, row in lines if any(cell.strip() for cell in row)]
    if rows and [cell.lower() for cell in rows[0][1]] == ["name", "class"]:
        rows = rows[1:]
    widths = {len(row) for _, row in rows}
    wrong = [number for number, row in rows if len(row) > 2 or len(row) != len(rows[0][1])]
    if wrong or not rows:
        where = f" line {wrong[0]}:" if wrong else ""
        raise SurefootError(f"{path}:{where} every row must be NAME<tab>CLASS (or a comma), or one class name a line.")
    names = [row[-1] for _, row in rows]
    keys = [row[0] for _, row in rows] if widths == {2} else [str(number) for number in range(len(rows))]
    own = {} if widths == {2} else {name: name for name in names}
    return ClassTable(of=own | dict(zip(keys, names, strict=True)), names=tuple(dict.fromkeys(names)))


def _folder(path: Path) -> Iterator[Labelled]:
    for file in sorted(_pictures_below(path)):
        name = file.relative_to(path)
        size = file.stat().st_size
        yield Labelled(
            name=name.as_posix(),
            label=name.parts[0] if len(name.parts) > 1 else "",
            stored=Stored(file=str(file.resolve()), offset=0, size=size),
        )


def _pictures_below(path: Path) -> Iterator[Path]:
    """Pictures in a folder and its subfolders, without hidden files."""
    for file in path.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.suffix.lower() in SUFFIXES and not hidden and file.is_file():
            yield file


def _shard(path: Path) -> Iterator[Labelled]:
    """The samples of one shard: neighbouring members with one base name, a picture and its label among them."""
    sample: dict[str, Any] = {}
    current = ""
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                base, suffix = _split_name(member.name)
                if not member.isreg() or not suffix:
                    continue
                if base != current:
                    yield from _finished(path, current, sample)
                    sample, current = {}, base
                _collect(sample, suffix, member, lambda member=member: _text(archive, member))
            yield from _finished(path, current, sample)
    except tarfile.TarError as error:
        raise SurefootError(
            f"{path} is not a readable .tar file ({error}); a compressed one must be unpacked first."
        ) from (error)


def _collect(sample: dict[str, Any], suffix: str, member: tarfile.TarInfo, text: Callable[[], str]) -> None:
    if suffix in SUFFIXES:
        sample.setdefault("picture", member)
    elif suffix in _LABEL_SUFFIXES and member.size <= MAX_LABEL_BYTES:
        sample[suffix] = text()


def _finished(path: Path, name: str, sample: dict[str, Any]) -> Iterator[Labelled]:
    if "picture" in sample:
        member = sample["picture"]
        in_json = _label_in_json(path, name, sample[".json"]) if ".json" in sample else ""
        label = sample.get(".cls") or in_json or sample.get(".txt") or ""
        stored = Stored(file=str(path.resolve()), offset=member.offset_data, size=member.size)
        yield Labelled(name=f"{path.stem}/{name}", label=label.strip(), stored=stored)


def _label_in_json(path: Path, name: str, text: str) -> str:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SurefootError(f"{path}, sample {name}: its .json is not JSON ({error}).") from error
    found = [row[key] for key in _JSON_KEYS if isinstance(row, dict) and key in row]
    return str(found[0]) if found else ""


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = archive.extractfile(member)
    return stream.read().decode("utf-8", errors="replace") if stream else ""


def _split_name(name: str) -> tuple[str, str]:
    """The base name and the suffix as WebDataset has them: the suffix begins at the first dot of the last part."""
    path = PurePosixPath(name)
    base, dot, suffix = path.name.partition(".")
    return str(path.parent / base), f"{dot}{suffix}".lower() if base else ""


def too_large(item: Labelled) -> bool:
    """Whether a file is larger than any picture that is read."""
    return item.stored.size > MAX_FILE_BYTES
