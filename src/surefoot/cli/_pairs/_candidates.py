"""Candidates of web archives, and the first of those that are the same."""

import runpy
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from surefoot.cli._common import WorkersOption
from surefoot.cli._output import Format, counter, emit
from surefoot.core import SurefootError, Table, check_modules, open_pool
from surefoot.pairs import CANDIDATE_RULES, CandidateRules, DuplicateRules, Extract, Manifest
from surefoot.pairs import deduplicate as deduplicate_parts
from surefoot.pairs import extract as extract_files

OutFolder = Annotated[Path, Parameter(name="--out", help="A new folder, or that of a run to go on with.")]


def extract(
    files: Annotated[tuple[Path, ...], Parameter(help="WARC or WAT files, plain or .gz.")], /, *,
    out: OutFolder,
    recipe: Annotated[str, Parameter(help="laion5b, laion400m, datacomp-basic, coyo, or a .py file with `rules`.")],
    workers: WorkersOption = 1,
    format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    if not files:
        raise SurefootError("Name at least one WARC or WAT file.")
    check_modules([Extract(rules=recipe)])
    rules = _rules(recipe)
    with open_pool("processes", workers) as pool:
        _report(extract_files(files, out, rules, pool=pool, progress=counter("files")), format)


def deduplicate(
    directory: Annotated[Path, Parameter(help="The folder of a stage, as `pairs extract` writes it.")], /, *,
    out: OutFolder,
    by: Annotated[str, Parameter(help="Keys parted by commas, each a column or several joined by '+'.")] = "url",
    first: Annotated[str, Parameter(help="Keep the row that is largest in this column, else the first one.")] = "",
    phash_distance: Annotated[int, Parameter(help="Bits in which `phash` of near duplicates differs; -1: off.")] = -1,
    cosine: Annotated[float, Parameter(help="Rows whose `embedding` is so similar are near duplicates; 0: off.")] = 0.0,
    against: Annotated[tuple[Path, ...], Parameter(help="An evaluation set: drop what is in it.", negative=())] = (),
    format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    keys = tuple(key.strip() for key in by.split(",") if key.strip())
    rules = DuplicateRules(by=keys, first=first, phash_distance=phash_distance, cosine=cosine)
    _report(deduplicate_parts(directory, out, rules, against=against, progress=counter("files")), format)


def _rules(recipe: str) -> CandidateRules:
    if recipe in CANDIDATE_RULES:
        return CANDIDATE_RULES[recipe]
    if not recipe.endswith(".py") or not Path(recipe).is_file():
        raise SurefootError(f"There is no recipe '{recipe}': name {', '.join(CANDIDATE_RULES)}, or a Python file.")
    found = runpy.run_path(recipe).get("rules")
    if not isinstance(found, CandidateRules):
        raise SurefootError(f"{recipe} must define `rules`, a surefoot.pairs.CandidateRules.")
    return found


def _report(made: Manifest, form: Format | None) -> None:
    rows: list[tuple[str, str, int]] = [("rows", "", made.rows), ("kept", "", made.kept)]
    rows += [("dropped", reason, count) for reason, count in made.reasons.items()]
    rows += [("fault", fault, count) for fault, count in made.faults.items()]
    emit(Table(("what", "reason", "count"), tuple(rows)), form)
