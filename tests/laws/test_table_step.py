"""Laws of a table file as Steps, and exponents compared as a Step."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from surefoot.core import Measurement, Step, Store, SurefootError, digest_of, open_pool, run
from surefoot.laws import ExponentDifference, TableScaling

SIZES = np.geomspace(1e9, 1e12, 6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two families of six models on two sets; `b` was measured twice, at two learning rates."""
    generator = np.random.default_rng(3)
    lines = ["model,source,set,rate,gmacs,accuracy"]
    for source, exponent, rates in (("a-1", 0.15, ("low",)), ("b-2", 0.10, ("low", "high"))):
        for place, size in enumerate(SIZES):
            for rate in rates:
                error = 5 * size**-exponent * np.exp(generator.normal(0, 0.02)) * (1.1 if rate == "high" else 1)
                lines += [f"{source}-{place},{source},{name},{rate},{size},{1 - error}" for name in ("near", "far")]
    path = tmp_path / "results.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def law(file: Path, source: str, **fields: object) -> TableScaling:
    options = {"x": "gmacs", "y": "accuracy", "label": "model", "task": "near", "family": source}
    return TableScaling(path=str(file), **options | {"where": ("set=near", f"source={source}-*")} | fields).pinned()


def made(step: Step, tmp_path: Path) -> tuple[dict[str, Measurement], Store]:
    store = Store(tmp_path / "store")
    with open_pool("here") as pool:
        problems = [event.error for event in run([step], store, pool) if event.kind == "failed"]
    if problems:
        raise SurefootError(str(problems[0]))
    return {f"{one.metric} {one.task}".strip(): one for one in store.measurements(step)}, store


def points(store: Store, step: Step) -> tuple[np.ndarray, np.ndarray]:
    fitted = json.loads((store.path(step) / "law.json").read_text())["fitted"]
    return np.log(fitted["x"]), np.log(fitted["y"])


def test_the_law_of_one_family_is_the_line_through_its_rows(file: Path, tmp_path: Path) -> None:
    step = law(file, "a")
    found, store = made(step, tmp_path)
    x, y = points(store, step)
    line = stats.linregress(x, y)
    exponent = found["exponent near"]
    assert (exponent.n, exponent.group) == (6, "a")
    assert exponent.value == pytest.approx(-line.slope)
    half = stats.t.ppf(0.975, 4) * line.stderr
    assert (exponent.low, exponent.high) == pytest.approx((-line.slope - half, -line.slope + half))


def test_of_repeated_runs_the_best_is_kept(file: Path, tmp_path: Path) -> None:
    every, best = law(file, "b"), law(file, "b", best_of=("source", "model"))
    assert made(every, tmp_path)[0]["exponent near"].n == 12
    found, store = made(best, tmp_path)
    assert found["exponent near"].n == 6
    low = law(file, "b", where=("set=near", "source=b-*", "rate!=high"))
    _, store = made(low, tmp_path)
    assert points(store, best)[1] == pytest.approx(points(store, low)[1])
    rows = [line.rpartition(",") for line in file.read_text().splitlines()[1:]]
    errors = file.with_name("errors.csv")
    errors.write_text("\n".join(["model,source,set,rate,gmacs,y", *(f"{head},{1 - float(y)}" for head, _, y in rows)]))
    of_errors = law(errors, "b", y="y", score=False, best_of=("source", "model"))
    assert points(made(of_errors, tmp_path)[1], of_errors)[1] == pytest.approx(points(store, low)[1])


def test_only_the_named_runs_are_fitted_and_an_unknown_one_is_said(file: Path, tmp_path: Path) -> None:
    chosen = ("a-1-0", "a-1-2", "a-1-4")
    assert made(law(file, "a", only=chosen), tmp_path)[0]["exponent near"].n == 3
    with pytest.raises(SurefootError, match="no row with set=near, source=a-\\* is 'a-9'"):
        made(law(file, "a", only=("a-9",)), tmp_path)
    with pytest.raises(SurefootError, match="column 'set' never is 'nowhere'"):
        made(law(file, "a", where=("set=nowhere",)), tmp_path)
    with pytest.raises(SurefootError, match="'column=pattern' or 'column!=pattern'; got 'near'"):
        made(law(file, "a", where=("near",)), tmp_path)


def test_a_changed_file_is_a_new_key_and_the_old_step_refuses_it(file: Path, tmp_path: Path) -> None:
    before = law(file, "a")
    assert before.key == law(file, "a").key
    file.write_text(file.read_text().replace("a-1-0", "a-1-x"))
    assert law(file, "a").key != before.key
    with pytest.raises(SurefootError, match="have changed since"):
        made(before, tmp_path)
    with pytest.raises(SurefootError, match=r"absent\.csv does not exist"):
        digest_of(tmp_path / "absent.csv")


def test_exponents_are_compared_by_welch_and_bounds_hold_for_all_pairs(file: Path, tmp_path: Path) -> None:
    far = ("set=far", "source=a-*")
    first = (law(file, "a"), law(file, "a", where=far, task="far"))
    second = tuple(law(file, "b", where=(f"set={name}", "source=b-*", "rate=low")) for name in ("near", "far"))
    found, store = made(ExponentDifference(first=first, second=second, names=("near", "far")), tmp_path)
    lines = [stats.linregress(*points(store, step)) for step in (first[0], second[0])]
    error = np.hypot(lines[0].stderr, lines[1].stderr)
    freedom = error**4 / sum(line.stderr**4 / 4 for line in lines)
    difference = lines[1].slope - lines[0].slope
    p = 2 * stats.t.sf(difference / error, freedom)
    half = stats.t.ppf(1 - 0.05 / 4, freedom) * error
    measured = found["exponent_difference near"]
    assert (measured.value, measured.n) == (pytest.approx(difference), 12)
    assert (measured.low, measured.high) == pytest.approx((difference - half, difference + half))
    assert found["p_unadjusted near"].value == pytest.approx(p)
    assert found["p near"].value == pytest.approx(min(1, 2 * p))
    assert found["p near"].value < 0.01


def test_runs_at_the_same_x_are_compared_pair_by_pair(file: Path, tmp_path: Path) -> None:
    first, second = law(file, "a"), law(file, "b", where=("set=near", "source=b-*", "rate=low"))
    step = ExponentDifference(first=(first,), second=(second,), names=("near",), paired=True)
    found, store = made(step, tmp_path)
    (x, y), (_, other) = points(store, first), points(store, second)
    trend = stats.linregress(x, y - other)
    assert found["exponent_difference near"].value == pytest.approx(-trend.slope)
    assert found["p near"].value == pytest.approx(trend.pvalue)
    unmatched = replace(step, second=(law(file, "b", only=("b-2-1", "b-2-3", "b-2-5")),))
    with pytest.raises(SurefootError, match="near: the two laws are not paired"):
        made(unmatched, tmp_path)


def test_a_law_of_another_form_is_not_compared_as_a_power_law(file: Path, tmp_path: Path) -> None:
    first = law(file, "a")
    step = ExponentDifference(first=(first,), second=(first,), names=("near",))
    _, store = made(step, tmp_path)
    record = json.loads((store.path(first) / "law.json").read_text())
    (tmp_path / "law.json").write_text(json.dumps(record | {"form": "power+floor"}))
    with pytest.raises(SurefootError, match="this law is of the form 'power\\+floor'"):
        list(step.make(tmp_path, {first: tmp_path}))  # type: ignore[arg-type]


def test_two_points_leave_nothing_to_compare(file: Path, tmp_path: Path) -> None:
    few = law(file, "a", only=("a-1-0", "a-1-5"))
    step = ExponentDifference(first=(few,), second=(law(file, "b"),), names=("near",))
    found, store = made(step, tmp_path)
    assert not found
    assert "untestable" in json.loads((store.path(step) / "comparisons.json").read_text())["near"]["words"]
