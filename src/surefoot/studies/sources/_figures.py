"""The figures of the study: lines of sources, dilution, filters, forecasts, and what the sources look like."""

from collections.abc import Callable, Iterator
from functools import partial, update_wrapper
from itertools import product

import numpy as np

from surefoot.contrastive import STYLES, load_images, png_of, png_uri
from surefoot.core import Figure, Results, SurefootError
from surefoot.figures import Row, coefficient_curve, contact_sheet, heat_table, interval_plot, robustness_scatter
from surefoot.registry import read_json
from surefoot.stats import from_axis
from surefoot.studies._drawn import seeds_row
from surefoot.studies.sources._claims import METHODS, Couple, Footing, footing, forecasts, off_the_mediant
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
    Plan,
    TwoWay,
)  # fmt: skip

_ALL = "all together"
_SHOWN = ("1F408", "1F34E", "1F697", "1F3E0", "1F41F", "1F333", "26F5", "1F511")


def figures(plan: Plan) -> tuple[Callable[[Results], Figure], ...]:
    """The figures of a plan."""
    lines = [partial(_lines, plan, shift) for shift in SHIFTS]
    makers = (_cells, _dilution, _filters, _forecasts, _sheet)
    return (*lines, *(update_wrapper(partial(make, plan), make) for make in makers))


def _of(plan: Plan, source: str, size: int, seed: int) -> TwoWay:
    return plan.together(size, seed) if source == _ALL else plan.single(source, size, seed)


def _lines(plan: Plan, shift: str, results: Results) -> Figure:
    found, points, fits = footing(results, plan), list[Row](), list[Row]()
    for name in (*STYLES_SEEN, _ALL):
        tests = {f"{name}, {size:,} pairs, seed {seed}": _of(plan, name, size, seed) for seed, size in plan.by_size}
        own = [{"x": found.accuracy(test, REFERENCE), "y": found.accuracy(test, shift), "family": name, "label": label}
               for label, test in tests.items()]  # fmt: skip
        across = [found.place(test, REFERENCE) for test in tests.values()]
        ends = np.linspace(min(across), max(across), 12)
        drawn = (from_axis(part, "probit").tolist() for part in (ends, found.slope(tests.values(), shift) * ends))
        points += own
        fits += [{"x": x, "y": y, "family": name} for x, y in zip(*drawn, strict=True)]
    return robustness_scatter(
        points, fits, name=f"lines-{shift}", title=f"A line a source: {shift} against {REFERENCE}", axis="probit",
        caption="Each point is a model. Two-way accuracy (chance is 50 percent) on probit axes; lines go through "
        "chance, as in the Gaussian model of sources, and a steeper line is a more robust source.",
        x_title=f"Two-way accuracy in {REFERENCE}, a style never trained on", y_title=f"Two-way accuracy in {shift}",
        families=[*STYLES_SEEN, _ALL], family_title="Training source",
    )  # fmt: skip


def _cells(plan: Plan, results: Results) -> Figure:
    found, size, cells = footing(results, plan), max(plan.sizes), list[Row]()
    for name, test in product((*SOURCES, _ALL), (*UNSEEN, PHOTOS, DRAWN)):
        own = seeds_row([found.accuracy(_of(plan, name, size, seed), test) for seed in plan.seeds], shares=True)
        cells.append(own | {"row": name, "column": test})
    return heat_table(
        cells, name="cells", title="Where each source works",
        caption=f"Two-way accuracy in percent of models of {size:,} pairs, mean over seeds. Four styles that none was "
        "trained on: kinds of things, chance 50. Then ten things, in photographs and in drawings in these styles.",
        row_title="Trained on", column_title="Tested in", row_order=[*SOURCES, _ALL],
        column_order=[*UNSEEN, PHOTOS, DRAWN],
    )  # fmt: skip


def _widest(found: Footing) -> list[tuple[Couple, str]]:
    """Of the pairs of styles the three whose parents differ most in a shift."""

    def gap(one: tuple[Couple, str]) -> float:
        first, second = (found.of_source(name, one[1], found.plan.seeds) for name in one[0])
        return -abs(first - second)

    best = [min(((couple, shift) for shift in SHIFTS), key=gap) for couple in found.plan.couples[:-1]]
    return sorted(best, key=gap)[:3]


def _dilution(plan: Plan, results: Results) -> Figure:
    found, rows = footing(results, plan), list[Row]()
    chosen = dict(zip("ABC", _widest(found), strict=True))
    told = "; ".join(
        f"{name}: from {second} to {first} under {shift}" for name, ((first, second), shift) in chosen.items()
    )
    for (name, (couple, shift)), ratio in product(chosen.items(), (0.0, *RATIOS, 1.0)):
        own = [found.robustness(plan.mixed(couple, ratio, seed), shift) for seed in plan.seeds]
        off = [off_the_mediant(found, couple, ratio, seed, shift) for seed in plan.seeds]
        rows.append(seeds_row(own, mean="y", x=ratio, family=name))
        rows.append({"x": ratio, "y": float(np.mean(own) - np.mean(off)), "family": f"{name}: mediant", "n": len(own)})
    return coefficient_curve(
        rows, name="dilution", title="Dilution: mixtures beside their parents",
        caption=f"Effective robustness of models of {plan.pairs:,} pairs of two sources, for the three pairs whose "
        f"parents differ most ({told}). Bands: 95 percent over seeds. The mediant is what the Gaussian model predicts "
        "from the two parents alone, at the mixture's accuracy in the reference.",
        x_title="Share of the first source", y_title="Effective robustness", unit="points",
    )  # fmt: skip


def _filters(plan: Plan, results: Results) -> Figure:
    found, rows = footing(results, plan), list[Row]()
    names = {judge: judge for judge in JUDGES} | {"": "chance"}
    sizes = dict.fromkeys(round(mix.size * mix.kept) for mix in plan.filtered)
    for shift, size, judge in product(SHIFTS, sizes, names):
        mixes = [mix for mix in plan.filtered if (mix.judge, round(mix.size * mix.kept)) == (judge, size)]
        own = [found.robustness(plan.tested(mix), shift) for mix in mixes]
        rows.append(seeds_row(own, label=f"{size:,} pairs", group=shift, family=names[judge]))
    return interval_plot(
        rows, name="filters", title="What each judge keeps, and chance",
        caption="Effective robustness of models of what a judge, a model of one source, keeps of a pool of "
        f"{' and '.join(JUDGES)} in equal parts; chance keeps as many at random. Bars: 95 percent over seeds.",
        x_title="Effective robustness", families=list(names.values()), family_title="Kept by the model of",
    )  # fmt: skip


def _forecasts(plan: Plan, results: Results) -> Figure:
    found = forecasts(results, plan)
    named = {"x": "predicted", "x_low": "low", "x_high": "high", "y": "measured"} | {name: name for name in METHODS}
    rows = list[Row]()
    for (mix, own), style in product(enumerate(plan.mixtures), range(len(UNSEEN))):
        parts = ", ".join(f"{share:.0%} {name}" for name, share in zip(SOURCES, own.shares, strict=True) if share)
        numbers = {key: float(found[name][mix, style]) for key, name in named.items()}
        rows.append({"family": UNSEEN[style], "label": f"{own.size:,} pairs: {parts}", **numbers})
    return robustness_scatter(
        rows, name="forecasts", title="Mixtures predicted before they were trained", axis="probit",
        caption=f"{plan.held_out} mixtures of two to {len(SOURCES)} sources, each in four unseen styles. The "
        "predictions are Steps that the mixtures' data stand on, so they are older. Bars: 95 percent, of a run.",
        x_title="Predicted two-way accuracy", y_title="Measured", families=list(UNSEEN), family_title="Tested in",
    )  # fmt: skip


def _sheet(plan: Plan, results: Results) -> Figure:
    return contact_sheet(
        list(_pictures(plan, results)), name="styles", title="The sources, and the styles that none was trained on",
        caption="The same things in every style.",
    )  # fmt: skip


def _pictures(plan: Plan, results: Results) -> Iterator[Row]:
    for style, step in plan.drawings((*STYLES_SEEN, *UNSEEN)).items():
        if not results.store.has(step):
            raise SurefootError(f"The style {style} was not drawn yet.")
        place = results.store.path(step)
        rows = {item["hexcode"]: (row, item["label"]) for row, item in enumerate(read_json(place / "items.json"))}
        section = f"{'Trained on' if style in STYLES_SEEN else 'Unseen'}: {STYLES[style].title}"
        shown = [rows[code] for code in _SHOWN if code in rows]
        for picture, (_, label) in zip(load_images(place, [row for row, _ in shown]), shown, strict=True):
            yield {"image": png_uri(png_of(np.asarray(picture))), "label": label, "section": section}
