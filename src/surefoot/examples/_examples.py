"""Per-example results, one Parquet file a Step, by which models are compared pair by pair."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from surefoot.core import PARQUET, SurefootError, in_memory
from surefoot.tables import literal, parquet_note, quote

EXAMPLES = "examples.parquet"
PARTS = ("direction", "task")
"""Columns of what is measured: a mean over several of their values (both ways of a retrieval) is of nothing."""
SAME = ("label", "content", "task")
"""Columns of what is right and of what was shown: files that have them must agree, else examples are not the same."""
Asked = Mapping[str, Sequence[str]]
"""How examples were asked: `classes` or `candidates`, among which the answer was chosen, and `prompts`."""
_NOTE = "surefoot.asked"
_PERCENT = 20  # scores above it beside those of another model that all lie from 0 to 1 are percent, or logits
_CHOICES = ("classes", "candidates")
_ID = """CASE WHEN regexp_matches(typeof(example), '^(FLOAT|DOUBLE|DECIMAL)') THEN nullif(coalesce(CASE WHEN
    TRY_CAST(example AS DOUBLE) = trunc(TRY_CAST(example AS DOUBLE)) THEN TRY_CAST(example AS HUGEINT)::VARCHAR END,
    example::VARCHAR), 'nan') ELSE example::VARCHAR END"""
"""The id of an example as text: 3.0 is 3, as columns of numbers are of either kind. NaN is none."""

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class ExampleScores:
    """The scores of several models on the examples that all of them have, in one order.

    `names` (models,), `examples` (n,) ids, `scores` (models, n). `clusters` (n,) are labels of what belongs together,
    None without. `sizes` says how many examples each model has, `unmatched` which ids are not of all, by model. `notes`
    are sentences on what was not asked alike.
    """

    names: tuple[str, ...]
    examples: tuple[str, ...]
    scores: NDArray[np.float64]
    clusters: tuple[str, ...] | None
    sizes: tuple[int, ...]
    unmatched: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


def write_examples(out: Path, columns: "Mapping[str, Sequence[Any] | np.ndarray]", asked: Asked | None = None) -> None:
    """Write `examples.parquet` into the directory `out`: one row an example, in the given order.

    The column `example` identifies the example (text), `score` is what is averaged; others are the task's own: `label`
    for what is right, and what examples belong together by (`document`, `article`). What was `asked` goes into the
    file, so that a comparison knows it. Raises `SurefootError` when the columns are of different lengths or one of the
    first two is missing.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if not {"example", "score"} <= lengths.keys() or len(set(lengths.values())) != 1:
        raise SurefootError(f"Examples need the columns example and score, and all of one length: got {lengths}.")
    arrays = {name: _plain(np.asarray(values)) for name, values in columns.items()}
    note = literal(json.dumps({name: list(values) for name, values in (asked or {}).items()}))
    options = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{quote(_NOTE)}: {note}}}"
    with in_memory() as connection:
        connection.register("examples", arrays)
        connection.execute(f"COPY (SELECT * FROM examples) TO {literal(out / EXAMPLES)} ({options})")


def read_examples(
    files: Mapping[str, Path],
    *,
    score: str = "score",
    cluster: str | None = None,
    only: Mapping[str, str] | None = None,
    across_data: bool = False,
) -> ExampleScores:
    """The scores in several files of examples, by the name of each model; `cluster` is a column of labels.

    `score` names the column of what is averaged, such as `exact_match` where `score` is F1. `only` are columns and the
    value that examples must have there, such as `{"direction": "text"}`.

    With `across_data` what was shown may differ under one id: the same things in another style.

    Raises `SurefootError` for a file that is none of examples, an id that stands twice, a score that is no finite
    number, an example whose label, content or cluster differs between files, answers chosen among different classes,
    scores of different units, files that share no example, and a file of several tasks or of both directions of a
    retrieval.
    """
    wanted = [name for name in (*(SAME[:1] if across_data else SAME), cluster) if name]
    first = next(iter(files))
    with in_memory() as connection:
        tables = {name: _read(connection, path, score, wanted, only or {}) for name, path in files.items()}
        if cluster and not any(cluster in one for one in tables.values()):
            has = ", ".join(_named(connection, files[first]))
            raise SurefootError(f"No file has the column '{cluster}' to cluster by. {files[first]} has: {has}.")
        notes = tuple(_asked_otherwise({name: _asked(connection, path) for name, path in files.items()}))
    places = {name: {example: row for row, example in enumerate(one["example"])} for name, one in tables.items()}
    if not (shared := [example for example in places[first] if all(example in known for known in places.values())]):
        ids = " and ".join(f"'{next(iter(known), '')}'" for known in places.values())
        raise SurefootError(
            f"{' and '.join(files)} share no example: they cannot be paired. Their first ids are {ids}."
        )
    rows = {name: [known[example] for example in shared] for name, known in places.items()}
    matched = {name: {column: cells[rows[name]] for column, cells in one.items()} for name, one in tables.items()}
    for column in wanted:
        _check_same(column, shared, {name: one[column] for name, one in matched.items() if column in one})
    _check_units({name: one["score"] for name, one in matched.items()})
    labels = [one[cluster] for one in matched.values() if cluster in one] if cluster else []
    known = set(shared)
    return ExampleScores(
        names=tuple(files),
        examples=tuple(shared),
        scores=np.array([one["score"] for one in matched.values()], dtype=np.float64),
        clusters=tuple(map(str, labels[0])) if labels else None,
        sizes=tuple(map(len, places.values())),
        unmatched={name: tuple(one for one in place if one not in known) for name, place in places.items()},
        notes=notes,
    )


def read_column(path: Path, column: str, kind: str = "VARCHAR") -> dict[str, Any]:
    """By the id of an example what a column says, None where it is not of the kind; empty for a file without it."""
    with in_memory() as connection:
        read = connection.read_parquet(escape(str(path)))
        return dict(
            read.project(f"{_ID}, TRY_CAST({quote(column)} AS {kind})").fetchall() if column in read.columns else ()
        )


def _asked(connection: "DuckDBPyConnection", path: Path) -> dict[str, list[str]]:
    note = parquet_note(connection, path, _NOTE)
    lists = note.items() if isinstance(note, dict) else ()
    return {str(name): [str(one) for one in values] for name, values in lists if isinstance(values, list)}


def _asked_otherwise(asked: Mapping[str, Asked]) -> Iterator[str]:
    """What is to be said of other prompts. Raises where the choice was another; a file that does not say is let be."""
    told = {
        kind: [(name, one[kind]) for name, one in asked.items() if one.get(kind)] for kind in (*_CHOICES, "prompts")
    }
    for kind in _CHOICES:
        for name, choice in told[kind][1:]:
            first, known = told[kind][0]
            if other := sorted({*known} ^ {*choice}):
                raise SurefootError(
                    f"{first} chose among {len(known)} {kind} and {name} among {len(choice)}; not in both: "
                    f"{', '.join(other[:5])}. Among fewer it is easier to be right: measure all among the same."
                )
    for name, prompts in told["prompts"][1:]:
        first, known = told["prompts"][0]
        if prompts != known:
            yield f"{first} and {name} were measured with other prompts; {first} with '{known[0]}'."


def _read(
    connection: "DuckDBPyConnection", path: Path, score: str, wanted: Sequence[str], only: Mapping[str, str]
) -> "Columns":
    import duckdb

    try:
        return _read_columns(connection, path, score, wanted, only)
    except duckdb.Error as error:
        said = "is not there" if not path.exists() else f"is no Parquet file, or a damaged one: {error}"
        hint = "Give a file of examples, as a task or evaluate --examples wrote it"
        raise SurefootError(f"{path} {said.splitlines()[0]}. {hint}.") from error


def _read_columns(
    connection: "DuckDBPyConnection", path: Path, score: str, wanted: Sequence[str], only: Mapping[str, str]
) -> "Columns":
    columns = _named(connection, path)
    if not {"example", score} <= set(columns):
        raise SurefootError(f"{path} has no column 'example' or no '{score}': it has {', '.join(columns)}.")
    chosen = [f"{_ID} AS example", f"TRY_CAST({quote(score)} AS DOUBLE) AS score"]
    chosen += [quote(name) for name in wanted if name in columns]
    source, values = _part(connection, path, columns, only)
    found = connection.execute(f"SELECT {', '.join(chosen)} FROM {source}", values).fetchnumpy()
    plain = {name: _known(np.ma.asarray(cells)) for name, cells in found.items()}
    scores = np.ma.filled(found["score"].astype(np.float64), np.nan)
    if nameless := int(np.ma.getmaskarray(np.ma.asarray(found["example"])).sum()):
        raise SurefootError(f"{path}: {nameless} examples have no id in the column 'example': give each its own.")
    for name in set(wanted) - set(SAME):
        said = np.ma.asarray(found[name]) if name in found else np.ma.ones(0)
        blank = np.isnan(said.data) if said.dtype.kind == "f" else said.data.astype(str) == ""
        if without := int((np.ma.getmaskarray(said) | blank).sum()):
            raise SurefootError(f"{path}: {without} examples have no value in the column '{name}', to cluster by.")
    for example, count in Counter(plain["example"].tolist()).items():
        if count > 1:
            raise SurefootError(
                f"{path}: example '{example}' stands there {count} times: ids must be unique to pair by."
            )
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise SurefootError(f"{path}: example '{plain['example'][row]}' has no score that is a finite number.")
    return plain | {"score": scores}


def _part(
    connection: "DuckDBPyConnection", path: Path, columns: Sequence[str], only: Mapping[str, str]
) -> tuple[str, list[str]]:
    """The rows that are asked for, as SQL with its values."""
    if unknown := [name for name in only if name not in columns]:
        raise SurefootError(f"{path} has no column '{unknown[0]}': it has {', '.join(columns)}.")
    source = f"{PARQUET} WHERE {' AND '.join([f'{quote(name)}::VARCHAR = ?' for name in only]) or 'true'}"
    values = [escape(str(path)), *only.values()]
    for name in [*only, *(one for one in PARTS if one in columns and one not in only)]:
        told = f"SELECT DISTINCT {quote(name)}::VARCHAR AS part FROM {{}} ORDER BY part"
        if len(parts := connection.execute(told.format(source), values).fetchall()) == 1:
            continue
        parts = parts or connection.execute(told.format(PARQUET), values[:1]).fetchall()
        listed = ", ".join(str(part) for (part,) in parts)
        raise SurefootError(
            f"{path} has no example with {name} {only[name]}: there it is {listed}."
            if name in only
            else f"{path} has examples with {name} {listed}, of which no mean can be taken: choose with --only {name}="
            f"{parts[0][0]}."
        )
    return source, values


def _named(connection: "DuckDBPyConnection", path: Path) -> list[str]:
    read = connection.execute(f"SELECT * FROM {PARQUET} LIMIT 0", [escape(str(path))])
    return [column[0] for column in read.description or ()]


def _check_units(scores: "Mapping[str, NDArray[Any]]") -> None:
    """Answers that are right or wrong are not compared with scores that cannot be shares, nor shares with percent."""
    answers = [name for name, one in scores.items() if set(np.unique(one)) == {0.0, 1.0}]
    shares = [name for name, one in scores.items() if one.min() >= 0 and one.max() <= 1]
    others = [name for name, one in scores.items() if one.max() > 1 or one.min() < 0]
    percent = [name for name in others if scores[name].max() > _PERCENT]
    for some, kind, those in ((answers, "are 0 or 1", others), (shares, "lie from 0 to 1", percent)):
        if some and those:
            raise SurefootError(
                f"The scores of {some[0]} {kind}, those of {those[0]} reach {scores[those[0]].max():g}: "
                "bring them to one unit."
            )


def _check_same(column: str, examples: Sequence[str], cells: "Mapping[str, NDArray[Any]]") -> None:
    first = next(iter(cells), "")
    for other in [name for name in cells if name != first]:
        differing = np.flatnonzero(_text(cells[first]) != _text(cells[other]))
        if len(differing):
            row = int(differing[0])
            raise SurefootError(
                f"{first} and {other} were not measured on the same examples: '{examples[row]}' has {column} "
                f"'{cells[first][row]}' in one and '{cells[other][row]}' in the other ({len(differing)} such)."
            )


def _known(cells: "np.ma.MaskedArray[Any, Any]") -> NDArray[Any]:
    """What a column says, None where it says nothing: the 0 that stands there for it is no label."""
    missing, values = np.ma.getmaskarray(cells), np.ma.getdata(cells)
    if values.dtype.kind == "f":
        missing = missing | np.isnan(values)
    if not missing.any():
        return values
    known = _text(values).astype(object)
    known[missing] = None
    return known


def _text(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind != "f":
        return values.astype(str)
    whole = (np.abs(values) < 2**53) & (values == np.trunc(values))  # 3.0 is 3, as in the id of an example
    return np.where(whole, np.where(whole, values, 0).astype(np.int64).astype(str), values.astype(str))


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Text as objects, which DuckDB reads rightly; what UTF-8 cannot hold (of the name of a file) as its escape."""
    if values.dtype.kind not in "UO":
        return values
    texts = (one.encode(errors="backslashreplace").decode() if isinstance(one, str) else one for one in values.tolist())
    return np.fromiter(texts, object, len(values))
