"""Figures of a user's fit: what they show, and that `surefoot fit ... --figure` writes them."""

import json
from pathlib import Path

import numpy as np
import pytest

from surefoot.cli import app
from surefoot.core import SurefootError
from surefoot.laws import (
    LawOptions,
    PointOptions,
    RobustnessFit,
    effect_figure,
    fit_scaling,
    fit_shift,
    law_figure,
    law_record,
    law_residual_figure,
    make_table,
    robustness_figure,
    shift_data,
    wide_accuracies,
)
from surefoot.stats import from_axis, to_axis

SIZES = np.geomspace(1e9, 1e12, 9)
POINTS = PointOptions(x=("gmacs",), y="error")


def fit_command(command: str, *words: object) -> None:
    """`surefoot fit COMMAND WORDS` in this process; a mistake is raised."""
    app(["fit", command, *map(str, words)], result_action="return_value", exit_on_error=False)


def errors() -> dict[str, list[object]]:
    noise = np.exp(np.random.default_rng(5).normal(0, 0.02, len(SIZES)))
    return {"gmacs": SIZES.tolist(), "error": (5 * SIZES**-0.15 * noise).tolist()}


def accuracies() -> dict[str, list[object]]:
    """Ten plain models on a line of slope 0.9 and two robust ones above it, under two shifts."""
    generator = np.random.default_rng(1)
    x = from_axis(np.linspace(-1, 1.5, 12))
    near = from_axis(0.9 * to_axis(x) - 0.5 + generator.normal(0, 0.03, 12) + 0.8 * (np.arange(12) >= 10))
    far = from_axis(0.9 * to_axis(x) - 1.5 + generator.normal(0, 0.03, 12))
    kinds = ["plain"] * 10 + ["robust"] * 2
    names = [f"model-{place}" for place in range(12)]
    return {"model": names, "kind": kinds, "val": x.tolist(), "near": near.tolist(), "far": far.tolist()}


def robustness(**options: object) -> RobustnessFit:
    scores = wide_accuracies(make_table(accuracies()), model=("model",))
    data = shift_data(scores, x="val", baseline=("kind=plain",), group="kind")
    return fit_shift(data, replicates=50, **options)  # type: ignore[arg-type]


def test_a_law_is_drawn_with_its_band_and_the_points_it_did_not_use_are_marked() -> None:
    fit = fit_scaling(errors(), POINTS, LawOptions(selection="envelope", bins=3)).fits[0]
    figure = law_figure({"": law_record(fit)}, title="Law", x_title="Compute", y_title="Error")
    points = [row for row in figure.table() if row["part"] == "point"]
    drawn = [row for row in figure.table() if row["part"] == "fit"]
    assert [row.get("held_out", False) for row in points].count(False) == fit.law.n == 3
    assert max(row["x"] for row in drawn) <= 1.0001e13
    assert all(row["low"] < row["y"] < row["high"] for row in drawn)
    assert "Hollow: not used by the fit" in figure.caption
    assert f"exponent {fit.law.parameters['exponent']:.3g} [" in figure.caption


def test_residuals_are_relative_and_held_out_points_come_from_the_nearest_fit() -> None:
    table = errors()
    fit = fit_scaling(table, POINTS).fits[0]
    rows = law_residual_figure({"": law_record(fit)}, title="Left over", x_title="Compute").table()
    fitted = [row["y"] for row in rows if "held_out" not in row]
    law = fit.law.parameters["coefficient"] * SIZES ** -fit.law.parameters["exponent"]
    assert fitted == pytest.approx((np.array(table["error"], dtype=float) / law - 1).tolist())
    last = next(row for row in rows if "held_out" in row and row["x"] == SIZES[-1])
    slope, offset = np.polyfit(np.log(SIZES[:-1]), np.log(np.array(table["error"][:-1], dtype=float)), 1)
    predicted = np.exp(offset + slope * np.log(SIZES[-1]))
    assert last["y"] == pytest.approx(float(table["error"][-1]) / predicted - 1)  # type: ignore[arg-type]
    assert "fitted on 8 points" in last["label"]


def test_a_law_of_two_variables_has_no_curve() -> None:
    table = errors() | {"data": np.random.default_rng(2).uniform(1e6, 1e9, len(SIZES)).tolist()}
    fit = fit_scaling(
        table, PointOptions(x=("gmacs", "data"), y="error"), LawOptions(form="two-variable", method="t")
    ).fits[0]
    with pytest.raises(SurefootError, match="name a single x for a figure"):
        law_figure({"": law_record(fit)}, title="Law", x_title="Compute", y_title="Error")


@pytest.mark.parametrize("pivot", [None, 0.5])
def test_the_robustness_line_passes_among_its_baseline_and_is_labelled_in_percent(pivot: float | None) -> None:
    fit = robustness(pivot=pivot)
    figure = robustness_figure(fit, "near")
    rows = figure.table()
    line = [row for row in rows if row["part"] == "fit"]
    column = fit.data.shifts.index("near")
    for row in rows:
        if row["part"] == "point":
            at = np.interp(row["x"], [one["x"] for one in line], [one["y"] for one in line])
            member = fit.data.models.index(row["label"])
            assert at == pytest.approx(fit.effective.expected[member, column], abs=2e-3)
    assert "%" in json.dumps(figure.spec()["layer"][0]["encoding"]["x"]["axis"]["labelExpr"])


def test_the_average_of_shifts_is_drawn_by_default_and_an_unknown_shift_is_said() -> None:
    assert "averaged" in robustness_figure(robustness()).title
    with pytest.raises(SurefootError, match="There is no shift 'elsewhere'"):
        robustness_figure(robustness(), "elsewhere")


def test_effects_are_those_of_the_groups_in_points() -> None:
    fit = robustness()
    rows = {(row["group"], row["label"]): row for row in effect_figure(fit).table()}
    assert len(rows) == 6
    place = fit.groups.groups.index("robust"), fit.data.shifts.index("near")
    assert rows["near", "robust"]["value"] == pytest.approx(fit.groups.points[place] / 100)
    assert 0 < rows["near", "robust"]["low"] < rows["near", "robust"]["value"]
    assert rows["near", "robust"]["n"] == 2


def test_the_commands_write_two_figures_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, scores = tmp_path / "results.json", tmp_path / "scores.json"
    results.write_text(json.dumps(errors()))
    scores.write_text(json.dumps(accuracies()))
    fit_command("scaling", results, "--x", "gmacs", "--y", "error", "--figure", tmp_path / "law.svg")
    fit_command("curve", results, "--x", "gmacs", "--y", "error", "--form", "power", "--figure", tmp_path / "curve.csv")
    fit_command(
        "shift",
        scores,
        "--x",
        "val",
        "--baseline",
        "kind=plain",
        "--group",
        "kind",
        "--figure",
        tmp_path / "shift.json",
    )
    written = {path.name for path in tmp_path.iterdir()} - {"results.json", "scores.json"}
    assert written == {
        "law.svg",
        "law-residuals.svg",
        "curve.csv",
        "curve-residuals.csv",
        "shift.json",
        "shift-effects.json",
    }
    assert "law-residuals.svg" in capsys.readouterr().err
    assert (tmp_path / "law.svg").read_text().startswith("<svg")


def test_a_figure_of_robustness_says_the_level_of_its_bounds() -> None:
    fit = robustness(level=0.8)
    for figure in (robustness_figure(fit), effect_figure(fit)):
        assert "80 percent" in figure.caption and "95 percent" not in figure.caption
