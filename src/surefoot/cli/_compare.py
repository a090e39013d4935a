"""The verb compare: models against a baseline, example by example, from the store or from files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from surefoot.cli._common import StoreOption, open_store
from surefoot.cli._output import Format, emit, format_of

if TYPE_CHECKING:
    from surefoot.tasks import Compared, Comparison


def compare(
    baseline: Annotated[str, Parameter(help="The baseline: the beginning of a key, or a file of examples (Parquet).")],
    others: Annotated[tuple[str, ...], Parameter(help="What to compare with it, named alike.")],
    /,
    *,
    margin: Annotated[
        float | None, Parameter(help="The largest fall to bear, in the unit of the score: 0.01 is a point of accuracy.")
    ] = None,
    cluster: Annotated[
        str | None, Parameter(help="A column of the examples: those of one label belong together (document, article).")
    ] = None,
    unmatched: Annotated[
        Literal["refuse", "drop"], Parameter(help="What to do with examples that not all models have.")
    ] = "refuse",
    across_data: Annotated[
        bool, Parameter(help="Pair by id although artifacts were measured on different data.", negative=())
    ] = False,
    store: StoreOption = None,
    format: Format | None = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .json, .tex, .parquet or .txt.")] = None,
) -> int:
    """Compare models with a baseline, example by example: difference of scores, interval, test, and who is tied.

    With --margin it exits with 1 unless every model is shown to be no worse than the baseline by more than that.
    """
    from surefoot.tasks import compare_examples, read_examples, stored_examples

    names = (baseline, *others)
    in_files = {name: _file(name) for name in names if _is_file(name)}
    in_store = stored_examples(open_store(store), [name for name in names if name not in in_files], across_data=across_data)
    scores = read_examples({key: path for name in names for key, path in _one(name, in_files, in_store)}, cluster=cluster)
    found = compare_examples(scores, margin=margin, unmatched=unmatched)
    return tell(found, format, out)


def tell(found: "Comparison", format: Format | None, out: Path | None) -> int:
    """Print a comparison, say on standard error what was left out; the exit code of its margin (0 without one)."""
    for sentence in found.left_out:
        print(f"Left out: {sentence}", file=sys.stderr)
    if format_of(format, out) == "text":
        text = "".join(f"{_sentence(found, one)}\n" for one in found.models)
        out.write_text(text, encoding="utf-8") if out else sys.stdout.write(text)
    else:
        emit(found.table(), format, out)
    return 0 if found.no_worse in (None, "yes") else 1
