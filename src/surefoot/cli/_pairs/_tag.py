"""Tags of pairs, and the training of a head for one."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from surefoot.cli._evaluate import ModelFlags
from surefoot.cli._output import Format, counter, emit
from surefoot.cli._pairs._search import CONSE_FLAGS, encoder_of
from surefoot.core import Table, check_installed
from surefoot.pairs import read_taggers, tag_pairs
from surefoot.pairs import train_head as write_trained

_Directory = Annotated[Path, Parameter(help="What pairs embed wrote.")]


def tag(
    directory: _Directory, /, *,
    out: Annotated[Path, Parameter(help="A new folder, or that of a run to go on with.")],
    head: Annotated[tuple[str, ...], Parameter(help="NAME=FILE of a head, with ,activation=relu,output=sigmoid.")] = (),
    prompts: Annotated[tuple[str, ...], Parameter(help="NAME=FILE: low prompts, a blank line, high prompts.")] = (),
    function: Annotated[tuple[str, ...], Parameter(help="NAME=FILE.py, which defines score(rows).")] = (),
    model: ModelFlags = CONSE_FLAGS, format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    taggers = read_taggers(heads=head, prompts=prompts, functions=function, encoder=lambda: encoder_of(model))
    made = tag_pairs(directory, out, taggers, progress=counter("parts"))
    emit(Table(("of", "n"), (("rows", made.rows), ("kept", made.kept), ("tags", len(taggers)))), format)


def train_head(
    directory: _Directory, /, *,
    label: Annotated[str, Parameter(help="A condition over a row: true, false, or null where nobody looked.")],
    out: Annotated[Path, Parameter(help="The head: a file .npz.")],
    of: Annotated[Literal["images", "texts"], Parameter(help="Train on vectors of pictures, or of texts.")] = "images",
    seed: Annotated[int, Parameter(help="Of the rows that are kept apart.")] = 0,
    format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    check_installed(("sklearn",))
    emit(write_trained(directory, label, out, of=of, seed=seed), format)
