"""Laws of mixtures: the Gaussian model against simulation, and the law against scores made by it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_t, norm, t

from surefoot.cli import app
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.laws import (
    MixtureFit,
    best_shares,
    fit_mixture,
    log_share_scores,
    mixture_slope,
    predict_mixture,
)
from surefoot.stats import to_axis

D = 400
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
PREDICTED = (0.825, 0.704, 0.590, 0.483, 0.382)
TRIAL = (0.810, 0.695, 0.592, 0.472, 0.392)


def gaussian_accuracy(weights: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Of classifiers (..., d) where the classes have means +-`mean` (d) and unit noise."""
    return norm.cdf(weights @ mean / np.linalg.norm(weights, axis=-1))


def sources() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Means of the reference, the shift and two sources, whose slopes are .825 and .382, with margins .885 to 1."""
    reference, shift = np.zeros(D), np.zeros(D)
    reference[0], shift[1] = 2.0, 2.0
    first, second = np.zeros(D), np.zeros(D)
    first[:2], second[:2] = (0.885, 0.885 * PREDICTED[0]), (1.0, PREDICTED[-1])
    return reference, shift, first, second


def fitted_slope(mean: np.ndarray, seed: int) -> float:
    """Of 64 mean classifiers of 20 to 2,000 noisy pictures: the slope of probit accuracy under shift on that before."""
    reference, shift, *_ = sources()
    generator = np.random.default_rng(seed)
    sizes = np.geomspace(20, 2000, 64)
    trained = mean + generator.normal(size=(64, D)) / np.sqrt(sizes)[:, None]
    x, y = (to_axis(gaussian_accuracy(trained, each), "probit") for each in (reference, shift))
    return float((x @ y) / (x @ x))


def test_the_slope_of_a_mixture_is_the_mediant_of_its_parents_as_in_the_trial() -> None:
    for share, predicted, trial in zip(SHARES, PREDICTED, TRIAL, strict=True):
        found = mixture_slope([share, 1 - share], [PREDICTED[0], PREDICTED[-1]], [0.885, 1.0])
        assert found == pytest.approx(predicted, abs=0.001)
        assert found == pytest.approx(trial, abs=0.016)


def test_classifiers_of_simulated_mixtures_have_the_mediant_slope() -> None:
    _, _, first, second = sources()
    for place, (share, predicted) in enumerate(zip(SHARES, PREDICTED, strict=True)):
        slopes = [fitted_slope(share * first + (1 - share) * second, 10 * place + seed) for seed in range(8)]
        assert np.mean(slopes) == pytest.approx(predicted, abs=0.02)


def made(generator: np.random.Generator, shares: np.ndarray, sizes: np.ndarray, noise: float) -> np.ndarray:
    """Two-way accuracies by the law itself: three sources with their own laws of size and a likeness of 0.6."""
    own = np.array([0.9, 0.5, 0.2]) + np.array([0.1, 0.15, 0.02]) * np.log(sizes / 400)[:, None]
    spread = np.sqrt(0.6 + 0.4 * (shares**2).sum(axis=1))
    place = (shares * own).sum(axis=1) / spread + noise * generator.normal(size=len(shares))
    return norm.cdf(place)


def design() -> tuple[np.ndarray, np.ndarray]:
    pairs = [[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.25, 0.75, 0], [0, 0.25, 0.75]]
    rows = [(share, size) for share in [*np.eye(3).tolist(), *pairs] for size in (125, 250, 500, 1000)]
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)


def held_out(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return generator.dirichlet([1, 1, 1], n), generator.uniform(150, 1000, n)


def test_a_law_without_noise_is_found_and_predicts_mixtures_of_more_sources_exactly() -> None:
    generator = np.random.default_rng(0)
    shares, sizes = design()
    law = fit_mixture(("a", "b", "c"), shares, sizes, made(generator, shares, sizes, 0), chance=0.5)
    assert law.likeness == pytest.approx(0.6, abs=1e-3)
    assert law.parameters[:3] - law.parameters[3:6] * (law.centre - np.log(400)) == pytest.approx([0.9, 0.5, 0.2],
                                                                                                  abs=1e-3)  # fmt: skip
    mix, counts = held_out(generator, 20)
    assert predict_mixture(law, mix, counts).value == pytest.approx(made(generator, mix, counts, 0), abs=1e-3)


def test_a_source_added_later_needs_runs_of_its_own_and_one_mixture_alone() -> None:
    """The old runs stand as they are, and mixtures of the new source with any other are told, closed form."""

    def score(mix: np.ndarray, counts: np.ndarray, likeness: float = 0.6) -> np.ndarray:
        alone = np.array([0.9, 0.5, 0.2, 0.7]) + np.array([0.1, 0.2, 0.05, 0.3]) * np.log(counts / 400)[:, None]
        spread = np.sqrt(likeness + (1 - likeness) * (mix**2).sum(axis=1))
        return norm.cdf((mix * alone).sum(axis=1) / spread)

    shares, sizes = (np.asarray(each, dtype=float) for each in design())
    first = fit_mixture(("a", "b", "c"), shares, sizes, score(np.pad(shares, ((0, 0), (0, 1))), sizes), chance=0.5)
    added = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [0.5, 0, 0, 0.5]])
    every = np.concatenate([np.pad(shares, ((0, 0), (0, 1))), added])
    counts = np.append(sizes, [125, 1000, 500])
    law = fit_mixture(("a", "b", "c", "d"), every, counts, score(every, counts), chance=0.5)
    assert law.likeness == pytest.approx(first.likeness, abs=1e-3)
    asked, many = np.array([[0.2, 0.3, 0, 0.5], [0, 0, 0.9, 0.1], [0.1, 0.5, 0.4, 0]]), np.array([300.0, 900, 400])
    assert predict_mixture(law, asked, many).value == pytest.approx(score(asked, many), abs=1e-4)
    without = predict_mixture(first, asked[2:, :3], many[2:]).value
    assert predict_mixture(law, asked[2:], many[2:]).value == pytest.approx(without, abs=1e-4)


def test_the_intervals_of_held_out_mixtures_cover_as_they_say() -> None:
    generator, inside = np.random.default_rng(2), list[float]()
    shares, sizes = design()
    for _ in range(40):
        law = fit_mixture(("a", "b", "c"), shares, sizes, made(generator, shares, sizes, 0.05), chance=0.5)
        mix, counts = held_out(generator, 30)
        truth, found = made(generator, mix, counts, 0.05), predict_mixture(law, mix, counts)
        inside.append(float(((found.low <= truth) & (truth <= found.high)).mean()))
    assert 0.93 < np.mean(inside) < 0.985


def test_the_law_errs_less_than_half_as_much_as_a_regression_on_log_shares() -> None:
    generator = np.random.default_rng(3)
    shares, sizes = design()
    scores = made(generator, shares, sizes, 0.01)
    law = fit_mixture(("a", "b", "c"), shares, sizes, scores, chance=0.5)
    mix, counts = held_out(generator, 30)
    truth = made(generator, mix, counts, 0)
    baseline = log_share_scores((shares, sizes, scores), mix, counts, chance=0.5)
    assert abs(predict_mixture(law, mix, counts).value - truth).mean() < abs(baseline - truth).mean() / 2


def test_the_baseline_takes_a_share_of_0_as_one_percent() -> None:
    shares, sizes = design()
    scores = made(np.random.default_rng(5), shares, sizes, 0.05)
    x = np.column_stack([np.ones(len(sizes)), np.log(np.where(shares == 0, 0.01, shares)), np.log(sizes)])
    weights = np.linalg.lstsq(x, norm.ppf(scores), rcond=None)[0]
    asked = np.array([1, np.log(0.2), np.log(0.8), np.log(0.01), np.log(700)])
    found = log_share_scores((shares, sizes, scores), [[0.2, 0.8, 0]], [700], chance=0.5)
    assert found == pytest.approx(norm.cdf(asked @ weights))


def test_sources_that_spoil_each_other_have_a_likeness_above_1() -> None:
    shares, sizes = design()
    place = (shares * [0.9, 0.5, 0.2]).sum(axis=1) / np.sqrt(1.8 - 0.8 * (shares**2).sum(axis=1))
    law = fit_mixture(("a", "b", "c"), shares, sizes, norm.cdf(place), chance=0.5)
    assert law.likeness == pytest.approx(1.8, abs=1e-3)


def test_the_best_shares_are_those_of_the_truth_with_how_sure_that_is() -> None:
    generator = np.random.default_rng(4)
    shares, sizes = design()
    law = fit_mixture(("a", "b", "c"), shares, sizes, made(generator, shares, sizes, 0.01), chance=0.5)
    found = best_shares(law, 1000)
    every = generator.dirichlet([1, 1, 1], 20_000)
    truth = made(generator, np.concatenate([[found.shares], every]), np.full(20_001, 1000.0), 0)
    assert truth[0] > truth[1:].max() - 0.002
    assert found.single == "a" and found.sure == 1.0 and found.gain.low > 0
    assert (found.low <= found.shares).all() and (found.shares <= found.high).all()


def test_where_mixing_loses_the_best_single_source_is_not_beaten_whatever_its_place() -> None:
    shares, sizes = design()
    place = (shares * [0.9, 0.5, 0.2]).sum(axis=1) / np.sqrt(1.8 - 0.8 * (shares**2).sum(axis=1))
    scores = norm.cdf(place + np.random.default_rng(5).normal(0, 0.005, len(place)))
    for order in ([0, 1, 2], [2, 1, 0]):
        found = best_shares(fit_mixture([*"abc"[:: 1 - order[0]]], shares[:, order], sizes, scores, chance=0.5), 1000)
        assert found.single == "a" and found.shares[order.index(0)] == 1
        assert found.over_single == 0


@pytest.mark.parametrize("runs", [[*range(32)], [0, 3, 4, 7, 8, 11, 15, 19, 23, 31]])
def test_the_gain_has_95_percent_and_the_shares_have_90_of_laws_drawn_around_the_fit(runs: list[int]) -> None:
    """Drawn with Student's distribution: of ten runs three degrees of freedom are left."""
    generator = np.random.default_rng(6)
    shares, sizes = (part[runs] for part in design())
    law = fit_mixture(("a", "b", "c"), shares, sizes, made(generator, shares, sizes, 0.05), chance=0.5)
    assert law.freedom == len(runs) - 7
    found = best_shares(law, 1000)
    first = np.linspace(0, 1, 21)
    grid = np.array([(a, b, 1 - a - b) for a in first for b in first if a + b <= 1 + 1e-9]).clip(0)
    asked = np.concatenate([grid, [found.shares, np.full(3, 1 / 3)]])
    around: Any = multivariate_t(loc=law.parameters, shape=law.covariance.tolist(), df=law.freedom, seed=generator)
    drawn = [predict_mixture(replace(law, parameters=one), asked, np.full(len(asked), 1000.0)).value
             for one in around.rvs(2000) if one[-1] > 0]  # fmt: skip
    scores = np.array(drawn)
    gains = np.quantile(scores[:, -2] - scores[:, -1], [0.025, 0.975])
    assert (found.gain.low, found.gain.high) == pytest.approx(gains, abs=0.1 * np.ptp(gains))
    best = np.quantile(grid[scores[:, :-2].argmax(axis=1)], [0.05, 0.95], axis=0)
    assert np.array([found.low, found.high]) == pytest.approx(best, abs=0.06)
    assert np.ptp(best, axis=0).max() > 0.15


def draws_of(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shares, sizes, seeds and scores of three seeds: all runs of one seed saw the same draw of each source."""
    shares, sizes = (np.concatenate([part] * 3) for part in design())
    seeds = np.repeat(range(3), len(sizes) // 3)
    drawn = (shares * generator.normal(scale=0.08, size=(3, 3))[seeds]).sum(axis=1)
    scores = made(generator, shares, sizes, 0.01)
    return shares, sizes, seeds, norm.cdf(norm.ppf(scores) + drawn)


def test_the_gain_of_runs_that_share_draws_covers_as_it_says_where_they_are_named() -> None:
    generator, inside = np.random.default_rng(1), list[list[bool]]()
    for _ in range(40):
        shares, sizes, seeds, scores = draws_of(generator)
        held = list[bool]()
        for draws in (None, seeds):
            law = fit_mixture(("a", "b", "c"), shares, sizes, scores, chance=0.5, draws=draws)
            found = best_shares(law, 1000)
            best, equal = made(generator, np.array([found.shares, np.full(3, 1 / 3)]), np.full(2, 1000.0), 0)
            held.append(found.gain.low <= best - equal <= found.gain.high)
        inside.append(held)
    alone, by_seed = np.mean(inside, axis=0)
    assert alone < 0.85 and by_seed > 0.9


def test_draws_that_share_nothing_are_independent_runs_and_one_draw_tells_no_error() -> None:
    shares, sizes, seeds, scores = draws_of(np.random.default_rng(2))
    known = ("a", "b", "c"), shares, sizes, scores
    apart, none = (fit_mixture(*known, chance=0.5, draws=draws) for draws in (np.arange(96), None))
    assert apart.covariance == pytest.approx(none.covariance) and apart.freedom == none.freedom == 89
    named = np.array(["first", "second", "third"])[seeds]
    assert fit_mixture(*known, chance=0.5, draws=named).freedom == 2
    with pytest.raises(SurefootError, match="One draw alone tells the law of a source"):
        fit_mixture(*known, chance=0.5, draws=np.where(shares[:, 2] > 0, 3, seeds))


def test_the_interval_of_a_mixture_is_the_delta_methods_with_the_error_of_runs_left_out() -> None:
    """Derivatives by difference quotients; the error is the greater of all runs' and of the mixtures left out."""
    shares = np.array([*np.repeat(np.eye(3), 2, axis=0), *design()[0][12::4], [0.75, 0.25, 0]])
    sizes = np.array([250.0, 1000] * 6)
    law = fit_mixture(
        ("a", "b", "c"), shares, sizes, scores := made(np.random.default_rng(2), shares, sizes, 0.05), chance=0.5
    )

    def place(parameters: np.ndarray, mix: np.ndarray, counts: np.ndarray) -> np.ndarray:
        own = parameters[:3] + parameters[3:6] * (np.log(counts) - law.centre)[:, None]
        return (mix * own).sum(axis=1) / np.sqrt(parameters[6] + (1 - parameters[6]) * (mix**2).sum(axis=1))

    def slopes(mix: np.ndarray, counts: np.ndarray) -> np.ndarray:
        steps = 1e-6 * np.eye(7)
        return np.stack(
            [(place(law.parameters + h, mix, counts) - place(law.parameters - h, mix, counts)) / 2e-6 for h in steps], 1
        )

    jacobian, gap = slopes(shares, sizes), norm.ppf(scores) - place(law.parameters, shares, sizes)
    inverse = np.linalg.inv(jacobian.T @ jacobian)
    left = gap / (1 - np.diag(jacobian @ inverse @ jacobian.T))
    variance = (gap @ gap / 5, float((left[6:] ** 2).mean()))
    assert variance[1] > variance[0]
    assert law.error**2 == pytest.approx(variance[1], rel=1e-3)
    assert law.covariance == pytest.approx(variance[1] * inverse, rel=1e-2, abs=1e-6)
    mix, counts = np.array([[0.6, 0.3, 0.1]]), np.array([700.0])
    row = slopes(mix, counts)[0]
    half = t.ppf(0.975, 5) * (variance[1] + row @ law.covariance @ row) ** 0.5
    found, middle = predict_mixture(law, mix, counts), place(law.parameters, mix, counts)[0]
    assert (found.low[0], found.high[0]) == pytest.approx((norm.cdf(middle - half), norm.cdf(middle + half)), rel=1e-4)


@dataclass(frozen=True, kw_only=True)
class Run(Step):
    """A run, whose score is read from a list."""

    number: int

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        raise NotImplementedError


@pytest.mark.parametrize("even", [(125, 400, 900), (400, 400), ()])
def test_the_step_predicts_beside_runs_of_equal_shares_and_without(even: tuple[int, ...]) -> None:
    """Those are a line in log size of these runs alone (of one size their mean), whatever shares are asked for."""
    generator = np.random.default_rng(9)
    shares, sizes = design()
    shares, sizes = np.concatenate([shares, np.full((len(even), 3), 1 / 3)]), np.concatenate([sizes, even])
    scores = made(generator, shares, sizes, 0.05)
    asked, counts = [(0.9, 0.1, 0.0), (0.2, 0.2, 0.6)], [300.0, 800.0]
    step = MixtureFit(
        sources=("a", "b", "c"), results=tuple(Run(number=place) for place in range(len(scores))),
        shares=tuple(map(tuple, shares.tolist())), sizes=tuple(sizes.tolist()), asked=tuple(asked),
        asked_sizes=tuple(counts), shifts=("fog",), metric="accuracy", chance=0.5,
    )  # fmt: skip
    told = {"accuracy": scores, "other": 1 - scores}
    inputs: Any = SimpleNamespace(measurements=lambda run: [
        Measurement(metric=metric, value=float(each[run.number]), n=9, shift=shift)
        for metric, each in told.items() for shift in ("fog", "snow") if (metric, shift) != ("accuracy", "snow")
    ])  # fmt: skip
    found: dict[str, list[float]] = {}
    for one in step.make(Path(), inputs):
        found.setdefault(one.metric, []).append(one.value)
    law = fit_mixture(("a", "b", "c"), shares, sizes, scores, chance=0.5)
    assert found["likeness"] == [law.likeness]
    assert found["predicted"] == pytest.approx(predict_mixture(law, asked, counts).value)
    known = (shares, sizes, scores)
    assert found["log_share"] == pytest.approx(log_share_scores(known, asked, counts, chance=0.5))
    if even:
        line = np.polyfit(np.log(even), norm.ppf(scores[-len(even) :]), min(1, len(even) - 2))
        assert found["equal_shares"] == pytest.approx(norm.cdf(np.polyval(line, np.log(counts))))
    else:
        assert "equal_shares" not in found


def test_runs_that_do_not_say_what_is_asked_are_refused() -> None:
    shares, sizes = design()
    scores = made(np.random.default_rng(0), shares, sizes, 0)
    with pytest.raises(SurefootError, match="needs runs on some mixtures"):
        fit_mixture(("a", "b", "c"), shares[:12], sizes[:12], scores[:12], chance=0.5)
    with pytest.raises(SurefootError, match="other shares of d"):
        fit_mixture(("a", "b", "c", "d"), np.pad(shares, ((0, 0), (0, 1))), sizes, scores, chance=0.5)
    with pytest.raises(SurefootError, match="between 0 and 1"):
        fit_mixture(("a", "b", "c"), shares, sizes, scores, chance=0)
    with pytest.raises(SurefootError, match="at least 0"):
        fit_mixture(("a", "b", "c"), -shares, sizes, scores, chance=0.5)
    with pytest.raises(SurefootError, match="'a' is named twice"):
        fit_mixture(("a", "a", "c"), shares, sizes, scores, chance=0.5)
    with pytest.raises(SurefootError, match="Sizes are numbers of examples above 0"):
        fit_mixture(("a", "b", "c"), shares, -sizes, scores, chance=0.5)


def write_runs(path: Path) -> Path:
    """Runs on three sources under two tests, where the second is nearer to chance."""
    generator = np.random.default_rng(1)
    shares, sizes = design()
    scores = made(generator, shares, sizes, 0.02)
    lines = ["web,books,photos,examples,test,accuracy"]
    for test, part in (("sketch", 1.0), ("photo", 0.6)):
        lines += [f"{a},{b},{c},{n:g},{test},{part * score + (1 - part) / 2}"
                  for (a, b, c), n, score in zip(shares, sizes, scores, strict=True)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fit_table(path: Path, *arguments: str) -> None:
    named = ("--shares", "web", "books", "photos", "--size", "examples", "--score", "accuracy", "--shift", "test")
    app(["fit", "mixture", str(path), *named, "--chance", "0.5", *arguments], result_action="return_value",
        exit_on_error=False)  # fmt: skip


def test_the_command_names_the_shares_for_a_test_and_how_sure_that_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_runs(tmp_path / "runs.csv")
    fit_table(table, "--target", "sketch", "--format", "json")
    out, err = capsys.readouterr()
    found = {row["source"]: row for row in json.loads(out)}
    assert sum(row["share"] for row in found.values()) == pytest.approx(1)
    assert found["web"]["share"] > 0.7 and found["photos"]["share"] < 0.05
    assert "With 1,000 examples the best shares score 8" in err and "probability of 100%" in err
    assert "12 of the runs" not in err and "20 of the runs are mixtures" in err
    assert "The same shares on photo: 7" in err
    fit_table(table, "--target", "sketch", "--plan", "5000")
    assert "5,000 examples lie beyond the runs, of 125 to 1,000" in capsys.readouterr().err


def test_the_command_predicts_a_mixture_in_every_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit_table(write_runs(tmp_path / "runs.csv"), "--mix", "web=3,books=1", "--plan", "500", "--format", "json")
    rows = json.loads(capsys.readouterr().out)
    truth = float(made(np.random.default_rng(0), np.array([[0.75, 0.25, 0]]), np.array([500.0]), 0)[0])
    assert [row["test"] for row in rows] == ["sketch", "photo"]
    for row, part in zip(rows, (1.0, 0.6), strict=True):
        assert row["low"] < part * truth + (1 - part) / 2 < row["high"] < row["low"] + 0.06


def test_runs_without_a_number_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, asked = write_runs(tmp_path / "runs.csv"), ("--target", "photo", "--format", "json")
    fit_table(table, *asked)
    without = capsys.readouterr().out
    spoilt = "\n1,0,0,250,photo,\n0,0,0,250,photo,.7\n1,0,0,0,photo,.7\n1,0,0,250,photo,1\n"
    table.write_text(table.read_text(encoding="utf-8").rstrip("\n") + spoilt, encoding="utf-8")
    fit_table(table, *asked)
    out, err = capsys.readouterr()
    assert out == without
    assert "rows 65, 66, 67, 68 have no share, size or score above 0, or a score of 1: left out" in err


def test_a_test_that_tells_no_law_is_left_out_and_rows_of_no_test_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_runs(tmp_path / "runs.csv")
    runs = table.read_text(encoding="utf-8")
    table.write_text(runs + "1,0,0,4000,other,.7\n", encoding="utf-8")
    fit_table(table, "--target", "photo")
    err = capsys.readouterr().err
    assert "warning: other: A law of mixtures needs runs on some mixtures" in err and "The test was left out." in err
    assert "With 1,000 examples the best shares" in err
    table.write_text(runs + "1,0,0,250,,.7\n", encoding="utf-8")
    with pytest.raises(SurefootError, match="row 65 has no value in the column 'test', to group by"):
        fit_table(table, "--target", "photo")


def test_tests_that_are_taken_for_one_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_runs(tmp_path / "runs.csv")
    named = ("--shares", "web", "books", "photos", "--size", "examples", "--score", "accuracy", "--chance", ".5")
    app(["fit", "mixture", str(table), *named], result_action="return_value", exit_on_error=False)
    assert "note: 32 runs have the shares and the size of another and count as" in capsys.readouterr().err
    fit_table(table, "--target", "photo")
    assert "of another" not in capsys.readouterr().err


def test_copies_of_a_run_count_once_and_scores_below_chance_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, asked = write_runs(tmp_path / "runs.csv"), ("--target", "photo", "--format", "json")
    fit_table(table, *asked)
    once = capsys.readouterr().out
    runs = table.read_text(encoding="utf-8")
    table.write_text(runs + runs.partition("\n")[2], encoding="utf-8")
    fit_table(table, *asked)
    out, err = capsys.readouterr()
    assert out == once and "56 more repeat an earlier row in every column: left out as copies" in err
    table.write_text(runs + "1,0,0,250,photo,0.4\n", encoding="utf-8")
    fit_table(table, *asked)
    assert "row 65 has a score below chance (0.5)" in capsys.readouterr().err


def test_amounts_are_read_as_people_write_them_and_odd_sums_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One law from shares, percent signs, and both in one row; one mixture from amounts, shares and both."""
    table = write_runs(tmp_path / "runs.csv")
    lines = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    told = []
    for mix in ("web=600k,books=400k", "web=.6,books=40%"):
        fit_table(table, "--mix", mix, "--plan", "1M", "--format", "json")
        out, err = capsys.readouterr()
        told.append([row["prediction"] for row in json.loads(out)])
        assert "1,000,000 examples lie beyond the runs" in err and "taken in proportion" not in err
        for line in lines[1:]:
            line[1] = f"{100 * float(line[1].rstrip('%')) / (100 if line[1].endswith('%') else 1):.10g}%"
        table.write_text("\n".join(map(",".join, lines)), encoding="utf-8")
    assert told[0] == pytest.approx(told[1], rel=1e-9)
    lines[3][1] = "300%"
    table.write_text("\n".join(map(",".join, lines)), encoding="utf-8")
    fit_table(table, "--mix", "web=1")
    assert "row 3 has shares that sum to none of 1, 100 and 'examples'" in capsys.readouterr().err
    for mix, total in (("web=70%,books=70%", "1.4"), ("web=70%,books=30", "30.7")):
        fit_table(table, "--mix", mix)
        assert f"the shares of '{mix}' sum to {total}, not 1: taken in proportion" in capsys.readouterr().err


@pytest.mark.parametrize(("likeness", "said"), [(0.5, ""), (9.0, "4.00"), (0.005, "0.02")])
def test_a_likeness_at_the_end_of_its_search_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], likeness: float, said: str
) -> None:
    shares, sizes = design()
    squares = (shares**2).sum(axis=1)
    scores = norm.cdf(shares @ [0.9, 0.7, 0.5] / np.sqrt(likeness + (1 - likeness) * squares))
    lines = [f"{a},{b},{c},{n},sketch,{score}" for (a, b, c), n, score in zip(shares, sizes, scores, strict=True)]
    table = tmp_path / "runs.csv"
    table.write_text("\n".join(["web,books,photos,examples,test,accuracy", *lines]), encoding="utf-8")
    for asked in (("--mix", "web=1,books=1"), ()):
        fit_table(table, *asked)
        found = re.findall(r"sketch: no likeness .*: (.+) is the end of the search", capsys.readouterr().err)
        assert found == [said] * bool(said)


def test_the_command_takes_rows_of_one_value_in_the_named_columns_for_one_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares, sizes, seeds, scores = draws_of(np.random.default_rng(3))
    cells = np.column_stack([shares, sizes, seeds, scores]).tolist()
    table = tmp_path / "runs.csv"
    header = "web,books,photos,examples,seed,accuracy\n"
    table.write_text(header + "\n".join(",".join(map(repr, row)) for row in cells), encoding="utf-8")
    named = ("--shares", "web", "books", "photos", "--size", "examples", "--score", "accuracy", "--chance", ".5")

    def fit(*columns: str) -> None:
        draw = ("--draw", *columns) if columns else ()
        app(["fit", "mixture", str(table), *named, *draw], result_action="return_value", exit_on_error=False)

    found = []
    for columns, told in (((), None), (("seed",), 3), (("seed", "web", "books", "photos"), 24)):
        fit(*columns)
        said = capsys.readouterr().err
        assert (f"60 of the runs are mixtures, in {told} draws." in said) == (told is not None)
        assert ("note: 64 runs have the shares and the size of another" in said) == (told is None)
        gain = re.search(r"The gain is .+ points \[(.+), (.+)\];", said)
        assert gain
        found.append(float(gain[2]) - float(gain[1]))
    law = fit_mixture(("web", "books", "photos"), shares, sizes, scores, chance=0.5, draws=seeds)
    own = best_shares(law, 1000).gain
    assert found[1] == pytest.approx(100 * (own.high - own.low), abs=0.11)
    assert found[1] > 2 * found[0] and found[2] > 1.4 * found[0]
    table.write_text(table.read_text(encoding="utf-8") + "\n1,0,0,500,,.7\n", encoding="utf-8")
    with pytest.raises(SurefootError, match="no value in the column 'seed', to group by"):
        fit("seed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "sketch", "--plan", "-5"), "give numbers above 0 for --plan"),
        (("--target", "sketch", "--plan", "0"), "give numbers above 0 for --plan"),
        (("--mix", "web=1,web=2"), "each once"),
        (("--target", "sketch", "--seed", "-1"), "A seed is a number of 0 or above"),
        ((), "Name with --target the test to choose shares for: sketch, photo."),
        (("--target", "fog"), "Name with --target"),
        (("--mix", "web=x"), "must have the form SOURCE=SHARE"),
        (("--mix", "fog=1"), "of web, books, photos"),
        (("--target", "sketch", "--where", "photos=0", "--where", "books=0"), "needs runs on some mixtures"),
    ],
)
def test_mistakes_of_the_command_are_said(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        fit_table(write_runs(tmp_path / "runs.csv"), *arguments)
