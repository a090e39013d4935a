"""Fits, comparisons and audits of tables: what is kept, how rungs climb, and that the choice is made on validation."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from drawn import random_configurations
from numpy.testing import assert_allclose, assert_array_equal

from surefoot.core import Measurement, Step, Store, StoredInputs, SurefootError, open_pool, run
from surefoot.stats import disparities, group_metrics, t_quantile, worst_group, worst_group_difference
from surefoot.tabular import (
    BEST_ON_TEST,
    BY_ACCURACY,
    BY_CVAR,
    BY_WORST_GROUP,
    Design,
    FairTable,
    FileTable,
    GroupedRows,
    OpenedDesign,
    PublicTable,
    TableComparison,
    TableFits,
    full_grid,
    open_design,
    open_table,
    table_fits,
)
from surefoot.tabular._sweep._compare import _by_rule, _sensitivity, best_of
from surefoot.tabular._sweep._fits import _survivors, rung_shares, to_half
from surefoot.tabular._sweep._represent import represented
from surefoot.tabular._tables._design import split_rows

pytest.importorskip("sklearn")
pytest.importorskip("lightgbm")
duckdb = pytest.importorskip("duckdb")


def file_table(path: Path, **fields: Any) -> FileTable:
    return FileTable(path=str(path), **fields).pinned()


def design_of(folder: Path, rows: int = 900) -> Design:
    generator = np.random.default_rng(0)
    lines = ["a,b,sex,race,y"]
    for row in range(rows):
        a, b, sex, race = generator.normal(), generator.normal(), row % 2, (row // 2) % 2
        lines.append(f"{a:.4f},{b:.4f},{sex},{race},{int(a + 0.5 * sex * b + 0.4 * generator.normal() > 0)}")
    path = folder / "people.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = file_table(path, label="y", sensitive=("sex", "race"))
    return Design(table=table, validation=0.25, test=0.25)


def make(store: Store, *steps: Step) -> None:
    with open_pool("here") as pool:
        failed = [event.error for event in run(steps, store, pool) if event.kind in ("failed", "blocked")]
    assert not failed


def read(path: Path) -> dict[str, np.ndarray]:
    with duckdb.connect() as connection:
        return connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchnumpy()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, TableComparison]:
    """A finished comparison of three learners on a small table."""
    folder = tmp_path_factory.mktemp("compared")
    design = design_of(folder)
    fits = (
        TableFits(design=design, learner="logistic", configurations=random_configurations("logistic", 3, 0)),
        TableFits(design=design, learner="lightgbm", configurations=random_configurations("lightgbm", 8, 0)),
        TableFits(
            design=design,
            learner="constrained-lightgbm",
            configurations=random_configurations("constrained-lightgbm", 4, 0),
        ),
    )
    comparison = TableComparison(fits=fits, replicates=300)
    store = Store(folder / "store")
    make(store, comparison)
    return store, comparison


def measured(compared: tuple[Store, TableComparison], **wanted: object) -> list[Measurement]:
    found = compared[0].measurements(compared[1])
    return [each for each in found if all(getattr(each, name) == value for name, value in wanted.items())]


def test_kept_predictions_give_the_measured_metrics_again(compared: tuple[Store, TableComparison]) -> None:
    store, comparison = compared
    fit = comparison.fits[1]
    kept, table = np.load(store.path(fit) / "scores.npz"), read(store.path(fit) / "configurations.parquet")
    test = open_design(store.path(fit.design)).test
    again = group_metrics(test.y, kept["test"].astype(float), test.g)
    assert_allclose(again.overall["accuracy"], table["test_accuracy"], atol=1e-12)
    assert_allclose(worst_group(again).value, table["test_worst_group_accuracy"], atol=1e-12)
    assert_allclose(again.overall["cross_entropy"], table["test_cross_entropy"], atol=1e-2)
    assert [json.loads(text) for text in table["configuration"]] == [dict(each) for each in fit.configurations]


def test_the_configuration_is_chosen_on_validation_and_reported_on_test(
    compared: tuple[Store, TableComparison],
) -> None:
    store, comparison = compared
    table = read(store.path(comparison.fits[1]) / "configurations.parquet")
    for rule, name in ((BY_ACCURACY, "accuracy"), (BY_WORST_GROUP, "worst_group_accuracy")):
        (found,) = measured(compared, metric=name, group="lightgbm", shift=rule)
        assert_allclose(found.value, table[f"test_{name}"][table[f"validation_{name}"].argmax()])
        (best,) = measured(compared, metric=name, group="lightgbm", shift=BEST_ON_TEST)
        assert_allclose(best.value, table[f"test_{name}"].max())
        assert found.low is not None and found.high is not None
        assert found.low <= found.value <= found.high


def test_differences_between_families_have_the_value_of_their_parts(compared: tuple[Store, TableComparison]) -> None:
    (gap,) = measured(compared, metric="difference in accuracy", group="trees - linear")
    (trees,) = measured(compared, metric="accuracy", group="family: trees", shift=BY_ACCURACY)
    (linear,) = measured(compared, metric="accuracy", group="family: linear", shift=BY_ACCURACY)
    assert_allclose(gap.value, trees.value - linear.value)
    assert gap.stderr is not None and trees.stderr is not None and linear.stderr is not None
    assert gap.stderr < (trees.stderr**2 + linear.stderr**2) ** 0.5


def test_what_a_choice_by_cvar_loses_is_the_choice_by_accuracy_less_it(compared: tuple[Store, TableComparison]) -> None:
    store, comparison = compared
    kept = read(store.path(comparison) / "configurations.parquet")
    lost = []
    for family, learner in (("trees", "lightgbm"), ("linear", "logistic")):
        rows = np.flatnonzero((kept["learner"] == learner) & (kept["share"] == 1))
        accuracy, cvar, worst = (
            kept[name][rows] for name in ("validation_accuracy", "validation_cvar", "test_worst_group_accuracy")
        )
        (found,) = measured(compared, metric="lost by choosing CVaR", group=f"family: {family}")
        assert_allclose(found.value, worst[np.argmax(accuracy)] - worst[np.argmin(cvar)], atol=1e-9)
        lost.append(found.value)
    assert max(map(abs, lost)) > 0.005


def test_no_rule_of_choice_looks_at_the_test_rows() -> None:
    full = {"goal_accuracy": np.array([0.9, 0.8, 0.7]), "test_accuracy": np.array([0.6, 0.7, 0.9])}
    full |= {"goal_worst_group_accuracy": np.array([0.5, 0.7, 0.6])}
    full |= {"test_worst_group_accuracy": np.array([0.6, 0.2, 0.9]), "test_cvar": np.array([0.1, 0.2, 0.3])}
    full |= {"validation_cvar": np.array([3.0, 2.0, 1.0]), "fold": np.zeros(3, int)}
    rows = np.arange(3)
    assert [_by_rule(full, rows, rule) for rule in (BY_ACCURACY, BY_WORST_GROUP, BY_CVAR)] == [(0,), (1,), (2,)]


def test_disparity_and_each_group_are_those_of_the_chosen_configuration(
    compared: tuple[Store, TableComparison],
) -> None:
    store, comparison = compared
    fit = comparison.fits[1]
    table, parts = read(store.path(fit) / "configurations.parquet"), open_design(store.path(fit.design))
    row = int(table["validation_worst_group_accuracy"].argmax())
    scores = np.load(store.path(fit) / "scores.npz")["test"][row].astype(float)
    again = group_metrics(parts.test.y, scores, parts.test.g, groups=parts.groups)
    at = {"group": "lightgbm", "shift": BY_WORST_GROUP}
    for place, name in enumerate(parts.groups):
        (found,) = measured(compared, metric=f"accuracy in {name}", **at)
        assert_allclose(found.value, again.by_group["accuracy"][0, place])
        assert found.n == again.n[place]
        # Exact, since draws of a group in which all answers are right have no width.
        exact = scipy.stats.binomtest(round(found.value * found.n), found.n).proportion_ci(method="exact")
        assert_allclose([found.low, found.high], [exact.low, exact.high])
    for name, value in disparities(again).items():
        (found,) = measured(compared, metric=name, **at)
        assert_allclose(found.value, value[0])
        assert found.stderr is not None and 0.005 < found.stderr < 0.1
    (calibration,) = measured(compared, metric="calibration_error", **at)
    assert_allclose(calibration.value, again.overall["calibration_error"][0], atol=2e-3)


def test_the_draws_of_a_measurement_are_of_its_own_configuration(compared: tuple[Store, TableComparison]) -> None:
    """The bounds lie evenly around the value; those of another configuration would not."""
    found = [each for each in measured(compared, shift=BY_WORST_GROUP) if each.metric.startswith("accuracy")]
    centred = [each for each in found if each.metric == "accuracy"]
    assert len(centred) >= 5
    for each in centred:
        assert each.low is not None and each.high is not None and each.stderr is not None
        assert abs((each.low + each.high) / 2 - each.value) < 0.6 * each.stderr


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, TableComparison]:
    """Two learners on the four folds of a table."""
    folder = tmp_path_factory.mktemp("folded")
    fits = tuple(
        TableFits(design=design, learner=learner, configurations=random_configurations(learner, 3, 0))
        for design in (replace(design_of(folder), validation=0.2, fold=fold) for fold in range(4))
        for learner in ("logistic", "lightgbm")
    )
    comparison = TableComparison(fits=fits, replicates=300, pairs=(("lightgbm", "logistic"),))
    store = Store(folder / "store")
    make(store, comparison)
    return store, comparison


def test_predictions_of_the_folds_are_measured_as_one(folded: tuple[Store, TableComparison]) -> None:
    """Each fold's choice on its own test rows, put together: not the mean of the folds' worst groups."""
    store, comparison = folded
    labels, scores, codes = [], [], []
    for fit in comparison.fits[1::2]:
        table, test = read(store.path(fit) / "configurations.parquet"), open_design(store.path(fit.design)).test
        row = int(table["validation_worst_group_accuracy"].argmax())
        scores.append(np.load(store.path(fit) / "scores.npz")["test"][row])
        labels.append(test.y)
        codes.append(test.g)
    pooled = group_metrics(np.concatenate(labels), np.concatenate(scores), np.concatenate(codes))
    (found,) = measured(folded, metric="worst_group_accuracy", group="lightgbm", shift=BY_WORST_GROUP)
    assert found.n == 900
    assert_allclose(found.value, worst_group(pooled).value[0])
    apart = [worst_group(group_metrics(*each)).value[0] for each in zip(labels, scores, codes, strict=True)]
    assert found.value > np.mean(apart)


def test_the_error_is_that_of_all_rows_or_of_the_spread_of_the_folds(folded: tuple[Store, TableComparison]) -> None:
    store, comparison = folded
    by_fold = {"lightgbm": [], "logistic": []}
    for fit in comparison.fits:
        table = read(store.path(fit) / "configurations.parquet")
        by_fold[fit.learner].append(table["test_accuracy"][table["validation_accuracy"].argmax()])
    for learner, values in by_fold.items():
        (found,) = measured(folded, metric="accuracy", group=learner, shift=BY_ACCURACY)
        rows = (found.value * (1 - found.value) / 900) ** 0.5
        assert_allclose(found.stderr, max(rows, np.std(values, ddof=1) / 2), rtol=0.1)
    gaps = np.subtract(by_fold["lightgbm"], by_fold["logistic"])
    (gap,) = measured(folded, metric="difference in accuracy", group="lightgbm - logistic")
    assert_allclose(gap.value, gaps.mean(), atol=1e-3)
    assert gap.stderr is not None and gap.stderr >= gaps.std(ddof=1) / 2 - 1e-12


def test_differences_of_worst_groups_hold_whichever_they_are_and_follow_the_folds(
    folded: tuple[Store, TableComparison],
) -> None:
    store, comparison = folded
    right: dict[str, list[np.ndarray]] = {"lightgbm": [], "logistic": []}
    for fit in comparison.fits:
        row = int(read(store.path(fit) / "configurations.parquet")["validation_worst_group_accuracy"].argmax())
        said = np.load(store.path(fit) / "scores.npz")["test"][row] >= 0.5
        right[fit.learner].append(said == (open_design(store.path(fit.design)).test.y == 1))
    codes = [open_design(store.path(fit.design)).test.g for fit in comparison.fits[::2]]
    both = [np.concatenate(right[learner]) for learner in ("lightgbm", "logistic")]
    expected = worst_group_difference(*both, np.concatenate(codes))
    sizes = np.bincount(np.concatenate(codes))
    worst = [int(np.argmin(np.bincount(np.concatenate(codes), each) / sizes)) for each in both]
    gaps = [
        first[code == worst[0]].mean() - second[code == worst[1]].mean()
        for first, second, code in zip(*right.values(), codes, strict=True)
    ]
    half = t_quantile(0.95, 3) * np.std(gaps, ddof=1) / 2
    wider = []
    for learner, each, group in zip(right, both, worst, strict=True):
        # The worst group's own interval, or Student's of its accuracies in the four folds where that is wider.
        (reached,) = measured(folded, metric="worst_group_accuracy", group=learner, shift=BY_WORST_GROUP)
        exact = worst_group(group_metrics(np.ones(len(each)), each.astype(float), np.concatenate(codes)))
        folds = [one[code == group].mean() for one, code in zip(right[learner], codes, strict=True)]
        own = scipy.stats.t.ppf(0.975, 3) * np.std(folds, ddof=1) / 2
        assert_allclose(reached.low, min(exact.low[0], reached.value - own))
        assert_allclose(reached.high, min(max(exact.high[0], reached.value + own), 1))
        wider.append(reached.value - own < exact.low[0])
    assert any(wider)
    bounded = replace(comparison, simultaneous=True, pairs=(*comparison.pairs, ("logistic", "logistic")))
    make(store, bounded)
    (found,) = measured((store, bounded), metric="difference in worst_group_accuracy", group="lightgbm - logistic")
    # Two that answer alike are not known to be alike: z^2 / (n + z^2) on each side, where draws have no width.
    (same,) = measured((store, bounded), metric="difference in accuracy", group="logistic - logistic")
    reach = 1.959964**2 / (len(both[0]) + 1.959964**2)
    assert_allclose([same.value, same.low, same.high], [0, -reach, reach], rtol=1e-5)
    assert_allclose(found.value, expected.estimate)
    assert_allclose(found.low, min(expected.low, found.value - half))
    assert_allclose(found.high, max(expected.high, found.value + half))
    (drawn,) = measured(folded, metric="difference in worst_group_accuracy", group="lightgbm - logistic")
    assert drawn.value == found.value and drawn.low > found.low
    # The error behind the bounds is not Student's: folds say what it is themselves.
    assert drawn.stderr is not None and found.stderr is not None
    assert_allclose(found.stderr, max(drawn.stderr, (expected.high - expected.low) / 2 / 1.959964), rtol=1e-6)


@pytest.mark.parametrize("positives", [7, 3])
def test_only_configurations_that_learned_are_near_the_best(positives: int) -> None:
    """Of eight configurations four are better than the more frequent label; two of those are near their best."""
    accuracy = np.array([0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.6, 0.5])
    full = {"validation_accuracy": accuracy, "validation_worst_group_accuracy": accuracy - 0.2}
    full |= {"test_worst_group_accuracy": np.array([0.6, 0.585, 0.55, 0.5, 0.9, 0.89, 0.3, 0.2])}
    full |= {"fold": np.zeros(8, int), "learner": np.array(["mlp"] * 8, dtype=object)}
    part = GroupedRows(x=np.zeros((10, 1), np.float32), y=np.arange(10) < positives, g=np.zeros(10, np.uint16))  # type: ignore[arg-type]
    parts = OpenedDesign(train=part, validation=part, test=part, features=("a",), groups=("g",), notes=())
    found = {each.metric: each for each in _sensitivity(full, [parts]) if each.group == "mlp"}
    assert found["share that learned"].value == 0.5
    assert (found["share near the best"].value, found["share near the best"].n) == (0.5, 4)


def test_folds_test_every_row_once_and_train_on_other_rows(folded: tuple[Store, TableComparison]) -> None:
    store, comparison = folded
    designs = list(dict.fromkeys(fit.design for fit in comparison.fits))
    table = open_table(store.path(designs[0].table))
    parts = [split_rows(table, design) for design in designs]
    assert_array_equal(np.sort(np.concatenate([each["test"] for each in parts])), np.arange(900))
    for each in parts:
        assert len(np.unique(np.concatenate(list(each.values())))) == sum(map(len, each.values())) == 900
    few = [set(split_rows(table, replace(design, rows=100))["train"].tolist()) for design in designs[:2]]
    shared = set(parts[0]["train"].tolist()) & set(parts[1]["train"].tolist())
    # Drawn apart, about 100 / 495 of the rows that both could have are in both.
    assert len(few[0] & few[1]) < 40 < len(shared)
    with pytest.raises(SurefootError, match="past the last row"):
        split_rows(table, replace(designs[0], fold=4))


def test_a_comparison_is_of_the_folds_of_one_split(compared: tuple[Store, TableComparison], tmp_path: Path) -> None:
    store, comparison = compared
    first = comparison.fits[0]
    design = first.design
    other = Design(table=design.table, seed=9)
    fit = TableFits(design=other, learner="logistic", configurations=first.configurations)
    with pytest.raises(SurefootError, match="one split"):
        list(TableComparison(fits=(first, fit)).make(tmp_path, StoredInputs(store)))


def test_the_best_of_k_is_the_mean_over_all_draws() -> None:
    generator = np.random.default_rng(0)
    test, goal = generator.random(7), generator.random(7)
    for k in (1, 3, 7):
        draws = [test[max(chosen, key=lambda place: goal[place])] for chosen in combinations(range(7), k)]
        assert_allclose(best_of(test, goal, k), np.mean(draws))


def test_half_precision_keeps_every_decision() -> None:
    scores = np.r_[np.nextafter(np.float32(0.5), np.float32(0)), 0.4999, 0.5, 0.50001, np.linspace(0, 1, 999)]
    scores = scores.astype(np.float32)
    assert_array_equal(to_half(scores) >= 0.5, scores >= 0.5)
    assert_allclose(to_half(scores), scores, atol=5e-4)


def test_rungs_climb_to_the_whole() -> None:
    assert rung_shares(1, 10**6, 100, by_epochs=False) == [1.0]
    assert rung_shares(3, 10**6, 100, by_epochs=False) == pytest.approx([1 / 9, 1 / 3, 1])
    assert rung_shares(3, 4000, 100, by_epochs=False) == pytest.approx([1 / 3, 1])
    assert rung_shares(3, 4000, 100, by_epochs=True) == pytest.approx([1 / 9, 1 / 3, 1])
    assert rung_shares(3, 500, 100, by_epochs=False) == [1.0]


@pytest.mark.parametrize(("learner", "count", "finished"), [("xgboost", 9, 3), ("lightgbm", 12, 4)])
def test_halving_finishes_a_share_in_whole_ensembles_and_records_the_rest(
    learner: str, count: int, finished: int, tmp_path: Path
) -> None:
    design, chosen = design_of(tmp_path, rows=6000), random_configurations(learner, count + 1, 0)[1:]
    fit = TableFits(design=design, learner=learner, configurations=chosen, halving=3)
    store = Store(tmp_path / "store")
    make(store, fit)
    share = read(store.path(fit) / "configurations.parquet")["share"]
    assert (share == 1).sum() == finished
    assert (share < 1).sum() == count - finished
    places = {each.replicate for each in store.measurements(fit) if each.metric == "accuracy"}
    assert places == set(np.flatnonzero(share == 1).tolist())
    if learner == "lightgbm":
        rates = {dict(chosen[place])["learning_rate"] for place in places}
        assert len(rates) == 1


def test_one_small_group_does_not_keep_a_table_from_being_fitted(tmp_path: Path) -> None:
    design_of(tmp_path)
    lines = (tmp_path / "people.csv").read_text(encoding="utf-8").splitlines()
    lines[1:31] = [line.replace(",1,", ",2,", 1).replace(",0,", ",2,", 1) for line in lines[1:31]]
    (tmp_path / "small.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    design = Design(table=file_table(tmp_path / "small.csv", label="y", sensitive=("sex",)))
    store = Store(tmp_path / "store")
    fit = TableFits(design=design, learner="logistic", configurations=random_configurations("logistic", 1, 0))
    make(store, fit)
    sizes = np.bincount(open_design(store.path(design)).test.g)
    assert (len(sizes), int((sizes < 20).sum())) == (3, 1)
    assert {each.group for each in store.measurements(fit) if each.metric == "worst_group_accuracy"} <= {
        "sex 0",
        "sex 1",
    }


def test_halving_gives_networks_a_share_of_the_epochs_whatever_their_rows(tmp_path: Path) -> None:
    """On fewer than 1,000 training rows, where a share of the rows would be too few to rank anything."""
    design, store = design_of(tmp_path), Store(tmp_path / "store")
    chosen = random_configurations("mlp", 5, 0)[1:]
    fit = TableFits(design=design, learner="mlp", configurations=chosen, epochs=4, halving=4)
    make(store, fit)
    assert len(open_design(store.path(design)).train.y) < 1000
    assert sorted(read(store.path(fit) / "configurations.parquet")["share"]) == [0.25, 0.25, 0.25, 1]


def test_halving_lets_the_best_by_accuracy_and_by_the_worst_group_go_on() -> None:
    y, g = np.tile([0, 1], 100).astype(np.uint8), np.repeat([0, 1], 100).astype(np.uint16)
    part = GroupedRows(x=np.zeros((200, 1), np.float32), y=y, g=g)

    def scores(wrong_in_first: int, wrong_in_second: int) -> np.ndarray:
        right = np.where(y == 1, 0.9, 0.1)
        wrong = np.r_[np.arange(wrong_in_first), 100 + np.arange(wrong_in_second)].astype(int)
        right[wrong] = 1 - right[wrong]
        return right

    told = np.stack([scores(40, 40), scores(0, 20), scores(50, 0), scores(15, 15), scores(60, 60), scores(45, 30)])
    chosen = tuple((("C", float(place)),) for place in range(6))
    design = Design(table=PublicTable(name="adult"))
    step = TableFits(design=design, learner="logistic", configurations=chosen, halving=3)
    # The most accurate (1: 10 percent wrong, the worst group 20) and that with the best worst group (3: 15 percent).
    assert _survivors(step, part, told.astype(np.float32), range(6)) == [1, 3]


def test_a_representation_is_a_stage_that_gives_the_same_fits(tmp_path: Path) -> None:
    design, store = design_of(tmp_path), Store(tmp_path / "store")
    chosen = random_configurations("representation-gbm", 11, 0)[1:]
    weights = {(float(dict(each)["label"]), float(dict(each)["parity"])) for each in chosen}
    assert len(weights) == 2
    stages = tuple(FairTable(design=design, label=label, parity=parity) for label, parity in sorted(weights))
    named = {"design": design, "learner": "representation-gbm", "configurations": chosen}
    apart, inside = TableFits(**named, representations=stages), TableFits(**named)
    make(store, apart, inside)
    kept = [np.load(store.path(fit) / "scores.npz")["test"] for fit in (apart, inside)]
    assert_array_equal(*kept)
    seconds = read(store.path(apart) / "configurations.parquet")["cpu_seconds"]
    assert seconds.sum() > sum(represented(store.path(stage), open_design(store.path(design)))[1] for stage in stages)
    with pytest.raises(SurefootError, match="representations do not fit"):
        list(TableFits(**named, representations=stages[:1]).make(tmp_path, StoredInputs(store)))


def test_a_grid_is_split_into_steps_of_whole_ensembles(tmp_path: Path) -> None:
    design, grid = design_of(tmp_path), full_grid("lightgbm")
    fits = table_fits(design, "lightgbm", grid)
    assert len(fits) == 13 and max(len(fit.configurations) for fit in fits) <= 256
    assert sorted(each for fit in fits for each in fit.configurations) == sorted(grid)
    for fit in fits:
        shared = [tuple(pair for pair in each if pair[0] != "n_estimators") for each in fit.configurations]
        assert all(shared.count(each) == 4 for each in shared)
    stages = tuple(FairTable(design=design, label=label, parity=1.0) for label in (0.1, 1.0))
    chosen = [
        each
        for each in full_grid("representation-gbm")
        if dict(each)["parity"] == 1.0 and dict(each)["label"] in (0.1, 1.0)
    ]
    for fit in table_fits(design, "representation-gbm", chosen, representations=stages):
        assert {table.label for table in fit.representations} == {dict(each)["label"] for each in fit.configurations}


def test_nothing_is_fitted_when_every_group_is_small(tmp_path: Path) -> None:
    design = design_of(tmp_path, rows=240)
    fit = TableFits(design=replace(design, test=0.2), learner="logistic", configurations=((("C", 1.0),),))
    store = Store(tmp_path / "store")
    with open_pool("here") as pool:
        errors = [event.error or "" for event in run([fit], store, pool) if event.kind == "failed"]
    assert any("No group has 20 validation rows" in error or "No group has 20 test rows" in error for error in errors)


def test_wrong_fits_are_refused(tmp_path: Path) -> None:
    design, store = design_of(tmp_path), Store(tmp_path / "store")
    for fit, message in (
        (TableFits(design=design, learner="oak", configurations=((),)), "no learner named 'oak'"),
        (TableFits(design=design, learner="gbm", configurations=()), "at least one configuration"),
    ):
        with pytest.raises(SurefootError, match=message):
            list(fit.make(tmp_path, StoredInputs(store)))
