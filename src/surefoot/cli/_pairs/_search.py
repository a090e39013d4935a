"""Embedding, thresholds, indexing and search of pairs."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from surefoot.cli._evaluate import ModelFlags
from surefoot.cli._output import Format, check_place, emit, say
from surefoot.contrastive import CaptionedPictures
from surefoot.core import SurefootError, Table, missing_module
from surefoot.pairs import (
    CONSE,
    INDEX,
    Balance,
    FoundPair,
    IndexDescription,
    IndexKind,
    build_index,
    conse_encoder,
    embed_pairs,
    open_index,
    openclip_encoder,
    pairs_directory,
    pictures_of_stage,
    places_of,
    query_vector,
    read_entries,
    read_index,
    read_manifest,
    search_pairs,
)
from surefoot.pairs import subset as write_subset

if TYPE_CHECKING:
    from surefoot.pairs import PairEncoder

_FOUND = ("rank", "score", "text", "url", "license", "similarity", "picture", "uid", "id", "folded")
_Template = Annotated[str | None, Parameter(help="The text of a picture without one: {} is its folder's name.")]
_Where = Annotated[str, Parameter(help="An SQL condition over the columns of a row.")]


CONSE_FLAGS = ModelFlags(model=CONSE)
"""What embeds where no model is named; an index knows its own."""


def encoder_of(flags: ModelFlags) -> "PairEncoder":
    try:
        if flags.model != CONSE:
            return openclip_encoder(flags.load(Path(flags.model), flags.pretrained))
        if flags != replace(CONSE_FLAGS, device=flags.device, precision=flags.precision):
            raise SurefootError("conse has its own weights and pictures: name the model of yours with --model.")
        return conse_encoder()
    except ModuleNotFoundError as error:
        raise missing_module(str(error.name)) from error


def _kept(flags: ModelFlags) -> dict[str, Any]:
    """What an index keeps, to open the same model for a query."""
    whole = asdict(flags) | ({"model": Path(flags.model)} if Path(flags.model).is_dir() else {})
    return {name: str(value.resolve()) if isinstance(value, Path) else value for name, value in whole.items()}


def _own(flags: ModelFlags, index: Path, told: IndexDescription) -> ModelFlags:
    """The model of an index, or of the set that it lies in, where none is named."""
    given: dict[str, Any] = told.model.get("given", {})
    kept: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    kept |= {name: Path(kept[name]) for name in ("pretrained", "tokenizer") if kept.get(name)}
    if linked := places_of(index).model:
        kept = kept or {"model": str(linked)}
    return ModelFlags(**kept) if flags == CONSE_FLAGS and kept else flags


def index_encoder(index: Path, told: IndexDescription, flags: ModelFlags) -> "PairEncoder":
    """The model of an index, or the one that is named. Raises for other weights than it was made with."""
    chosen = encoder_of(_own(flags, index, told))
    if chosen.digest != told.model["digest"]:
        raise SurefootError(
            f"{index} was made with {told.model['model']} and other weights than this {chosen.name}: name them with "
            "--model and --pretrained."
        )
    return chosen


def embed(
    source: Annotated[Path, Parameter(help="Pictures: a folder, a table, .tar shards, or a download.")], /, *,
    out: Annotated[Path, Parameter(help="A new folder, or that of a run to go on with.")],
    model: ModelFlags = CONSE_FLAGS, template: _Template = None,
    rows: Annotated[int, Parameter(help="Pictures of a part: what a stop can lose.")] = 2_000,
    batch_size: Annotated[int, Parameter(help="Pictures at once.")] = 64, format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    told = embed_pairs(
        source, out, encoder_of(model), template=template, rows=rows, batch=batch_size, progress=_progress
    )
    counts = {"rows": told.rows, "kept": told.kept, **told.reasons, **told.faults}
    emit(Table(("of", "n"), tuple(counts.items())), format)


def subset(
    directory: Annotated[Path, Parameter(help="What pairs embed wrote, or another stage.")], /, *,
    where: _Where = "true",
    balance: Annotated[Path | None, Parameter(help="Entries, one a line: of captions with common ones fewer.")] = None,
    most: Annotated[int, Parameter(help="Captions that an entry of the balance draws, in expectation.")] = 20_000,
    seed: Annotated[int, Parameter(help="Of the draw of the balance.")] = 0,
    out: Annotated[Path | None, Parameter(help="uids.npy, rows.parquet, shard.tar, a new folder; else none.")] = None,
    pictures: Annotated[Path | None, Parameter(help="Where pictures of a .tar lie, if the stage cannot tell.")] = None,
    format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    drawn = Balance(entries=read_entries(balance), most=most, seed=seed) if balance else None
    emit(write_subset(directory, where, out, balance=drawn, pictures=pictures), format)


def index(
    source: Annotated[Path, Parameter(help="Pictures as for pairs embed, or what it wrote.")], /, *,
    out: Annotated[Path, Parameter(help="The index: a new folder, or one to add to.")],
    kind: Annotated[IndexKind | None, Parameter(help="Default: exact up to 10,000 rows, else pq4.")] = None,
    recall: Annotated[float, Parameter(help="The share of the ten nearest that a search shall find.")] = 0.99,
    seed: Annotated[int, Parameter(help="Of the training of its cells.")] = 0,
    model: ModelFlags = CONSE_FLAGS, template: _Template = None, format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    beside = [name for part in read_manifest(source).parts for name in part.beside] if pairs_directory(source) else []
    done = any(name.endswith(".npy") for name in beside)
    embedded, root = source, pictures_of_stage(source) if done else None
    model = _own(model, out, read_index(out)) if (out / INDEX).is_file() else model
    if not done:
        root = source.resolve() if source.is_dir() else source.resolve().parent
        embedded = out / f"embedded-{CaptionedPictures(path=str(source)).pinned().digest[:12]}"
        told = embed_pairs(source, embedded, encoder_of(model), template=template, progress=_progress)
        for reason, count in told.reasons.items():
            say(f"{count} of {told.rows} rows are left out: {reason}.")
    given = {"given": _kept(model)}
    made = build_index(embedded, out, kind=kind, recall=recall, seed=seed, root=root, model=given)
    for file in [] if done else embedded.glob("part-*"):  # the index holds them; the manifest says what they were
        file.unlink()
    if made.left_out:
        say(f"{made.left_out} rows are left out: their vectors are zero or not finite.")
    if made.repeated:
        say(f"{made.repeated} rows are not added: their uid, or text and name, is there already.")
    if made.removed:
        say(f"{made.removed} rows are not added: they were removed from this index.")
    how = f"{made.probes} of {made.cells} cells, {made.refined} x k candidates compared exactly"
    say("All vectors are compared." if made.kind == "exact" else f"{made.kind}: {how}.")
    found = [(f"recall of {one.queries}", one.value, one.low, one.high, one.n) for one in made.recall]
    emit(Table(("of", "value", "low", "high", "n"), (("rows", made.rows, None, None, None), *found)), format)


def search(
    index: Annotated[Path, Parameter(help="What pairs index or pairs run wrote.")],
    texts: Annotated[tuple[str, ...], Parameter(help="What to look for; of several the mean.", negative=())] = (), /, *,
    image: Annotated[tuple[Path, ...], Parameter(help="A picture to look for.", negative=())] = (),
    without: Annotated[tuple[str, ...], Parameter(help="A text to keep away from.", negative=())] = (),
    where: _Where = "", k: Annotated[int, Parameter(name=["-k", "--results"], help="Results.")] = 20,
    fold: Annotated[float | None, Parameter(help="Fold what has this cosine with a better one; usual: 0.94.")] = None,
    model: ModelFlags = CONSE_FLAGS, format: Format | None = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .parquet or .txt.")] = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    check_place(out, format)
    inside = [] if (index / INDEX).is_file() else sorted(index.glob(f"*/{INDEX}"))
    index = inside[0].parent if inside else index
    with open_index(index) as opened:
        root = places_of(index).pictures
        chosen = index_encoder(index, opened.told, model)
        vector = query_vector(chosen, texts=texts, images=image, without=without)
        found = search_pairs(opened, vector, k=k, where=where, fold=fold)
    if len(found) < k:
        say(f"There are {len(found)} results{' for this condition' if where else ''}, not {k}.")
    if not root and any(not one.row.get("root") for one in found):
        say("The place of a picture is in the folder that 'surefoot pairs embed' read.")
    emit(Table(_FOUND, tuple(_line(rank, one, root) for rank, one in enumerate(found, 1))), format, out)


def _line(rank: int, one: FoundPair, root: Path | None) -> tuple[Any, ...]:
    row, root = one.row, one.row.get("root") or root
    place = str(Path(root) / row["picture"]) if root and row.get("picture") else row.get("picture")
    said = [row.get(name) for name in ("text", "url", "license", "similarity")]
    return (rank, one.score, *said, place, row.get("uid"), one.id, " ".join(map(str, one.folded)))


def _progress(done: int, total: int) -> None:
    say(f"Embedded part {done} of {total}.")
