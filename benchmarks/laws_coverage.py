"""How often the 95 percent intervals of laws and lines hold the truth, by simulation.

    python benchmarks/laws_coverage.py [--tables 400] [--only NAME]

Each row simulates tables with a known truth and counts how often an interval holds it. Noise is 3 percent of y unless
it grows (1 percent at the smallest x to 9 at the largest). `shape doubted`, `noise told` and `chose the true form` are
shares of tables; with `auto`, `exponent` is of those tables whose form has one. Figures draw the same intervals: the
band of a law, the band of a line, effective robustness of a model, the mean of a group, the best size for compute.
The table stands in docs/explanation/intervals.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from surefoot.core import SurefootError
from surefoot.laws import LawOptions, PointOptions, fit_scaling, predictive_band
from surefoot.stats import (
    Choice,
    Law,
    ParameterIntervals,
    binomial_stderr,
    carried_error,
    choose_form,
    compute_optimal,
    effective_robustness,
    fit_law,
    fit_lines,
    from_axis,
    group_robustness,
    intervals,
    predict_lines,
    resample_counts,
    rolling_hold_out,
    t_quantile,
    to_axis,
)

Generator = np.random.Generator
Hits = Iterator[tuple[str, bool]]
POINTS = PointOptions(x=("x",), y="y")
EXPONENT, FLOOR = 0.25, 1.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is simulated: one table a call, and whether each of its intervals held."""

    name: str
    sizes: tuple[int, ...]
    table: Callable[[Generator, int], Hits]


def law_case(*, floor: bool, form: str, noise: str = "even", run: bool = False) -> Callable[[Generator, int], Hits]:
    """The exponent of a law and its band for a new run a decade beyond the points."""

    def table(generator: Generator, n: int) -> Hits:
        x = np.geomspace(1, 1e4, n)
        sd = 0.03 if noise == "even" else 0.01 * 3 ** (np.log10(x) / 2)
        shared = generator.normal(0, 0.03, (n + 2) // 3)[np.arange(n) // 3] if run else 0.0
        y = (floor * FLOOR + 20 * x**-EXPONENT) * np.exp(generator.normal(0, 1, n) * sd + shared)
        runs = [f"r{place // 3}" for place in range(n)] if run else None
        fitted = _chosen(x, y, runs) if form == "auto" else _fixed(x, y, form, runs)
        if form == "auto":
            yield "chose the true form", fitted.law.form == ("power+floor" if floor else "power")
        if (found := fitted.found.by_name.get("exponent")) is not None:
            yield "exponent", found.low <= EXPONENT <= found.high
        beyond = 0.03 if noise == "even" else 0.09
        for name, at, sd in (("band, a decade beyond", 1e5, beyond), ("band, in the middle", 100.0, 0.03)):
            truth = (floor * FLOOR + 20 * at**-EXPONENT) * np.exp(generator.normal(0, np.hypot(sd, 0.03 * run)))
            _, low, high = predictive_band(fitted.law, fitted.laws, fitted.choice, [at])
            yield name, low[0] <= truth <= high[0]
        yield "shape doubted", fitted.law.checks.curve_p < 0.01
        yield "noise told", fitted.law.checks.noise_p < 0.05

    return table


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a prediction and an interval need."""

    law: Law
    laws: Mapping[str, Law]
    choice: Choice | None
    found: ParameterIntervals


def _fixed(x: np.ndarray, y: np.ndarray, form: str, runs: list[str] | None) -> Fitted:
    law = fit_law(x, y, form, clusters=runs)
    try:
        choice = choose_form(rolling_hold_out(x, y, (form,)))
    except SurefootError:
        choice = None
    return Fitted(law=law, laws={form: law}, choice=choice, found=intervals(law, replicates=200))


def _chosen(x: np.ndarray, y: np.ndarray, runs: list[str] | None) -> Fitted:
    table = {"x": x, "y": y} | ({"run": np.array(runs)} if runs else {})
    points = replace(POINTS, run="run" if runs else None)
    fit = fit_scaling(table, points, LawOptions(form="auto", replicates=200)).fits[0]
    return Fitted(law=fit.law, laws=fit.laws, choice=fit.choice, found=fit.intervals)


def optimal_case(generator: Generator, n: int) -> Hits:
    """The best size for compute of a law of two variables, at ten times the largest compute."""
    size, data = np.exp(generator.uniform(np.log(5e7), np.log(1.6e10), n)), np.exp(generator.uniform(20.7, 26.4, n))
    loss = (1.8172 + 477.84 * size**-0.3473 + 2143.86 * data**-0.3672) * np.exp(generator.normal(0, 0.005, n))
    law = fit_law(np.column_stack([size, data]), loss, "two-variable")
    try:
        plan = compute_optimal(law, intervals(law, method="t"), [1e23])
    except Exception:
        yield "best N", False
        return
    share = 0.3672 / (0.3473 + 0.3672)
    best = (0.3473 * 477.84 / (0.3672 * 2143.86)) ** (1 / (0.3473 + 0.3672)) * (1e23 / 6) ** share
    yield "exponent of N", plan.exponent.low <= share <= plan.exponent.high
    yield "best N", plan.size_low[0] <= best <= plan.size_high[0]


def line_case(*, clustered: bool) -> Callable[[Generator, int], Hits]:
    """Accuracies on a line of slope .9: the slope, the drawn band, a new model's robustness, the mean of a group."""

    def table(generator: Generator, n: int) -> Hits:
        families = np.arange(n) // 4
        level = generator.normal(0, 0.25, families.max() + 1)[families] if clustered else np.zeros(n)
        centre = generator.normal(0.8, 0.6, families.max() + 1)[families] if clustered else 0.8
        place = np.append(centre + generator.normal(0, 0.2 if clustered else 0.6, n), [0.9, 1.1, 1.3, 1.5])
        truth = 0.9 * place - 0.5 + np.append(level, np.zeros(4)) + generator.normal(0, 0.1, n + 4)
        gain = np.where(np.arange(n + 4) >= n, 0.5, 0.0)
        x, y = (generator.binomial(10_000, from_axis(value)) / 10_000 for value in (place, truth + gain))
        baseline = np.arange(n + 4) < n
        clusters = np.append([f"f{one}" for one in families], [f"own{one}" for one in range(4)]) if clustered else None
        counts = _counts(generator, baseline, clusters)
        lines = fit_lines(to_axis(x), to_axis(y), baseline=baseline, counts=counts, clusters=clusters)
        yield "slope", lines.low[0, 1] <= 0.9 <= lines.high[0, 1]
        middle, error = predict_lines(lines, np.array([1.0]))
        half = t_quantile(0.95, float(lines.freedom[0])) * error[0, 0]
        yield "drawn band of the line", abs(middle[0, 0] - (0.9 - 0.5)) <= half
        stderr = binomial_stderr(x, 10_000)[:, None, None]
        carried = carried_error(x[:, None, None], stderr, lines)
        found = effective_robustness(
            to_axis(x), y, lines, carried=carried, y_stderr=binomial_stderr(y, 10_000)[:, None]
        )
        gained = 100 * (from_axis(truth + gain) - from_axis(0.9 * place - 0.5))
        yield "one model", bool(found.low[-1, 0] <= gained[-1] <= found.high[-1, 0])
        if clustered:
            return
        groups = group_robustness(
            to_axis(x), y, lines, found, np.where(baseline, "in", "out"), counts=counts, clusters=clusters
        )
        expected = 100 * np.mean([from_axis(0.9 * one - 0.5 + 0.5) - from_axis(0.9 * one - 0.5) for one in place[-4:]])
        yield "mean of a group of 4", bool(groups.low[1, 0] <= expected <= groups.high[1, 0])

    return table


def _counts(generator: Generator, baseline: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    seed = int(generator.integers(1 << 31))
    if clusters is not None:
        return resample_counts(len(baseline), 300, seed=seed, clusters=clusters)
    counts = np.zeros((300, len(baseline)))
    for place, members in enumerate((baseline, ~baseline)):
        counts[:, members] = resample_counts(int(members.sum()), 300, seed=seed + place)
    return counts


CASES = (
    Case(name="power law", sizes=(5, 6, 12, 30), table=law_case(floor=False, form="power")),
    Case(name="power law, noise grows", sizes=(6, 12, 30), table=law_case(floor=False, form="power", noise="grows")),
    Case(
        name="power law, runs of 3 points", sizes=(9, 12, 18, 30), table=law_case(floor=False, form="power", run=True)
    ),
    Case(name="power law, auto", sizes=(6, 12, 30), table=law_case(floor=False, form="auto")),
    Case(
        name="power law, noise grows, auto", sizes=(6, 12, 30), table=law_case(floor=False, form="auto", noise="grows")
    ),
    Case(name="power law, runs of 3 points, auto", sizes=(12, 30), table=law_case(floor=False, form="auto", run=True)),
    Case(name="law with a floor, as power", sizes=(6, 12, 30), table=law_case(floor=True, form="power")),
    Case(name="law with a floor, as power+floor", sizes=(6, 12, 30), table=law_case(floor=True, form="power+floor")),
    Case(name="law with a floor, auto", sizes=(6, 12, 30), table=law_case(floor=True, form="auto")),
    Case(name="compute-optimal size", sizes=(6, 12, 30, 120), table=optimal_case),
    Case(name="line of robustness", sizes=(5, 6, 12, 30, 60), table=line_case(clustered=False)),
    Case(name="line, families of four, --cluster", sizes=(12, 30, 60), table=line_case(clustered=True)),
)


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", type=int, default=400)
    parser.add_argument("--only", default="", help="run the cases whose name holds this")
    asked = parser.parse_args()
    tables = asked.tables
    print(f"| simulated, {tables} tables each | n | interval | holds the truth |\n|---|---:|---|---:|")
    for case in (case for case in CASES if asked.only in case.name):
        for n in case.sizes:
            generator, hits = np.random.default_rng(n), {}
            for _ in range(tables):
                for name, hit in case.table(generator, n):
                    hits.setdefault(name, []).append(bool(hit))
            for name, held in hits.items():
                print(f"| {case.name} | {n} | {name} | {np.mean(held):.3f} |", flush=True)


if __name__ == "__main__":
    main()
