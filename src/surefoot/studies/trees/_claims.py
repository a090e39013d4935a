"""The claims of arXiv 2211.12703 as hypotheses, and what correct baselines change."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import log10
from operator import attrgetter
from statistics import median

from surefoot.core import Results, SurefootError
from surefoot.stats import error_of_bounds, t_quantile
from surefoot.studies._hypotheses import Hypothesis, Pooled
from surefoot.studies.trees._beside import reference_of
from surefoot.studies.trees._results import by_table, over_tables, spread_over
from surefoot.tabular import (
    BEST_ON_TEST,
    BY_ACCURACY,
    BY_CVAR,
    BY_WORST_GROUP,
    LEARNED,
    LEARNERS,
    LOST_BY_CVAR,
    NEAR_BEST,
    difference_in,
    family_party,
    pair_of,
)

PAPER = "arXiv 2211.12703"
MATCH = 0.005
"""Half a point: less than this below is taken as a match."""
_NEEDED_WIDTH = 0.01
"""The interval of a difference of worst groups: a standard error of a quarter point, or nothing is seen."""
RIVALS = (("xgboost", "group-dro"), ("xgboost", "chi-square-dro"))
"""The pairs of learners that the paper tests against each other."""

Effect = Callable[[Results], tuple[Pooled, str]]


def difference_claims(learners: Iterable[str]) -> Iterator[Hypothesis]:
    """Trees against the other families that are there: these work on any table."""
    families = {LEARNERS[name].family for name in learners}
    if "trees" not in families:
        return
    for family in ("robust", "fair"):
        for metric, rule in (("accuracy", BY_ACCURACY), ("worst_group_accuracy", BY_WORST_GROUP)):
            shown = metric.replace("worst_group_", "worst-group ")
            if family in families:
                yield Hypothesis(
                    name=f"peak {shown} against {family}",
                    sentence=f"The best tree ensembles match or exceed the best {family} learners in {shown} "
                    "(within half a point, chosen on validation).",
                    effect=_difference(difference_in(metric), pair_of("trees", family), rule),
                    bound=-MATCH,
                    source=f"{PAPER}, section 4 and Table 4",
                    needed_width=_NEEDED_WIDTH,
                )
    if "robust trees" in families:
        yield Hypothesis(
            name="robust boosting",
            sentence="Boosting with a robust objective (Group DRO, constraints) has a higher worst-group accuracy than "
            "plain trees.",
            effect=_difference(
                difference_in("worst_group_accuracy"), pair_of("trees", "robust trees"), BY_WORST_GROUP, sign=-1
            ),
            source="ours: the paper asks for robust training of models that are not networks",
            needed_width=_NEEDED_WIDTH,
        )


def _difference(metric: str, group: str, rule: str, *, sign: int = 1) -> Effect:
    def effect(results: Results) -> tuple[Pooled, str]:
        found = by_table(results, metric, group, rule)
        error = _error_alone if len(found) == 1 else attrgetter("stderr")
        parts = {
            name: replace(part, value=sign * part.value, stderr=error(part), bounds=None)
            for name, part in found.items()
        }
        return over_tables(parts.values()), _in_points(parts)

    return effect


def _error_alone(part: Pooled) -> float | None:
    """The standard error of one table alone, whose Student's interval of its folds is as wide as its bounds."""
    return part.stderr if part.bounds is None else error_of_bounds(*part.bounds, freedom=max(part.folds - 1, 1))


def _in_points(parts: dict[str, Pooled]) -> str:
    return "in points: " + ", ".join(
        f"{name} {100 * part.value:+.1f}" + ("" if part.stderr is None else f" ±{100 * part.stderr:.1f}")
        for name, part in sorted(parts.items())
    )


def _rivals(results: Results) -> tuple[Pooled, str]:
    """By the least certain of the eight differences: all of them must be above zero.

    On single tables the folds alone tell what the training rows do: Student's t has one degree less than folds.
    """
    found: dict[str, Pooled] = {}
    for first, other in RIVALS:
        for metric, rule in (("accuracy", BY_ACCURACY), ("worst_group_accuracy", BY_WORST_GROUP)):
            for name, part in by_table(results, difference_in(metric), pair_of(first, other), rule).items():
                if name.startswith("acs-"):
                    named = f"{name} {metric.replace('_', ' ')} against {other}"
                    found[named] = replace(part, stderr=_error_alone(part))
    if not found:
        raise SurefootError("No comparison of XGBoost with these on the census tables is in the store.")
    least = min(found.values(), key=lambda part: part.value / (part.stderr or 1.0))
    if least.folds < 2:
        raise SurefootError("One fold of a census table does not tell what the training rows do: run two or more.")
    decides = Pooled(value=least.value, stderr=least.stderr, n=len(found), freedom=least.folds - 1)
    return decides, f"the least one decides; {_in_points(found)}"


def _correlation(pair: str, *, size: bool = False) -> Effect:
    """The median over learners of each table; with `size` the size of their mean, whatever its sign."""

    def effect(results: Results) -> tuple[Pooled, str]:
        found: dict[str, list[float]] = {}
        for learner in LEARNERS:
            for name, part in by_table(results, "correlation", learner, pair).items():
                found.setdefault(name, []).append(part.value)
        medians = {name: median(values) for name, values in sorted(found.items())}
        mean = spread_over(list(medians.values()))
        said = "medians over learners: " + ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
        value = abs(mean.value) if size else mean.value
        return Pooled(value=value, stderr=mean.stderr, n=mean.n, freedom=mean.freedom), said

    return effect


def _cvar_choice(results: Results) -> tuple[Pooled, str]:
    robust, trees = (by_table(results, LOST_BY_CVAR, family_party(family), BY_CVAR) for family in ("robust", "trees"))
    parts = {
        name: Pooled(
            value=robust[name].value - trees[name].value,
            stderr=((robust[name].stderr or 0) ** 2 + (trees[name].stderr or 0) ** 2) ** 0.5,
            n=robust[name].n,
            rows=robust[name].rows,
        )
        for name in robust.keys() & trees.keys()
    }
    return over_tables(parts.values()), _in_points(parts)


def _sensitivity(other: str) -> Effect:
    def effect(results: Results) -> tuple[Pooled, str]:
        near = [by_table(results, NEAR_BEST, group, "") for group in (family_party("trees"), other)]
        learned = [by_table(results, LEARNED, group, "") for group in (family_party("trees"), other)]
        both = sorted(near[0].keys() & near[1].keys())
        pooled = spread_over([near[0][name].value - near[1][name].value for name in both])
        shares = [[sum(share[name].value for name in both) / len(both) for share in kind] for kind in (near, learned)]
        (trees, others), (learned_trees, learned_others) = shares
        return pooled, (
            f"near the best: trees {trees:.0%} of the {learned_trees:.0%} that learned, the others {others:.0%} of the "
            f"{learned_others:.0%}"
        )

    return effect


def _cost(results: Results) -> tuple[Pooled, str]:
    def seconds(learners: tuple[str, ...]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for learner in learners:
            for name, part in by_table(results, "cpu_seconds_each", learner, "").items():
                found.setdefault(name, []).append(part.value)
        return found

    trees, robust = seconds(("lightgbm", "xgboost")), seconds(("group-dro", "chi-square-dro", "cvar-dro"))
    pooled = spread_over([log10(median(robust[name]) / median(trees[name])) for name in trees.keys() & robust.keys()])
    return pooled, f"a robust network costs {10**pooled.value:.1f} times a tree configuration (log10 shown)"


def _cvar_row(results: Results) -> tuple[Pooled, str]:
    found = reference_of(results, "cvar-dro", "adult")
    accuracy, worst = found["accuracy"].value, found["worst_group_accuracy"]
    half = max(abs((bound or worst.value) - worst.value) for bound in (worst.low, worst.high))
    return Pooled(value=worst.value - 0.712, stderr=half / t_quantile(0.95, float("inf")), n=worst.n), (
        f"its default (alpha .6, rate .01) reaches {accuracy:.3f} / {worst.value:.3f}; the released code ends its "
        "networks in a ReLU, before the sigmoid"
    )


def _optimism(results: Results) -> tuple[Pooled, str]:
    gaps: dict[str, list[float]] = {}
    for learner in LEARNERS:
        chosen, best = (
            by_table(results, "worst_group_accuracy", learner, rule) for rule in (BY_WORST_GROUP, BEST_ON_TEST)
        )
        for name in chosen.keys() & best.keys():
            gaps.setdefault(name, []).append(best[name].value - chosen[name].value)
    means = {name: sum(values) / len(values) for name, values in sorted(gaps.items())}
    shown = ", ".join(f"{name} {100 * value:.1f}" for name, value in means.items())
    return spread_over(list(means.values())), f"mean over learners, in points: {shown}"


PAPER_CLAIMS = (
    Hypothesis(
        name="XGBoost against robust networks on the census",
        sentence="XGBoost is better than Group DRO and chi-square DRO in accuracy and worst-group accuracy on ACS "
        "Income and ACS Public Coverage.",
        effect=_rivals,
        source=f"{PAPER}, section 4 (and LARC, which is not public)",
    ),
    Hypothesis(
        name="correlation accuracy ~ worst-group accuracy",
        sentence="Over configurations, accuracy and worst-group accuracy go together (median correlation above .7).",
        effect=_correlation("accuracy ~ worst-group accuracy"),
        bound=0.7,
        unit="number",
        source=f"{PAPER}, Figure 5 (median .87)",
    ),
    Hypothesis(
        name="correlation accuracy ~ CVaR",
        sentence="Over configurations, accuracy and CVaR do not go together (median correlation between -.7 and .7).",
        effect=_correlation("accuracy ~ CVaR", size=True),
        bound=0.7,
        below=True,
        unit="number",
        source=f"{PAPER}, Figure 5 (weak across kinds of metric)",
    ),
    Hypothesis(
        name="choosing by CVaR",
        sentence="Choosing by CVaR in place of accuracy costs robust learners more worst-group accuracy than trees.",
        effect=_cvar_choice,
        source=f"{PAPER}, Figure 6",
    ),
    *(
        Hypothesis(
            name=f"sensitivity beside {title}",
            sentence=f"Of the configurations that learned, more of the trees' than of {title} are within two points of "
            "the best worst-group accuracy.",
            effect=_sensitivity(other),
            source=source,
        )
        for other, title, source in (
            (family_party("robust"), "the robust ones", f"{PAPER}, Figures 7 to 9"),
            ("mlp", "a plain network's", "ours: is it trees, or any network?"),
        )
    ),
    Hypothesis(
        name="cost",
        sentence="A tree configuration costs less CPU time than a configuration of a robust network.",
        effect=_cost,
        unit="number",
        source=f"{PAPER}, Table 3",
    ),
    Hypothesis(
        name="CVaR-DRO row of the paper",
        sentence="CVaR-DRO reaches .712 in worst-group accuracy on Adult and no more (within half a point).",
        effect=_cvar_row,
        bound=MATCH,
        below=True,
        source=f"{PAPER}, Table 4 (.778 / .712)",
    ),
    Hypothesis(
        name="optimism of choosing on test",
        sentence="Choosing on test, as the paper does, overstates worst-group accuracy.",
        effect=_optimism,
        source="ours",
    ),
)
"""What else the paper says, over its tables, and where correct baselines change its picture."""
