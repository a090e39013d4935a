"""The option `--figure` of `surefoot fit`: the main figure in the file, the others beside it."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.core import Figure

if TYPE_CHECKING:
    from surefoot.laws import OptimalPlans, PointOptions, ScalingLaws

HELP = "A file for the figure: .svg, .png, .pdf, .json or .csv; a second one, of the same fit, is put beside it."


def write_law_figures(laws: "ScalingLaws", plans: "OptimalPlans | None", path: Path, points: "PointOptions") -> None:
    """The laws with their points and bands, and their residuals; or the best size and data for compute."""
    from surefoot.laws import law_figure, law_record, law_residual_figure, plan_figure

    if plans:
        write_figures((plan_figure(plans),), path)
        return
    x, y = "".join(points.x), laws.fits[0].points.y_name
    records = {fit.points.family: law_record(fit) for fit in laws.fits}
    unit = "share" if points.score or points.unit != "none" or points.n_test else "number"
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
