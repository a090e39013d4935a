"""The stage embed: pictures and their texts as vectors beside their rows, shard by shard."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surefoot.core import SurefootError, digest_of, write_bytes
from surefoot.pairs._stages._columns import pair_schema, uid_of
from surefoot.pairs._stages._manifest import Manifest, Recipe, Source, check_file, files_of, read_manifest
from surefoot.pairs._stages._tables import pairs_directory
from surefoot.pairs._stages._work import Progress, make_parts
from surefoot.tables import database, load_table

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    from surefoot.contrastive import Captioned
    from surefoot.pairs._search._encoders import PairEncoder

IMAGES, TEXTS = ".images.npy", ".texts.npy"
"""Beside a part: float16 vectors (n, dimension) of its pictures and texts, whose rows the column `vector` names."""
SHARDS = (".tar", ".tar.gz", ".tgz")
_OURS = {"picture": "string", "width": "int32", "height": "int32", "picture_error": "string",
         "similarity": "float32", "vector": "int64"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """What one part is made of: pictures, the table of their rows, and the tar or folder of a download they lie in."""

    source: Source
    pictures: Callable[[], Iterable[Captioned]]
    table: Path | None
    tar: Path | None = None


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """What became of a picture; `vector` is its row among the vectors."""

    caption: str
    vector: int | None = None
    size: tuple[int | None, int | None] = (None, None)
    error: str | None = None


def embed_pairs(
    path: Path, out: Path, encoder: PairEncoder, *, template: str | None = None, rows: int = 2_000, batch: int = 64,
    progress: Progress | None = None,
) -> Manifest:  # fmt: skip
    """Embed the pictures and texts of a folder, a table of paths and captions, WebDataset shards, or of a download.

    What is read, and `template`, as in `CaptionedPictures`; of several captions the first. Beside a shard a Parquet
    file of its name holds the rows, by `key` or `uid`; these and all columns are kept, also where no picture is there.
    A folder and a table are cut into parts of `rows` pictures. To the columns of a pair come `picture` (its place),
    `width`, `height`, `similarity` (cosine of picture and text; null where one is missing), `picture_error` and
    `vector`, the row in the files beside the part. A picture that cannot be decoded, or embedded (in a vector that
    is finite and not 0), is `picture_refused`. What an earlier call finished is kept: parts, and of the part
    it was in every `batch` of pictures and texts. Raises for a path without one.
    """
    if min(rows, batch) < 1:
        raise SurefootError(f"A part and a batch have at least 1 picture, got {min(rows, batch)}.")
    shards = {shard.source.path.name: shard for shard in _shards(path, template, rows)}
    if not shards:
        told = "a folder of pictures, a table of paths, .tar shards, or a download as webdataset or files"
        raise SurefootError(f"{path} holds no pictures: give {told}.")
    told = {"model": encoder.name, "digest": encoder.digest, "dimension": encoder.dimension, "template": template}
    make = partial(_embed_shard, shards=shards, encoder=encoder, batch=batch)
    sources = [shard.source for shard in shards.values()]
    return make_parts("embed", Recipe(name="embed", rules=told), sources, out, make, progress=progress)


def has_direction(vectors: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which of the vectors (n, dimension) can be compared: they are finite and not zero."""
    return np.isfinite(vectors).all(1) & (vectors != 0).any(1)


def _shards(path: Path, template: str | None, rows: int) -> Iterator[_Shard]:
    from surefoot.contrastive import captioned_pictures

    known = files_of(read_manifest(path).parts) if pairs_directory(path) else {}
    tars = sorted(one for one in (path.iterdir() if path.is_dir() else [path]) if one.name.endswith(SHARDS))
    # Pictures or rows that are missing, or of another download, would go or be mixed up without a word.
    digests = {path / name: check_file(path / name, digest) for name, digest in known.items()}
    for tar in tars:
        beside = tar.with_name(f"{tar.name.partition('.')[0]}.parquet")
        table = beside if beside.is_file() else None
        digest = "".join(digests.get(one) or digest_of(one) for one in (tar, table) if one)
        pictures = partial(captioned_pictures, tar, template)
        yield _Shard(source=Source(path=tar, sha256=digest), pictures=pictures, table=table, tar=tar)
    tables = sorted(path.glob("*.parquet")) if pairs_directory(path) else []
    folders = [one.with_suffix("") for one in tables if one.with_suffix("").is_dir()]
    if 0 < len(folders) < len(tables):
        raise SurefootError(f"{path} lacks the folder of a part: put it back, or make it all anew.")
    for folder in folders:  # a download as files
        table, inside = folder.with_suffix(".parquet"), captioned_pictures(folder, template)
        some = [replace(one, name=f"{folder.name}/{Path(one.name).stem}") for one in inside]
        source = Source(path=folder, sha256=_digest(some) + (digests.get(table) or digest_of(table)))
        yield _Shard(source=source, pictures=partial(iter, some), table=table, tar=folder)
    for number, some in enumerate(() if tars or folders else _batches(captioned_pictures(path, template), rows)):
        source = Source(path=path / f"{path.name}-{number:05d}", sha256=_digest(some))
        yield _Shard(source=source, pictures=partial(iter, some), table=path if path.is_file() else None)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _digest(some: Sequence[Captioned]) -> str:
    return sha256(b"".join(f"{one.name}\0{one.captions}\0{_content(one)}\n".encode() for one in some)).hexdigest()


def _content(one: Captioned) -> str:
    try:
        return sha256(one.read()).hexdigest()
    except SurefootError:  # it becomes a row that says so
        return ""


def _embed_shard(
    source: Source, out: Path, *, shards: Mapping[str, _Shard], encoder: PairEncoder, batch: int
) -> Mapping[str, int]:
    import pyarrow.parquet

    shard, blocks = shards[source.path.name], out.parent.with_name(f"{out.stem}.{batch}.blocks")
    for other in blocks.parent.glob("*.blocks"):  # of parts that are finished, or of other batches
        if other != blocks:
            shutil.rmtree(other)
    blocks.mkdir(exist_ok=True)
    found, images = _pictures(shard, encoder, batch, blocks)
    table, names = _rows(shard, found)
    given = {name.lower(): name for name in reversed(table.column_names)}
    column = None if shard.table and not shard.tar else given.get("text", given.get("caption"))
    texts = table[column].to_pylist() if column else [found[name].caption if name in found else "" for name in names]
    texts = [str(one or "") for one in texts]
    said, similarity = np.zeros_like(images), dict[int, float]()
    spoken = [row for row, name in enumerate(names) if texts[row] and name in found and not found[name].error]
    for number, rows in enumerate(_batches(spoken, batch)):
        at = np.array([found[names[row]].vector for row in rows], np.int64)
        lines = [texts[row] for row in rows]
        (spoke,) = _once(blocks / f"texts-{number}.npz", lambda lines=lines: [encoder.texts(lines)])
        heard = has_direction(spoke)
        said[at] = np.where(heard[:, None], spoke, 0)
        similarity |= compress(zip(rows, np.einsum("nd,nd->n", images[at], said[at]).tolist(), strict=True), heard)
    np.save(out.with_suffix(IMAGES), images.astype(np.float16))
    np.save(out.with_suffix(TEXTS), said.astype(np.float16))
    pictures = [found.get(name, _Picture(caption="")) for name in names]
    suffix = ".jpg" if shard.tar and shard.tar.is_dir() else ""
    places = [f"{shard.tar.name}/{name.partition('/')[2]}{suffix}" for name in names] if shard.tar else names
    made: dict[str, Sequence[Any]] = {
        "text": texts, "picture": places, "vector": [one.vector for one in pictures],
        "width": [one.size[0] for one in pictures], "height": [one.size[1] for one in pictures],
        "picture_error": [one.error for one in pictures], "similarity": [*map(similarity.get, range(len(names)))],
    }  # fmt: skip
    pyarrow.parquet.write_table(_finished(table, given, made, names), out)
    without_row = len(found.keys() - set(names))
    return {"picture_without_row": without_row} if without_row else {}


def _once(place: Path, make: Callable[[], Sequence[NDArray[Any]]]) -> list[NDArray[Any]]:
    """What `make` gives, kept in the file for the call after a kill."""
    if not place.is_file():
        stream = io.BytesIO()
        np.savez(stream, *make())
        write_bytes(place, stream.getvalue())
    with np.load(place) as kept:
        return [*kept.values()]


def _pictures(
    shard: _Shard, encoder: PairEncoder, batch: int, blocks: Path
) -> tuple[dict[str, _Picture], NDArray[np.float32]]:
    """All pictures of a shard by name, and the vectors of those that can be decoded."""
    found: dict[str, _Picture] = {}
    vectors, count = [np.empty((0, encoder.dimension), np.float32)], 0
    with ThreadPoolExecutor() as pool:
        for number, some in enumerate(_batches(shard.pictures(), batch)):
            told, seen = _once(blocks / f"pictures-{number}.npz", partial(_block, some, encoder, pool))
            good = iter(has_direction(seen).tolist())
            vectors.append(np.where(has_direction(seen)[:, None], seen, 0))
            for one, answer in zip(some, json.loads(str(told)), strict=True):
                if one.name in found:
                    raise SurefootError(f"Two pictures are called {one.name}: give every one a name of its own.")
                picture = _Picture(caption=one.captions[0] if one.captions else "")
                if isinstance(answer, str):
                    found[one.name] = replace(picture, error=answer)
                    continue
                fate = {"vector": count} if next(good) else {"error": "Its vector is zero or not finite."}
                found[one.name] = replace(picture, size=tuple(answer), **fate)
                count += 1
    return found, np.concatenate(vectors)


def _block(some: Sequence[Captioned], encoder: PairEncoder, pool: ThreadPoolExecutor) -> list[NDArray[Any]]:
    """Of each picture its width and height, or why it cannot be decoded, as JSON; the vectors of the others."""
    answers = [*pool.map(partial(_prepared, encoder), some)]
    kept = [one[0] for one in answers if not isinstance(one, str)]
    seen = encoder.images(np.stack(kept)) if kept else np.empty((0, encoder.dimension), np.float32)
    return [np.array(json.dumps([one if isinstance(one, str) else one[1] for one in answers])), seen]


def _prepared(encoder: PairEncoder, one: Captioned) -> tuple[NDArray[np.uint8], tuple[int, int]] | str:
    """The pixels of a picture and its width and height, or why there are none."""
    from surefoot.contrastive import decode

    try:
        picture = decode(one.read())
        return encoder.prepare(picture), picture.size
    except SurefootError as error:
        return str(error)


def _rows(shard: _Shard, found: Mapping[str, _Picture]) -> tuple[pyarrow.Table, list[str]]:
    """The rows of a shard as they are, and the name of the picture of each."""
    import pyarrow.parquet

    from surefoot.contrastive import PICTURE_COLUMNS

    if shard.table is None:
        return pyarrow.table({}), list(found)
    if shard.tar:
        table = pyarrow.parquet.ParquetFile(shard.table).read()
    else:
        with database() as connection:
            load_table(connection, shard.table, name="pairs")
            table = connection.sql("SELECT * FROM pairs").to_arrow_table()
    wanted = ("key", "uid") if shard.tar else PICTURE_COLUMNS
    key = next((name for want in wanted for name in table.column_names if name.lower() == want), None)
    if key is None:
        raise SurefootError(f"{shard.table} needs a column that names the picture of a row: {', '.join(wanted)}.")
    keys = [str(one) for one in table[key].to_pylist()]
    if shard.tar:
        return table, [f"{shard.tar.name.partition('.')[0]}/{one}" for one in keys]
    first = {name: row for row, name in reversed([*enumerate(keys)])}
    return table.take([first[name] for name in found]), list(found)


def _finished(
    table: pyarrow.Table, given: Mapping[str, str], made: dict[str, Sequence[Any]], names: Sequence[str]
) -> pyarrow.Table:
    """Rows with the columns of a pair, what was made for them, and all others that they had."""
    import pyarrow

    schema = pair_schema(**_OURS)
    for own in schema:
        if own.name in given and own.name not in made:
            try:
                made[own.name] = table[given[own.name]].cast(own.type).to_pylist()
            except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
                told = f"The column {given[own.name]} is called as one of ours and is no {own.type}: rename it"
                raise SurefootError(f"{told} ({str(error).splitlines()[0]:.80}).") from None
    urls, reasons, uids = (made.get(name, [None] * len(names)) for name in ("url", "reasons", "uid"))
    made["uid"] = [uid or uid_of(url or name, text) for uid, url, name, text in
                   zip(uids, urls, names, made["text"], strict=True)]  # fmt: skip
    made["reasons"] = [
        [*(why or []), *(["picture_refused"] if error else [] if why or at is not None else ["picture_missing"])]
        for why, error, at in zip(reasons, made["picture_error"], made["vector"], strict=True)
    ]
    blank = [None] * len(names)
    whole = pyarrow.table({own.name: pyarrow.array(made.get(own.name, blank), own.type) for own in schema})
    for lower, name in given.items():
        if lower not in schema.names or lower == "similarity":  # that of another model is the user's
            whole = whole.append_column(f"candidate_{lower}" if lower == "similarity" else name, table[name])
    return whole
