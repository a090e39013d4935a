"""What the verbs share: parameters, the store, and studies with their options."""

import os
import shlex
from collections import Counter
from enum import IntEnum
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from surefoot.cli._output import say
from surefoot.core import Results, Store, Study, SurefootError, counted, made_otherwise, walk
from surefoot.studies import load_study


class Exit(IntEnum):
    """How every command ends."""

    HOLDS = 0
    """Done. For a gate: nothing is contradicted, and all of it could be judged."""
    CONTRADICTED = 1
    """A claim is contradicted (with --strict also: undecided), or a Step failed in a run."""
    UNJUDGED = 2
    """A mistake in the call, or a gate with nothing to judge: Steps missing, a broken check, too wide an interval."""
    FAULT = 70
    """A fault in Surefoot or in the code of a study; SUREFOOT_TRACEBACK=1 shows where."""
    STOPPED = 130
    """Stopped by Ctrl-C; what is finished is kept."""
    CLOSED = 141
    """The reader of the output went away."""


StoreOption = Annotated[
    Path | None, Parameter(name="--store", help="The store. Default: $SUREFOOT_STORE, else ./surefoot-store.")
]
Options = Annotated[
    tuple[str, ...],
    Parameter(
        name=["--option", "-o"],
        help="An option of the study as name=value; may be given again.",
        consume_multiple=False,
    ),
]
WorkersOption = Annotated[
    int | None,
    Parameter(help="How many Steps at once. Default: the number of cores.", validator=validators.Number(gte=1)),
]
StudyName = Annotated[str, Parameter(help="A study by name, or a Python file that defines one.")]


def open_store(path: Path | None) -> Store:
    """The store that was asked for. Raises when its place is taken by a file."""
    root = path or Path(os.environ.get("SUREFOOT_STORE") or "surefoot-store")
    if root.exists() and not root.is_dir():
        raise SurefootError(f"The store must be a directory, and {root} is a file.")
    return Store(root)


def existing_store(path: Path | None) -> Store:
    """The store that was asked for, by a verb that makes nothing. Raises when it is not there, or is none."""
    place = open_store(path)
    if not (place.stamps() or place.leftovers()):
        what = (
            f"Nothing in {place.root} was made by a run"
            if place.root.exists()
            else f"There is no store at {place.root}"
        )
        raise SurefootError(f"{what}: give the place of the store with --store, or run a study first.")
    return place


def open_study(name: str, options: tuple[str, ...]) -> Study:
    """The study with its options, given as 'name=value'."""
    return load_study(name, named_values(options))


def named_values(options: tuple[str, ...], what: str = "Option") -> dict[str, str]:
    """The values of options given as 'name=value', by name. Raises for another form, and for a name given twice."""
    if wrong := [option for option in options if "=" not in option]:
        raise SurefootError(f"{what} '{wrong[0]}' must have the form name=value.")
    pairs = [option.split("=", 1) for option in options]
    if twice := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
        raise SurefootError(f"{what} {twice[0]} was given more than once: give it one value.")
    return dict(pairs)


def results_of(study: Study, store: Store) -> Results:
    say_made_otherwise(study, store)
    return Results(store, tuple(walk(study.steps)))


def say_made_otherwise(study: Study, store: Store) -> None:
    """Say which results that are kept are not those of the code as it is now."""
    if found := made_otherwise(study.steps, store):
        kinds = ", ".join(sorted({step.kind for step in found}))
        say(
            f"{counted(len(found), 'kept Step', 'were')} made by other code of {kinds} than there is now. Where that "
            "changes results, raise the version of the class: then they are made anew."
        )


def line_that_makes(name: str, options: tuple[str, ...], store: Path | None) -> str:
    """The command that makes what is missing of a study."""
    given = [part for option in options for part in ("-o", option)] + (["--store", str(store)] if store else [])
    return shlex.join(["surefoot", "run", name, *given])
