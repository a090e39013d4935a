"""The paper's numbers beside ours: over its grids, and by single configurations of which nothing is chosen."""

from surefoot.core import Figure, Measurement, Results, SurefootError
from surefoot.figures import heat_table
from surefoot.studies.trees._paper import PAPER_DEFAULTS, PAPER_PEAKS
from surefoot.studies.trees._results import by_table, name_of
from surefoot.tabular import BY_WORST_GROUP, LEARNERS, TableFits

_SHOWN = ("accuracy", "worst group")


def reference_of(results: Results, learner: str, table: str) -> dict[str, Measurement]:
    """Test measurements of a learner's default that was fitted on the published training rows of a table, by metric."""
    for step in results.steps:
        if not isinstance(step, TableFits) or not step.design.official:
            continue
        if (step.learner, name_of(step.design.table)) == (learner, table) and results.store.has(step):
            return {each.metric: each for each in results.store.measurements(step) if each.shift == "test"}
    raise SurefootError(f"The reference fit of {learner} is not in the store: run the study with its tables.")


def single_configurations(results: Results) -> Figure:
    """Defaults on the published rows of Adult, beside the paper's defaults or, where it gives none, its best."""
    cells = []
    for learner, described in LEARNERS.items():
        try:
            found = reference_of(results, learner, "adult")
        except SurefootError:
            continue
        defaults = PAPER_DEFAULTS.get((learner, "adult"))
        paper = defaults or PAPER_PEAKS[learner]["adult"]
        for metric, shown, theirs in zip(("accuracy", "worst_group_accuracy"), _SHOWN, paper, strict=True):
            each = found[metric]
            interval = {"low": each.low, "high": each.high, "n": each.n}
            cells.append({"row": described.title, "column": f"{shown}, here", "value": each.value, **interval})
            kind = "defaults" if defaults else "best"
            cells.append({"row": described.title, "column": f"{shown}, paper", "value": theirs, "of": kind})
    return heat_table(
        cells,
        name="single-configurations",
        title="Adult: defaults on all rows, beside the paper",
        caption="The default of each learner on the published training rows, nothing chosen. The "
        "paper's numbers are by defaults for LightGBM, XGBoost and the forest, else its best of a whole grid on test. "
        "Its rows of CVaR and chi-square DRO on Adult (.778 / .712 and .774 / .707) are far below a correct network of "
        "twelve epochs: the released networks end in a ReLU before the sigmoid. Percent.",
        row_title="Learner",
        column_title="Test",
        column_order=[f"{shown}, {where}" for shown in _SHOWN for where in ("here", "paper")],
    )


def papers_table(results: Results) -> Figure:
    """The paper's worst-group accuracies, laid out as our own table of them."""
    known = {name for learner in LEARNERS for name in by_table(results, "accuracy", learner, BY_WORST_GROUP)}
    cells = [
        {"row": described.title, "column": name, "value": worst}
        for learner, described in LEARNERS.items()
        for name, (_, worst) in PAPER_PEAKS.get(learner, {}).items()
        if name in known or name == "larc"
    ]
    return heat_table(
        cells,
        name="the-papers-worst-group",
        title="Worst-group accuracy in the paper",
        caption="Best on test over whole grids, one split, all rows (arXiv 2211.12703, appendix). Its last table, "
        "LARC, is not public; Tennessee STAR stands in for it here. ACS Income and BRFSS differ from ours in features "
        "or year. Percent.",
        row_title="Learner",
        column_title="Table",
        value_title="Worst-group accuracy",
        row_order=[described.title for described in LEARNERS.values()],
    )
