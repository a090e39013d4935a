"""Scaling laws of a user's table: what is read, what is said, and the same as Steps and at the command line."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from surefoot.cli import app
from surefoot.core import Inputs, Measurement, Step, Store, SurefootError, open_pool, run
from surefoot.laws import LawOptions, PointOptions, ScalingFit, ScalingLaws, fit_scaling, law_sensitivity, predict_band
from surefoot.laws._scaling._optimal import _words
from surefoot.stats import ComputeOptimal, Interval, fit_law, intervals

X = np.geomspace(1e9, 1e13, 12)


def fit_command(command: str, *words: object) -> None:
    """`surefoot fit COMMAND WORDS` in this process; a mistake is raised."""
    app(["fit", command, *map(str, words)], result_action="return_value", exit_on_error=False)


def fitted(table: object, *, x: str | tuple[str, ...], y: str, **given: object) -> ScalingLaws:
    """The laws of a table, with options of points and of laws side by side."""
    law = {name: given.pop(name) for name in list(given) if name in {one.name for one in fields(LawOptions)}}
    points = PointOptions(x=(x,) if isinstance(x, str) else x, y=y, **given)  # type: ignore[arg-type]
    return fit_scaling(table, points, LawOptions(**law))  # type: ignore[arg-type]


def table(percent: bool = False) -> dict[str, list[object]]:
    generator = np.random.default_rng(0)
    rows: dict[str, list[object]] = {"gmacs": [], "accuracy": [], "source": [], "name": []}
    for source, exponent in (("A", 0.15), ("B", 0.1)):
        error = 20 * X**-exponent * np.exp(generator.normal(0, 0.01, 12)) / (2 if source == "A" else 5)
        rows["gmacs"] += X.tolist()
        rows["accuracy"] += ((100 if percent else 1) * (1 - error)).tolist()
        rows["source"] += [source] * 12
        rows["name"] += [f"{source}{i}" for i in range(12)]
    return rows


def test_families_get_laws_with_everything_that_a_report_needs_and_are_compared() -> None:
    laws = fitted(table(), x="gmacs", y="accuracy", score=True, family="source", label="name")
    assert [fit.points.family for fit in laws.fits] == ["A", "B"]
    first = laws.fits[0]
    assert first.law.parameters["exponent"] == pytest.approx(0.15, abs=0.01)
    assert first.points.labels[0] == "A0"
    assert first.curve_x[-1] == pytest.approx(1e14)
    assert (first.curve_low < first.curve_y).all()
    assert (first.curve_y < first.curve_high).all()
    assert len(first.residuals) == 12
    assert first.choice is not None
    assert law_sensitivity(first)
    assert first.verdict.startswith("family 'A': y = coefficient * x^-exponent with exponent 0.15")
    assert laws.comparisons["A against B"].words.startswith("the first falls faster")


def test_percent_and_fraction_are_told_apart_and_give_one_law() -> None:
    both = [fitted(table(p), x="gmacs", y="accuracy", score=True, family="source") for p in (False, True)]
    assert both[1].fits[0].law.parameters["exponent"] == pytest.approx(both[0].fits[0].law.parameters["exponent"])
    assert "percent" in " ".join(remark.message for remark in both[1].remarks)


def test_nothing_is_dropped_silently() -> None:
    rows = table()
    for name, values in (("gmacs", [1e10, 0.0]), ("accuracy", [None, 0.5]), ("source", ["A", "A"]), ("name", "xy")):
        rows[name] += list(values)
    for column in rows.values():
        column.append(column[0])
    laws = fitted(rows, x="gmacs", y="accuracy", score=True, family="source")
    messages = {remark.code: remark.message for remark in laws.remarks}
    assert "row 25 has no number" in messages["missing"]
    assert "row 26 has a value of 0 or below" in messages["no-logarithm"]
    assert messages["duplicate-rows"]
    assert laws.fits[0].law.n == 12


def test_three_points_are_told_that_a_bootstrap_is_refused() -> None:
    laws = fitted({"x": [1.0, 10, 100], "y": [0.5, 0.4, 0.3]}, x="x", y="y", method="wild")
    assert "a bootstrap over 3 points is refused" in laws.fits[0].verdict
    assert "the t interval with 1 degree of freedom is given instead" in laws.fits[0].verdict


def test_families_of_best_sizes_are_compared_with_holms_correction() -> None:
    """Of three families two differ at p = .03, which of three comparisons is .09: undecided."""
    one = np.ones(1)
    bounds = {f"{name}{side}": one for name in ("size", "data", "value") for side in ("", "_low", "_high")}
    gap = scipy.stats.t.ppf(0.985, 20) * 0.02**0.5
    plans = {
        name: ComputeOptimal(
            compute=one, exponent=Interval(place, 0, 1), exponent_error=0.1, degrees_of_freedom=10, **bounds
        )
        for name, place in (("a", 0.5), ("b", 0.5 + gap), ("c", 0.5 + gap / 2))
    }
    said = {line.split(":")[0]: line for line in _words(plans)}
    assert "a against b: undecided" in said["a against b"]
    assert "(p = 0.03, 0.09 by Holm over 3 comparisons)" in said["a against b"]


def test_mistakes_are_named() -> None:
    with pytest.raises(SurefootError, match="column 'source' never is 'C'"):
        fitted(table(), x="gmacs", y="accuracy", score=True, where=("source=C",))
    with pytest.raises(SurefootError, match="no column 'flops'"):
        fitted(table(), x="flops", y="accuracy")
    with pytest.raises(SurefootError, match="The form 'two-variable' takes N, D"):
        fitted(table(), x="gmacs", y="accuracy", score=True, family="source", form="two-variable")
    with pytest.raises(SurefootError, match="There is no selection 'best'"):
        fitted(table(), x="gmacs", y="accuracy", selection="best")  # type: ignore[arg-type]


def test_an_unknown_form_is_refused_with_those_there_are() -> None:
    table = {"x": np.array([1.0, 2.0, 4.0, 8.0]), "y": np.array([0.8, 0.7, 0.6, 0.5])}
    with pytest.raises(SurefootError, match=r"There is no form 'nonsense'\. Choose one of: power"):
        fitted(table, x="x", y="y", form="nonsense", unit="fraction")


def test_a_curve_is_extrapolated_by_the_average_of_forms() -> None:
    x = np.geomspace(1e3, 1e6, 30)
    y = (0.2 + 30 * x**-0.6) * np.exp(np.random.default_rng(1).normal(0, 0.003, 30))
    fit = fitted({"x": x, "y": y}, x="x", y="y", form="auto").fits[0]
    assert len(fit.laws) > 1
    assert predict_band(fit, [4e6])[0][0] == pytest.approx(0.2 + 30 * 4e6**-0.6, rel=0.02)
    centre, low, high = predict_band(fit, [4e6, 4e8])
    assert low[0] < 0.2 + 30 * 4e6**-0.6 < high[0]
    assert high[1] / low[1] > high[0] / low[0]
    np.testing.assert_allclose(np.sqrt(low * high), centre)


@dataclass(frozen=True, kw_only=True)
class Trained(Step):
    """A stand-in for a measured run: it knows its compute and its accuracy."""

    compute: float
    accuracy: float

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return [
            Measurement(metric="accuracy", value=self.accuracy, n=1000, shift="sketch"),
            Measurement(metric="accuracy", value=self.accuracy / 2, n=1000, shift="real"),
            Measurement(metric="compute", value=self.compute, n=1),
        ]


def runs_of(exponent: float) -> tuple[Trained, ...]:
    wobble = np.exp(np.random.default_rng(2).normal(0, 0.01, 8))
    sizes = np.geomspace(1e6, 1e9, 8)
    return tuple(
        Trained(compute=float(x), accuracy=float(1 - 4 * x**-exponent * w)) for x, w in zip(sizes, wobble, strict=True)
    )


def test_a_scaling_fit_is_a_step_over_the_measurements_of_runs(tmp_path: Path) -> None:
    runs = runs_of(0.15)
    step = ScalingFit(runs=runs, metric="accuracy", shift="sketch", x_metric="compute")
    store = Store(tmp_path / "store")
    with open_pool("here") as pool:
        list(run([step], store, pool))
    found = {one.metric: one for one in store.measurements(step)}
    law = fit_law([one.compute for one in runs], [1 - one.accuracy for one in runs])
    interval = intervals(law).by_name["exponent"]
    assert found["exponent"].value == pytest.approx(interval.estimate)
    assert (found["exponent"].low, found["exponent"].high) == pytest.approx((interval.low, interval.high))
    assert (found["exponent"].n, found["exponent"].shift) == (8, "sketch")
    assert {"coefficient", "p_constant", "spread", "held_out_error"} <= set(found)
    record = json.loads((store.path(step) / "law.json").read_text())
    assert record["parameters"]["exponent"]["value"] == found["exponent"].value
    assert len(record["points"]) == 8
    assert record["held_out"][0]["error_per_decade"]


def test_the_commands_print_numbers_and_say_what_they_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(table(percent=True)))
    reading = ("--score", "--where", "source=A")
    fit_command("scaling", path, "--x", "gmacs", "--y", "accuracy", *reading, "--format", "json")
    shown = capsys.readouterr()
    rows = {row["parameter"]: row for row in json.loads(shown.out)}
    assert rows["exponent"]["value"] == pytest.approx(0.15, abs=0.01)
    assert "with exponent 0.15" in shown.err
    for section in ("points", "band", "held-out", "sensitivity", "comparisons"):
        fit_command(
            "scaling",
            path,
            "--x",
            "gmacs",
            "--y",
            "accuracy",
            "--family",
            "source",
            "--score",
            "--show",
            section,
            "--format",
            "tsv",
        )
        assert capsys.readouterr().out.count("\n") >= 2
    fit_command("curve", path, "--x", "gmacs", "--y", "accuracy", *reading, "--at", "100T", "--format", "tsv")
    predicted = capsys.readouterr().out
    assert predicted.startswith("family\tgmacs\tprediction\tlow\thigh\tof\n\t100000000000000.0\t")
    assert predicted.endswith("\t1 - accuracy\n")  # a law of a score is one of its error
    with pytest.raises(SurefootError, match="Rows are chosen by 'column=pattern'"):
        fit_command("scaling", path, "--x", "gmacs", "--y", "accuracy", "--where", "source")
