"""The study `scaling`: which claims the published tables bear out, and what it says without them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surefoot.core import Measurement, Results, Step, Store, SurefootError, Verdict, decide, open_pool, run, walk
from surefoot.laws import ExponentDifference, TableScaling
from surefoot.studies import load_study
from surefoot.studies.scaling import MATCHED, OPENAI, PROBES, PUBLISHED, ZERO_SHOT

needs_tables = pytest.mark.skipif(
    "SUREFOOT_DATA" not in os.environ, reason="SUREFOOT_DATA does not name the folder of published tables"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    study = load_study("scaling", {"own": "false"})
    store = Store(tmp_path_factory.mktemp("scaling") / "store")
    with open_pool("here") as pool:
        events = list(run(study.steps, store, pool))
    assert not [event for event in events if event.kind == "failed"]
    yield Results(store, tuple(walk(study.steps)))


@pytest.fixture(scope="module")
def verdicts(results: Results) -> dict[str, Verdict]:
    study = load_study("scaling", {"own": "false"})
    return {claim.name: verdict for claim, verdict in decide(study.claims, results)}


def test_without_tables_it_says_how_to_name_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SUREFOOT_DATA", raising=False)
    with pytest.raises(SurefootError, match=r"set SUREFOOT_DATA .* or give -o tables=DIR"):
        load_study("scaling")
    with pytest.raises(SurefootError, match=r"clip_benchmark_openclip_results\.csv does not exist"):
        load_study("scaling", {"tables": str(tmp_path)})


@needs_tables
@pytest.mark.parametrize(
    ("task", "envelope", "openai"),
    [
        # Exponents printed in the figures of arXiv 2212.07143 (Flickr30K's envelope as in the MIT table).
        ("ImageNet", 0.11, 0.16),
        ("ImageNet shifts, mean", 0.13, 0.24),
        ("COCO image R@5", 0.08, 0.05),
        ("Flickr30K image R@5", 0.19, 0.10),
    ],
)
def test_the_printed_exponents_come_out(results: Results, task: str, envelope: float, openai: float) -> None:
    for family, printed in ((PUBLISHED, envelope), (OPENAI, openai)):
        found = results.one(TableScaling, metric="exponent", task=task, group=family).measurement
        assert round(found.value, 2) == printed
        assert found.n == (5 if family == PUBLISHED else 3)


@needs_tables
def test_thirty_one_runs_bear_out_a_power_of_compute(verdicts: dict[str, Verdict]) -> None:
    for task in ZERO_SHOT:
        verdict = verdicts[f"power law: {task} (OpenCLIP)"]
        assert (verdict.status, verdict.n) == ("supported", 31)
    assert verdicts["power law: linear probes (OpenCLIP)"].n == 8
    assert verdicts["power law: linear probes (OpenCLIP)"].status == "supported"


@needs_tables
def test_three_runs_leave_flickr_and_the_probes_open(verdicts: dict[str, Verdict]) -> None:
    assert verdicts["power law: ImageNet (OpenAI)"].status == "supported"
    for name in ("power law: Flickr30K image R@5 (OpenAI)", "power law: linear probes (OpenAI)"):
        assert verdicts[name].status == "undecided"
        assert "one degree of freedom" in verdicts[name].detail


@needs_tables
def test_matched_runs_leave_the_source_open_and_probes_decide_it(
    results: Results, verdicts: dict[str, Verdict]
) -> None:
    for task in ZERO_SHOT:
        assert verdicts[f"source changes the exponent: {task}"].status == "undecided"
    assert verdicts["source changes the exponent: linear probes"].status == "supported"
    rows = results.select(ExponentDifference, metric="p_unadjusted", task="ImageNet shifts, mean")
    matched = next(row for row in rows if _second(row.step) == MATCHED and not getattr(row.step, "paired", True))
    assert round(matched.value, 3) == 0.028


def _second(step: object) -> str:
    assert isinstance(step, ExponentDifference) and isinstance(step.second[0], TableScaling)
    return step.second[0].family


@needs_tables
def test_the_summary_speaks_of_our_own_grid_where_there_is_one() -> None:
    found = {how: load_study("scaling", dict([how.split("=")])).summary for how in ("own=no", "own=yes", "full=yes")}
    assert "Our own grid" not in found["own=no"]
    assert "Our own grid: 3 sizes" in found["own=yes"] and "Our own grid: 4 sizes" in found["full=yes"]


@needs_tables
def test_every_figure_is_drawn_from_the_artifacts(results: Results) -> None:
    figures = [make(results) for make in load_study("scaling", {"own": "false"}).figures]
    assert [figure.name for figure in figures][-3:] == ["exponents", "sensitivity", "residuals"]
    imagenet = figures[0].table()
    assert sum(row["part"] == "point" and row.get("held_out") is True for row in imagenet) == 26
    assert all(figure.spec()["data"]["values"] for figure in figures)


@needs_tables
def test_a_verdict_is_that_of_the_whole_interval_of_the_weakest_or_the_surest(
    publish: Callable[[Store, Step, list[Measurement]], Path], tmp_path: Path
) -> None:
    study, store = load_study("scaling", {"own": "false"}), Store(tmp_path / "store")
    first = next(iter(PROBES))
    for step in walk(study.steps):
        if isinstance(step, TableScaling):
            where = {"task": step.task, "group": step.family, "n": 9}
            weak = {"value": 0.3, "low": -0.05, "high": 0.65} if step.task in ("ImageNet", first) else {}
            found = {"value": 0.2, "low": 0.15, "high": 0.25} | weak
            publish(store, step, [Measurement(metric="exponent", **found, **where), _p(0.01, **where)])
        elif isinstance(step, ExponentDifference):
            rows = []
            for name in step.names:
                gap = {"value": 0.4, "low": -0.05, "high": 0.85} if name in ("ImageNet", first) else {}
                gap = {"value": 0.2, "low": 0.1, "high": 0.3} | gap
                rows += [Measurement(metric="exponent_difference", **gap, n=9, task=name)]
                rows += [_p(0.01, metric, task=name, n=9) for metric in ("p", "p_unadjusted")]
            publish(store, step, rows)
    decided = decide(study.claims, Results(store, tuple(walk(study.steps))))
    verdicts = {claim.name: verdict for claim, verdict in decided}
    for family in ("OpenCLIP", "OpenAI"):
        for task, status in (
            ("ImageNet", "undecided"),
            ("COCO image R@5", "supported"),
            ("linear probes", "undecided"),
        ):
            verdict = verdicts[f"power law: {task} ({family})"]
            low = 0.15 if status == "supported" else -0.05
            assert (verdict.status, verdict.low) == (status, low)
    assert verdicts["source changes the exponent: ImageNet"].status == "undecided"
    probes = verdicts["source changes the exponent: linear probes"]
    assert (probes.status, probes.effect, probes.low) == ("supported", 0.2, 0.1)


def _p(value: float, metric: str = "p_constant", **where: object) -> Measurement:
    return Measurement(metric=metric, value=value, **where)  # type: ignore[arg-type]
