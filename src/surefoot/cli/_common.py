"""What the verbs share: parameters, the store, and studies with their options."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from surefoot.core import Results, Store, Study, SurefootError, walk
from surefoot.studies import load_study

StoreOption = Annotated[
    Path | None, Parameter(name="--store", help="The store. Default: $SUREFOOT_STORE, else ./surefoot-store.")
]
Options = Annotated[
    tuple[str, ...],
    Parameter(
        name=["--option", "-o"],
        help="An option of the study as name=value; may be given again.",
        negative=(),
        consume_multiple=False,
    ),
]
StudyName = Annotated[str, Parameter(help="A study by name, or a Python file that defines one.")]


def open_store(path: Path | None) -> Store:
    """The store that was asked for. Raises when its place is taken by a file."""
    root = path or Path(os.environ.get("SUREFOOT_STORE") or "surefoot-store")
    if root.exists() and not root.is_dir():
        raise SurefootError(f"The store must be a directory, and {root} is a file.")
    return Store(root)


def open_study(name: str, options: tuple[str, ...]) -> Study:
    """The study with its options, given as 'name=value'."""
    wrong = [option for option in options if "=" not in option]
    if wrong:
        raise SurefootError(f"Option '{wrong[0]}' must have the form name=value.")
    return load_study(name, dict(option.split("=", 1) for option in options))


def results_of(study: Study, store: Store) -> Results:
    """What the store holds of a study."""
    return Results(store, tuple(walk(study.steps)))
