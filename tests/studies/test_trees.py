"""The study of subgroups: its plan, its pooling, and what it says when nothing was run."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from surefoot.core import (
    Measurement,
    Observation,
    Results,
    Store,
    Study,
    SurefootError,
    decide,
    open_pool,
    run,
    walk,
)
from surefoot.studies import load_study
from surefoot.studies.trees import REFERENCES, configurations, sweep
from surefoot.studies.trees._claims import difference_claims
from surefoot.studies.trees._paper import PAPER_PEAKS
from surefoot.studies.trees._results import (
    Pooled,
    _over_splits,
    by_precision,
    judge,
    mean_over_splits,
    over_tables,
    spread_over,
)
from surefoot.tabular import (
    LEARNERS,
    RECIPES,
    Design,
    FileTable,
    PublicTable,
    TableComparison,
    TableFits,
    size_of_grid,
)


def test_the_study_holds_every_learner_on_every_table_and_split() -> None:
    study = load_study("trees", {"splits": "2", "budget": "8"})
    steps = walk(study.steps)
    comparisons = 2 * len(RECIPES)
    assert sum(isinstance(step, TableComparison) for step in study.steps) == comparisons
    assert sum(isinstance(step, Design) for step in steps) == comparisons + len(REFERENCES)
    references = sum(map(len, REFERENCES.values()))
    assert sum(isinstance(step, TableFits) for step in steps) == comparisons * len(LEARNERS) + references


def test_the_reduction_gets_short_ensembles_of_many_kinds() -> None:
    chosen = [dict(each) for each in configurations("reduction-gbm", 20)]
    assert [each["n_estimators"] for each in chosen] == [64] * 5
    assert len({each["learning_rate"] for each in chosen}) == 5
    assert len(configurations("reduction-gbm", 100_000)) == size_of_grid("reduction-gbm")


def test_more_splits_keep_what_is_there() -> None:
    one = {step.key for step in walk(load_study("trees", {"splits": "1"}).steps)}
    two = {step.key for step in walk(load_study("trees", {"splits": "2"}).steps)}
    assert one < two


def test_without_results_every_claim_is_undecided(tmp_path: Path) -> None:
    study = load_study("trees", {"splits": "1"})
    verdicts = decide(study.claims, Results(Store(tmp_path), tuple(walk(study.steps))))
    assert {verdict.status for _, verdict in verdicts} == {"undecided"}
    assert all(verdict.detail for _, verdict in verdicts)


@pytest.mark.parametrize(("option", "message"), [("tables", "no public table"), ("learners", "no learner")])
def test_unknown_names_are_refused(option: str, message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        load_study("trees", {option: "oak"})


def test_means_over_tables_carry_their_errors() -> None:
    pooled = over_tables([Pooled(value=0.1, stderr=0.03, n=2), Pooled(value=0.3, stderr=0.04, n=2)])
    assert_allclose([pooled.value, pooled.stderr], [0.2, 0.025])
    assert over_tables([Pooled(value=0.1, stderr=None, n=1)]).low is None
    with pytest.raises(SurefootError, match="run the study"):
        over_tables([])


def test_the_mean_by_precision_is_the_inverse_variance_mean() -> None:
    parts = [Pooled(value=0.1, stderr=0.1, n=1), Pooled(value=0.4, stderr=0.2, n=1), Pooled(value=9, stderr=None, n=1)]
    found = by_precision(parts)
    assert found is not None
    assert_allclose([found.value, found.stderr], [(100 * 0.1 + 25 * 0.4) / 125, 125**-0.5])
    assert by_precision(parts[:1]) is None


def test_the_papers_numbers_are_read_by_learner_and_table() -> None:
    assert PAPER_PEAKS["lightgbm"]["adult"] == (0.874, 0.837)
    assert PAPER_PEAKS["cvar-dro"]["larc"] == (0.644, 0.492)
    assert "adult" not in PAPER_PEAKS["marginal-dro"]
    assert set(PAPER_PEAKS) == {name for name, learner in LEARNERS.items() if learner.paper}
    assert all(worst < accuracy for row in PAPER_PEAKS.values() for accuracy, worst in row.values())


def test_figures_without_results_say_what_to_do(tmp_path: Path) -> None:
    study = load_study("trees", {"splits": "1"})
    nothing = Results(Store(tmp_path), tuple(walk(study.steps)))
    drawn = []
    for figure in study.figures:
        try:
            drawn.append(figure(nothing).name)
        except SurefootError as error:
            assert str(error)
    assert drawn == ["the-papers-worst-group"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Results]:
    """A finished sweep of a small table, in which one group has too few rows."""
    folder = tmp_path_factory.mktemp("swept")
    generator = np.random.default_rng(0)
    lines = ["skill,town,group,hired"]
    for row in range(700):
        skill, group = generator.normal(), "rare" if row % 25 == 0 else "ab"[row % 2]
        noise = {"a": 0.2, "b": 1.2, "rare": 0.5}[group] * generator.normal()
        lines.append(f"{skill:.3f},{('Rome', '', 'Oslo')[row % 3]},{group},{'yes' if skill + noise > 0 else 'no'}")
    (folder / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = FileTable(path=str(folder / "people.csv"), label="hired", sensitive=("group",)).pinned()
    study = sweep(table, learners=("logistic", "lightgbm", "group-dro"), budget=4, epochs=3)
    store = Store(folder / "store")
    with open_pool("here") as pool:
        events = list(run(study.steps, store, pool))
    assert not [event.error for event in events if event.kind in ("failed", "blocked")]
    return study, Results(store, tuple(walk(study.steps)))


def test_a_sweep_shows_groups_frontier_worst_group_disparity_calibration_sensitivity_and_cost(
    swept: tuple[Study, Results],
) -> None:
    study, results = swept
    figures = {figure.name: figure for figure in (draw(results) for draw in study.figures)}
    assert {"groups", "worst-group", "in-groups", "disparity", "calibration", "frontier", "sensitivity", "cost"} <= set(
        figures
    )
    worst = {row["label"]: row for row in figures["worst-group"].table()}
    inside = figures["in-groups"].table()
    for title, row in worst.items():
        assert row["low"] < row["value"] < row["high"]
        assert (row["n"], row["splits"]) == (140, 2)
        # Averaged over splits, the worst group is no better than any group's average.
        assert row["value"] <= min(cell["value"] for cell in inside if cell["row"] == title) + 1e-12
    assert {cell["column"] for cell in inside} == {"group a", "group b"}


def test_a_group_that_is_too_small_is_named_and_stands_apart(swept: tuple[Study, Results]) -> None:
    study, results = swept
    (figure,) = (drawn for drawn in (draw(results) for draw in study.figures[:1]) if drawn.name == "groups")
    apart = {row["label"]: row["group"] for row in figure.table()}
    assert apart == {"group a (336)": "compared", "group b (336)": "compared", "group rare (28)": "too few test rows"}
    assert "fewer than 20 test rows" in figure.caption
    assert "The label is yes where hired is 'yes'" in figure.caption
    assert "Column town has 233 missing values of 700" in figure.caption


def test_claims_are_of_the_families_that_are_there(swept: tuple[Study, Results]) -> None:
    study, results = swept
    verdicts = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    assert set(verdicts) == {
        "peak accuracy against robust",
        "peak worst-group accuracy against robust",
        "disparity against robust",
        "frontier against robust",
    }
    for verdict in verdicts.values():
        assert verdict.low is not None and verdict.effect is not None and verdict.high is not None
        assert verdict.low <= verdict.effect <= verdict.high
        assert verdict.n == 2
    assert difference_claims(("logistic", "group-dro")) == ()


def test_a_few_splits_alone_have_students_interval() -> None:
    measured = [Measurement(metric="m", value=value, n=30) for value in (0.2, 0.4)]
    design = Design(table=PublicTable(name="adult"))
    seen = [Observation(step=design, measurement=each) for each in measured]
    pooled = _over_splits(seen)
    # t of one degree of freedom: 12.7 standard errors of 0.1 to both sides.
    assert_allclose([pooled.low, pooled.high], [0.3 - 1.2706, 0.3 + 1.2706], rtol=1e-3)
    assert pooled.rows == 30


def test_the_mean_over_splits_has_the_interval_of_a_two_way_table() -> None:
    """Against the residual error of an analysis of variance with tables as its groups."""
    import statsmodels.api as sm

    generator = np.random.default_rng(0)
    values = {(f"t{table}", split): table + generator.normal() for table in range(4) for split in range(3)}
    tables = np.repeat(np.eye(4), 3, axis=0)
    fit = sm.OLS(np.array(list(values.values())), tables).fit()
    found = mean_over_splits(values)
    error = float(fit.t_test(np.full(4, 0.25)).sd.item())
    assert_allclose(found["y"], np.mean(list(values.values())))
    assert_allclose(found["high"] - found["y"], 2.306004 * error, rtol=1e-4)  # t of eight degrees of freedom
    assert set(mean_over_splits({("t", 0): 1.0, ("t", 1): 2.0})) == {"y"}


def test_the_spread_over_tables_is_students_interval() -> None:
    from scipy.stats import t

    values = [0.2, 0.5, 0.3, 0.9]
    pooled = spread_over(values)
    low, high = t.interval(0.95, 3, loc=pooled.value, scale=_standard_error(values))
    assert_allclose([pooled.low, pooled.high], [low, high], rtol=1e-6)
    with pytest.raises(SurefootError, match="at least two"):
        spread_over([0.4])


def _standard_error(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)) ** 0.5


def test_a_verdict_needs_the_whole_interval() -> None:
    assert judge(Pooled(value=0.1, stderr=0.02, n=3), 0.0, "").status == "supported"
    assert judge(Pooled(value=0.1, stderr=0.2, n=3), 0.0, "").status == "undecided"
    assert judge(Pooled(value=-0.1, stderr=0.02, n=3), 0.0, "").status == "contradicted"
    assert judge(Pooled(value=-0.1, stderr=0.02, n=3), 0.0, "", below=True).status == "supported"
