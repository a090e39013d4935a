"""What the page says, without a browser."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from laboratory import ZeroShot, accuracy, publish, study_in

from surefoot.core import Figure, Measurement, Results, Store, Study, SurefootError, Unit, Verdict, plan, walk
from surefoot.report import METHOD_NOTES, effect_text, interval_text, open_in_browser, write_report
from surefoot.report._tables import measurement_table


def text_of(page: str) -> str:
    """The words of the page, without its scripts and tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", bare)))


def test_claims_come_first_each_with_a_word_an_icon_an_effect_an_interval_n_and_a_source(brief: Path) -> None:
    page = brief.read_text(encoding="utf-8")
    words = text_of(page)
    assert words.index("Claims") < words.index("Figures") < words.index("Measurements")
    for verdict in ("Supported", "Contradicted", "Undecided"):
        assert verdict in words
    assert "−0.131 95% interval −0.148 to −0.114 n = 24" in words
    assert "Source of the claim: arXiv 2212.07143, section 4" in words
    assert page.count('class="claim ') == page.count('<p class="verdict"><svg') == 4


def test_the_same_input_gives_the_same_bytes(written: tuple[Study, Results], tmp_path: Path) -> None:
    first, second = (write_report(*written, tmp_path / name) for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


def test_a_time_stands_in_the_page_only_when_given(written: tuple[Study, Results], tmp_path: Path) -> None:
    study = replace(written[0], figures=())
    page = write_report(study, written[1], tmp_path / "page.html", made_at="1 November 2026").read_text("utf-8")
    assert "1 November 2026" in text_of(page)


def test_the_policy_forbids_the_network_evaluation_and_scripts_it_does_not_know(brief: Path) -> None:
    page = brief.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1]
    assert "http" not in policy[1]
    assert policy[1].count("'sha256-") == 2


def test_a_step_that_failed_says_why_and_is_named_among_the_checks(brief: Path) -> None:
    words = text_of(brief.read_text(encoding="utf-8"))
    assert "the pictures of style 'emojione-v1' are 48 pixels wide, the model wants 64" in words
    assert "Warning R1 1 Step failed" in words


def test_a_figure_whose_measurements_are_missing_leaves_its_reason_in_its_place(
    written: tuple[Study, Results], tmp_path: Path
) -> None:
    def broken(results: Results) -> Figure:
        raise SurefootError("Expected one measurement, found 0.")

    study = replace(written[0], figures=(broken,))
    words = text_of(write_report(study, written[1], tmp_path / "page.html").read_text("utf-8"))
    assert "This figure could not be drawn. Expected one measurement, found 0." in words


def test_a_figure_or_claim_whose_code_fails_takes_nothing_else_with_it(
    written: tuple[Study, Results], tmp_path: Path
) -> None:
    def failing(results: Results) -> Figure:
        return 1 / 0  # type: ignore[return-value]

    def no_number(results: Results) -> Figure:
        return Figure(name="n", title="N", caption="", rows=({"x": float("nan")},), vega_lite={"mark": "point"})

    def ends(results: Results) -> Figure:
        raise SystemExit(0)

    claim = replace(written[0].claims[0], name="failing", check=failing)
    study = replace(written[0], figures=(failing, no_number, ends), claims=(*written[0].claims, claim))
    words = text_of(write_report(study, written[1], tmp_path / "page.html").read_text("utf-8"))
    assert "This figure could not be drawn. ZeroDivisionError: division by zero (test_report.py, line " in words
    assert "This figure could not be drawn. SystemExit: 0 (test_report.py, line " in words
    assert "This figure could not be drawn. ValueError: Out of range float values" in words
    assert "Broken" in words
    assert written[0].claims[0].sentence in words


def test_credits_notes_and_provenance_are_there(brief: Path) -> None:
    words = text_of(brief.read_text(encoding="utf-8"))
    assert "OpenMoji, CC BY-SA 4.0" in words
    assert "numpy 2.3.1, surefoot 0.1.0, torch 2.14.0" in words
    for title, text in METHOD_NOTES:
        assert title in words
        assert text in words


def test_a_large_study_lists_a_bounded_number_of_rows_fairly_and_names_the_export(tmp_path: Path) -> None:
    study, results = study_in(tmp_path / "store")
    study = replace(study, figures=(), claims=())
    steps = [step for step in walk(study.steps) if isinstance(step, ZeroShot)]
    for step in steps[:-1]:
        losses = [Measurement(metric="loss", value=1 / (1 + index), n=64, replicate=index) for index in range(103)]
        publish(results.store, step, [*losses, accuracy(step)])

    path = write_report(study, Results(store=results.store, steps=results.steps), tmp_path / "page.html", row_limit=200)

    page = path.read_text(encoding="utf-8")
    assert "This page lists 200 of 12,376 measurements" in text_of(page)
    assert "surefoot export" in text_of(page)
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    table = data["measurements"]
    metrics = [row[[name for name, _ in table["columns"]].index("metric")] for row in table["rows"]]
    assert len(metrics) == 200
    assert abs(metrics.count("loss") - metrics.count("accuracy")) <= 1
    linked = {row[0] for row in table["rows"]}
    assert all(f'id="{key}"' in page for key in linked)
    assert "loss 12,257 0.009709" in text_of(page), "the summary counts every measurement, to the last one"


@pytest.mark.parametrize(
    ("unit", "effect", "low", "shown", "interval"),
    [
        ("points", 0.00004, 0.000001, "+0.004 points", "+0.0001 to +50.0"),
        ("share", 0.9997, 0.0, "99.97%", "0.00% to 50.0%"),
        ("points", 3e-17, -2e-13, "+0.00 points", "−0.00 to +50.0"),  # the rounding of equal numbers
        ("share", 1.0, 0.99999, "100.0%", "99.999% to 50.0%"),
        ("number", 1234567.0, 1234566.0, "1,234,567", "1,234,566 to 0.5"),
    ],
)
def test_no_number_is_rounded_to_none_to_all_or_to_its_neighbour(
    unit: Unit, effect: float, low: float, shown: str, interval: str
) -> None:
    verdict = Verdict(status="undecided", effect=effect, low=low, high=0.5, n=9, unit=unit)
    assert (effect_text(verdict), interval_text(verdict)) == (shown, interval)


@pytest.mark.parametrize(
    ("metric", "value", "stderr", "interval"),
    [
        ("accuracy", 1.0, 0.0, (0.8865, 1.0)),
        ("shift_top1", 0.95, (0.95 * 0.05 / 30) ** 0.5, (0.8095, 0.9884)),
        ("accuracy_gain", 0.95, 0.04, (0.8716, 1.0284)),
        ("loss", 0.5, 0.1, (0.3040, 0.6960)),
    ],
)
def test_the_interval_of_a_share_with_an_error_only_stays_within_it_and_has_a_width(
    metric: str, value: float, stderr: float, interval: tuple[float, float], tmp_path: Path
) -> None:
    study, results = study_in(tmp_path / "store")
    step = next(step for step in walk(study.steps) if isinstance(step, ZeroShot))
    publish(results.store, step, [Measurement(metric=metric, value=value, stderr=stderr, n=30)])
    observations = Results(results.store, (step,)).observations
    columns, row = (measurement_table(observations, 1).columns, measurement_table(observations, 1).rows[0])
    known = dict(zip((name for name, _ in columns), row, strict=True))
    assert (known["low"], known["high"]) == pytest.approx(interval, abs=1e-4)


def test_seeds_of_64_bits_are_shown_to_the_last_digit(tmp_path: Path) -> None:
    study, results = study_in(tmp_path / "store")
    first = next(step for step in walk(study.steps) if isinstance(step, ZeroShot))
    seeds = (1 << 60, (1 << 60) + 1)
    steps = tuple(replace(first, model=replace(first.model, seed=seed)) for seed in seeds)
    for step in steps:
        publish(results.store, step, [Measurement(metric="accuracy", value=0.5, n=64)])
    found = Results(results.store, steps)
    page = write_report(replace(study, steps=steps, figures=(), claims=()), found, tmp_path / "page.html")
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page.read_text("utf-8"))[0], parse_int=float)
    assert all(str(seed) in json.dumps(data["measurements"]["rows"]) for seed in seeds)


def test_a_study_that_was_never_run_is_a_page_that_says_so(written: tuple[Study, Results], tmp_path: Path) -> None:
    store = Store(tmp_path / "empty")
    study = replace(written[0], figures=())
    results = Results(store=store, steps=tuple(walk(study.steps)))
    path = write_report(study, results, tmp_path / "page.html", plan=plan(study.steps, store))
    assert "147 Steps of the study are not in the store" in text_of(path.read_text("utf-8"))


def test_a_place_that_cannot_be_written_is_one_sentence(written: tuple[Study, Results], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SurefootError, match="cannot be written"):
        write_report(replace(written[0], figures=()), written[1], tmp_path / "file" / "page.html")


def test_no_browser_is_started_in_ci_or_without_a_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not open_in_browser(tmp_path / "page.html")
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_in_browser(tmp_path / "page.html")
    monkeypatch.setenv("CI", "true")
    assert not open_in_browser(tmp_path / "page.html")
    assert opened == [(tmp_path / "page.html").as_uri()]
