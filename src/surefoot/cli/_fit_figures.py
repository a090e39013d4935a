"""The option `--figure` of `surefoot fit`: the main figure in the file, the others beside it."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.core import Figure, SurefootError

if TYPE_CHECKING:
    from surefoot.figures import Unit
    from surefoot.laws import ScalingLaws

HELP = "A file for the figure: .svg, .png, .pdf, .json or .csv; a second one, of the same fit, is put beside it."


def write_law_figures(laws: "ScalingLaws", path: Path, x: str, y: str, unit: "Unit") -> None:
    """The laws with their points and bands, and their residuals."""
    from surefoot.laws import law_figure, law_record, law_residual_figure

    if len(laws.fits[0].points.x_names) > 1:
        raise SurefootError("A figure shows a law of one x: name a single column with --x.")
    records = {fit.points.family: law_record(fit) for fit in laws.fits}
    main = law_figure(records, title=f"{y} against {x}", x_title=x, y_title=y, unit=unit)
    rest = law_residual_figure(records, title="What the laws leave over", x_title=x)
    write_figures((main, rest), path)


def write_figures(figures: Iterable[Figure], path: Path) -> None:
    """Write the first figure to `path`, the others to `STEM-NAME.SUFFIX` beside it, and say where they are."""
    from surefoot.figures import write_figure

    for place, figure in enumerate(figures):
        file = path.with_name(f"{path.stem}-{figure.name}{path.suffix}") if place else path
        write_figure(figure, file)
        print(f"wrote {file}", file=sys.stderr)
