"""Pictures inside Parquet files, as data sets on hubs have them: unpacked once into a shard."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from surefoot.contrastive._pictures._listing import of_one_split
from surefoot.contrastive._pictures._photos import read_stored, whole_file
from surefoot.contrastive._pictures._table import CAPTION_COLUMNS, LABEL_COLUMNS, check_one_class, class_names, class_of
from surefoot.core import PARQUET, SurefootError, in_memory

_PICTURES = ("image", "img", "picture", "jpg", "png", "webp")
_SHARD = "pictures.tar"


@contextmanager
def unpacked(path: Path | None) -> Iterator[Path | None]:
    """The path itself, or of a Parquet file (or a folder of them) that holds pictures a folder with a shard of them.

    A row without bytes may name a file, from the Parquet's folder on. Errors raised within name what the user gave.
    """
    import duckdb

    files = [path] if path and path.suffix == ".parquet" else []
    files = files or (of_one_split(path, sorted(path.glob("*.parquet"))) if path else [])
    try:
        told = duckdb.read_parquet(escape(str(files[0]))) if files else None
    except duckdb.Error as error:
        raise SurefootError(f"{files[0]} cannot be read as Parquet: {str(error).splitlines()[0]}.") from error
    kinds = dict(zip(told.columns, map(str, told.types), strict=True)) if told else {}
    columns = _columns(kinds)
    if "picture" not in columns:
        yield path
        return
    label = columns.get("label", "").strip('"')
    called = {file: class_names(file, label, kinds[label]) for file in files} if label else {files[0]: []}
    names = called[files[0]]
    if other := next((file for file, one in called.items() if one != names), None):
        raise SurefootError(
            f"{files[0]} and {other} give the numbers of their classes other names: read one at a time."
        )
    with TemporaryDirectory(prefix="surefoot-") as place:
        query = f"SELECT {', '.join(columns.values())} FROM {PARQUET}"
        with in_memory() as connection, tarfile.open(Path(place) / _SHARD, "w") as archive:
            check_one_class(files[0], connection.read_parquet([escape(str(file)) for file in files]))
            rows = connection.execute(query, [[escape(str(file)) for file in files]])
            number = 0
            while row := rows.fetchone():
                found = dict(zip(columns, row, strict=True))
                texts = found.get("captions") or []
                said = json.dumps({"caption": [texts] if isinstance(texts, str) else texts}).encode()
                data = found["picture"]
                if data is None and found.get("file"):
                    data = read_stored(whole_file(files[0].parent / found["file"]))
                _add(archive, f"{number:09d}.jpg", data or b"")
                _add(archive, f"{number:09d}.json", said)
                if "label" in found:
                    label = class_of(found["label"], names, f"{path}, row {number + 1}")
                    _add(archive, f"{number:09d}.cls", label.encode())
                number += 1
        try:
            yield Path(place)
        except SurefootError as error:
            raise SurefootError(as_given(str(error), Path(place), path)) from error


def as_given(text: str, place: Path | None, path: Path | None) -> str:
    """What is said of the place that `unpacked` gave, said of the path that it was given."""
    return text if place == path else text.replace(f"{place}/{_SHARD}", str(path)).replace(str(place), str(path))


def _columns(kinds: Mapping[str, str]) -> dict[str, str]:
    """SQL for the picture's bytes, the label and the captions, of those that there are, by the kinds of the columns."""
    found: dict[str, str] = {}
    lower = {name.lower(): name for name in reversed([*kinds])}
    for name in (lower[one] for one in _PICTURES if one in lower):
        if kinds[name] == "BLOB" or "bytes BLOB" in kinds[name]:
            found["picture"] = f'"{name}"' if kinds[name] == "BLOB" else f'"{name}".bytes'
            found |= {"file": f'"{name}".path'} if "path VARCHAR" in kinds[name] else {}
    for part, names in (("label", LABEL_COLUMNS), ("captions", CAPTION_COLUMNS)):
        if name := next((lower[one] for one in names if one in lower), None):
            found[part] = f'"{name}"'
    return found


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
