"""The figures of the study: lines of sources, dilution, filters, forecasts, and what the sources look like."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np

from surefoot.contrastive import STYLES, Drawings, load_images, png_of, png_uri
from surefoot.core import Figure, Results, SurefootError
from surefoot.figures import Row, coefficient_curve, contact_sheet, heat_table, interval_plot, robustness_scatter
from surefoot.registry import read_json
from surefoot.stats import from_axis, mean_t
from surefoot.studies._drawn import seeds_row
from surefoot.studies.sources._claims import Footing, footing, forecasts, mediant_of
from surefoot.studies.sources._steps import (
    DRAWN,
    JUDGES,
    PHOTOS,
    RATIOS,
    REFERENCE,
    SHIFTS,
    SOURCES,
    STYLES_SEEN,
    UNSEEN,
    Mix,
    Plan,
    between,
    only,
)

ALL = "all together"
_SHOWN = ("1F408", "1F34E", "1F697", "1F3E0", "1F41F", "1F333", "26F5", "1F511")


def figures(plan: Plan) -> tuple[Callable[[Results], Figure], ...]:
    """The figures of a plan."""
    lines = (partial(_lines, plan, shift) for shift in SHIFTS)
    return (*lines, *(partial(make, plan) for make in (_cells, _dilution, _filters, _forecasts, _errors, _sheet)))


def _lines(plan: Plan, shift: str, results: Results) -> Figure:
    found = footing(results, plan)
    points, fits = list[Row](), list[Row]()
    for name in (*STYLES_SEEN, ALL):
        shares = only(*SOURCES) if name == ALL else only(name)
        tests = [(found.plan.tested(Mix(shares, size, seed)), size, seed)
                 for seed, size in product(plan.seeds, plan.sizes)]  # fmt: skip
        own = [{"x": found.accuracy(test, REFERENCE), "y": found.accuracy(test, shift), "family": name,
                "label": f"{name}, {size:,} pairs, seed {seed}"} for test, size, seed in tests]  # fmt: skip
        points += own
        x, y = (np.array([found.place(test, each) for test, *_ in tests]) for each in (REFERENCE, shift))
        slope, ends = float(x @ y / (x @ x)), np.linspace(0.02, x.max(), 12)
        drawn = (from_axis(part, "probit").tolist() for part in (ends, slope * ends))
        fits += [{"x": a, "y": b, "family": name} for a, b in zip(*drawn, strict=True)]
    return robustness_scatter(
        points, fits, name=f"lines-{shift}", title=f"A line a source: {shift} against {REFERENCE}", axis="probit",
        caption="Each point is a model. Two-way accuracy (chance is 50 percent) on probit axes; lines go through "
        "chance, as in the Gaussian model of sources, and a steeper line is a more robust source.",
        x_title=f"Two-way accuracy in {REFERENCE}, a style never trained on", y_title=f"Two-way accuracy in {shift}",
        families=[*STYLES_SEEN, ALL], family_title="Training source",
    )  # fmt: skip


def _cells(plan: Plan, results: Results) -> Figure:
    found, size = footing(results, plan), max(plan.sizes)
    rows = [(name, only(name)) for name in SOURCES] + [(ALL, only(*SOURCES))]
    cells = list[Row]()
    for (name, shares), test in product(rows, (*UNSEEN, PHOTOS, DRAWN)):
        own = seeds_row([found.accuracy(plan.tested(Mix(shares, size, seed)), test) for seed in plan.seeds])
        cells.append(own | {"row": name, "column": test})
    return heat_table(
        cells, name="cells", title="Where each source works",
        caption=f"Two-way accuracy in percent of models of {size:,} pairs, mean over seeds. Four styles that none was "
        "trained on: kinds of things, chance 50. Then ten things, in photographs and in drawings in these styles.",
        row_title="Trained on", column_title="Tested in", row_order=[name for name, _ in rows],
        column_order=[*UNSEEN, PHOTOS, DRAWN],
    )  # fmt: skip


def _widest(found: Footing) -> list[tuple[tuple[str, str], str]]:
    """Of the pairs of styles the three whose parents differ most in a shift."""

    def gap(one: tuple[tuple[str, str], str]) -> float:
        first, second = (found.of_source(name, one[1], found.plan.seeds) for name in one[0])
        return -abs(first - second)

    best = [min(((couple, shift) for shift in SHIFTS), key=gap) for couple in found.plan.couples]
    return sorted((one for one in best if PHOTOS not in one[0]), key=gap)[:3]


def _dilution(plan: Plan, results: Results) -> Figure:
    found, rows = footing(results, plan), list[Row]()
    for couple, shift in _widest(found):
        for ratio in (0.0, *RATIOS, 1.0):
            tests = [plan.tested(Mix(between(*couple, ratio), plan.pairs, seed)) for seed in plan.seeds]
            name = f"{couple[1]} to {couple[0]}, {shift}"
            measured = [found.robustness(test, shift) for test in tests]
            rows.append(seeds_row(measured, mean="y", x=ratio, family=name))
            expected = [_expected(found, couple, ratio, seed, shift) for seed in plan.seeds]
            rows.append({"x": ratio, "y": float(np.mean(expected)), "family": f"{name}: mediant", "n": len(expected)})
    return coefficient_curve(
        rows, name="dilution", title="Dilution: a mixture lies between its parents",
        caption=f"Effective robustness of models of {plan.pairs:,} pairs of two sources, for the three pairs whose "
        "parents differ most. Bands: 95 percent over seeds. The mediant is what the Gaussian model predicts from the "
        "two parents alone, at the mixture's accuracy in the reference.",
        x_title="Share of the first source", y_title="Effective robustness", unit="points",
    )  # fmt: skip


def _expected(found: Footing, couple: tuple[str, str], ratio: float, seed: int, shift: str) -> float:
    test = found.plan.tested(Mix(between(*couple, ratio), found.plan.pairs, seed))
    return found.robustness(test, shift) - found.above(test, shift, mediant_of(found, couple, ratio, seed, shift))


def _filters(plan: Plan, results: Results) -> Figure:
    found, rows = footing(results, plan), list[Row]()
    sizes = dict.fromkeys(round(mix.size * mix.kept) for mix in plan.filtered)
    names = {judge: f"kept by a model of {judge}" for judge in JUDGES} | {"": "as many at random"}
    for shift, size, judge in product(SHIFTS, sizes, names):
        mixes = [mix for mix in plan.filtered if (mix.judge, round(mix.size * mix.kept)) == (judge, size)]
        own = [found.robustness(plan.tested(mix), shift) for mix in mixes]
        rows.append(seeds_row(own, label=f"{size:,} pairs", group=shift, family=names[judge]))
    for shift, judge in product(SHIFTS, JUDGES):
        own = [found.of_source(judge, shift, [seed]) for seed in plan.seeds]
        rows.append(seeds_row(own, label=f"single source: {judge}", group=shift, family=names[judge]))
    return interval_plot(
        rows, name="filters", title="Filtering moves the line toward the judge's",
        caption=f"Effective robustness of models of what a judge, a model of one source, keeps of a pool of "
        f"{' and '.join(JUDGES)} in equal parts, and of the judges' own sources. Bars: 95 percent over seeds.",
        x_title="Effective robustness", families=list(names.values()), family_title="Filter",
    )  # fmt: skip


def _forecasts(plan: Plan, results: Results) -> Figure:
    found = forecasts(plan, results)
    named = {"x": found.predicted, "x_low": found.low, "x_high": found.high, "y": found.measured}
    rows = [{key: float(part[at]) for key, part in named.items()}
            | {"family": UNSEEN[at[1]], "label": _said(plan.mixtures[at[0]])}
            for at in np.ndindex(*found.measured.shape)]  # fmt: skip
    return robustness_scatter(
        rows, name="forecasts", title="Mixtures predicted before they were trained", axis="probit",
        caption=f"{plan.held_out} mixtures of two to {len(SOURCES)} sources, each in four unseen styles. The "
        "predictions are Steps that the mixtures' data stand on, so they are older. Bars: 95 percent, of a run.",
        x_title="Predicted two-way accuracy", y_title="Measured", families=list(UNSEEN), family_title="Tested in",
    )  # fmt: skip


def _said(mix: Mix) -> str:
    parts = (f"{share:.0%} {name}" for name, share in zip(SOURCES, mix.shares, strict=True) if share)
    return f"{mix.size:,} pairs: {', '.join(parts)}"


def _errors(plan: Plan, results: Results) -> Figure:
    found, rows = forecasts(plan, results), list[Row]()
    names = {"predicted": "law of mixtures", "log_share": "regression on log shares", "equal_shares": "equal shares"}
    for metric, name in names.items():
        own = mean_t(found.errors(metric))
        bounds = {"value": own.estimate, "low": own.low, "high": own.high, "n": plan.held_out}
        rows.append({"label": name, "group": "mean absolute error", "family": name, **bounds})
    return interval_plot(
        rows, name="errors", title="How far predictions were off", reference=None,
        caption="Mean over four unseen styles of the absolute error; bars: 95 percent over held-out mixtures.",
        x_title="Absolute error",
    )  # fmt: skip


def _sheet(plan: Plan, results: Results) -> Figure:
    return contact_sheet(
        list(_pictures(plan, results)), name="styles", title="The sources, and the styles that none was trained on",
        caption="The same things in every style.",
    )  # fmt: skip


def _pictures(plan: Plan, results: Results) -> Iterator[Row]:
    for style in (*STYLES_SEEN, *UNSEEN):
        place = results.store.path(Drawings(style=style, size=plan.drawn_at))
        if not (place / "items.json").exists():
            raise SurefootError(f"The style {style} was not drawn yet.")
        rows = {item["hexcode"]: (row, item["label"]) for row, item in enumerate(read_json(place / "items.json"))}
        section = f"{'Trained on' if style in STYLES_SEEN else 'Unseen'}: {STYLES[style].title}"
        shown = [rows[code] for code in _SHOWN if code in rows]
        pictures = load_images(place, [row for row, _ in shown])
        for picture, (_, label) in zip(pictures, shown, strict=True):
            yield {"image": png_uri(png_of(np.asarray(picture))), "label": label, "section": section}
