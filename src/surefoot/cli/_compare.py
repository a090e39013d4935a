"""The verb compare: models against a baseline, example by example, from the store or from files."""

import sys
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from surefoot.cli._common import Exit, StoreOption, existing_store, named_values
from surefoot.cli._output import Format, check_place, emit
from surefoot.core import SurefootError, Table
from surefoot.examples import EXAMPLES, compare_examples, read_examples, stored_examples

if TYPE_CHECKING:
    from surefoot.examples import Compared, Comparison


def compare(
    baseline: Annotated[str, Parameter(help="The baseline: the beginning of a key, or a file of examples (Parquet).")],
    others: Annotated[tuple[str, ...], Parameter(help="What to compare with it, named alike.")],
    /,
    *,
    margin: Annotated[
        float | None, Parameter(help="The largest fall to bear, in the unit of the score: 0.01 is a point of accuracy.")
    ] = None,
    score: Annotated[
        str, Parameter(help="The column of the examples that is compared: exact_match of a reader, whose score is F1.")
    ] = "score",
    cluster: Annotated[
        str | None, Parameter(help="A column of the examples: those of one label belong together (document, article).")
    ] = None,
    only: Annotated[
        tuple[str, ...],
        Parameter(help="Only examples with this value, as COLUMN=VALUE (direction=text).", consume_multiple=False),
    ] = (),
    unmatched: Annotated[
        Literal["refuse", "drop"], Parameter(help="What to do with examples that not all models have.")
    ] = "refuse",
    across_data: Annotated[
        bool, Parameter(help="Pair by id although artifacts were measured on different data.", negative=())
    ] = False,
    store: StoreOption = None,
    format: Format | None = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .tex, .parquet or .txt.")] = None,
) -> Exit:
    """Compare models with a baseline, example by example: difference of scores, interval, test, and who is tied."""
    check_place(out, format)
    names = (baseline, *others)
    keys = [name for name in names if _file(name) is None]
    stored = stored_examples(existing_store(store), keys, across_data=across_data) if keys else {}
    by_key = dict(zip(keys, stored.items(), strict=True))
    files = dict(by_key[name] if name in by_key else (name, _file(name) or Path(name)) for name in names)
    if len({path.resolve() for path in files.values()}) < len(names):
        raise SurefootError(f"{' and '.join(names)}: a file is named twice, and cannot be compared with itself.")
    chosen = named_values(only, "--only")
    read = read_examples(files, score=score, cluster=cluster, only=chosen, across_data=across_data)
    found = compare_examples(read, margin=margin, unmatched=unmatched)
    return tell(found, format, out)


def tell(found: "Comparison", format: Format | None, out: Path | None) -> Exit:
    """Print a comparison, and what `judge` says of it."""
    table = found.table()
    if format == "text" or (format is None and out is None and sys.stdout.isatty()):
        columns = zip(table.columns, *table.rows, strict=True)  # a line a number: seventeen columns fit no terminal
        table = Table(("", *(one.model for one in found.models)), tuple(columns))
    emit(table, format, out)
    return judge(found)


def judge(found: "Comparison") -> Exit:
    """Say on standard error what was left out of a comparison and how the margin was decided; the exit code."""
    told = [*found.notes, *(f"Left out: {sentence}" for sentence in found.left_out)]
    told += [_sentence(found, one) for one in found.models if found.margin is not None]
    print("".join(f"{line}\n" for line in told), end="", file=sys.stderr)
    return {None: Exit.HOLDS, "yes": Exit.HOLDS, "no": Exit.CONTRADICTED, "undecided": Exit.UNJUDGED}[found.no_worse]


def _file(name: str) -> Path | None:
    """The file of examples that is meant, also by the folder it lies in; None: a key."""
    inside = Path(name) / EXAMPLES
    return inside if inside.is_file() else Path(name) if name.endswith(".parquet") or Path(name).is_file() else None


def _sentence(found: "Comparison", one: "Compared") -> str:
    gap, seen = one.paired.difference, one.paired.smallest_seen
    said = {
        "yes": f"is no worse than {found.baseline} by more than {found.margin:g}",
        "no": f"is worse than {found.baseline} by more than {found.margin:g}",
        "undecided": f"may be worse than {found.baseline} by more than {found.margin:g}, or not",
    }
    bounds = "every difference is this, which gives no interval" if isnan(gap.low) else f"{gap.low:.4g}, {gap.high:.4g}"
    interval = f"{gap.estimate:+.4g} [{bounds}]"
    hint = f" These examples show a difference of {seen:.3g} or more." if one.no_worse == "undecided" else ""
    return f"{one.model} {said[one.no_worse or 'undecided']}: {interval}.{'' if isnan(seen) else hint}"
