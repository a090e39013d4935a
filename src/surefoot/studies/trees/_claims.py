"""The claims of arXiv 2211.12703 as checks, and what correct baselines change."""

from collections.abc import Callable, Iterable, Iterator
from statistics import median

from surefoot.core import Claim, Results, SurefootError, Verdict, verdict_below
from surefoot.studies.trees._beside import reference_of
from surefoot.studies.trees._paper import PAPER_DEFAULTS
from surefoot.studies.trees._results import Pooled, by_precision, by_table, judge, over_tables, spread_over, table_of
from surefoot.tabular import BEST_ON_TEST, BY_ACCURACY, BY_CVAR, BY_WORST_GROUP, LEARNERS, PAIRS, TableComparison

PAPER = "arXiv 2211.12703"
MATCH = 0.005
"""Half a point: less than this below is taken as a match."""


def difference_claims(learners: Iterable[str] = tuple(LEARNERS)) -> tuple[Claim, ...]:
    """Trees against the other families that are there, in peak and frontier: these work on any table."""
    families = {LEARNERS[name].family for name in learners}
    if "trees" not in families:
        return ()
    claims = [claim for family in ("robust", "fair") if family in families for claim in _peak_claims(family)]
    frontier = Claim(
        name="frontier against robust",
        sentence="The frontier of accuracy and worst-group accuracy of trees is at or beyond that of robust learners.",
        check=_difference("frontier difference", "trees - robust", "", -MATCH),
        source=f"{PAPER}, Figure 2",
    )
    boosting = Claim(
        name="robust boosting",
        sentence="Boosting with a robust objective (Group DRO, constraints) has a higher worst-group accuracy than "
        "plain trees.",
        check=_robust_boosting,
        source="ours: the paper asks for robust training of models that are not networks",
    )
    claims += [frontier] if "robust" in families else []
    return (*claims, *([boosting] if "robust trees" in families else []))


def _peak_claims(family: str) -> Iterator[Claim]:
    """The best of trees against the best of a family, chosen on validation, by accuracy, worst group and disparity."""
    for metric, rule in (("accuracy", BY_ACCURACY), ("worst_group_accuracy", BY_WORST_GROUP)):
        shown = metric.replace("_", " ").replace("worst group", "worst-group")
        yield Claim(
            name=f"peak {shown} against {family}",
            sentence=f"The best tree ensembles match or exceed the best {family} learners in {shown} "
            "(within half a point, chosen on validation).",
            check=_difference(f"difference in {metric}", f"trees - {family}", rule, -MATCH),
            source=f"{PAPER}, section 4 and Table 4",
        )
    yield Claim(
        name=f"disparity against {family}",
        sentence=f"The tree ensembles with the best worst group have no larger accuracy disparity than the {family} "
        "learners with theirs (within half a point, chosen on validation).",
        check=_difference("difference in accuracy_disparity", f"trees - {family}", BY_WORST_GROUP, MATCH, below=True),
        source=f"{PAPER}, section 4 and Figure 3",
    )


def paper_claims() -> tuple[Claim, ...]:
    """What else the paper says, over its tables, and where correct baselines change its picture."""
    return (
        *difference_claims(),
        Claim(
            name="XGBoost against robust networks on the census",
            sentence="XGBoost is significantly better than Group DRO and chi-square DRO in accuracy and worst-group "
            "accuracy on ACS Income and ACS Public Coverage.",
            check=_rivals,
            source=f"{PAPER}, section 4 (and LARC, which is not public)",
        ),
        *_metric_claims(),
        Claim(
            name="sensitivity",
            sentence="More of the tree configurations than of the robust ones are within two points of the best "
            "worst-group accuracy.",
            check=_sensitivity,
            source=f"{PAPER}, Figures 7 to 9",
        ),
        Claim(
            name="cost",
            sentence="A tree configuration costs less CPU time than a configuration of a robust network.",
            check=_cost,
            source=f"{PAPER}, Table 3",
        ),
        *_reference_claims(),
        Claim(
            name="optimism of choosing on test",
            sentence="Choosing on test, as the paper does, overstates worst-group accuracy.",
            check=_optimism,
            source="ours",
        ),
    )


def _reference_claims() -> tuple[Claim, ...]:
    """What the paper says of single configurations."""
    return (
        Claim(
            name="CVaR-DRO row of the paper",
            sentence="CVaR-DRO reaches .712 in worst-group accuracy on Adult and no more (within half a point).",
            check=_cvar_row,
            source=f"{PAPER}, Table 4 (.778 / .712)",
        ),
        *(
            Claim(
                name=f"default {title}",
                sentence=f"{title} by its defaults reaches {accuracy} / {worst} (accuracy / worst group), within 1.5 "
                "points.",
                check=_default((learner, table), accuracy, worst),
                source=f"{PAPER}, Table 5",
            )
            for learner, table, title in (
                ("xgboost", "adult", "XGBoost on Adult"),
                ("lightgbm", "acs-public-coverage", "LightGBM on ACS Public Coverage"),
            )
            for accuracy, worst in [PAPER_DEFAULTS[learner, table]]
        ),
    )


def _difference(
    metric: str, group: str, rule: str, bound: float, *, below: bool = False
) -> Callable[[Results], Verdict]:
    def check(results: Results) -> Verdict:
        parts = by_table(results, metric, group, rule)
        return judge(over_tables(parts.values()), bound, _listed(parts, below=below), below=below)

    return check


def _listed(parts: dict[str, Pooled], *, below: bool = False) -> str:
    """Each table's value in points, those whose whole interval is on the wrong side of zero, the mean by precision."""
    ends = {name: part.low if below else part.high for name, part in sorted(parts.items())}
    lost = [name for name, end in ends.items() if end is not None and (end > 0 if below else end < 0)]
    side = "above" if below else "below"
    found = by_precision(parts.values())
    mean = "" if found is None else f"; weighted by precision {_points(found)}"
    splits = f"; over {next(iter(parts.values())).n} splits" if len(parts) == 1 else ""
    return _in_points(parts) + (f"; surely {side} zero on {', '.join(lost)}" if lost else "") + mean + splits


def _in_points(parts: dict[str, Pooled]) -> str:
    return "in points: " + ", ".join(f"{name} {100 * part.value:+.1f}" for name, part in sorted(parts.items()))


def _points(part: Pooled) -> str:
    low, high = (100 * (bound or 0.0) for bound in (part.low, part.high))
    return f"{100 * part.value:+.1f} ({low:+.1f} to {high:+.1f})"


def _rivals(results: Results) -> Verdict:
    """By the least of the eight differences: all of them must be surely above zero."""
    found: dict[str, Pooled] = {}
    for other in ("group-dro", "chi-square-dro"):
        for metric, rule in (("accuracy", BY_ACCURACY), ("worst_group_accuracy", BY_WORST_GROUP)):
            for name, part in by_table(results, f"difference in {metric}", f"xgboost - {other}", rule).items():
                if name.startswith("acs-"):
                    found[f"{name} {metric.replace('_', ' ')} against {other}"] = part
    if not found:
        raise SurefootError("No comparison of XGBoost with these on the census tables is in the store.")
    least = min(found.values(), key=lambda part: part.value if part.low is None else part.low)
    return judge(
        Pooled(value=least.value, stderr=least.stderr, n=len(found)), 0.0, f"the least one decides; {_in_points(found)}"
    )


def _robust_boosting(results: Results) -> Verdict:
    parts = by_table(results, "difference in worst_group_accuracy", "trees - robust trees", BY_WORST_GROUP)
    turned = {name: Pooled(value=-part.value, stderr=part.stderr, n=part.n) for name, part in parts.items()}
    return judge(over_tables(turned.values()), 0.0, _listed(turned))


def _metric_claims() -> tuple[Claim, ...]:
    published = dict(zip(tuple(PAIRS)[:3], (0.87, 0.99, 0.79), strict=True))
    strong = tuple(
        Claim(
            name=f"correlation {pair}",
            sentence=f"Over configurations, {pair.replace(' ~ ', ' and ')} go together (median correlation above .7).",
            check=_correlation(pair, value),
            source=f"{PAPER}, Figure 5 (median {value})",
        )
        for pair, value in published.items()
    )
    weak = tuple(
        Claim(
            name=f"correlation {pair}",
            sentence=f"Over configurations, {pair.replace(' ~ ', ' and ')} do not go together (median correlation "
            "between -.7 and .7).",
            check=_weak_correlation(pair),
            source=f"{PAPER}, Figure 5 (weak across kinds of metric)",
        )
        for pair in tuple(PAIRS)[3:]
    )
    cvar = Claim(
        name="choosing by CVaR",
        sentence="Choosing by CVaR in place of accuracy costs robust learners more worst-group accuracy than trees.",
        check=_cvar_choice,
        source=f"{PAPER}, Figure 6",
    )
    return (*strong, *weak, cvar)


def _correlation(pair: str, published: float) -> Callable[[Results], Verdict]:
    def check(results: Results) -> Verdict:
        medians = _medians(results, pair)
        return judge(
            spread_over(list(medians.values())), 0.7, f"{_of_learners(medians)}; the paper: {published}", unit="number"
        )

    return check


def _weak_correlation(pair: str) -> Callable[[Results], Verdict]:
    """Of the size of the correlation over tables, whatever its sign."""

    def check(results: Results) -> Verdict:
        medians = _medians(results, pair)
        mean = spread_over(list(medians.values()))
        size = Pooled(value=abs(mean.value), stderr=mean.stderr, n=mean.n)
        return judge(size, 0.7, f"{_of_learners(medians)}; the size of their mean is shown", below=True, unit="number")

    return check


def _medians(results: Results, pair: str) -> dict[str, float]:
    """The median correlation over learners of each table."""
    found: dict[str, list[float]] = {}
    for observation in results.select(TableComparison, metric="correlation", shift=pair):
        found.setdefault(table_of(observation), []).append(observation.value)
    return {name: median(values) for name, values in found.items()}


def _of_learners(medians: dict[str, float]) -> str:
    return "medians over learners: " + ", ".join(f"{name} {value:.2f}" for name, value in sorted(medians.items()))


def _cvar_choice(results: Results) -> Verdict:
    robust = by_table(results, "lost by choosing CVaR", "family: robust", BY_CVAR)
    trees = by_table(results, "lost by choosing CVaR", "family: trees", BY_CVAR)
    parts = {
        name: Pooled(
            value=robust[name].value - trees[name].value,
            stderr=((robust[name].stderr or 0) ** 2 + (trees[name].stderr or 0) ** 2) ** 0.5,
            n=robust[name].n,
        )
        for name in robust.keys() & trees.keys()
    }
    return judge(over_tables(parts.values()), 0.0, _listed(parts))


def _sensitivity(results: Results) -> Verdict:
    shares = [by_table(results, "share near the best", f"family: {family}", "") for family in ("trees", "robust")]
    both = sorted(shares[0].keys() & shares[1].keys())
    gaps = [shares[0][name].value - shares[1][name].value for name in both]
    means = [over_tables([share[name] for name in both]).value for share in shares]
    return judge(spread_over(gaps), 0.0, f"shares near the best: trees {means[0]:.0%}, robust {means[1]:.0%}")


def _cost(results: Results) -> Verdict:
    from math import log10

    gaps = []
    spent: dict[str, dict[str, float]] = {}
    for observation in results.select(TableComparison, metric="cpu_seconds_each"):
        spent.setdefault(table_of(observation), {})[observation.measurement.group] = observation.value
    for seconds in spent.values():
        trees = [seconds[name] for name in ("lightgbm", "xgboost") if name in seconds]
        robust = [seconds[name] for name in ("group-dro", "chi-square-dro", "cvar-dro") if name in seconds]
        if trees and robust:
            gaps.append(log10(median(robust) / median(trees)))
    pooled = spread_over(gaps)
    return judge(
        pooled,
        0.0,
        f"a robust network costs {10**pooled.value:.1f} times a tree configuration (log10 shown)",
        unit="number",
    )


def _cvar_row(results: Results) -> Verdict:
    found = reference_of(results, "cvar-dro", "adult")
    accuracy, worst = found["accuracy"].value, found["worst_group_accuracy"]
    detail = (
        f"one sound configuration (alpha .6, rate .01) reaches {accuracy:.3f} / {worst.value:.3f}; the released code "
        "ends its networks in a ReLU, before the sigmoid"
    )
    low, high = ((bound or worst.value) - 0.712 for bound in (worst.low, worst.high))
    return verdict_below(worst.value - 0.712, low, high, worst.n, bound=MATCH, detail=detail, unit="points")


def _default(fit: tuple[str, str], accuracy: float, worst: float) -> Callable[[Results], Verdict]:
    """Supported when both differences are within the margin, with what is known of the worst group beside them."""

    def check(results: Results) -> Verdict:
        found = reference_of(results, *fit)
        ours = (found["accuracy"].value, found["worst_group_accuracy"].value)
        gap = max((ours[0] - accuracy, ours[1] - worst), key=abs)
        part = found["worst_group_accuracy"]
        low, high = ((bound or part.value) - worst for bound in (part.low, part.high))
        status = "supported" if abs(gap) <= 0.015 else "contradicted" if low > 0.015 or high < -0.015 else "undecided"
        detail = (
            f"here {ours[0]:.3f} / {ours[1]:.3f}; the larger difference is shown, the interval is of the worst group"
        )
        return Verdict(
            status=status, effect=gap, low=min(low, gap), high=max(high, gap), n=part.n, detail=detail, unit="points"
        )

    return check


def _optimism(results: Results) -> Verdict:
    gaps: dict[str, list[float]] = {}
    learners = sorted({each.measurement.group for each in results.select(TableComparison, metric="cpu_seconds_each")})
    for learner in learners:
        chosen = by_table(results, "worst_group_accuracy", learner, BY_WORST_GROUP)
        best = by_table(results, "worst_group_accuracy", learner, BEST_ON_TEST)
        for name in chosen.keys() & best.keys():
            gaps.setdefault(name, []).append(best[name].value - chosen[name].value)
    means = {name: sum(values) / len(values) for name, values in gaps.items()}
    shown = ", ".join(f"{name} {100 * value:.1f}" for name, value in sorted(means.items()))
    return judge(spread_over(list(means.values())), 0.0, f"mean over learners, in points: {shown}")
