"""From scores to a fit of robustness: choices, traps, and what the fit says of them."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, Store, SurefootError, run
from surefoot.laws import (
    AVERAGE,
    SECTIONS,
    Accuracies,
    ResultTable,
    RobustnessFit,
    ShiftFit,
    fit_shift,
    keep_where,
    long_accuracies,
    make_table,
    measured_accuracies,
    robustness_figure,
    shift_data,
    shift_measurements,
    shift_table,
    text_of,
    wide_accuracies,
)
from surefoot.stats import (
    Lines,
    effective_robustness,
    fit_lines,
    from_axis,
    hinge,
    predict_lines,
    to_axis,
    wilson_bounds,
)


def _table(n: int = 24, seed: int = 0) -> ResultTable:
    """Models on a line, the last third 6 points above it on both shifts; two families."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(0.5, 0.85, n)
    robust = np.arange(n) >= 2 * n // 3
    shifted = {
        name: from_axis(level + 0.9 * to_axis(x) + generator.normal(0, 0.05, n)) + 0.06 * robust
        for name, level in (("fog", -0.5), ("snow", -1.0))
    }
    labels = {
        "model": [f"m{i}" for i in range(n)],
        "base": [f"m{i - 8}" if i >= 16 else "" for i in range(n)],
        "how": np.where(robust, "robust", "plain").tolist(),
        "family": [("odd", "even")[i % 2] for i in range(n)],
    }
    return make_table({**labels, "params": np.arange(n) * 1e6 + 200, "clean": x, **shifted}, source="t.csv")


def _scores(n: int = 24) -> Accuracies:
    return wide_accuracies(_table(n), n={"clean": 10_000, "fog": 5_000, "snow": 5_000})


def test_every_column_of_accuracies_but_x_is_a_shift_and_their_average_comes_first() -> None:
    data = shift_data(_scores(), x="clean", baseline=("how=plain",))
    assert data.shifts == (AVERAGE, "fog", "snow")
    assert data.y[:, 0] == pytest.approx(data.y[:, 1:].mean(axis=1))
    left_out = next(remark for remark in data.remarks if remark.code == "left-out")
    assert "'params'" in left_out.message
    assert data.left_out == {"params": "no accuracies between 0 and 1 or 0 and 100 percent"}


def test_the_fit_is_that_of_the_baseline_alone() -> None:
    data = shift_data(_scores(), x="clean", shifts=("fog",), baseline=("how=plain",), group="how")
    fit = fit_shift(data, replicates=200)
    plain = np.array(data.groups) == "plain"
    lines = fit_lines(to_axis(data.x[plain, 0, 0]), to_axis(data.y[plain, 0]))
    assert fit.lines.coefficients == pytest.approx(lines.coefficients)
    points = effective_robustness(to_axis(data.x[:, 0, 0]), data.y, fit.lines).points
    assert fit.effective.points == pytest.approx(points)
    robust = fit.groups.groups.index("robust")
    assert fit.groups.low[robust, 0] < 6 < fit.groups.high[robust, 0]


def test_baseline_conditions_are_patterns_that_must_all_hold() -> None:
    data = shift_data(_scores(), x="clean", baseline=("model!=m1*", "how=pl*"), baseline_above=0.6)
    chosen = [name for name, inside in zip(data.models, data.baseline[:, 1], strict=True) if inside]
    assert chosen
    assert not any(name.startswith("m1") for name in chosen)
    assert data.x[data.baseline[:, 1], 1, 0].min() >= 0.6


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"x": "sketch", "shifts": ("sketch",)}, "'sketch' is named twice"),
        ({"shifts": ("sketch", "sketch")}, "'sketch' is named twice"),
        ({"x": "clear"}, "no accuracies on 'clear'. It has: 'clean'"),
        ({"baseline": ("kind=plain",)}, "no label 'kind' with one value a model. It has: 'model'"),
        ({"baseline": ("plain",)}, "'column=pattern'"),
        ({"baseline": ("how=none",)}, "never is"),
        ({"baseline_above": 60.0}, "a fraction from 0 to 1"),
    ],
)
def test_wrong_choices_are_refused_with_what_there_is(choice: dict[str, object], message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        shift_data(_scores(), **({"x": "clean"} | choice))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"axis": "log"}, "An axis is one of logit"),
        ({"pivot": 76.0}, "A pivot is a fraction"),
        ({"replicates": 39}, "bootstrap samples"),
        ({"seed": -1}, "A seed is a number of 0 or above"),
        ({"level": 95.0}, "level is a share"),
        ({"cluster": True}, "name the column of families"),
    ],
)
def test_wrong_options_of_the_fit_are_refused(choice: dict[str, object], message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        fit_shift(shift_data(_scores(), x="clean"), **choice)  # type: ignore[arg-type]


def test_a_fit_on_all_models_says_that_there_is_no_baseline() -> None:
    data = shift_data(_scores(), x="clean")
    assert "no-baseline" in {remark.code for remark in data.remarks}


def test_a_shift_on_some_classes_takes_the_matched_axis_or_warns() -> None:
    table = _table()
    columns = {**table.columns, "ObjectNet": table.columns["snow"]}
    without = shift_data(wide_accuracies(make_table(columns)), x="clean", shifts=("ObjectNet",))
    warning = next(remark for remark in without.remarks if remark.code == "subset-classes")
    assert "113 classes" in warning.message
    assert "measure x on the same classes" in warning.message
    columns["clean-on-objectnet-classes"] = table.columns["clean"] * 0.9
    matched = shift_data(wide_accuracies(make_table(columns)), x="clean")
    place = matched.shifts.index("ObjectNet")
    assert matched.x_names[place] == ("clean-on-objectnet-classes",)
    assert "subset-classes-matched" in {remark.code for remark in matched.remarks}
    assert "clean-on-objectnet-classes" not in matched.shifts


def test_several_axes_make_a_multiple_regression() -> None:
    data = shift_data(_scores(), x=("clean", "fog"), shifts=("snow",), baseline=("how=plain",))
    fit = fit_shift(data, replicates=50)
    assert fit.lines.coefficients.shape == (1, 3)
    assert fit.families is None
    rows = shift_table(fit, "lines").records()
    assert [row["x"].split(" (of ")[0] for row in rows] == list(data.x_names[0])
    assert [row["slope"] for row in rows] == pytest.approx(fit.lines.coefficients[0, 1:].tolist())
    assert [row["slope_high"] for row in rows] == pytest.approx(fit.lines.high[0, 1:].tolist())
    with pytest.raises(SurefootError, match="single in-distribution axis"):
        fit_shift(data, pivot=0.7)


def test_exact_zeros_are_moved_where_n_is_known_and_left_out_where_not_and_said() -> None:
    table = _table()
    fog = table.columns["fog"].copy()
    fog[5] = 0.0
    columns = make_table({**table.columns, "fog": fog})
    for n, code in (({"fog": 500, "clean": 500}, "exact-0-or-1-moved"), ({}, "exact-0-or-1-left-out")):
        data = shift_data(wide_accuracies(columns, n=n), x="clean", shifts=("fog",), baseline=("how=plain",))
        fit = fit_shift(data, replicates=40)
        remark = next(found for found in fit.remarks if found.code.startswith("exact"))
        assert (remark.code, remark.rows) == (code, (6,))
        assert "m5 on fog" in remark.message
        assert fit.lines.n[0] == 16 - (code == "exact-0-or-1-left-out")


def test_models_that_lack_a_shift_have_no_average_and_it_is_said() -> None:
    table = _table()
    fog = table.columns["fog"].copy()
    fog[3] = np.nan
    data = shift_data(wide_accuracies(make_table({**table.columns, "fog": fog})), x="clean")
    assert np.isnan(data.y[3, :2]).all()
    assert np.isfinite(data.y[3, 2])
    assert "1 of 24 models lack" in next(f.message for f in data.remarks if f.code == "incomplete-average")


def test_models_beyond_the_baseline_are_counted_by_group() -> None:
    data = shift_data(_scores(), x="clean", baseline=("how=plain",), baseline_above=0.7, group="how")
    fit = fit_shift(data, replicates=40)
    assert any(remark.code == "extrapolated" for remark in fit.remarks)
    assert fit.groups.n_outside.sum() == fit.effective.outside.sum()


def test_a_second_row_of_a_model_is_refused_with_the_column_that_tells_them_apart() -> None:
    table = make_table({"name": ["a", "a", "b"], "tag": ["x", "y", "x"], "clean": [0.5, 0.6, 0.7]})
    with pytest.raises(SurefootError, match=r"'name' is not a key: row 2 repeats the key.*With 'tag' they would be"):
        wide_accuracies(table)
    assert wide_accuracies(table, model=("name", "tag")).models == ("a x", "a y", "b x")


def test_long_tables_give_the_scores_of_wide_ones() -> None:
    wide = _table()
    rows = [
        (name, task, float(wide.columns[task][place]))
        for place, name in enumerate(wide.columns["model"].tolist())
        for task in ("clean", "fog")
    ]
    models, tasks, values = zip(*rows, strict=True)
    long = make_table(
        {"model": models, "set": [task.upper() if i % 7 else task for i, task in enumerate(tasks)], "v": values}
    )
    scores = long_accuracies(long, task="set", value="v", n={"CLEAN": 100})
    assert scores.sets == ("CLEAN", "FOG")
    assert "spelling" in {remark.code for remark in scores.remarks}
    assert scores.values[:, 1] == pytest.approx(wide.columns["fog"])
    assert np.isnan(scores.n[:, 1]).all()


def test_half_widths_become_standard_errors() -> None:
    table = make_table(
        {"model": ["a", "a"], "set": ["x", "y"], "v": [50.0, 40.0], "low": [1.9, 2.0], "high": [2.0, 2.0]}
    )
    scores = long_accuracies(table, task="set", value="v", half_widths=("low", "high"))
    assert scores.stderr[0] == pytest.approx([0.0195 / 1.96, 0.02 / 1.96], rel=1e-3)

    signed = make_table(
        {"model": ["a", "a"], "set": ["x", "y"], "v": [0.5, 0.4], "low": ["1.9%", "2.0%"], "high": [0.02, 0.02]}
    )
    found = long_accuracies(signed, task="set", value="v", half_widths=("low", "high"))
    assert found.stderr[0] == pytest.approx(scores.stderr[0])


def test_half_widths_that_repeat_the_value_are_none_and_said() -> None:
    table = make_table(
        {"model": ["a", "a"], "set": ["x", "y"], "v": [50.0, 40.0], "low": [50.0, 40.0], "high": [50.0, 2.0]}
    )
    scores = long_accuracies(table, task="set", value="v", half_widths=("low", "high"))
    assert np.isnan(scores.stderr[0]).tolist() == [True, False]
    message = next(one.message for one in scores.remarks if one.code == "half-width-repeats-value")
    assert "1 half width repeats the value itself" in message
    assert "(row 1)" in message


def test_sizes_for_unknown_sets_are_refused() -> None:
    with pytest.raises(SurefootError, match="'rain', which is no column"):
        wide_accuracies(_table(), n={"rain": 10})


def test_every_section_is_a_table_and_the_measurements_hold_the_fit() -> None:
    data = shift_data(_scores(), x="clean", baseline=("how=plain",), group="how", family="family", parent="base")
    fit = fit_shift(data, replicates=50)
    for section in SECTIONS:
        table = shift_table(fit, section)
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
    found = {(m.metric, m.shift, m.group): m for m in shift_measurements(fit)}
    assert found["slope", "fog", ""].value == fit.lines.coefficients[1, 1]
    assert found["effective_robustness", AVERAGE, "m20"].value == fit.effective.points[20, 0]
    assert found["mean_effective_robustness", "snow", "robust"].n == 8


def test_an_axis_of_mostly_noise_is_named() -> None:
    quiet = fit_shift(shift_data(_scores(), x="clean"), replicates=40)
    assert "noisy-axis" not in {remark.code for remark in quiet.remarks}
    noisy = wide_accuracies(_table(), n={"clean": 100, "fog": 100, "snow": 100})
    fit = fit_shift(shift_data(noisy, x="clean"), replicates=40)
    assert "slopes are too flat" in next(found.message for found in fit.remarks if found.code == "noisy-axis")


def test_relative_robustness_is_what_a_model_adds_to_the_one_it_was_made_from() -> None:
    data = shift_data(_scores(), x="clean", baseline=("how=plain",), parent="base")
    relative = fit_shift(data, replicates=40).relative
    assert relative.children[0] == "m16"
    assert relative.parents[0] == "m8"
    assert relative.points[0, 1] == pytest.approx(100 * (data.y[16, 1] - data.y[8, 1]))
    assert relative.low[0, 1] < relative.points[0, 1] < relative.high[0, 1]
    orphans = make_table({**_table().columns, "base": ["gone"] * 24}, source="t.csv")
    with pytest.raises(SurefootError, match=r"t\.csv, row 1: 'gone', named in 'base', is no model here"):
        shift_data(wide_accuracies(orphans), x="clean", parent="base")


def test_the_same_seed_gives_the_same_intervals_and_families_can_be_drawn_whole() -> None:
    data = shift_data(_scores(), x="clean", baseline=("how=plain",), group="how", family="family")
    once, again = (fit_shift(data, replicates=50, seed=3) for _ in range(2))
    assert (once.groups.low == again.groups.low).all()
    six = replace(data, families=tuple(f"f{i % 6}" for i in range(24)))
    assert np.isfinite(fit_shift(six, replicates=50, cluster=True).groups.low).all()
    assert np.isnan(fit_shift(data, replicates=50, cluster=True).groups.low).all()


@dataclass(frozen=True, kw_only=True)
class Evaluated(Step):
    """A model of a given accuracy, measured on three sets."""

    accuracy: float
    gain: float = 0.0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        for shift, level in (("", 0.0), ("fog", -0.5), ("snow", -1.0)):
            value = float(from_axis(level + (0.9 if shift else 1.0) * to_axis(self.accuracy)))
            value = round(1000 * (value + (self.gain if shift else 0))) / 1000
            yield Measurement(metric="accuracy", value=value, n=1000, task="digits", shift=shift)


def _made(tmp_path: Path, step: Step) -> dict[tuple[str, str, str], Measurement]:
    store = Store(tmp_path / "store")
    with ThreadPoolExecutor(1) as pool:
        list(run([step], store, pool))
    return {(m.metric, m.shift, m.group): m for m in store.measurements(step)}


def test_a_step_fits_what_other_steps_measured(tmp_path: Path) -> None:
    plain = tuple(Evaluated(accuracy=float(x)) for x in np.linspace(0.5, 0.9, 12).round(3))
    robust = (Evaluated(accuracy=0.7, gain=0.1),)
    names = (*(f"plain-{i}" for i in range(12)), "robust")
    step = ShiftFit(results=(*plain, *robust), models=names, baseline=names[:12], x=("digits",))
    found = _made(tmp_path, step)
    assert found["slope", "digits/fog", ""].value == pytest.approx(0.9, abs=0.02)
    gained = found["effective_robustness", AVERAGE, "robust"]
    assert gained.low is not None
    assert gained.high is not None
    assert gained.low < 10 < gained.high
    folder = Store(tmp_path / "store").path(step)
    assert {f"{section}.tsv" for section in SECTIONS} <= {file.name for file in folder.iterdir()}


def test_a_step_draws_whole_families_of_its_results(tmp_path: Path) -> None:
    results = tuple(Evaluated(accuracy=float(x), gain=0.02 * (i // 4)) for i, x in enumerate(np.linspace(0.5, 0.9, 12)))
    named = {"models": tuple(map(str, range(12))), "groups": ("one",) * 12, "x": ("digits",), "replicates": 200}
    families = tuple(f"family {i // 4}" for i in range(12))
    alone, together = (
        _made(tmp_path, ShiftFit(results=results, families=families, cluster=cluster, **named))["slope", AVERAGE, ""]
        for cluster in (False, True)
    )
    assert alone.low is not None
    assert together.low is not None
    assert together.value - together.low > 2 * (alone.value - alone.low)


def test_a_step_names_what_does_not_fit() -> None:
    with pytest.raises(SurefootError, match="No model of 1 has a measurement of 'f1'"):
        measured_accuracies({"a": [Measurement(metric="accuracy", value=0.5, n=10)]}, metric="f1")
    with pytest.raises(SurefootError, match="must be fractions"):
        measured_accuracies({"a": [Measurement(metric="accuracy", value=55.0, n=10, task="t")]})


def test_replicates_of_a_measurement_are_averaged() -> None:
    twice = [
        Measurement(metric="accuracy", value=v, n=100, stderr=0.03, task="t", replicate=i)
        for i, v in enumerate((0.5, 0.6))
    ]
    scores = measured_accuracies({"a": twice})
    assert scores.values[0, 0] == pytest.approx(0.55)
    assert scores.stderr[0, 0] == pytest.approx(0.03 / np.sqrt(2))
    assert scores.n[0, 0] == 200


def test_the_bootstrap_draws_within_baseline_and_groups() -> None:
    """Three of three baseline models are drawn each time: they are one and the same, and fix no line, in 1 of 9."""
    table = _table(40)
    how = ["few" if place in (1, 14, 22) else "other" for place in range(40)]
    scores = wide_accuracies(make_table({**table.columns, "how": how}))
    fit = fit_shift(shift_data(scores, x="clean", shifts=("fog",), baseline=("how=few",)), replicates=2000)
    # Drawn from all forty, three baseline models would be lacking in 3 of 10 draws.
    assert np.isnan(fit.lines.draws[:, 0, 1]).mean() == pytest.approx(1 / 9, abs=0.03)


def test_the_drawn_bands_and_bars_are_as_wide_as_their_intervals() -> None:
    data = shift_data(_scores(12), x="clean", shifts=("fog",), baseline=("how=plain",))
    fit = fit_shift(data, replicates=50, level=0.9)
    rows = robustness_figure(fit).table()
    drawn = [row for row in rows if row["part"] == "fit"]
    middle, error = predict_lines(fit.lines, to_axis([row["x"] for row in drawn]))
    half = scipy.stats.t.ppf(0.95, fit.lines.n[0] - 2) * error[:, 0]
    assert to_axis([row["low"] for row in drawn]) == pytest.approx(middle[:, 0] - half, abs=1e-6)
    assert to_axis([row["high"] for row in drawn]) == pytest.approx(middle[:, 0] + half, abs=1e-6)
    points = [row for row in rows if row["part"] == "point"]
    low, high = wilson_bounds(points[0]["y"] * 5000, 5000, level=0.9)
    assert (points[0]["y_low"], points[0]["y_high"]) == pytest.approx((float(low), float(high)))


def test_columns_that_are_no_accuracies_by_name_are_left_out_and_the_others_named() -> None:
    extra = {"params": np.linspace(5, 90, 24), "year": np.full(24, 20.0), "epoch": np.arange(24.0)}
    scores = wide_accuracies(make_table({**_table().columns, **extra}))
    assert not {"params", "year", "epoch"} & set(scores.sets)
    notes = {remark.code: remark for remark in shift_data(scores, x="clean").remarks}
    assert notes["shifts"].columns == ("fog", "snow")
    assert set(notes["left-out"].columns) == set(extra) == set(scores.left_out)


def test_a_single_cell_that_is_no_accuracy_is_missing_and_named_with_its_row() -> None:
    for wrong in (-1.0, 110.0):
        table = _table()
        fog = np.where(np.arange(24) == 6, wrong, 100 * table.columns["fog"])
        scores = wide_accuracies(make_table({**table.columns, "fog": fog}))
        (remark,) = [one for one in scores.remarks if one.code == "no-accuracy"]
        assert (remark.rows, remark.columns) == ((7,), ("fog",))
        assert np.isnan(scores.values[:, scores.sets.index("fog")]).sum() == 1


def test_a_column_named_val_is_imagenet_only_beside_its_shifts() -> None:
    columns = {"model": ["a", "b"], "val": [0.7, 0.8], "fog": [0.5, 0.6]}
    assert np.isnan(wide_accuracies(make_table(columns)).n).all()
    beside = wide_accuracies(make_table({**columns, "imagenet-sketch": [0.4, 0.5]}))
    assert beside.n[0, beside.sets.index("val")] == 50_000


def test_rows_are_chosen_before_the_line_is_fitted() -> None:
    kept = keep_where(_table(), ("how=plain",))
    assert set(text_of(kept, "how").tolist()) == {"plain"}
    with pytest.raises(SurefootError, match="column 'how' never is 'none'"):
        keep_where(_table(), ("how=none",))


def test_an_exclusion_that_leaves_nothing_out_is_said_and_numbers_are_met_however_they_are_written() -> None:
    table = make_table({"size": [1000.0, 32.0, 32.0], "how": ["plain", "clip", "bit"], "code": ["007", "7", "x"]})
    for conditions, rows in ((("size!=32.0",), 1), (("size=1e3",), 1), (("size=1,000", "how=plain"), 1)):
        kept = keep_where(table, conditions)
        assert len(kept) == rows and not kept.remarks
    assert keep_where(table, ("code=007",)).columns["code"].tolist() == ["007"]
    kept = keep_where(table, ("how!=CLIP",))
    assert len(kept) == 3 and "never is 'CLIP', so that 'how!=CLIP' leaves nothing out" in kept.remarks[-1].message
    scores = wide_accuracies(_table(), n={"clean": 10_000, "fog": 5_000, "snow": 5_000})
    said = shift_data(scores, x="clean", baseline=("how!=PLAIN",)).remarks
    assert [remark.code for remark in said if "'how!=PLAIN' leaves nothing out" in remark.message] == ["never"]


def test_whole_families_are_drawn_and_lines_of_few_families_are_wider() -> None:
    data = shift_data(_scores(), x="clean", baseline=("how=plain",), group="how", family="family")
    alone, clustered = (fit_shift(data, replicates=50, cluster=cluster) for cluster in (False, True))
    families = {name for name, member in zip(data.families, data.baseline[:, 0], strict=True) if member}
    assert clustered.lines.freedom[0] == len(families) - 1
    assert alone.lines.freedom[0] == alone.lines.n[0] - 2


def test_a_family_of_copies_counts_as_one_model() -> None:
    """Drawn whole, three copies of each of 24 models give the line and the means of groups of the 24 themselves."""
    once, copied = [], {name: np.repeat(cells, 3) for name, cells in _table().columns.items()}
    names = {"model": [f"m{place}" for place in range(72)], "of": copied["model"].tolist()}
    for columns in ({**_table().columns, "of": names["model"][:24]}, copied | names):
        scores = wide_accuracies(make_table(columns), n={"clean": 10_000, "fog": 5_000, "snow": 5_000})
        chosen = {"x": "clean", "shifts": ("fog", "snow"), "baseline": ("how=plain",), "baseline_above": 0.6}
        data = shift_data(scores, group="how", family="of", **chosen)
        once.append(fit_shift(data, replicates=50, cluster=True))
    alone, copies = once
    for part in ("points", "low", "high"):
        assert getattr(copies.groups, part) == pytest.approx(getattr(alone.groups, part), rel=1e-6)
    assert copies.lines.covariance == pytest.approx(alone.lines.covariance, rel=1e-6)
    rows = {(row["group"], row["shift"]): row for row in shift_table(copies, "groups").records()}
    inside = ~copies.effective.outside[:, 1] & (np.array(copies.data.groups) == "robust")
    assert 0 < rows["robust", "fog"]["in_range"] == inside.sum() < rows["robust", "fog"]["models"] == 24


def _six(**more: Any) -> dict[str, Any]:
    """Six models whose two shifts have slope .97 and 1.01 on logit axes."""
    x = np.linspace(0.5, 0.75, 6)
    shifts = {"sketch": (0.97, -0.44), "renditions": (1.01, -0.81)}
    return {
        "model": [f"m{i}" for i in range(6)],
        "clean": x,
        **{name: from_axis(slope * to_axis(x) + level) for name, (slope, level) in shifts.items()},
        **more,
    }


@pytest.mark.parametrize("name", [
    "column1", "Unnamed: 0", "runtime", "gpu_hours", "GPU hours", "latency", "latency_ms", "size", "model_size_gb",
    "trainTime", "v2_ci", "sketch_stderr", "ci_sketch", "sketch_low", "sketch n", "n", "seed", "num_params_M", "year",
])  # fmt: skip
def test_what_is_no_score_by_its_name_is_no_shift_unless_named(name: str) -> None:
    rising = np.linspace(0.2, 0.6, 6)
    table = make_table(_six(**{name: rising}))
    data = shift_data(wide_accuracies(table, axes=("clean",)), x="clean")
    assert data.shifts == (AVERAGE, "sketch", "renditions") and set(data.left_out) == {name}
    assert fit_shift(data, replicates=40).lines.coefficients[0, 1] == pytest.approx(0.98, abs=0.02)
    named = shift_data(wide_accuracies(table, sets=("clean", name)), x="clean", shifts=(name,))
    assert named.shifts == (name,) and not named.left_out


@pytest.mark.parametrize("name", ["v2", "imagenet-c", "fog_2", "stanford_cars", "sketch_b", "val", "images_hard", "A"])
def test_names_of_sets_are_no_quantities(name: str) -> None:
    scores = wide_accuracies(make_table(_six(**{name: np.linspace(0.2, 0.6, 6)})))
    assert name in shift_data(scores, x="clean").shifts


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full(6, 0.4), "constant"),
        (np.linspace(20, 60, 6), "another unit"),
        (np.linspace(0.6, 0.3, 6), "not rising with x"),
        (np.array([0.5, 0.2, 0.6, 0.1, 0.4, 0.3]), "not rising with x"),
    ],
)
def test_what_is_no_score_by_its_values_is_no_shift_unless_named(values: NDArray[np.float64], reason: str) -> None:
    scores = wide_accuracies(make_table(_six(other=values)))
    data = shift_data(scores, x="clean")
    assert "other" not in data.shifts and reason in data.left_out["other"]
    assert any(one.code == "left-out" and one.severity == "warning" for one in data.remarks)
    said = [one.code for one in shift_data(scores, x="clean", shifts=("other",)).remarks]
    assert ("falls-with-x" in said) == (reason == "not rising with x")
    alone = {name: cells for name, cells in _six(other=values).items() if name not in ("sketch", "renditions")}
    with pytest.raises(SurefootError, match="name them with --shifts"):
        shift_data(wide_accuracies(make_table(alone)), x="clean")


def test_of_many_models_a_column_that_follows_x_by_chance_alone_is_left_out() -> None:
    generator = np.random.default_rng(3)
    x, n = generator.uniform(0.4, 0.8, 60), np.arange(60)
    columns = {"model": [f"m{i}" for i in n], "clean": x, "fog": x - 0.1}
    found = [
        set(shift_data(wide_accuracies(make_table({**columns, "noise": generator.uniform(size=60)})), x="clean").shifts)
        for _ in range(40)
    ]
    assert all("fog" in each for each in found)
    assert sum("noise" in each for each in found) <= 6  # one in twenty is expected


@pytest.mark.filterwarnings("error")
def test_a_constant_shift_that_was_named_has_a_flat_line_and_no_r2() -> None:
    for values in (np.full(6, 0.1), np.full(6, 0.7)):
        scores = wide_accuracies(make_table(_six(other=values)))
        fit = fit_shift(shift_data(scores, x="clean", shifts=("other", "sketch")), replicates=40)
        assert fit.lines.coefficients[1, 1] == pytest.approx(0, abs=1e-9)
        assert np.isnan(fit.lines.r2[1]) and fit.lines.r2[2] == pytest.approx(1)
        assert shift_table(fit, "lines").records()[1]["r2"] is None
        assert "R2 not defined" in robustness_figure(fit, "other").caption


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_an_exact_0_or_1_counts_as_a_blank_does_or_by_half_an_example(edge: float) -> None:
    """Without n such a cell is a blank, under its shift and in the average; with n it is moved in both."""
    columns = _six()
    fog, blank = (np.array([cell, *np.linspace(0.2, 0.4, 6)[1:]]) for cell in (edge, np.nan))
    n = {"clean": 500, "sketch": 500, "renditions": 500, "fog": 100}

    def fit(cells: NDArray[np.float64], sizes: dict[str, int]) -> RobustnessFit:
        scores = wide_accuracies(make_table({**columns, "fog": cells}), n=sizes)
        return fit_shift(shift_data(scores, x="clean", shifts=("sketch", "fog")), replicates=40)

    def lines(cells: NDArray[np.float64], sizes: dict[str, int]) -> Lines:
        return fit(cells, sizes).lines

    one, other = fit(fog, {}), fit(blank, {})
    for edged, gap in ((one.effective, other.effective), (one.groups, other.groups)):
        assert edged.points == pytest.approx(gap.points, nan_ok=True)
        assert (edged.low, edged.high) == (pytest.approx(gap.low, nan_ok=True), pytest.approx(gap.high, nan_ok=True))
    assert one.groups.n.tolist() == [[5, 6, 5]] and np.isnan(one.effective.points[0]).tolist() == [True, False, True]
    left_out, missing = one.lines, other.lines
    assert left_out.n.tolist() == missing.n.tolist() == [5, 6, 5]
    assert left_out.coefficients == pytest.approx(missing.coefficients)
    moved, by_hand = lines(fog, n), lines(np.array([(100 * edge + 0.5) / 101, *fog[1:]]), n)
    assert moved.n.tolist() == [6, 6, 6]
    assert moved.coefficients == pytest.approx(by_hand.coefficients)


def test_the_average_has_the_error_of_its_shifts_one_x_that_of_one_measurement_and_low_models_are_no_baseline() -> None:
    data = shift_data(_scores(), x="clean", baseline_above=0.65)
    assert data.y_stderr[:, 0] == pytest.approx(np.hypot(data.y_stderr[:, 1], data.y_stderr[:, 2]) / 2)
    assert data.x_stderr[:, 0] == pytest.approx(data.x_stderr[:, 1])
    assert data.baseline[:, 0].tolist() == (data.x[:, 0, 0] >= 0.65).tolist()
    assert 3 < data.baseline[:, 0].sum() < 24


def test_a_models_interval_holds_its_own_sampling_noise_and_that_of_its_x() -> None:
    def width(n: dict[str, int]) -> float:
        scores = wide_accuracies(_table(), n=n)
        found = fit_shift(shift_data(scores, x="clean", shifts=("fog",)), replicates=40).effective
        return float(np.nanmean(found.high - found.low))

    none, of_x, of_y, both = (width(n) for n in ({}, {"clean": 300}, {"fog": 300}, {"clean": 300, "fog": 300}))
    assert none + 2 < of_x < both - 1 and none + 2 < of_y < both - 1
    assert both**2 == pytest.approx(of_x**2 + of_y**2 - none**2, rel=0.05)


def test_beyond_a_pivot_the_error_of_x_is_carried_by_both_slopes() -> None:
    x = np.linspace(0.3, 0.9, 24)
    y = 0.1 + 0.2 * x + 1.2 * np.maximum(x - 0.6, 0) + np.random.default_rng(0).normal(0, 0.003, 24)
    columns = {"model": [f"m{place}" for place in range(24)], "clean": x, "fog": y}
    data = shift_data(wide_accuracies(make_table(columns), n={"clean": 200}), x="clean", shifts=("fog",))
    fit = fit_shift(data, axis="linear", pivot=0.6, replicates=40)
    carried = np.where(x > 0.6, 1.4, 0.2) * np.sqrt(x * (1 - x) / 200)
    by_hand = effective_robustness(hinge(x, 0.6)[:, None, :], y, fit.lines, axis="linear", carried=carried)
    assert fit.effective.low == pytest.approx(by_hand.low, abs=0.2)
    assert fit.effective.high == pytest.approx(by_hand.high, abs=0.2)
    below, beyond = shift_table(fit, "lines").records()
    peer, *_ = np.linalg.lstsq(np.column_stack([np.ones(24), hinge(x, 0.6)]), y)
    assert [below["intercept"], below["slope"], beyond["slope"]] == pytest.approx(peer)
    assert beyond["x"] == "clean: what the slope changes by beyond 0.6"
    assert beyond["slope_low"] < peer[2] < beyond["slope_high"] < peer[2] + 0.1


def test_families_that_count_as_independent_are_said() -> None:
    data = shift_data(_scores(), x="clean", baseline=("how=plain",), group="how", family="family")
    alone = replace(data, families=tuple(f"f{place}" for place in range(len(data.models))))
    for families, cluster, told in ((data, False, True), (data, True, False), (alone, False, False)):
        codes = {one.code for one in fit_shift(families, replicates=50, cluster=cluster).remarks}
        assert ("families-not-clustered" in codes) == told


def test_errors_read_as_accuracies_are_said_by_their_names() -> None:
    scores = wide_accuracies(make_table(_six()))
    named = replace(scores, sets=("val_error", "WER (sketch)", "terror"))
    said = {one.code: one.columns for one in shift_data(named, x="val_error").remarks}
    assert said["errors"] == ("val_error", "WER (sketch)")
    assert "errors" not in {one.code for one in shift_data(scores, x="clean").remarks}
