"""What is no number, verdict or label is refused: each of these gave a wrong number without a word."""

from collections.abc import Callable

import numpy as np
import pytest

from surefoot.stats import (
    clopper_pearson,
    clustered_mean,
    cohen_kappa,
    fit_families,
    fit_law,
    fit_lines,
    group_auc,
    group_metrics,
    holm,
    mcnemar,
    mean_of_shares,
    mean_share_difference,
    mean_t,
    paired_difference,
    resample_counts,
    share_difference,
    wilson,
    worst_group_difference,
)

NAN, ROWS = float("nan"), np.arange(1.0, 5.0)
HALF_KNOWN = np.ma.array([1.0, 2.0, 100.0], mask=np.array([False, False, True]))
WRONG: dict[str, tuple[str, Callable[[], object]]] = {
    "texts count as yes": ("verdicts", lambda: mcnemar(["yes", "no"], ["no", "no"])),
    "minus one counts as yes": ("verdicts", lambda: mcnemar([-1, 1], [1, 1])),
    "a missing answer counts as yes": ("verdicts", lambda: mcnemar([NAN, 1.0], [1, 0])),
    "raters in texts agree on all": ("verdicts", lambda: cohen_kappa(["yes", "no"], ["no", "no"])),
    "scores count as right": ("verdicts", lambda: worst_group_difference([0.2, 0.4], [1, 0], [0, 0])),
    "a masked value is averaged": ("masked", lambda: mean_t(HALF_KNOWN)),
    "a masked score is compared": ("masked", lambda: paired_difference(HALF_KNOWN, [1, 2, 3])),
    "a masked point is fitted": ("masked", lambda: fit_lines(HALF_KNOWN, ROWS[:3])),
    "a masked point is in the law": ("masked", lambda: fit_law(HALF_KNOWN, ROWS[:3])),
    "a masked label is counted": ("masked", lambda: group_metrics(HALF_KNOWN > 1, [0.1, 0.2, 0.3], [0, 0, 0])),
    "rows without a label are one cluster": ("label", lambda: clustered_mean(ROWS, [NAN, NAN, 1, 2])),
    "rows without a text are one cluster": ("label", lambda: clustered_mean(ROWS, ["a", NAN, NAN, "b"])),
    "None is a cluster": ("label", lambda: clustered_mean(ROWS, np.array(["a", None, None, "b"], dtype=object))),
    "no date is a cluster": ("label", lambda: clustered_mean(ROWS, np.array(["2026-01-01", "NaT"] * 2, "M8[D]"))),
    "1 and '1' are one cluster": ("label", lambda: clustered_mean(ROWS, [1, "1", 2, 2])),
    "rows without a label are drawn together": ("label", lambda: resample_counts(2, 1, seed=0, clusters=[NAN, NAN])),
    "points without a run are one run": ("label", lambda: fit_law(ROWS, ROWS, clusters=[NAN, NAN, 1, 2])),
    "models without a family are one": ("label", lambda: fit_lines(ROWS, ROWS, clusters=[NAN, NAN, 1, 2])),
    "models without a family have a line": ("label", lambda: fit_families(ROWS, ROWS, [NAN, NAN, 1.0, 1.0])),
    "a value is missing": ("finite", lambda: clustered_mean([1, NAN, 3], [0, 1, 2])),
    "sizes below 0": ("sizes", lambda: clustered_mean([1, 2, 3], [0, 1, 2], sizes=[-1, 2, 2])),
    "all size in one cluster": ("sizes", lambda: clustered_mean([1, 2, 0], [0, 0, 1], sizes=[2, 2, 0])),
    "an infinite score has p = 1": ("finite", lambda: paired_difference([1, np.inf, 0], [0, 0, 1])),
    "one missing score voids all": ("finite", lambda: paired_difference([1, NAN, 0], [0, 0, 1])),
    "shares of nothing known": ("finite", lambda: wilson(NAN, 10)),
    "shares of endlessly many": ("finite", lambda: clopper_pearson(5, np.inf)),
    "a mean of shares, one unknown": ("finite", lambda: mean_of_shares([3, NAN], [10, 10])),
    "more pairs differ than there are": ("pairs", lambda: share_difference(6, 6, 10)),
    "fewer pairs than none": ("pairs", lambda: share_difference(-1, 6, 10)),
    "more pairs differ in one set": ("pairs", lambda: mean_share_difference([11, 2], [0, 1], [10, 10])),
    "p values below 0": ("from 0 to 1", lambda: holm([0.1, -0.2])),
    "p values in a table": ("one array", lambda: holm([[0.1, 0.2], [0.3, 0.4]])),
    "a missing score is the highest": ("scores", lambda: group_auc([0, 1, 0, 1], [0.1, NAN, 0.3, 0.4], [0] * 4)),
    "a third label is a no": ("labels", lambda: group_auc([0, 1, 2, 1], ROWS, [0] * 4)),
    "a row of no group is in all": ("codes", lambda: group_auc([0, 1, 0, 1], ROWS, [-1, 0, 0, 0])),
    "a weight below 0": ("weights", lambda: group_auc([0, 1, 0, 1], ROWS, [0] * 4, weights=[1, -1, 1, 3])),
    "more weights than rows": ("weights", lambda: group_auc([0, 1, 0, 1], ROWS, [0] * 4, weights=[1] * 5)),
    "codes lose their fraction": ("codes", lambda: group_metrics([0, 1], [0.1, 0.2], [0.9, 1.2])),
    "logits have losses": ("probabilities", lambda: group_metrics([0, 1, 0], [1.0, 20.0, -3.0], [0, 0, 0])),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_number_verdict_or_label_is_refused(what: str) -> None:
    said, call = WRONG[what]
    with pytest.raises(ValueError, match=said):
        call()


def test_one_n_for_all_shares_is_n_of_each() -> None:
    """All right: the interval was that of K times as many examples."""
    assert mean_of_shares([10] * 5, 10) == mean_of_shares([10] * 5, [10] * 5)
    assert mean_share_difference([1, 2], [0, 1], 10) == mean_share_difference([1, 2], [0, 1], [10, 10])


def test_labels_of_any_one_type_are_clusters() -> None:
    expected = clustered_mean(ROWS, ["a", "a", "b", "c"])
    for labels in ([1, 1, 2, 3], [0.5, 0.5, 1.5, 2.5], [b"a", b"a", b"b", b"c"], np.array(["a", "a", "b", "nan"])):
        assert clustered_mean(ROWS, labels) == expected


def test_scores_that_are_no_probabilities_have_rates() -> None:
    found = group_metrics([0, 1, 0], [1.0, 20.0, -3.0], [0, 0, 0], probabilities=False, threshold=0.0, least=1)
    assert found.overall["accuracy"] == pytest.approx(2 / 3)
