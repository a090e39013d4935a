"""The study of subgroups: its plan, its pooling, and what it says when nothing was run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm, t

from surefoot.core import (
    Claim,
    Measurement,
    Results,
    Step,
    Store,
    Study,
    SurefootError,
    Verdict,
    decide,
    open_pool,
    run,
    walk,
)
from surefoot.studies import load_study
from surefoot.studies._hypotheses import Hypothesis, Pooled, claims_of
from surefoot.studies.trees import study, sweep
from surefoot.studies.trees._claims import RIVALS, _error_alone, difference_claims
from surefoot.studies.trees._figures import more_rows
from surefoot.studies.trees._paper import PAPER_PEAKS
from surefoot.studies.trees._plan import SMALL, STUDIED, configurations, epochs_of
from surefoot.studies.trees._results import by_table, over_tables, spread_over
from surefoot.tabular import (
    BEST_ON_TEST,
    BY_ACCURACY,
    BY_CVAR,
    BY_WORST_GROUP,
    DEFAULTS,
    LEARNERS,
    RECIPES,
    FileTable,
    TableComparison,
    TableFits,
    configuration,
    difference_in,
    full_grid,
    pair_of,
)

Publish = Callable[[Store, Step, list[Measurement]], Path]


def test_every_learner_has_the_same_budget_with_its_default_first_on_every_fold() -> None:
    study = load_study("trees", {"budget": "8", "repeats": "2"})
    compared = [step for step in study.steps if isinstance(step, TableComparison) and len(step.fits) > 20]
    assert len(compared) == len(RECIPES) + len(SMALL)
    for comparison in compared:
        small = comparison.fits[0].design.table.name in SMALL  # type: ignore[union-attr]
        designs = {fit.design for fit in comparison.fits}
        assert len(designs) == (5 if small else 3)
        assert len(comparison.fits) == len(STUDIED) * len(designs)
        for fit in comparison.fits:
            assert len(fit.configurations) == 8
            assert fit.configurations[0] == configuration(DEFAULTS[fit.learner])
            assert fit.design.rows == (0 if small else 4000)


def test_a_budget_is_drawn_from_the_cheap_part_of_a_grid_and_a_larger_one_keeps_it() -> None:
    for learner in LEARNERS:
        few, many = configurations(learner, 4), configurations(learner, 7)
        assert few == many[:4]
        assert len(set(many)) == 7
        assert set(many[1:]) <= set(full_grid(learner))
        for each in map(dict, many[1:]):
            assert int(each.get("n_estimators", 0)) <= (64 if learner == "reduction-gbm" else 256)
            assert int(each.get("width", 0)) <= 64
    whole = configurations("reduction-gbm", 100_000)
    assert set(full_grid("reduction-gbm")) <= set(whole)


def test_networks_take_as_many_steps_on_few_rows_as_on_many() -> None:
    for rows in (4000, 16000, 64000):
        assert abs(epochs_of("acs-income", rows, 1500) * rows / 128 - 1500) < 0.51 * rows / 128
    assert epochs_of("german", 4000, 1500) == 100


def test_the_full_grid_is_made_by_steps_that_a_cluster_can_share() -> None:
    study = load_study("trees", {"budget": "100000", "tables": "german", "learners": "xgboost,lightgbm"})
    fits = [step for step in walk(study.steps) if isinstance(step, TableFits)]
    assert max(len(fit.configurations) for fit in fits) <= 256
    assert sum(len(fit.configurations) for fit in fits) == 5 * (1944 + 3136 + 2)


def test_more_folds_and_repeats_keep_what_is_there() -> None:
    one = {step.key for step in walk(load_study("trees", {"folds": "1"}).steps) if isinstance(step, TableFits)}
    two = {step.key for step in walk(load_study("trees", {"folds": "2", "repeats": "2"}).steps)}
    assert one < two


def test_without_results_every_claim_is_unmeasured(tmp_path: Path) -> None:
    study = load_study("trees", {"folds": "1"})
    verdicts = decide(study.claims, Results(Store(tmp_path), tuple(walk(study.steps))))
    assert {verdict.status for _, verdict in verdicts} == {"unmeasured"}
    assert all(verdict.detail for _, verdict in verdicts)


@pytest.mark.parametrize(("option", "message"), [("tables", "no public table"), ("learners", "no learner")])
def test_unknown_names_are_refused(option: str, message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        load_study("trees", {option: "oak"})


_WORST_APART = difference_in("worst_group_accuracy")


def part(value: float, stderr: float | None, rows: int = 1000) -> Pooled:
    return Pooled(value=value, stderr=stderr, n=1, rows=rows)


def test_the_mean_over_tables_is_that_of_a_hierarchy() -> None:
    """Against statsmodels' Paule and Mandel mean; where tables are more alike than their errors say, its plain one."""
    from statsmodels.stats.meta_analysis import combine_effects

    errors = np.array([0.004, 0.01, 0.02, 0.012, 0.03])
    apart, alike = np.array([0.01, 0.03, -0.02, 0.08, 0.05]), np.array([0.01, 0.011, 0.009, 0.012, 0.01])
    theirs = combine_effects(apart, errors**2, method_re="iterated")
    found = over_tables(map(part, apart, errors))
    assert_allclose([found.value, found.stderr], [theirs.mean_effect_re, theirs.sd_eff_w_re], rtol=1e-4)
    weights = 1 / (errors**2 + theirs.tau2)
    assert_allclose(found.freedom, weights.sum() ** 2 / (weights**2).sum() - 1, rtol=1e-3)
    found = over_tables(map(part, alike, errors))
    assert_allclose([found.value, found.stderr], [np.average(alike, weights=errors**-2), (errors**-2).sum() ** -0.5])


def test_one_table_is_itself_and_none_is_more_certain_than_one_of_its_rows() -> None:
    assert over_tables([part(0.1, 0.02)]) == part(0.1, 0.02)
    folds = over_tables([replace(part(0.1, 0.02), folds=3)])
    assert folds.low == pytest.approx(0.1 - t.ppf(0.975, 2) * 0.02)
    sure = over_tables([part(0.1, 0.0, rows=100), part(0.1, 0.01)])
    assert sure.stderr is not None
    assert_allclose(sure.stderr, 0.01 / 2**0.5)
    assert over_tables([Pooled(value=0.1, stderr=None, n=1)]).low is None
    with pytest.raises(SurefootError, match="run the study"):
        over_tables([])


def test_the_mean_over_tables_covers_its_estimand() -> None:
    """Eight tables that differ by a point, with errors from .1 to 3 points as the study's: 95 of 100 intervals."""
    generator, errors = np.random.default_rng(0), np.array([0.1, 0.15, 0.2, 0.5, 1.2, 1.3, 2.5, 3.0])
    inside = 0
    for _ in range(600):
        values = 1 + generator.normal(size=8) + errors * generator.normal(size=8)
        found = over_tables(map(part, values, errors))
        assert found.low is not None and found.high is not None
        inside += found.low <= 1 <= found.high
    assert 555 <= inside <= 590


def test_the_papers_numbers_are_read_by_learner_and_table() -> None:
    assert PAPER_PEAKS["lightgbm"]["adult"] == (0.874, 0.837)
    assert PAPER_PEAKS["cvar-dro"]["larc"] == (0.644, 0.492)
    assert "adult" not in PAPER_PEAKS["marginal-dro"]
    assert set(PAPER_PEAKS) == {name for name, learner in LEARNERS.items() if learner.family != "robust trees"}
    assert all(worst < accuracy for row in PAPER_PEAKS.values() for accuracy, worst in row.values())


def test_figures_without_results_say_what_to_do(tmp_path: Path) -> None:
    study = load_study("trees", {"folds": "1"})
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
    study = sweep(table, learners=("logistic", "lightgbm", "group-dro"), budget=4, splits=2, epochs=3)
    store = Store(folder / "store")
    with open_pool("here") as pool:
        events = list(run(study.steps, store, pool))
    assert not [event.error for event in events if event.kind in ("failed", "blocked")]
    return study, Results(store, tuple(walk(study.steps)))


def test_a_sweep_shows_groups_worst_group_disparity_calibration_sensitivity_and_cost(
    swept: tuple[Study, Results],
) -> None:
    study, results = swept
    figures = {figure.name: figure for figure in (draw(results) for draw in study.figures)}
    names = {"groups", "worst-group", "accuracy", "in-groups", "disparity", "calibration", "sensitivity", "cost"}
    assert names <= set(figures)
    worst = {row["label"]: row for row in figures["worst-group"].table()}
    inside = figures["in-groups"].table()
    for title, row in worst.items():
        assert row["low"] < row["value"] < row["high"]
        # Two fifths of 700 rows, as one.
        assert abs(row["n"] - 280) <= 3
        assert row["value"] == min(cell["value"] for cell in inside if cell["row"] == title)
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
    }
    for verdict in verdicts.values():
        assert verdict.low is not None and verdict.effect is not None and verdict.high is not None
        assert verdict.low <= verdict.effect <= verdict.high
        assert verdict.n == 1
    assert not list(difference_claims(("logistic", "group-dro")))


def test_the_spread_over_tables_is_students_interval() -> None:
    values = [0.2, 0.5, 0.3, 0.9]
    pooled = spread_over(values)
    low, high = t.interval(0.95, 3, loc=pooled.value, scale=_standard_error(values))
    assert_allclose([pooled.low, pooled.high], [low, high], rtol=1e-6)
    with pytest.raises(SurefootError, match="at least two"):
        spread_over([0.4])


def _standard_error(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)) ** 0.5


def hypothesis(name: str, value: float, stderr: float, **more: object) -> Hypothesis:
    found = Pooled(value=value, stderr=stderr, n=8)
    return Hypothesis(name=name, sentence=name, source="", effect=lambda _: (found, "seen"), **more)  # type: ignore[arg-type]


def verdicts(claims: tuple[Claim, ...], tmp_path: Path) -> dict[str, Verdict]:
    return {claim.name: claim.check(Results(Store(tmp_path), ())) for claim in claims}


def test_a_verdict_needs_the_whole_interval(tmp_path: Path) -> None:
    family = [hypothesis("above", 0.1, 0.02), hypothesis("wide", 0.1, 0.2), hypothesis("below", -0.1, 0.02)]
    family += [hypothesis("meant below", -0.1, 0.02, below=True), hypothesis("by the bound", 0.1, 0.02, bound=0.2)]
    found = {name: verdict.status for name, verdict in verdicts(claims_of(family), tmp_path).items()}
    assert found == {
        "above": "supported",
        "wide": "undecided",
        "below": "contradicted",
        "meant below": "supported",
        "by the bound": "contradicted",
    }


def test_p_is_against_the_bound(tmp_path: Path) -> None:
    found = verdicts(claims_of([hypothesis("at it", 0.1, 0.02, bound=0.1)]), tmp_path)["at it"]
    # With infinite degrees of freedom, (1.96 + 1.2816) errors are seen nine times in ten.
    seen = 100 * 0.02 * (norm.ppf(0.975) + norm.ppf(0.9))
    assert found.detail == (
        f"seen; p 1, among 1 claims 1 (Holm); {seen:.1f} points from the bound would be seen nine times in ten"
    )


def test_p_and_interval_have_the_degrees_of_freedom_of_the_effect(tmp_path: Path) -> None:
    few = Pooled(value=2.5, stderr=1.0, n=4, freedom=3)
    claim = Hypothesis(name="few", sentence="few", source="", effect=lambda _: (few, "seen"))
    found = verdicts(claims_of([claim]), tmp_path)["few"]
    assert (found.low, found.high) == pytest.approx(t.interval(0.95, 3, loc=2.5))
    assert f"p {2 * t.sf(2.5, 3):.2g}, among" in found.detail and found.status == "undecided"


def test_a_verdict_holds_among_all_that_are_tested(tmp_path: Path) -> None:
    """At p = .02 one claim alone is supported; among five of which the others say nothing it is not (Holm: .1)."""
    alone = claims_of([hypothesis("a", 2.326, 1.0)])
    assert verdicts(alone, tmp_path)["a"].status == "supported"
    among = claims_of([hypothesis("a", 2.326, 1.0), *(hypothesis(str(at), 0.0, 1.0) for at in range(4))])
    verdict = verdicts(among, tmp_path)["a"]
    assert verdict.status == "undecided"
    assert "among 5 claims 0.1 (Holm)" in verdict.detail
    assert verdict.low is not None and verdict.low > 0


def test_a_claim_that_is_not_measured_is_not_counted(tmp_path: Path) -> None:
    def missing(results: Results) -> tuple[Pooled, str]:
        raise SurefootError("Nothing is there.")

    family = [hypothesis("a", 2.326, 1.0), Hypothesis(name="b", sentence="b", source="", effect=missing)]
    assert verdicts(claims_of(family)[:1], tmp_path)["a"].status == "supported"


LARGE = ("acs-income", "acs-public-coverage", "brfss", "adult")


def world(table: str, lead: float) -> list[Measurement]:
    """What a comparison would measure where trees lead by `lead`, in everything that the claims ask."""
    few = {"n": 1000, "stderr": 0.002 if table in LARGE else 0.02}
    found = []
    for metric, rule in (("accuracy", BY_ACCURACY), ("worst_group_accuracy", BY_WORST_GROUP)):
        pairs = {"trees - robust": lead, "trees - fair": 2 * lead, "trees - robust trees": -lead}
        pairs |= {f"{first} - {second}": lead for first, second in RIVALS}
        # The least of the eight differences of the census decides.
        pairs["xgboost - chi-square-dro"] *= 0.5 if table == "acs-public-coverage" else 1.0
        for pair, value in pairs.items():
            # Twice as large and more than twice as uncertain: it is the least certain one that decides.
            unsure = pair == "xgboost - group-dro" and table == "acs-income"
            more = {"stderr": 0.0042} if unsure else {}
            at = {"metric": f"difference in {metric}", "group": pair, "shift": rule}
            found.append(Measurement(value=value, **at, **few | more))
    for family, value in (("trees", 0.01), ("robust", 0.01 + lead)):
        at = {"group": f"family: {family}", "shift": BY_CVAR}
        found.append(Measurement(metric="lost by choosing CVaR", value=value, **at, **few))
    # Tables differ a little, or equal numbers would say nothing of their spread.
    bit = 0.001 * (len(table) % 4)
    for learner, one in (("lightgbm", 0.9), ("mlp", 0.8), ("logistic", 0.85)):
        for pair, value in (("accuracy ~ worst-group accuracy", one), ("accuracy ~ CVaR", -0.2)):
            seen = (value if lead > 0 else value - 0.7) + bit
            found.append(Measurement(metric="correlation", value=seen, group=learner, shift=pair, n=8))
    shares = {"family: trees": 0.4, "family: robust": 0.4 - 10 * lead + bit, "mlp": 0.4 - 5 * lead + bit}
    for group, value in shares.items():
        found.append(Measurement(metric="share near the best", value=value, group=group, n=24))
        found.append(Measurement(metric="share that learned", value=0.9, group=group, n=24))
    for learner, seconds in (("lightgbm", 1.0), ("xgboost", 1.0), ("group-dro", 10.0 ** (50 * lead + bit))):
        found.append(Measurement(metric="cpu_seconds_each", value=seconds, group=learner, n=24))
        for rule, value in ((BY_WORST_GROUP, 0.8), (BEST_ON_TEST, 0.8 + lead + bit)):
            at = {"group": learner, "shift": rule}
            found.append(Measurement(metric="worst_group_accuracy", value=value, **at, **few))
    return found


def planted(publish: Publish, folder: Path, lead: float) -> dict[str, Verdict]:
    study, store = load_study("trees", {}), Store(folder)
    for step in study.steps:
        if isinstance(step, TableFits) and step.learner == "cvar-dro":
            worst = Measurement(
                metric="worst_group_accuracy", value=0.712 + lead, low=0.7 + lead, high=0.724 + lead, n=9
            )
            both = [worst, Measurement(metric="accuracy", value=0.85, n=9)]
            publish(store, step, [replace(each, shift="test") for each in both])
        elif isinstance(step, TableComparison):
            design = step.fits[0].design
            # A curve's few fits say the opposite: no claim may read them.
            sign = -1 if len(step.fits) < len(STUDIED) else 1
            publish(store, step, world(design.table.name, sign * lead))  # type: ignore[union-attr]
    return {claim.name: verdict for claim, verdict in decide(study.claims, Results(store, tuple(walk(study.steps))))}


def test_every_claim_says_what_was_planted(publish: Publish, tmp_path: Path) -> None:
    found = planted(publish, tmp_path, 0.02)
    statuses = {name: verdict.status for name, verdict in found.items()}
    wrong = {"robust boosting": "supported", "CVaR-DRO row of the paper": "contradicted"}
    assert statuses == dict.fromkeys(statuses, "supported") | wrong
    effects = {
        "peak accuracy against robust": 0.02,
        "peak worst-group accuracy against robust": 0.02,
        "peak accuracy against fair": 0.04,
        "peak worst-group accuracy against fair": 0.04,
        "robust boosting": 0.02,
        "XGBoost against robust networks on the census": 0.02,
        "choosing by CVaR": 0.02,
        "CVaR-DRO row of the paper": 0.02,
    }
    for name, effect in effects.items():
        assert found[name].effect == pytest.approx(effect), name
    assert len(found) == 14
    bounds = {name: verdict.bound for name, verdict in found.items() if verdict.bound}
    match = dict.fromkeys((name for name in found if name.startswith("peak")), -0.005)
    strong = dict.fromkeys((name for name in found if name.startswith("correlation")), 0.7)
    assert bounds == match | strong | {"CVaR-DRO row of the paper": 0.005}
    peak = found["peak accuracy against robust"]
    # Tables that agree: four of .002 and four of .02, which count a hundredth, are 4.08 effective ones.
    assert peak.low is not None
    weights = np.array([0.002**-2] * 4 + [0.02**-2] * 4)
    freedom = weights.sum() ** 2 / (weights**2).sum() - 1
    assert_allclose(0.02 - peak.low, t.ppf(0.975, freedom) / weights.sum() ** 0.5, rtol=1e-6)
    width = t.ppf(0.975, freedom) / weights.sum() ** 0.5
    cvar = found["choosing by CVaR"]  # of two parties, each with its error
    assert (cvar.low, cvar.high) == pytest.approx((0.02 - 2**0.5 * width, 0.02 + 2**0.5 * width))
    census = found["XGBoost against robust networks on the census"]
    assert census.low == pytest.approx(0.02 - t.ppf(0.975, 2) * 0.0042)  # three folds
    row = found["CVaR-DRO row of the paper"]
    assert (row.low, row.high) == pytest.approx((0.008, 0.032))
    correlation = found["correlation accuracy ~ worst-group accuracy"]
    spread = spread_over([0.85 + 0.001 * (len(name) % 4) for name in RECIPES])
    assert (correlation.low, correlation.high) == pytest.approx((spread.low, spread.high))
    assert found["correlation accuracy ~ worst-group accuracy"].effect == pytest.approx(0.85, abs=0.005)
    assert found["sensitivity beside the robust ones"].effect == pytest.approx(0.2, abs=0.01)
    assert found["sensitivity beside a plain network's"].effect == pytest.approx(0.1, abs=0.01)
    assert found["cost"].effect == pytest.approx(1.0, abs=0.01)
    assert found["optimism of choosing on test"].effect == pytest.approx(0.02, abs=0.005)


def test_repeats_of_the_same_rows_have_the_error_of_one(publish: Publish, tmp_path: Path) -> None:
    study, store = load_study("trees", {"tables": "german", "repeats": "2"}), Store(tmp_path)
    for step, value in zip(study.steps, (0.1, 0.3), strict=True):
        publish(store, step, [Measurement(metric="accuracy", value=value, stderr=0.02, n=1000, group="a", shift="b")])
    found = by_table(Results(store, tuple(walk(study.steps))), "accuracy", "a", "b")["german"]
    assert_allclose([found.value, found.stderr], [0.2, 0.02])
    assert (found.n, found.rows) == (2, 1000)


def test_splits_beyond_five_count_by_their_folds(publish: Publish, tmp_path: Path) -> None:
    """Seven splits are five folds and two of a second shuffle: these were taken for a curve, and left out unsaid."""
    table = FileTable(path="people.csv", digest="0" * 64, label="y", sensitive=("g",))
    study, store = sweep(table, learners=("logistic",), splits=7), Store(tmp_path)
    for step, value in zip(study.steps, (0.8, 0.1), strict=True):
        at = {"low": value - 0.1, "high": value + 0.1, "stderr": value / 2}
        publish(store, step, [Measurement(metric="accuracy", value=value, n=1000, group="a", shift="b", **at)])
    found = by_table(Results(store, tuple(walk(study.steps))), "accuracy", "a", "b")["people"]
    assert_allclose([found.value, found.low, found.high], [0.6, 0.5, 0.7])
    assert_allclose(found.stderr, ((5 * 0.4**2 + 2 * 0.05**2) / 7) ** 0.5)


def test_every_claim_is_refused_where_the_opposite_was_planted(publish: Publish, tmp_path: Path) -> None:
    found = planted(publish, tmp_path, -0.02)
    kept = {name for name, verdict in found.items() if verdict.status != "contradicted"}
    # The row of the paper is then what it says; correlations with CVaR are then below -.7: strong all the same.
    assert kept == {"CVaR-DRO row of the paper"}
    assert found["CVaR-DRO row of the paper"].status == "supported"


def test_a_claim_on_worst_groups_says_when_its_interval_is_too_wide(publish: Publish, tmp_path: Path) -> None:
    study, store = (
        load_study("trees", {"tables": "german,communities", "learners": "lightgbm,group-dro"}),
        Store(tmp_path),
    )
    for step in study.steps:
        publish(store, step, world("german", 0.001))
    results = Results(store, tuple(walk(study.steps)))
    found = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    verdict = found["peak worst-group accuracy against robust"]
    assert verdict.status == "imprecise"
    assert "the claim needs 1 points or less" in verdict.detail


def test_one_fold_decides_nothing_on_single_tables(publish: Publish, tmp_path: Path) -> None:
    study, store = load_study("trees", {"folds": "1", "tables": "acs-income", "rows": "4000"}), Store(tmp_path)
    publish(store, study.steps[0], world("acs-income", 0.02))
    results = Results(store, tuple(walk(study.steps)))
    (claim,) = (claim for claim in study.claims if claim.name.startswith("XGBoost"))
    with pytest.raises(SurefootError, match="One fold of a census table"):
        claim.check(results)


def test_more_rows_are_shown_on_the_same_test_rows(publish: Publish, tmp_path: Path) -> None:
    """The points of a curve are of its own comparisons, not of those of all folds."""
    study, store = load_study("trees", {}), Store(tmp_path)
    for step in study.steps:
        if isinstance(step, TableComparison):
            curve, rows = len(step.fits) < len(STUDIED), step.fits[0].design.rows
            value = 0.7 + rows / 1e6 if curve else 0.1
            at = {"metric": "worst_group_accuracy", "n": 9, "group": "lightgbm", "shift": BY_WORST_GROUP}
            publish(store, step, [Measurement(value=value, **at)])
    shown = more_rows(Results(store, tuple(walk(study.steps)))).table()
    points = {row["x"]: row["y"] for row in shown if row["part"] == "point"}
    assert points == pytest.approx({rows: 0.3 - rows / 1e6 for rows in (4000, 16000, 64000)})


def test_a_claim_is_as_unsure_as_bounds_that_hold_whichever_group_is_the_worst(
    publish: Publish, tmp_path: Path
) -> None:
    """Of one table Student's interval of its folds is as wide as its bounds, at the one table's degrees of freedom."""
    assert_allclose(_error_alone(replace(part(0.1, 0.01), bounds=(-0.1, 0.3), folds=5)) or 0, 0.2 / 2.776445)
    assert _error_alone(part(0.1, 0.01)) == 0.01
    assert all(step.simultaneous for step in study().steps if isinstance(step, TableComparison))
    found = {}
    for tables in ("german", "german,compas"):
        chosen, store = load_study("trees", {"tables": tables, "repeats": "1"}), Store(tmp_path / tables)
        for step in chosen.steps:
            if isinstance(step, TableComparison):
                named = {"group": pair_of("trees", "robust"), "shift": BY_WORST_GROUP, "n": 9000}
                half = 2.776445 * 0.01
                bounds = {"stderr": 0.01, "low": 0.02 - half, "high": 0.02 + half}
                publish(store, step, [Measurement(metric=_WORST_APART, value=0.02, **bounds, **named)])
        (claim,) = (each for each in chosen.claims if each.name == "peak worst-group accuracy against robust")
        found[tables] = claim.check(Results(store, tuple(walk(chosen.steps))))
    one, two = found.values()
    assert_allclose([one.low, one.high], [0.02 - 2.776445 * 0.01, 0.02 + 2.776445 * 0.01], rtol=1e-6)
    # Two alike tables: the error of each over the root of two, and Student's t of one degree (not that of folds).
    assert_allclose([two.low, two.high], 0.02 + np.array([-1, 1]) * t.ppf(0.975, 1) * 0.01 / 2**0.5, rtol=1e-6)
