"""Published figures of robustness under shift, from the tables they were made of."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from surefoot.laws import (
    ResultTable,
    RobustnessFit,
    fit_shift,
    keep_rows,
    long_accuracies,
    make_table,
    read_table,
    shift_data,
    text_of,
    wide_accuracies,
)
from surefoot.stats import from_axis

ROOT = os.environ.get("SUREFOOT_DATA")
pytestmark = pytest.mark.skipif(not ROOT, reason="SUREFOOT_DATA is not set")
KINDS = Path(__file__).parent / "data" / "imagenet_testbed_kinds.csv"
STANDARD = ("kind=standard", "model!=*subsample*", "model!=*aws*", "model!=*batch64*")
CLIP = "vit_b_32_clip_zeroshot"


@pytest.fixture(scope="module")
def testbed() -> ResultTable:
    table = read_table(Path(ROOT or "") / "laws" / "imagenet_testbed_top1.csv")
    kinds = read_table(KINDS)
    assert text_of(kinds, "model").tolist() == text_of(table, "model").tolist()
    return make_table({**table.columns, "kind": kinds.columns["kind"]}, source="imagenet_testbed_top1.csv")


def _fit(table: ResultTable, shift: str, *, above: float = 0.55, x: str = "val", matched: bool = True) -> RobustnessFit:
    sets = [name for name in table.columns if name == shift or name.startswith("val")]
    scores = wide_accuracies(table, sets=sets)
    data = shift_data(
        scores, x=x, shifts=(shift,), baseline=STANDARD, baseline_above=above, group="kind", matched=matched
    )
    return fit_shift(data, replicates=1000)


@pytest.mark.parametrize(
    ("shift", "above", "slope", "r2", "n"),
    [
        ("imagenetv2-matched-frequency-format-val", 0.55, 0.923, 0.996, 85),
        ("imagenet-sketch", 0.55, 1.071, 0.869, 85),
        ("imagenet-r", 0.75, 0.637, 0.889, 80),
        ("objectnet-1.0-beta", 0.55, 0.981, 0.953, 85),
        ("imagenet-vid-robust_pm0", 0.55, 0.534, 0.949, 85),
        ("ytbb-robust_pm0", 0.55, 0.339, 0.830, 85),
    ],
)
def test_the_lines_of_the_imagenet_testbed(
    testbed: ResultTable, *, shift: str, above: float, slope: float, r2: float, n: int
) -> None:
    fit = _fit(testbed, shift, above=above)
    assert fit.lines.coefficients[0, 1] == pytest.approx(slope, abs=5e-4)
    assert fit.lines.r2[0] == pytest.approx(r2, abs=6e-4)
    assert abs(int(fit.lines.n[0]) - n) <= 1
    assert fit.lines.low[0, 1] < slope < fit.lines.high[0, 1]


def test_the_bootstrap_interval_of_the_v2_slope_is_the_published_one(testbed: ResultTable) -> None:
    lines = _fit(testbed, "imagenetv2-matched-frequency-format-val").lines
    assert (lines.low[0, 1], lines.high[0, 1]) == pytest.approx((0.910, 0.936), abs=2e-3)


@pytest.mark.parametrize(
    ("shift", "matched", "points", "code"),
    [
        ("imagenetv2-matched-frequency-format-val", True, 5.6, None),
        ("imagenet-sketch", True, 28.0, None),
        ("objectnet-1.0-beta", True, 18.1, "subset-classes-matched"),
        ("objectnet-1.0-beta", False, 23.7, "subset-classes"),
    ],
)
def test_the_effective_robustness_of_clip_and_the_guard_of_its_x_axis(
    testbed: ResultTable, shift: str, matched: bool, points: float, code: str | None
) -> None:
    fit = _fit(testbed, shift, matched=matched)
    clip = fit.data.models.index(CLIP)
    assert fit.effective.points[clip, 0] == pytest.approx(points, abs=0.05)
    assert fit.effective.low[clip, 0] < points < fit.effective.high[clip, 0]
    assert fit.effective.unusual[clip, 0]
    guards = [remark for remark in fit.remarks if remark.code.startswith("subset-classes")]
    assert [remark.code for remark in guards] == ([code] if code else [])
    if code == "subset-classes":
        assert guards[0].severity == "warning"
        assert "'val-on-objectnet-classes'" in guards[0].message


def test_more_data_is_more_robust_than_interventions(testbed: ResultTable) -> None:
    fit = _fit(testbed, "imagenetv2-matched-frequency-format-val")
    means = dict(zip(fit.groups.groups, fit.groups.points[:, 0].tolist(), strict=True))
    assert means["more_data"] == pytest.approx(0.77, abs=0.02)
    interventions = [means["robust_intv"], means["lp_adv"]]
    assert max(interventions) < 0.5


def test_imagenet_a_bends_at_resnet_50(testbed: ResultTable) -> None:
    sets = ["val", "imagenet-a", "val-on-imagenet-a-classes"]
    data = shift_data(
        wide_accuracies(testbed, sets=sets), x="val", shifts=("imagenet-a",), baseline=STANDARD, baseline_above=0.75
    )
    straight = fit_shift(data, replicates=400)
    bent = fit_shift(data, replicates=50, pivot=0.9186)
    assert straight.linearity[0] is not None
    assert straight.linearity[0].kink_p < 0.01
    assert float(from_axis(straight.linearity[0].pivot)) == pytest.approx(0.9186, abs=0.005)
    assert bent.lines.r2[0] > straight.lines.r2[0] + 0.05
    assert bent.lines.coefficients[0, 2] > 0
    moved = next(remark for remark in straight.remarks if remark.code == "exact-0-or-1-moved")
    assert "resnet50 on imagenet-a" in moved.message


def test_the_whole_testbed_is_fitted_at_once(testbed: ResultTable) -> None:
    data = shift_data(wide_accuracies(testbed), x="val", baseline=STANDARD, baseline_above=0.55, group="kind")
    fit = fit_shift(data, replicates=40)
    codes = {remark.code for remark in fit.remarks}
    assert {"left-out", "subset-classes-matched", "incomplete-average", "known-size", "unknown-size"} <= codes
    place = fit.data.shifts.index("objectnet-1.0-beta")
    assert fit.lines.coefficients[place, 1] == pytest.approx(0.981, abs=5e-4)
    assert fit.data.x_names[place] == ("val-on-objectnet-classes",)


def _adaptation(name: str, kind: str, adapter: str, robust: str) -> str:
    """How a question-answering model was adapted, by the rules of the published page (arXiv 2210.12517)."""
    if "wise-ft" in name or (kind == "fewshot" and "seq2seq" in name):
        return "left out"
    if kind == "fewshot":
        prompt = re.match("gpt|opt", name) and "span-head" not in name
        return "few-shot prompt" if prompt or "mask-fill" in name else "few-shot span"
    if kind != "finetuned":
        return kind
    return "adapter" if adapter == "True" else "robust" if robust == "True" else "fully fine-tuned"


@pytest.fixture(scope="module")
def questions() -> ResultTable:
    folder = Path(ROOT or "") / "reading"
    table, notes = (
        read_table(folder / "published_evaluations.csv"),
        read_table(folder / "published_evaluations_annotations.csv"),
    )
    labels = zip(*(text_of(notes, name).tolist() for name in ("model_name", "is_adapter", "is_robust")), strict=True)
    known = {name: (adapter, robust) for name, adapter, robust in labels}
    names, kinds = text_of(table, "model_name").tolist(), text_of(table, "type").tolist()
    adaptation = np.array(
        [_adaptation(name, kind, *known.get(name, ("False", "False"))) for name, kind in zip(names, kinds, strict=True)]
    )
    whole = make_table({**table.columns, "adaptation": adaptation}, source="published_evaluations.csv")
    return keep_rows(whole, adaptation != "left out")


@pytest.fixture(scope="module")
def reading(questions: ResultTable) -> RobustnessFit:
    scores = long_accuracies(questions, task="dataset", value="f1", half_widths=("f1_lower", "f1_upper"))
    data = shift_data(
        scores, x="squad", baseline=("adaptation=fully fine-tuned",), group="adaptation", family="model_family"
    )
    return fit_shift(data)


def test_the_line_of_fully_fine_tuned_readers(reading: RobustnessFit) -> None:
    assert reading.lines.n[0] == 31
    assert reading.lines.coefficients[0] == pytest.approx([-0.888, 0.602], abs=5e-4)
    assert reading.lines.r2[0] == pytest.approx(0.932, abs=5e-4)
    assert not reading.lines.bootstrapped[0]


@pytest.mark.parametrize(
    ("group", "points", "low", "high", "n", "inside"),
    [
        ("icl", 13.7, 10.5, 16.7, 10, 4),
        ("few-shot prompt", 11.4, 9.6, 13.0, 35, 24),
        ("zeroshot", 7.2, 2.4, 12.2, 6, 0),
        ("prompt finetuned", 6.3, 5.4, 7.3, 31, 31),
        ("few-shot span", 0.0, -1.5, 1.2, 52, 19),
    ],
)
def test_effective_robustness_by_adaptation(
    reading: RobustnessFit, *, group: str, points: float, low: float, high: float, n: int, inside: int
) -> None:
    place = reading.groups.groups.index(group)
    assert reading.groups.points[place, 0] == pytest.approx(points, abs=0.05)
    # The reference bounds are plain percentiles; ours are stretched by what a group of n models needs.
    stretch = np.sqrt(n / (n - 1)) * scipy.stats.t.ppf(0.975, n - 1) / scipy.stats.norm.ppf(0.975)
    mean = reading.groups.points[place, 0]
    assert (reading.groups.low[place, 0] - mean) / stretch + mean == pytest.approx(low, abs=0.6)
    assert (reading.groups.high[place, 0] - mean) / stretch + mean == pytest.approx(high, abs=0.6)
    assert reading.groups.n[place, 0] == n
    assert n - reading.groups.n_outside[place, 0] == inside


def test_zero_shot_is_flagged_as_pure_extrapolation(reading: RobustnessFit) -> None:
    message = next(f.message for f in reading.remarks if f.code == "extrapolated" and "'zeroshot'" in f.message)
    assert message.startswith("Group 'zeroshot': 0 of 6 models lie inside")


@pytest.mark.parametrize(
    ("shift", "r2"), [("squadshifts_new_wiki", 0.994), ("hotpotqa", 0.976), ("newsqa", 0.539), ("textbookqa", 0.365)]
)
def test_each_shift_alone_has_its_own_fit(reading: RobustnessFit, shift: str, r2: float) -> None:
    assert reading.lines.r2[reading.data.shifts.index(shift)] == pytest.approx(r2, abs=1e-3)


def test_shifts_disagree_on_in_context_learning(reading: RobustnessFit) -> None:
    place = reading.groups.groups.index("icl")
    points = dict(zip(reading.data.shifts, reading.groups.points[place].tolist(), strict=True))
    assert points["drop"] == pytest.approx(32.9, abs=0.1)
    assert points["squadshifts_new_wiki"] == pytest.approx(-3.3, abs=0.1)
    assert (
        np.nanmedian(np.nanstd(reading.effective.points[np.array(reading.data.groups) == "icl", 1:], axis=1, ddof=1))
        > 10
    )


def test_linear_axes_change_the_conclusion_and_no_family_does(reading: RobustnessFit) -> None:
    span, zero = (reading.groups.groups.index(name) for name in ("few-shot span", "zeroshot"))
    linear = next(variant for variant in reading.variants if variant.name == "linear")
    assert linear.points[span, 0] == pytest.approx(17.9, abs=0.15)
    assert linear.points[zero, 0] == pytest.approx(31.5, abs=0.15)
    without = [variant for variant in reading.variants if variant.kind == "without-family"]
    assert len(without) == 8
    assert max(abs(variant.points[span, 0]) for variant in without) < 1


def test_the_traps_of_the_published_table_are_named(reading: RobustnessFit) -> None:
    codes = {remark.code for remark in reading.remarks}
    assert {"spelling", "label-differs", "same-results", "extrapolated"} <= codes
