"""Finding labelled pictures: folders with a class each, and WebDataset shards."""

import json
import re
import tarfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Literal

from surefoot.contrastive._pictures._photos import SUFFIXES, Stored, whole_file
from surefoot.contrastive._pictures._table import labelled_rows
from surefoot.core import SurefootError, counted, digest_of, files_below, whole_members

SHARDS = (".tar", ".tar.gz", ".tgz")
MAX_LABEL_BYTES = 1 << 20
_LABEL_SUFFIXES = (".cls", ".json", ".txt")  # the first of them that says a class decides
_JSON_KEYS = ("cls", "class", "label", "class_name", "caption")
_PART = re.compile(r"(?P<name>.+)-(?P<number>\d+)-of-(?P<of>\d+)\.")
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One picture: its stable name, the raw name of its class and where that was read, and where its bytes lie."""

    name: str
    label: str
    said_by: Literal["folder", "sample"]
    stored: Stored


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Pictures in the order of their names, and the files (or members of shards) beside them that were not read."""

    pictures: tuple[Labelled, ...]
    unread: tuple[str, ...]
    repeated_said: str = ""

    @property
    def unread_said(self) -> str:
        """How many files were not read, of which kinds, and the first; empty when all were."""
        kinds = Counter(PurePosixPath(name).suffix.lower() or "without a suffix" for name in self.unread)
        told = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common(5))
        first = (
            f"Not read, since by their names, or as links, they are no pictures: {counted(len(self.unread), 'file')}"
        )
        return f"{first} ({told}), such as {self.unread[0]}." if self.unread else ""


def list_pictures(path: Path) -> Listing:
    """The labelled pictures of a folder (a class each subfolder), a table, a WebDataset shard, or a folder of shards.

    In a shard the label is what `.cls`, `.json` or `.txt` say, else the folder in the shard; a table has the path of
    each and its label (see `labelled_rows`). Raises `SurefootError` when there is nothing to read, for a sample of two
    pictures or a picture of two labels, and for a folder whose subfolders are splits instead of classes.
    """
    if not (path.is_file() or path.is_dir()):
        raise SurefootError(f"{path} does not exist: give a folder of pictures or a .tar file.")
    if _is_table(path):
        return _table(path)
    shards = [path] if path.is_file() else of_one_split(path, sorted(path.glob("*.tar")))
    files = shown_files(path)
    unread = [file for file in files if (file not in shards if shards else file.suffix.lower() not in SUFFIXES)]
    names = tuple(file.relative_to(path).as_posix() for file in unread)
    found = _shards(shards, names) if shards else Listing(pictures=tuple(_folder(path, files)), unread=names)
    if not found.pictures:
        raise SurefootError(f"{path} holds no pictures. These are read: {', '.join(sorted(SUFFIXES))}.")
    labels = {item.label.lower() for item in found.pictures}
    nested = any(item.name.count("/") > 1 for item in found.pictures)
    if not shards and nested and labels <= _SPLITS:
        names = tuple(sorted(labels))
        raise SurefootError(f"{path} holds splits ({', '.join(names)}) and not classes: name one, {path}/{names[0]}.")
    return found


def content_digest(path: Path, classes: Path | None) -> str:
    """The SHA-256 of the names and contents of everything that `list_pictures` reads, and of the file of classes."""
    digest = sha256()
    found = (file for file in shown_files(path) if file.suffix.lower() in SUFFIXES)
    files = [path] if path.is_file() else sorted(path.glob("*.tar")) or [*found]
    names = [file.name if file == path else file.relative_to(path).as_posix() for file in files]
    if _is_table(path):
        names += [item.name for item in _table(path).pictures]
        files += [path.parent / name for name in names[1:]]
    if classes:  # how it is read depends on its suffix
        files, names = [*files, classes], [*names, f"classes{classes.suffix.lower()}"]
    for file, name in zip(files, names, strict=True):
        digest.update(f"{name}\0{digest_of(file)}\n".encode())
    return digest.hexdigest()


def of_one_split(path: Path, files: Sequence[Path]) -> list[Path]:
    """The files of a folder. Raises where their names begin with those of several splits, as hubs write them.

    Warns where names such as `train-00000-of-00003` say that there are more.
    """
    words = (re.split("[^a-z]+", file.name.lower())[0] for file in files)
    splits = sorted({word for word in words if word in _SPLITS})
    if len(splits) > 1:
        raise SurefootError(
            f"{path} holds the files of several splits ({', '.join(splits)}): name a file of one, or a folder with the "
            "files of one (links do)."
        )
    numbered = [found for file in files if (found := _PART.match(file.name))]
    for name, of in dict.fromkeys(found.group("name", "of") for found in numbered):
        there = {int(found["number"]) for found in numbered if found.group("name", "of") == (name, of)}
        if len(there) < int(of):
            warnings.warn(
                f"{path} has {len(there)} of the {int(of)} files of {name}: the others are left out.", stacklevel=2
            )
    return [*files]


def shown_files(folder: Path) -> list[Path]:
    found = files_below(folder) if folder.is_dir() else ()
    shown = (file for file in found if "/." not in f"/{file.relative_to(folder).as_posix()}")
    return sorted(file for file in shown if file.is_file() or not file.exists())  # a link that leads nowhere is told


def _folder(path: Path, files: list[Path]) -> Iterator[Labelled]:
    for file in files:
        if file.suffix.lower() in SUFFIXES:
            name = file.relative_to(path)
            label = name.parts[0] if len(name.parts) > 1 else ""
            yield Labelled(name=name.as_posix(), label=label, said_by="folder", stored=whole_file(file))


def _is_table(path: Path) -> bool:
    return path.is_file() and not path.name.endswith(SHARDS) and not tarfile.is_tarfile(path)


def _table(path: Path) -> Listing:
    rows, labels = [*labelled_rows(path)], dict[str, str]()
    for name, label in rows:
        if labels.setdefault(name, label) != label:
            raise SurefootError(f"{path}: the picture {name} is of the classes {labels[name]} and {label}.")
    again = f"{counted(len(rows) - len(labels), 'row', 'name')} a picture again, which counts once."
    found = (
        Labelled(name=name, label=label, said_by="sample", stored=whole_file(path.parent / name))
        for name, label in labels.items()
    )
    return Listing(pictures=tuple(found), unread=(), repeated_said=again if len(rows) > len(labels) else "")


@dataclass(kw_only=True)
class Sample:
    """Neighbouring members with one base name: a picture, and what says its class."""

    base: str
    picture: tarfile.TarInfo | None = None
    texts: dict[str, str] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)


def _shards(paths: list[Path], unread: tuple[str, ...]) -> Listing:
    parts = [(path, part) for path in paths for part in _read_shard(path)]
    found = tuple(part for _, part in parts if isinstance(part, Labelled))
    left = (*unread, *(f"{path.name}/{part}" for path, part in parts if isinstance(part, str)))
    if twice := [name for name, count in Counter(item.name for item in found).items() if count > 1]:
        raise SurefootError(f"Two samples are called {twice[0]}: give every one a name of its own in its shard.")
    return Listing(pictures=found, unread=left)


def _read_shard(path: Path) -> Iterator[Labelled | str]:
    try:
        with tarfile.open(path, "r:") as archive:
            for part in samples_of(path, archive):
                yield from _labelled(path, part) if isinstance(part, Sample) else (part,)
    except tarfile.TarError as error:
        raise SurefootError(
            f"{path} is not a readable .tar file ({error}); a compressed one must be unpacked first."
        ) from (error)


def samples_of(path: Path, archive: tarfile.TarFile) -> Iterator[Sample | str]:
    """The samples of an open shard, and the names of members that were not read. Raises for two pictures of one."""
    every = [member for member in whole_members(archive) if not member.isdir()]
    files = {member.name: member for member in every if member.isreg()}
    every = [_led_to(member, files) if member.islnk() else member for member in every]
    yield from (f"{member.name} (a link)" for member in every if not member.isreg())
    members = [member for member in every if member.isreg()]
    split = _splitting([member.name for member in members])
    sample = Sample(base="")
    for member in members:
        base, suffix = split(member.name)
        if base != sample.base:
            yield sample
            sample = Sample(base=base)
        if member.name in sample.members:
            raise SurefootError(f"{path}: '{member.name}' stands there twice: which picture has which label?")
        sample.members.add(member.name)
        if suffix in SUFFIXES:
            if sample.picture:
                raise SurefootError(
                    f"{path}: one sample has the pictures {sample.picture.name} and {member.name}: which of them is "
                    "meant? Leave one out, or give each a name of its own."
                )
            sample.picture = member
        elif suffix in _LABEL_SUFFIXES and member.size <= MAX_LABEL_BYTES:
            stream = archive.extractfile(member)
            sample.texts[suffix] = stream.read().decode("utf-8", errors="replace") if stream else ""
        else:
            yield member.name
    yield sample


def _led_to(link: tarfile.TarInfo, files: Mapping[str, tarfile.TarInfo]) -> tarfile.TarInfo:
    """What a hard link within a shard leads to (of two equal files tar keeps one), under the link's name."""
    if link.linkname not in files:
        return link
    found = copy(files[link.linkname])
    found.name = link.name
    return found


def _splitting(names: list[str]) -> Callable[[str], tuple[str, str]]:
    """How names are split into base and suffix: at the first dot of the last part, as WebDataset does.

    A name with more dots is split at its last one where that makes a sample of it: another member has the same base
    and says its class, or no picture bears the base before the first dot.
    """
    labels = {base for base, suffix in map(_at_last, names) if suffix in _LABEL_SUFFIXES}
    pictures = {base for base, suffix in map(_at_first, names) if suffix in SUFFIXES}

    def split(name: str) -> tuple[str, str]:
        (short, long), (whole, suffix) = _at_first(name), _at_last(name)
        dotted = long != suffix and (suffix in SUFFIXES or suffix in _LABEL_SUFFIXES)
        return (whole, suffix) if dotted and (whole in labels or short not in pictures) else (short, long)

    return split


def _at_first(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    base, dot, suffix = path.name.partition(".")
    return str(path.parent / base), f"{dot}{suffix}".lower() if base else ""


def _at_last(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    return str(path.parent / path.stem), path.suffix.lower()


def _labelled(path: Path, sample: Sample) -> Iterator[Labelled | str]:
    if sample.picture is None:
        yield from (f"{sample.base}{suffix}" for suffix in sample.texts)
        return
    member, texts, folder = sample.picture, sample.texts, PurePosixPath(sample.base).parent.name
    label = texts.get(".cls", "").strip()
    in_json = _label_in_json(path, sample.base, texts[".json"], label) if ".json" in texts else ""
    label = (label or in_json or texts.get(".txt", "")).strip()
    yield Labelled(
        name=f"{path.stem}/{sample.base}",
        label=label or folder,
        said_by="sample" if label else "folder",
        stored=Stored(file=str(path.resolve()), offset=member.offset_data, size=member.size),
    )


def _label_in_json(path: Path, name: str, text: str, other: str) -> str:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SurefootError(f"{path}, sample {name}: its .json is not JSON ({error}).") from error
    found = next(((key, row[key]) for key in _JSON_KEYS if isinstance(row, dict) and key in row), None)
    if found is None or (other and (found[0] == "caption" or str(found[1]).isdecimal() != other.isdecimal())):
        return ""  # a caption, or a name beside its number
    if other and str(found[1]).strip() != other:
        raise SurefootError(f"{path}, sample {name}: its class is '{other}' in .cls, and '{found[1]}' in .json.")
    if isinstance(found[1], bool) or not isinstance(found[1], str | int) or not str(found[1]).strip():
        raise SurefootError(
            f"{path}, sample {name}: its '{found[0]}' is {json.dumps(found[1])}, and a class is a text or a whole "
            "number."
        )
    return str(found[1])
