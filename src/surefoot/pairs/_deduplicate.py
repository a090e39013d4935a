"""Stage 2: of rows that are the same in a key, or near each other, the first is kept; in DuckDB, in limited memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from glob import escape
from itertools import compress, pairwise
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError
from surefoot.pairs._search._embed import IMAGES, has_direction
from surefoot.pairs._set import ends_of, places_of
from surefoot.pairs._stages._manifest import Manifest, Recipe, Source, read_manifest, sources_in
from surefoot.pairs._stages._work import MEMORY, Progress, carry, make_parts
from surefoot.tables import check_column, database, literal, quote

_MOST = 1 << 40
_REASON = "CASE WHEN {} > 0 THEN 'duplicate_' ELSE 'contaminated_' END || ?"


@dataclass(frozen=True, kw_only=True)
class DuplicateRules:
    """What makes two rows the same: `by` are keys, one after the other, each a column or several joined by '+'.

    `first` is a column: of rows that are the same the one with its largest value is kept (of texts that are all numbers
    the largest number), among equals (and without `first`) the one that comes first in the parts. `phash_distance`:
    bits in which the column `phash` (64 bits in 16 hexadecimal digits) of near duplicates may differ; -1 does not look.
    `cosine`: the similarity of the column `embedding` (lists of numbers), or else of the pictures' vectors that
    `embed_pairs` put beside the rows, from which on rows are near duplicates; it compares all
    with all; 0 does not look.
    """

    by: tuple[str, ...] = ("url",)
    first: str = ""
    phash_distance: int = -1
    cosine: float = 0.0

    def __post_init__(self) -> None:
        if not -1 <= self.phash_distance <= 16 or not 0 <= self.cosine <= 1:
            raise SurefootError("Perceptual hashes may differ by 0 to 16 bits (-1: not looked at), a cosine is 0 to 1.")


def deduplicate(
    directory: Path, out: Path, rules: DuplicateRules, *, against: Sequence[Path] = (), progress: Progress | None = None
) -> Manifest:
    """Write the parts of a stage again, with the reason `duplicate_KEY` and `duplicate_of` (a uid) in rows not kept.

    A row that `duplicate_of` names is kept, or of an evaluation set: where a later key drops it, what it stood for
    names the row that it is like. `against` are stages of evaluation sets: what is the same as a row of theirs, or
    near one, by these very rules is dropped as `contaminated_KEY`. Only rows without a reason are compared; a missing
    or empty value is like no other. The same input gives the same bytes. Raises `SurefootError` for a column that is
    not there, an evaluation set of another model, and as `make_parts` does.
    """
    sources = sources_in(directory)
    before = read_manifest(directory).recipe.rules
    model = {name: before[name] for name in ("model", "digest", "dimension") if name in before}  # an index asks for it
    other = tuple(one for place in dict.fromkeys(against) for one in _evaluation(place, directory, rules, model))
    told = asdict(rules) | model | ({"against": [one.sha256 for one in other]} if other else {})
    recipe = Recipe(name="+".join(("first", *rules.by)), rules=told)
    with database(MEMORY) as connection:
        search = _Search(connection, sources, rules, other)
        return make_parts("deduplicate", recipe, sources, out, search.mark, progress=progress)


def _evaluation(place: Path, own: Path, rules: DuplicateRules, model: Mapping[str, Any]) -> tuple[Source, ...]:
    """The parts of an evaluation set: what the last stage of it left, of each of its archives."""
    ends = ends_of(stages) if (stages := places_of(place).stages) else []
    if not ends or not all((folder / part.file).is_file() for folder, told in ends for part in told.parts):
        raise SurefootError(f"{place} has no rows to compare with: name a folder that 'surefoot pairs embed' wrote.")
    if own.resolve() in [folder.resolve() for folder, _ in ends]:
        raise SurefootError(f"{own} would be compared with itself: name another set with --against.")
    if rules.cosine and any(told.recipe.rules.get("digest") != model.get("digest") for _, told in ends):
        raise SurefootError(f"{place} was embedded by another model than {own}: embed both with the same one.")
    return tuple(source for folder, _ in ends for source in sources_in(folder))


@dataclass(frozen=True)
class _Search:
    connection: Any
    sources: tuple[Source, ...]
    rules: DuplicateRules
    against: tuple[Source, ...]
    """Their rows have ranks up to 0: they come before all others, and are not dropped."""

    def mark(self, source: Source, path: Path) -> Mapping[str, int]:
        number = self.found.index(str(source.path))
        carry(source.path, path)
        again = "duplicate_of" in self._columns([source])
        marked = f"""SELECT p.* EXCLUDE (file_row_number, reasons{", duplicate_of" if again else ""}),
            {"coalesce(d.kept, m.kept, p.duplicate_of)" if again else "d.kept"} AS duplicate_of,
            CASE WHEN d.place IS NULL THEN reasons ELSE [d.reason] END AS reasons
            FROM read_parquet(?, file_row_number = true) p LEFT JOIN dropped d
            ON d.place = {number * _MOST} + file_row_number
            {"LEFT JOIN moved m ON m.uid = p.duplicate_of" if again else ""} ORDER BY file_row_number"""
        written = f"TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)"
        self.connection.execute(f"COPY ({marked}) {written}", [escape(str(source.path))])
        return {}

    def _columns(self, sources: Sequence[Source]) -> list[str]:
        read = [escape(str(source.path)) for source in sources]
        return [name for name, *_ in self.connection.execute("DESCRIBE FROM read_parquet(?)", [read]).fetchall()]

    @cached_property
    def found(self) -> list[str]:
        """Fill the tables `dropped` (place, reason, the uid kept) and `moved` (uids of which no row is kept now,
        and the one that is); the files in order.
        """
        files = [str(one.path) for one in (*self.sources, *self.against)]
        columns, rules = self._columns(self.sources), self.rules
        vectors = "vector" if "vector" in columns and "embedding" not in columns else "embedding"
        near = {"phash": rules.phash_distance >= 0, vectors: rules.cosine > 0}
        keys = [key.split("+") for key in rules.by]
        named = [*(name for key in keys for name in key), *filter(near.get, near), *filter(None, [rules.first])]
        for name in named:
            check_column(name, columns, str(self.sources[0].path.parent))
        for one in self.against:
            for name in named[: -1 if rules.first else None]:
                check_column(name, self._columns([one]), str(one.path.parent))
        best = self._best(files)  # DuckDB's NaN is the largest number
        order = f"{best}::VARCHAR IS NOT DISTINCT FROM 'nan', {best} DESC NULLS LAST," if rules.first else ""
        self.connection.execute(
            f"""CREATE TABLE compared AS WITH read AS MATERIALIZED (
            SELECT (list_position($files, filename) - 1)::BIGINT * $most + file_row_number AS place, uid,
            {", ".join(map(quote, dict.fromkeys(named)))} FROM read_parquet($read, file_row_number = true,
            filename = true, union_by_name = true) WHERE len(reasons) = 0)
            SELECT row_number() OVER (ORDER BY place < $own, {order} place)
            - (SELECT count(*) FROM read WHERE place >= $own) AS rank, * FROM read""",
            {"files": files, "read": [*map(escape, files)], "most": _MOST, "own": len(self.sources) * _MOST},
        )
        self.connection.execute("CREATE TABLE duplicates (place BIGINT, reason VARCHAR, kept BIGINT)")
        for key in keys:
            self._same(key)
        if near["phash"]:
            self._same(["phash"])
            self._near("phash", self._near_hashes())
        if near[vectors]:
            self._near("embedding", self._near_embeddings(vectors))
        self.connection.execute(
            """CREATE TABLE dropped AS SELECT d.place, reason, uid AS kept FROM duplicates d JOIN compared c
            ON c.place = d.kept; CREATE TABLE moved AS SELECT uid, arg_min(kept, rank) AS kept
            FROM compared LEFT JOIN dropped USING (place) GROUP BY uid HAVING bool_and(kept IS NOT NULL)"""
        )
        return files

    def _best(self, files: Sequence[str]) -> str:
        """What the rows are ordered by; texts that are all numbers, as in a CSV file, are these numbers."""
        best = quote(self.rules.first)
        if self.rules.first:
            number = f"try_cast({best} AS DOUBLE)"
            told = f"SELECT bool_and({best} IS NULL OR {number} IS NOT NULL), any_value(typeof({best}))"
            read = "read_parquet(?, union_by_name = true) WHERE len(reasons) = 0"
            ((numbers, kind),) = self.connection.execute(f"{told} FROM {read}", [[*map(escape, files)]]).fetchall()
            return number if numbers and kind == "VARCHAR" else best
        return best

    def _same(self, key: list[str]) -> None:
        columns = ", ".join(map(quote, key))
        there = " AND ".join(f"{quote(name)} IS NOT NULL" for name in key)
        there += f" AND concat({', '.join(f'{quote(name)}::VARCHAR' for name in key)}) <> ''"
        left = f"(SELECT * FROM compared WHERE place NOT IN (SELECT place FROM duplicates) AND {there})"
        self.connection.execute(
            f"""INSERT INTO duplicates SELECT place, {_REASON.format("lowest")}, kept FROM {left} JOIN (
            SELECT {columns}, min(rank) AS lowest, arg_min(place, rank) AS kept FROM {left}
            GROUP BY {columns} HAVING count(*) > 1) USING ({columns}) WHERE rank > greatest(lowest, 0)""",
            ["+".join(key)],
        )
        self._followed()

    def _near(self, column: str, pairs: Iterator[tuple[int, int]]) -> None:
        """Of pairs of ranks, the later one last of all in order, drop the later where the earlier is kept."""
        dropped: dict[int, int] = {}
        for earlier, later in pairs:
            if later > 0 and later not in dropped and earlier not in dropped:
                dropped[later] = earlier
        self.connection.execute(
            f"""INSERT INTO duplicates SELECT a.place, {_REASON.format("earlier")}, b.place
            FROM (SELECT unnest(?::BIGINT[]) AS later, unnest(?::BIGINT[]) AS earlier) JOIN compared a ON a.rank = later
            JOIN compared b ON b.rank = earlier""",
            [f"{column}_near", list(dropped), list(dropped.values())],
        )
        self._followed()

    def _followed(self) -> None:
        """What was like a row that has been dropped since is like the one that is kept for it."""
        self.connection.execute("UPDATE duplicates SET kept = o.kept FROM duplicates o WHERE o.place = duplicates.kept")

    def _left(self, column: str) -> str:
        return f"(SELECT rank, {column} FROM compared WHERE place NOT IN (SELECT place FROM duplicates))"

    def _near_hashes(self) -> Iterator[tuple[int, int]]:
        """Hashes that differ in d bits agree in one of d + 1 bands: only those are compared."""
        distance = self.rules.phash_distance
        wrong = "SELECT phash FROM compared WHERE NOT regexp_full_match(phash, '[0-9a-fA-F]{16}') LIMIT 1"
        if found := self.connection.execute(wrong).fetchall():
            raise SurefootError(f"The phash '{found[0][0]:.40}' is not 64 bits in 16 hexadecimal digits.")
        bits, bands = "('0x' || phash)::UBIGINT", distance + 1
        cuts = [64 * band // bands for band in range(bands + 1)]
        listed = ", ".join(f"({low}, {(1 << high - low) - 1})" for low, high in pairwise(cuts))
        rows = self.connection.execute(
            f"""WITH bands AS (SELECT rank, {bits} AS hash, low, (hash >> low) & mask AS band
            FROM {self._left("phash")}, (VALUES {listed}) AS cut(low, mask) WHERE phash IS NOT NULL)
            SELECT DISTINCT a.rank, b.rank FROM bands a JOIN bands b ON a.low = b.low AND a.band = b.band
            AND a.rank < b.rank WHERE bit_count(xor(a.hash, b.hash)) <= {distance} ORDER BY b.rank, a.rank"""
        )
        while batch := rows.fetchmany(10_000):
            yield from batch

    def _near_embeddings(self, column: str) -> Iterator[tuple[int, int]]:
        import numpy as np

        left = self._left(f"place, {column}")
        rows = self.connection.execute(f"FROM {left} WHERE {column} IS NOT NULL ORDER BY rank").fetchall()
        ranks, values = [row[0] for row in rows], [row[2] for row in rows]
        if column == "vector":  # a row of the file beside the part
            beside = [np.load(one.path.with_suffix(IMAGES), mmap_mode="r") for one in (*self.sources, *self.against)]
            values = [beside[place // _MOST][at] for _, place, at in rows]
        if len({*map(len, values)}) > 1:
            raise SurefootError(f"The vectors in the column {column} differ in length: they are of several models.")
        vectors = np.array(values, np.float32)
        good = has_direction(vectors) if rows else []
        ranks, vectors = [*compress(ranks, good)], vectors[good] if rows else vectors
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) if rows else 1.0
        least = min(self.rules.cosine, 1 - 1e-6)  # of a vector with itself it is not always 1 in 32 bits
        for start in range(0, len(ranks), 1024):
            block = vectors[start : start + 1024] @ vectors[: start + 1024].T >= least
            for later, earlier in zip(*np.nonzero(np.tril(block, start - 1)), strict=True):
                yield ranks[earlier], ranks[start + later]
