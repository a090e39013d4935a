"""All stages of a set by one recipe, and the release of a set."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from surefoot.cli._common import Exit, Options, StoreOption, WorkersOption, open_store, open_study
from surefoot.cli._output import Format, emit, say
from surefoot.cli._study import PoolOption, make_missing
from surefoot.core import Table
from surefoot.figures import interval_plot
from surefoot.pairs import ReleaseTable, SetPlaces, gather_set, places_of, release_set
from surefoot.report import Section, still, write_sheet

_FORMS = {float: ".1%", int: ","}


def run(
    recipe: Annotated[str, Parameter(help="A Python file with study(): its Steps, one on the other.")], /, *,
    out: Annotated[Path, Parameter(help="The folder of the set, new or that of an earlier run.")],
    option: Options = (), store: StoreOption = None, pool: PoolOption = "processes", workers: WorkersOption = 1,
    retry: Annotated[bool, Parameter(help="Try Steps again that failed in an earlier run.", negative=())] = False,
    format: Format | None = None,
) -> int:  # fmt: skip
    """See the help of the app."""
    asked, place = open_study(recipe, option), open_store(store)
    if make_missing(asked, place, (pool, workers), retry=retry, option=option):
        return Exit.CONTRADICTED
    places = gather_set(asked.steps, place, out)
    emit(_stages(places), format)
    if places.index:
        say(f"Look at it: surefoot pairs serve {out}")
    return Exit.HOLDS


def release(
    directory: Annotated[Path, Parameter(name="SET", help="What pairs run wrote, or the folder of a stage.")], /, *,
    out: Annotated[Path, Parameter(help="A folder for release.json, datasheet.md and datasheet.html.")],
    about: Annotated[Path | None, Parameter(help="A text of yours: purpose, licence, contact.")] = None,
    format: Format | None = None,
) -> None:  # fmt: skip
    """See the help of the app."""
    words = about.read_text(encoding="utf-8") if about else ""
    tables, places, name = release_set(directory, out, about=words), places_of(directory), directory.resolve().name
    last = places.stages[-1][1]
    write_sheet(
        out / "datasheet.html", kind="datasheet", source=name, opening=f"{last.kept:,} pairs are kept of {name}.",
        leads=words.split("\n\n") if words else (), facts=(f"{last.rows:,} rows", f"{len(places.stages)} stages"),
        sections=[_section(number, table) for number, table in enumerate(tables)], notes=(),
        method=("Each stage's manifest has the SHA-256 of all its files; release.json has those of the manifests.",),
    )  # fmt: skip
    emit(_stages(places), format)
    say(f"Written: {out / 'datasheet.html'}")


def _stages(places: SetPlaces) -> Table:
    rows = tuple((one.stage, one.rows, one.kept, folder.name) for folder, one in places.stages)
    return Table(("stage", "rows", "kept", "folder"), rows)


def _section(number: int, table: ReleaseTable) -> Section:
    drawn = ""
    if table.drawn:
        effects = [{"label": row[0], "value": row[2], "n": row[1]} for row in table.rows]
        drawn = still(interval_plot(effects, name="rows", title=table.title, caption="", x_title="Share", unit="share"))
    cells = [tuple(format(cell, _FORMS.get(type(cell), "")) for cell in row) for row in table.rows]
    return Section(
        title=table.title, anchor=f"table-{number}", sentences=(table.sentence,), still=drawn, columns=table.columns,
        rows=tuple(cells), text=not table.drawn,
    )  # fmt: skip
