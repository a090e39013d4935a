"""Pictures inside Parquet files, as data sets on hubs have them: unpacked once into a shard."""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from surefoot.contrastive._pictures._captioned import CAPTION_COLUMNS
from surefoot.core import SurefootError

_PICTURES = ("image", "img", "picture", "jpg", "png", "webp")
_LABELS = ("cls", "label", "class", "labels", "fine_label", "target", "class_name")


@contextmanager
def unpacked(path: Path | None) -> Iterator[Path | None]:
    """The path itself, or of a Parquet file (or a folder of them) that holds pictures a folder with a shard of them."""
    files = [] if path is None else [path] if path.suffix == ".parquet" else sorted(path.glob("*.parquet"))
    columns = _columns(files[0]) if files else {}
    if not files or "picture" not in columns:
        yield path
        return
    with TemporaryDirectory(prefix="surefoot-") as place:
        unpack(files, columns, Path(place) / "pictures.tar")
        yield Path(place)


def unpack(files: list[Path], columns: dict[str, str], shard: Path) -> None:
    """Write rows of Parquet files into a shard: each picture with its label and its captions where it has any."""
    import duckdb

    with duckdb.connect() as connection, tarfile.open(shard, "w") as archive:
        number = 0
        for file in files:
            rows = connection.execute(f"SELECT {', '.join(columns.values())} FROM read_parquet(?)", [str(file)])
            while part := rows.fetchmany(64):
                for row in part:
                    found = dict(zip(columns, row, strict=True))
                    _add(archive, f"{file.stem}-{number:08d}", found)
                    number += 1


def _columns(file: Path) -> dict[str, str]:
    """SQL for the picture's bytes, the label and the captions, of those that there are."""
    import duckdb

    try:
        told = duckdb.read_parquet(str(file))
    except duckdb.Error as error:
        raise SurefootError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]}.") from error
    kinds = dict(zip(told.columns, map(str, told.types), strict=True))
    found: dict[str, str] = {}
    for name in (one for one in _PICTURES if one in kinds):
        if kinds[name] == "BLOB":
            found["picture"] = f'"{name}"'
        elif kinds[name].startswith("STRUCT") and "bytes BLOB" in kinds[name]:
            found["picture"] = f'"{name}".bytes'
    for part, names in (("label", _LABELS), ("captions", CAPTION_COLUMNS)):
        if name := next((one for one in names if one in kinds), None):
            found[part] = f'"{name}"'
    return found


def _add(archive: tarfile.TarFile, base: str, row: dict[str, Any]) -> None:
    said = row.get("captions")
    texts = [str(one) for one in (said if isinstance(said, list) else [said]) if one]
    parts = {"jpg": row["picture"] or b"", "json": json.dumps({"caption": texts}).encode()}
    if row.get("label") is not None:
        parts["cls"] = str(row["label"]).encode()
    for suffix, data in parts.items():
        member = tarfile.TarInfo(f"{base}.{suffix}")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
