"""Each figure: its table is its rows, its drawing is valid, and the axes say what they show."""

import json
import math
import re
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from surefoot.core import Figure, SurefootError
from surefoot.figures import (
    coefficient_curve,
    contact_sheet,
    heat_table,
    interval_plot,
    render_svg,
    residual_plot,
    robustness_scatter,
    scaling_curve,
)

NAMED = {"name": "figure", "title": "A title", "caption": "A caption."}
AXES = {"x_title": "Compute", "y_title": "Error"}
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def scaling(**changed: Any) -> Figure:
    points = [
        {"x": 10.0**power, "y": 0.6 * 0.8**power, "low": 0.5 * 0.8**power, "high": 0.7 * 0.8**power, "family": family}
        for power in range(6)
        for family in ("one", "two")
    ]
    fit = [{"x": 10.0**power, "y": 0.6 * 0.8**power, "low": 0.01, "high": 1.0, "family": "one"} for power in range(7)]
    return scaling_curve(points, fit, **{**NAMED, **AXES, **changed})


def robustness(**changed: Any) -> Figure:
    points = [
        {"x": 0.5, "y": 0.3, "x_low": 0.45, "x_high": 0.55, "y_low": 0.25, "y_high": 0.35, "family": "a", "label": "m"},
        {"x": 0.9, "y": 0.7, "x_low": 0.88, "x_high": 0.92, "y_low": 0.66, "y_high": 0.74, "family": "b", "label": "k"},
    ]
    fit = [{"x": 0.5, "y": 0.3, "low": 0.2, "high": 0.4}, {"x": 0.9, "y": 0.7, "low": 0.6, "high": 0.8}]
    return robustness_scatter(points, fit, **{**NAMED, **changed})


def residuals() -> Figure:
    return residual_plot([{"x": 1.0, "y": 0.1, "low": 0.0, "high": 0.2}, {"x": 9.0, "y": -0.1}], **NAMED, **AXES)


def coefficients() -> Figure:
    rows = [{"x": step / 4, "y": 0.5 + step / 10, "low": 0.4, "high": 0.9} for step in range(5)]
    return coefficient_curve(rows, chosen=0.5, **NAMED, **AXES)


def effects() -> Figure:
    rows = [
        {"label": "a", "value": 0.02, "low": -0.01, "high": 0.05, "group": "first", "n": 10},
        {"label": "a", "value": -0.1, "low": -0.2, "high": 0.0, "group": "second", "n": 12},
    ]
    return interval_plot(rows, x_title="Effect", **NAMED)


def cells() -> Figure:
    rows = [{"row": row, "column": column, "value": 0.2, "n": 9} for row in "ab" for column in "cd"]
    return heat_table(rows, row_title="Trained on", column_title="Tested on", **NAMED)


def sheet() -> Figure:
    measured = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 1200}
    rows = [{"image": PIXEL, "label": "<a & b>", "section": section, **measured} for section in "zaz"]
    return contact_sheet(rows, **NAMED)


EVERY: list[Callable[[], Figure]] = [scaling, robustness, residuals, coefficients, effects, cells, sheet]


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_is_drawn_and_its_rows_are_plain_json(make: Callable[[], Figure], theme: Any) -> None:
    figure = make()
    assert render_svg(figure, theme=theme).startswith("<svg")
    assert json.loads(json.dumps(figure.table(), allow_nan=False)) == figure.table()


def test_the_table_gives_back_the_rows_that_were_given() -> None:
    table = [row for row in robustness().table() if row["part"] == "point"]
    assert [(row["x"], row["y"], row["family"]) for row in table] == [(0.5, 0.3, "a"), (0.9, 0.7, "b")]
    assert len(scaling().table()) == 12 + 7


def test_numbers_of_numpy_become_plain_and_what_is_not_finite_becomes_nothing() -> None:
    rows = [{"x": np.float64(2), "y": np.float32(0.5), "low": math.nan, "high": math.inf, "n": np.int64(7)}]
    row = scaling_curve(rows, **NAMED, **AXES).table()[0]
    assert row == {"part": "point", "x": 2.0, "y": 0.5, "low": None, "high": None, "n": 7}
    assert [type(row[name]) for name in ("x", "n")] == [float, int]


def labels(svg: str) -> list[str]:
    return [piece.split(">")[-1] for piece in svg.split("</text>")]


def test_error_is_labelled_in_percent_and_wide_compute_in_powers_of_ten() -> None:
    drawn = labels(render_svg(scaling()))
    assert {"20%", "30%", "50%"} <= set(drawn)
    points = [{"x": 10.0**power, "y": 0.5} for power in range(9, 15)]
    assert {"10⁹", "10¹²"} <= set(labels(render_svg(scaling_curve(points, **NAMED, **AXES))))


def test_a_loss_that_is_no_share_is_labelled_as_it_is() -> None:
    drawn = labels(render_svg(scaling_curve([{"x": 1, "y": 2.0}, {"x": 10, "y": 4.0}], unit="number", **NAMED, **AXES)))
    assert {"2", "3", "4"} <= set(drawn)


@pytest.mark.parametrize("axis", ["logit", "probit", "linear"])
def test_accuracies_stand_on_the_transformed_axis_and_are_labelled_in_percent(axis: Any) -> None:
    """The places come from the closed forms of the logit and, by symmetry, the probit: 50 percent is at 0."""
    figure = robustness(axis=axis)
    svg = render_svg(figure)
    assert {"30%", "50%", "70%"} <= set(labels(svg))
    point = figure.spec()["layer"][-1]["encoding"]["x"]
    low, high = point["scale"]["domain"]
    if axis == "logit":
        assert low < math.log(0.45 / 0.55) < math.log(0.92 / 0.08) < high
        assert math.isclose(point["axis"]["values"][-1], math.log(0.9 / 0.1), rel_tol=1e-9)
    assert axis == "linear" or 0.0 in point["axis"]["values"]


def test_exact_zero_and_one_are_drawn_at_the_edge_and_said_in_the_caption() -> None:
    points = [{"x": 1.0, "y": 0.0}, {"x": 0.5, "y": 0.4}, {"x": 0.8, "y": 0.6}]
    figure = robustness_scatter(points, **NAMED)
    assert (
        figure.caption
        == "A caption. 2 accuracies are exactly 0 or 100 percent and are drawn at the edge of the logit axis."
    )
    assert len(figure.table()) == 3
    assert render_svg(figure).count('aria-roledescription="point"') == 3


def test_percentages_in_place_of_fractions_are_refused_with_the_remedy() -> None:
    with pytest.raises(SurefootError, match="divide percentages by 100"):
        robustness_scatter([{"x": 55.0, "y": 44.0}], **NAMED)


def test_a_row_that_lacks_a_column_is_named() -> None:
    with pytest.raises(SurefootError, match="Row 2 of the figure's point has no 'y'"):
        scaling_curve([{"x": 1.0, "y": 0.5}, {"x": 2.0}], **NAMED, **AXES)


def test_a_logarithmic_axis_without_positive_values_is_refused() -> None:
    with pytest.raises(SurefootError, match="needs y values above 0"):
        scaling_curve([{"x": 1.0, "y": 0.0}], **NAMED, **AXES)


def test_families_differ_in_colour_and_in_shape_and_keep_theirs_when_one_is_absent() -> None:
    layer = scaling().spec()["layer"][-1]["encoding"]
    assert layer["color"]["scale"]["domain"] == layer["shape"]["scale"]["domain"] == ["one", "two"]
    alone = scaling(families=("zero", "one", "two")).spec()["layer"][-1]["encoding"]["color"]["scale"]
    assert alone["range"][1:] != layer["color"]["scale"]["range"]
    assert alone["domain"] == ["zero", "one", "two"]


def test_points_that_were_held_out_are_hollow() -> None:
    points = [{"x": 1.0, "y": 0.5}, {"x": 10.0, "y": 0.4, "held_out": True}]
    svg = render_svg(scaling_curve(points, **NAMED, **AXES))
    marks = [piece.split("/>")[0] for piece in svg.split('aria-roledescription="point"')[1:]]
    assert ["fill=" in mark for mark in marks] == [True, False]


def test_effects_of_one_label_in_two_groups_stand_on_two_lines_under_their_headings() -> None:
    figure = effects()
    assert [row["line"] for row in figure.table()] == [1, 3]
    drawn = labels(render_svg(figure))
    assert [drawn.count(text) for text in ("a", "first", "second")] == [2, 1, 1]
    assert "Effect (percentage points)" in drawn


def test_a_heat_table_keeps_the_order_it_is_given() -> None:
    rows = [{"row": row, "column": "c", "value": 0.5} for row in "abc"]
    figure = heat_table(rows, row_title="r", column_title="c", row_order=("c", "a", "b"), **NAMED)
    drawn = labels(render_svg(figure))
    assert [text for text in drawn if text in {"a", "b"}] == ["a", "b"]
    assert drawn.index("c", drawn.index("c") + 1) < drawn.index("a")


def test_a_contact_sheet_keeps_its_sections_together_and_takes_no_address() -> None:
    svg = render_svg(sheet())
    drawn = labels(svg)
    assert drawn.index("z") < drawn.index("a")
    assert drawn.count("accuracy 25.0% [20.0%, 30.0%], n = 1,200") == 2
    assert "&lt;a &amp; b&gt;" in svg
    with pytest.raises(SurefootError, match="not a data URI"):
        contact_sheet([{"image": "https://example.org/a.png", "label": "a", "section": "s"}], **NAMED)


def test_a_long_title_is_broken_into_lines_and_so_are_the_titles_of_axes() -> None:
    words = "accuracy in a distribution that nobody has ever trained on " * 3
    figure = robustness(title=words, x_title=words, y_title=words)
    longest = max(len(text) for text in labels(render_svg(figure, width=400)))
    assert longest <= 46


@pytest.mark.parametrize(("low", "high"), [(0.219, 0.27), (0.5, 0.9), (1.0, 1.0001), (3.0, 8.0), (0.01, 90.0)])
def test_a_logarithmic_axis_has_ticks_however_narrow_it_is(low: float, high: float) -> None:
    figure = scaling_curve([{"x": 1, "y": low}, {"x": 10, "y": high}], **NAMED, **AXES)
    labels = re.findall(r">([0-9.,]+)%<", render_svg(figure, width=600))
    assert len(labels) > 2
    assert all(low * 0.9 <= float(label.replace(",", "")) / 100 <= high * 1.2 for label in labels)


def test_large_numbers_in_cells_are_written_out() -> None:
    cells = [{"row": "a", "column": str(value), "value": value} for value in (3312.4, 47.36, 0.0212, 1.5e-5)]
    svg = render_svg(heat_table(cells, row_title="", column_title="", unit="number", **NAMED), width=600)
    assert all(f">{text}<" in svg for text in ("3,310", "47.4", "0.0212", "0.000015"))


def test_a_line_that_leaves_the_axes_stays_straight() -> None:
    """On probit axes a line of slope 2 whose end lies far above the points."""
    across, up = ([NormalDist().cdf(slope * place) for place in (0, 0.1, 0.2, 0.9)] for slope in (1, 2))
    points = [{"x": x, "y": 0.5 + x / 10, "family": "a"} for x in across]
    fits = [{"x": x, "y": y, "family": "a"} for x, y in zip(across, up, strict=True)]
    svg = render_svg(robustness_scatter(points, fits, axis="probit", x_title="x", y_title="y", **NAMED))
    lines = [piece for piece in svg.split("<path") if 'aria-roledescription="line mark"' in piece]
    paths = [re.findall(r"[ML]([-\d.]+),([-\d.]+)", line.split(' d="')[1].split('"')[0]) for line in lines]
    (steps,) = (np.diff(np.array(path, float), axis=0) for path in paths if len(path) == 4)
    assert steps[:, 1] / steps[:, 0] == pytest.approx(np.full(3, steps[0, 1] / steps[0, 0]), rel=1e-3)
