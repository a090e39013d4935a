"""Which class a picture has: a file of classes, and how folders and labels are read by it."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from surefoot.contrastive._pictures._listing import Labelled
from surefoot.contrastive._pictures._photos import SUFFIXES
from surefoot.core import SurefootError, counted

OTHER_NAMES = " | "
"""Stands between several names of one class, `cat | house cat`: the mean of their prompts is the class. In a file of
classes the spaces may be left out."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_HEADS = {"name", "file", "filename", "image", "picture", "path", "folder", "id", "key", "wnid", "synset", "index"}
_CLASS_HEADS = {"class", "classes", "label", "category", "classname", "class_name", "class name", "target"}


@dataclass(frozen=True, kw_only=True)
class ClassFile:
    """A file of classes: rows of line, name of a picture or folder (None in a list of class names) and class name."""

    path: Path
    rows: tuple[tuple[int, str | None, str], ...]

    @property
    def is_table(self) -> bool:
        return self.rows[0][1] is not None


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The class key of every picture, the names of all classes by their keys in order, and what should be said."""

    keys: tuple[str, ...]
    names: Mapping[str, str]
    notes: tuple[str, ...] = ()


def read_class_file(path: Path) -> ClassFile:
    """A file of classes: rows NAME<tab>CLASS, the same with a comma in a .csv file, or a class name a line.

    A comma in a list of class names is part of the name, unless its first line is the heading `name,class`. Raises
    `SurefootError` with the line for a row of another length, an empty line in a list, and two classes of one name of
    a picture.
    """
    try:
        lines = normalize("NFC", path.read_text(encoding="utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SurefootError(f"The table of classes {path} cannot be read as UTF-8 text: {error}.") from error
    split = _cells(path, lines)
    filled = [(number, row) for number, row in enumerate(split, 1) if any(row)]
    width = len(filled[0][1]) if filled else 0
    wrong = [number for number, row in filled if len(row) != width or width > 2 or not row[-1]]
    if wrong or not filled:
        where = f" line {wrong[0]}:" if wrong else ""
        raise SurefootError(f"{path}:{where} every row must be NAME<tab>CLASS (or a comma), or one class name a line.")
    if width == 1 and (empty := next((at for at, (line, _) in enumerate(filled, 1) if at != line), None)):
        raise SurefootError(f"{path}: line {empty} is empty, so that it is unclear which number the next class has.")
    rows = tuple((number, row[0] if width == 2 else None, _names(path, number, row[-1])) for number, row in filled)
    rows = rows[1:] if _is_heading(filled[0][1]) and rows[1:] else rows
    _refuse_other_files(path, rows)
    said: dict[str, tuple[int, str]] = {}
    for line, key, name in rows:
        if key is not None and said.setdefault(key, (line, name))[1] != name:
            first = said[key]
            raise SurefootError(f"{path}: '{key}' is '{first[1]}' in line {first[0]} and '{name}' in line {line}.")
    return ClassFile(path=path, rows=rows)


def _refuse_other_files(path: Path, rows: Sequence[tuple[int, str | None, str]]) -> None:
    """Raise for rows CLASS,NAME, and for a list whose lines begin with a number or a synset: neither is a name."""
    if swapped := next((line for line, key, name in rows if key and Path(name).suffix.lower() in SUFFIXES), None):
        raise SurefootError(f"{path}: line {swapped} has the picture where the class belongs: write NAME<tab>CLASS.")
    if all(key is None and re.match(r"(\d+|n\d{8})[:.,;)\s]+\S", name) for _, key, name in rows):
        raise SurefootError(
            f"{path}: every line begins with a number or a synset, as '{rows[0][2]}': write rows LABEL<tab>CLASS."
        )


def _names(path: Path, line: int, text: str) -> str:
    names = [one.strip() for one in text.split("|")]
    if not all(names):
        raise SurefootError(
            f"{path}: line {line}: '{text}' has a bar without a name beside it: write 'cat | house cat'."
        )
    return OTHER_NAMES.join(names)


def _cells(path: Path, lines: Sequence[str]) -> list[list[str]]:
    tabs = any("\t" in line for line in lines)
    commas = path.suffix.lower() == ".csv" or _is_heading([cell.strip() for cell in (*lines, "")[0].split(",")])
    if not tabs and not commas:
        return [[line.strip()] for line in lines]
    return [[cell.strip() for cell in row] or [""] for row in csv.reader(lines, delimiter="\t" if tabs else ",")]


def _is_heading(row: Sequence[str]) -> bool:
    words = [cell.lower() for cell in row]
    return len(words) == 2 and words[0] in _HEADS and words[1] in _CLASS_HEADS


def label(pictures: Sequence[Labelled], classes: ClassFile | None, path: Path) -> Labels:
    """The class of every picture. Raises `SurefootError` for one without, and where two readings disagree.

    Names are compared and kept in Unicode's composed form: macOS writes those of folders decomposed.
    """
    forms = Counter(normalize("NFC", one) for one in {item.label for item in pictures})
    composed = [form for form, count in forms.items() if count > 1]
    pictures = [replace(one, name=normalize("NFC", one.name), label=normalize("NFC", one.label)) for one in pictures]
    if classes is None:
        found = _by_folder(pictures, path)
    else:
        found = _by_table(pictures, classes, path) if classes.is_table else _by_list(pictures, classes, path)
    used = set(found.keys)
    unused = [name for key, name in found.names.items() if key not in used]
    twice = [name for name, count in Counter(found.names.values()).items() if count > 1]
    lists = [name for name in found.names.values() if classes and re.search("[,;/]", name)]
    told = {
        f"{len(composed)} labels stand in two Unicode forms, and are one class each: {_few(composed)}.": composed,
        f"{len(unused)} classes have no picture, and can be answered all the same: {_few(unused)}.": unused,
        f"{len(twice)} names are those of several classes, which are kept apart: {_few(twice)}.": twice,
        f"{len(lists)} names are read whole; several names of a class are written 'a | b': {_few(lists)}.": lists,
    }
    return Labels(keys=found.keys, names=found.names, notes=(*found.notes, *(text for text, of in told.items() if of)))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _by_folder(pictures: Sequence[Labelled], path: Path) -> Labels:
    """Each folder, or each label of a shard, is a class: in the order of the names, numbers in that of numbers."""
    if bare := [item for item in pictures if not item.label]:
        raise SurefootError(
            f"{path}: {_listed(bare)} has no class. Put pictures in a subfolder a class, or give a table of classes."
        )
    if none := [item for item in pictures if item.said_by == "sample" and re.fullmatch(r"-\d+", item.label)]:
        raise SurefootError(
            f"{path}: {_listed(none)} has a label below 0, which stands for none. Leave such out, or give rows "
            "LABEL<tab>CLASS."
        )
    keys = sorted({item.label for item in pictures}, key=_place)
    folders = (
        [one.name for one in path.iterdir() if one.is_dir()] if path.is_dir() and not any(path.glob("*.tar")) else []
    )
    bare = sorted(name for name in folders if name[0] != "." and normalize("NFC", name) not in keys)
    told = (
        f"Folders without a picture are no classes: {_few(bare)}." if bare else "",
        f"The classes are called by their numbers: {_few(keys)}." if all(map(_NUMBER.fullmatch, keys)) else "",
    )
    names = {key: key.replace("_", " ") for key in keys}
    return Labels(keys=tuple(item.label for item in pictures), names=names, notes=tuple(filter(None, told)))


def _place(name: str) -> tuple[bool, int, str]:
    number = name.isdecimal()
    return not number, int(name) if number else 0, name


def _by_table(pictures: Sequence[Labelled], classes: ClassFile, path: Path) -> Labels:
    """What the table says of a picture, else of its folder or label.

    Every folder is a class of its own, also where two have one name; single pictures are of the class that they name.
    """
    names = {item.name for item in pictures}
    single = {
        key
        for _, key, _ in classes.rows
        if key and (key in names or "/" in key or Path(key).suffix.lower() in SUFFIXES)
    }
    apart = Counter(name for _, key, name in dict.fromkeys((0, *row[1:]) for row in classes.rows) if key not in single)
    of = {key: f"{name} [{key}]" if apart[name] > 1 else name for _, key, name in classes.rows if key not in single}
    shown = {of.get(key, name): name for _, key, name in classes.rows}
    for line, key, name in classes.rows:
        if key in single and apart[name] > 1:
            raise SurefootError(
                f"{classes.path}: line {line}: '{name}' is the name of {apart[name]} folders, so that it is unclear "
                f"which of them {key} belongs to."
            )
        of |= {key: name} if key in single else {}
    found = [of.get(item.name, of.get(item.label, "")) for item in pictures]
    if unknown := [item for item, key in zip(pictures, found, strict=True) if not key]:
        raise SurefootError(f"{path}: {classes.path} has no row for {_listed(unknown)}.")
    return Labels(keys=tuple(found), names=shown)


def _listed(pictures: Sequence[Labelled]) -> str:
    """The first picture with its label, how many others there are, and their labels."""
    first, labels = pictures[0], list(dict.fromkeys(f"'{item.label}'" for item in pictures))
    of_class = f" (class '{first.label}')" if first.label else ""
    others = f" and {counted(len(pictures) - 1, 'other')}" if len(pictures) > 1 else ""
    return f"{first.name}{of_class}{others}" + (
        f", of {counted(len(labels), 'label')}: {_few(labels)}" if labels[1:] else ""
    )


def _by_list(pictures: Sequence[Labelled], classes: ClassFile, path: Path) -> Labels:
    keys = _apart([name for _, _, name in classes.rows])
    names = dict(zip(keys, (name for _, _, name in classes.rows), strict=True))
    labels = {item.label: item for item in pictures}
    if (names[keys[0]].lower() in _CLASS_HEADS or keys[0].startswith("#")) and keys[0] not in labels:
        raise SurefootError(
            f"{classes.path}: line 1, '{keys[0]}', would be the first class: take the heading out, or give rows "
            "LABEL<tab>CLASS."
        )
    by_name = _name_reading(names, labels, classes.path)
    by_number = {name: keys[int(name)] for name in labels if name.isdecimal() and int(name) < len(keys)}
    if not (complete := [reading for reading in (by_name, by_number) if len(reading) == len(labels)]):
        _refuse(pictures, by_name, by_number, classes, path)
    if len(complete) == 2 and by_name != by_number:
        _, item = next((name, item) for name, item in labels.items() if by_name[name] != by_number[name])
        raise SurefootError(
            f"{path}: the label {item.label} of {item.name} is '{by_name[item.label]}' by name and "
            f"'{by_number[item.label]}' by the number of the line, from 0. Say which with rows LABEL<tab>CLASS."
        )
    notes = _joined(complete[0], classes.path)
    if complete[0] is by_number and (first := min(labels, key=int)) and int(first):
        also = f"'{first}' is '{by_number[first]}', and counted from 1 it would be '{keys[int(first) - 1]}'"
        notes += (f"The labels are numbers of lines from 0: {also}. Rows LABEL<tab>CLASS settle it.",)
    return Labels(keys=tuple(complete[0][item.label] for item in pictures), names=names, notes=notes)


def _joined(reading: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """What is to be said where several folders are one class by name. Raises where they are numbers of one line."""
    of: dict[str, list[str]] = {}
    for folder, key in reading.items():
        of.setdefault(key, []).append(folder)
    joined = [folders for folders in of.values() if len(folders) > 1]
    for folders in joined:
        if all(one.isdecimal() for one in folders):
            raise SurefootError(
                f"{path}: the labels {' and '.join(folders)} are both line {int(folders[0])}: rename one."
            )
    return tuple(f"The folders {' and '.join(folders)} are one class." for folders in joined)


def _apart(names: Sequence[str]) -> list[str]:
    count = Counter(names)
    return [f"{name} [line {at}]" if count[name] > 1 else name for at, name in enumerate(names, 1)]


def _name_reading(names: Mapping[str, str], labels: Mapping[str, Labelled], path: Path) -> dict[str, str]:
    """The class keys of those labels that are the name, or one of the names, of a class."""
    spelled: dict[str, list[str]] = {}
    for key, name in names.items():
        for one in {name, *name.split(OTHER_NAMES)}:
            spelled.setdefault(one, []).append(key)
    found: dict[str, str] = {}
    for name in labels:
        keys = spelled.get(name) or spelled.get(name.replace("_", " ")) or []
        if len(keys) > 1:
            raise SurefootError(
                f"{path}: '{name}' is the name of {len(keys)} classes ({', '.join(keys)}), so that it is unclear which "
                f"{labels[name].name} belongs to. Number the folders, or give rows FOLDER<tab>CLASS."
            )
        found |= {name: keys[0]} if keys else {}
    return found


def _refuse(
    pictures: Sequence[Labelled],
    by_name: Mapping[str, str],
    by_number: Mapping[str, str],
    classes: ClassFile,
    path: Path,
) -> None:
    best = by_name if len(by_name) >= len(by_number) else by_number
    unknown = [item for item in pictures if item.label not in best]
    item = unknown[0]
    how = "the name of a class" if best is by_name else f"a line from 0 to {len(classes.rows) - 1}"
    near = [name for _, _, name in classes.rows if item.label and name.startswith(f"{item.label},")]
    hint = f" Several names of a class are written 'a | b'; '{near[0]}' is one name." if near else ""
    raise SurefootError(
        f"{path}: {classes.path} has no row for {_listed(unknown)}: it is not {how}, as the others "
        f"are.{hint} Rows FOLDER<tab>CLASS say it, or FOLDER,CLASS in a .csv file."
    )
