"""Pictures inside Parquet files, as data sets on hubs have them: unpacked once into a shard."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from surefoot.contrastive._pictures._captioned import CAPTION_COLUMNS
from surefoot.core import SurefootError

_PICTURES = ("image", "img", "picture", "jpg", "png", "webp")
_LABELS = ("cls", "label", "class", "labels", "fine_label", "target", "class_name")


@contextmanager
def unpacked(path: Path | None) -> Iterator[Path | None]:
    """The path itself, or of a Parquet file (or a folder of them) that holds pictures a folder with a shard of them."""
    import duckdb

    files = [] if path is None else [path] if path.suffix == ".parquet" else sorted(path.glob("*.parquet"))
    try:
        told = duckdb.read_parquet(str(files[0])) if files else None
    except duckdb.Error as error:
        raise SurefootError(f"{files[0]} cannot be read as Parquet: {str(error).splitlines()[0]}.") from error
    kinds = dict(zip(told.columns, map(str, told.types), strict=True)) if told else {}
    columns = _columns(kinds)
    if "picture" not in columns:
        yield path
        return
    names = _class_names(files[0], kinds, columns)
    with TemporaryDirectory(prefix="surefoot-") as place:
        query = f"SELECT {', '.join(columns.values())} FROM read_parquet(?)"
        with duckdb.connect() as connection, tarfile.open(Path(place) / "pictures.tar", "w") as archive:
            rows = connection.execute(query, [[str(file) for file in files]])
            number = 0
            while row := rows.fetchone():
                found = dict(zip(columns, row, strict=True))
                texts = found.get("captions") or []
                said = json.dumps({"caption": [texts] if isinstance(texts, str) else texts}).encode()
                _add(archive, f"{number:09d}.jpg", found["picture"] or b"")
                _add(archive, f"{number:09d}.json", said)
                if "label" in found:
                    label = _class_of(found["label"], names, f"{path}, row {number + 1}")
                    _add(archive, f"{number:09d}.cls", label.encode())
                number += 1
        yield Path(place)


def _class_names(file: Path, kinds: Mapping[str, str], columns: Mapping[str, str]) -> list[str]:
    """The names behind the numbers of the labels, where the file says them as data sets of Hugging Face do."""
    import duckdb

    if "label" not in columns:
        return []
    name = columns["label"].strip('"')
    if kinds[name] != "VARCHAR" and not kinds[name].endswith("INT") and not kinds[name].endswith("INTEGER"):
        raise SurefootError(f"{file}: the column '{name}' is {kinds[name]}, and a class is a text or a whole number.")
    query = "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'huggingface'"
    with duckdb.connect() as connection:
        found = connection.execute(query, [str(file)]).fetchone()
    try:
        return [*map(str, json.loads(found[0])["info"]["features"][name]["names"])] if found else []
    except (ValueError, KeyError, TypeError):
        return []


def _class_of(label: str | int | None, names: list[str], place: str) -> str:
    """The class of a row. Raises `SurefootError` where it has none, or one beyond the names of the file."""
    if label is None or not str(label).strip() or (isinstance(label, int) and label < 0):
        raise SurefootError(f"{place} has no label: leave such rows out, or the column where captions alone are asked.")
    if not names or isinstance(label, str):
        return str(label)
    if label >= len(names):
        raise SurefootError(f"{place} has the label {label}, and the file names {len(names)} classes.")
    return names[label]


def _columns(kinds: Mapping[str, str]) -> dict[str, str]:
    """SQL for the picture's bytes, the label and the captions, of those that there are, by the kinds of the columns."""
    found: dict[str, str] = {}
    for name in (one for one in _PICTURES if kinds.get(one, "").startswith(("BLOB", "STRUCT"))):
        found["picture"] = f'"{name}"' if kinds[name] == "BLOB" else f'"{name}".bytes'
    for part, names in (("label", _LABELS), ("captions", CAPTION_COLUMNS)):
        if name := next((one for one in names if one in kinds), None):
            found[part] = f'"{name}"'
    return found


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
