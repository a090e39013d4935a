"""Published figures of scaling laws, from the tables they were printed from (`SUREFOOT_DATA`)."""

import csv
import gzip
import json
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from surefoot.laws import (
    FamilyLaw,
    LawOptions,
    PointOptions,
    ResultTable,
    fit_scaling,
    make_table,
    predict_band,
    read_table,
)
from surefoot.stats import compare_exponents, fit_law, sensitivity

DATA = os.environ.get("SUREFOOT_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="SUREFOOT_DATA does not name the folder of published tables")

ZERO_SHOT = {
    # set: (column, OpenCLIP coefficient and exponent, OpenAI coefficient and exponent); arXiv 2212.07143, figures
    "imagenet1k": ("acc1", (5.86, 0.11), (23.18, 0.16)),
    "imagenet_robustness": ("acc1", (11.61, 0.13), (211.66, 0.24)),
    "mscoco_captions": ("image_retrieval_recall@5", (2.75, 0.08), (1.59, 0.05)),
    "flickr30k": ("image_retrieval_recall@5", (15.26, 0.19), (2.21, 0.10)),
}
PROBE = {
    # set: (shots, OpenCLIP exponent, OpenAI exponent)
    ("imagenet1k-unverified", 10): (0.131, 0.176),
    ("imagenet1k-unverified", 25): (0.126, 0.179),
    ("imagenet1k-unverified", -1): (0.120, 0.180),
    ("cifar100", 10): (0.174, 0.194),
    ("cifar100", 25): (0.185, 0.198),
    ("cifar100", -1): (0.177, 0.182),
}
PUBLISHED_CURVE_ERROR = 0.0396


@pytest.fixture(scope="module")
def clip() -> ResultTable:
    table = read_table(Path(DATA or "") / "laws" / "clip_benchmark_openclip_results.csv")
    group = np.where(table.columns["upstream_dataset"] == "CLIP-WIT", "OpenAI", "OpenCLIP")
    return make_table(dict(table.columns) | {"trained by": group}, source="CLIP benchmark")


def clip_laws(clip: ResultTable, task: str, column: str, selection: str) -> dict[str, FamilyLaw]:
    laws = fit_scaling(
        clip,
        PointOptions(
            x=("gmacs_total",),
            y=column,
            score=True,
            where=(f"downstream_dataset={task}",),
            family="trained by",
            label="model_fullname",
        ),
        LawOptions(selection=selection),  # type: ignore[arg-type]
    )
    return {fit.points.family: fit for fit in laws.fits}


@pytest.mark.parametrize("task", list(ZERO_SHOT))
def test_zero_shot_laws_come_out_as_printed(clip: ResultTable, task: str) -> None:
    column, open_clip, openai = ZERO_SHOT[task]
    envelope = clip_laws(clip, task, column, "envelope")["OpenCLIP"].law.parameters
    line = clip_laws(clip, task, column, "all")["OpenAI"].law.parameters
    for law, (coefficient, exponent) in ((envelope, open_clip), (line, openai)):
        assert round(law["coefficient"], 2) == coefficient
        assert round(law["exponent"], 2) == exponent


def test_three_points_get_a_t_interval_with_one_degree_of_freedom(clip: ResultTable) -> None:
    halves = {"imagenet1k": 0.114, "imagenet_robustness": 0.148, "mscoco_captions": 0.039, "flickr30k": 0.191}
    for task, half in halves.items():
        fit = clip_laws(clip, task, ZERO_SHOT[task][0], "all")["OpenAI"]
        found = fit.intervals.by_name["exponent"]
        assert (found.high - found.low) / 2 == pytest.approx(half, abs=0.0006)
        assert "3 points leave 1 degree of freedom" in fit.verdict
    assert "undecided: these points do not tell a law from a constant (p = 0.092, R2 = 0.979, n = 3)" in fit.verdict


MATCHED = {
    "ViT-B-32": "ViT-B-32 Model-B-32_Data-400M_Samples-13B_lr-1e-3_bs-86k.pt",
    "ViT-B-16": "ViT-B-16 laion400m_e32",
    "ViT-L-14": "ViT-L-14 Model-L-14_Data-400M_Samples-13B_lr-1e-3_bs-86k.pt",
}


@pytest.mark.parametrize(("task", "p"), [("imagenet1k", 0.10), ("imagenet_robustness", 0.03)])
def test_a_matched_comparison_proves_robustness_and_leaves_imagenet_undecided(
    clip: ResultTable, task: str, p: float
) -> None:
    """Same three architectures, 13 billion samples, 400 million pairs: only the source differs."""
    fits = clip_laws(clip, task, ZERO_SHOT[task][0], "all")
    openai, open_clip = fits["OpenAI"].points, fits["OpenCLIP"].points
    names = [next((arch for arch, run in MATCHED.items() if run == label), label) for label in open_clip.labels]
    first = [place for place, label in enumerate(openai.labels) if label.split()[0] in names]
    second = [names.index(openai.labels[place].split()[0]) for place in first]
    pairs = [(openai.x[first, 0], openai.y[first]), (open_clip.x[second, 0], open_clip.y[second])]
    found = compare_exponents(*(fit_law(x, y) for x, y in pairs))
    lines = [stats.linregress(np.log(x), np.log(y)) for x, y in pairs]
    error = np.hypot(lines[0].stderr, lines[1].stderr)
    freedom = error**4 / (lines[0].stderr ** 4 + lines[1].stderr ** 4)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(lines[0].slope - lines[1].slope) / error, freedom))
    assert round(found.p, 2) == p
    assert found.words.startswith("undecided") == (p >= 0.05)
    assert "3 and 3 points" in found.words


@pytest.mark.parametrize("task", ["vtab/dmlab", "vtab/smallnorb_label_azimuth", "vtab/pcam"])
def test_a_task_that_does_not_scale_has_no_law(clip: ResultTable, task: str) -> None:
    fit = clip_laws(clip, task, "acc1", "all")["OpenCLIP"]
    assert fit.law.trouble.startswith(("undecided: these points do not tell", "no scaling law here: y rises"))


def test_bins_and_eps_alone_move_the_published_exponent(clip: ResultTable) -> None:
    points = clip_laws(clip, "imagenet1k", "acc1", "all")["OpenCLIP"].points
    rows = {row.choice: row.exponent for row in sensitivity(points.x[:, 0], points.y)}
    envelopes = [value for name, value in rows.items() if "envelope" in name]
    assert rows["lower envelope, 5 bins, eps 0.1"] == pytest.approx(0.1114, abs=1e-4)
    assert max(envelopes) - min(envelopes) > 0.015


@pytest.mark.parametrize(("task", "shots"), list(PROBE))
def test_linear_probe_exponents_come_out_as_printed(task: str, shots: int) -> None:
    with gzip.open(Path(DATA or "") / "laws" / "clip_benchmark_linear_probe.json.gz", "rt") as file:
        rows = [row for row in json.load(file) if row["dataset"] == task and row["fewshot_k"] == shots]
    # As published: the best of learning rates and epochs on the test set, then least squares on all points.
    best: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        key = (row["samples_seen_pretty"], row["model"], row["upstream_dataset"])
        if key not in best or row["lp_acc1"] > best[key]["lp_acc1"]:
            best[key] = row
    for openai, exponent in zip((False, True), PROBE[task, shots], strict=True):
        chosen = [row for key, row in best.items() if (key[2] == "CLIP-WIT") == openai]
        law = fit_law([row["gmacs_total"] for row in chosen], [1 - row["lp_acc1"] for row in chosen])
        assert law.n == (3 if openai else 8)
        assert round(law.parameters["exponent"], 3) == exponent


def curves() -> dict[tuple[str, str, str], np.ndarray]:
    folder = Path(DATA or "") / "laws"
    rows = defaultdict(list)
    for name, opener in (("learning_curves_vision.csv.gz", gzip.open), ("learning_curves_language.csv", open)):
        with opener(folder / name, "rt") as file:
            for row in csv.DictReader(file):
                point = (float(row["Seen Examples"]), float(row["Loss"]), float(row["Training"]))
                rows[row["Domain"], row["Task"], row["Model"]].append(point)
    return {key: np.array(sorted(points)) for key, points in rows.items()}


@pytest.mark.parametrize("domain", ["IC", "NMT"])
def test_extrapolated_curves_beat_the_best_published_form(domain: str) -> None:
    """Every tenth image curve and all of translation; `benchmarks/laws_curves.py` has all 92."""
    chosen = [points for key, points in curves().items() if key[0] == domain]
    errors, power = [], []
    for points in chosen[:: 10 if domain == "IC" else 1]:
        train, test = points[points[:, 2] == 1], points[points[:, 2] == 0]
        columns = {"x": train[:, 0], "y": train[:, 1]}
        fit = fit_scaling(columns, PointOptions(x=("x",), y="y"), LawOptions(form="auto", method="t")).fits[0]
        errors.append(np.sqrt(np.mean(np.log(predict_band(fit, test[:, 0])[0] / test[:, 1]) ** 2)))
        line = fit_law(train[:, 0], train[:, 1])
        residual = np.log(test[:, 1]) - np.log(
            line.parameters["coefficient"] * test[:, 0] ** -line.parameters["exponent"]
        )
        power.append(np.sqrt(np.mean(residual**2)))
    assert np.mean(errors) < PUBLISHED_CURVE_ERROR
    assert np.mean(errors) < 0.5 * np.mean(power)
