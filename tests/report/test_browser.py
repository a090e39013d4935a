"""The page in a real browser, opened from disk with the network off."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from laboratory import HOSTILE, Source, ZeroShot, evaluations, publish, study_in

from surefoot.core import Claim, Figure, Measurement, Results, Step, Store, Study, Verdict, walk
from surefoot.figures import contact_sheet, interval_plot, scaling_curve
from surefoot.report import Finding, write_report

Open = Callable[..., Any]
TABLE = '.grid[data-table="measurements"]'


def column(page: Any, number: int) -> list[str]:
    return page.locator(f"{TABLE} tbody td:nth-child({number})").all_inner_texts()


def headings(page: Any) -> list[str]:
    return page.locator(f"{TABLE} th").all_inner_texts()


def saved(page: Any, button: str, place: str = TABLE) -> str:
    with page.expect_download() as waiting:
        page.locator(place).get_by_role("button", name=button, exact=True).click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (360, "light")])
def test_the_page_draws_every_figure_without_a_complaint_a_request_or_a_sideways_scroll(
    opened: Open, report: Path, width: int, scheme: str
) -> None:
    shown = opened(report, width=width, color_scheme=scheme)

    assert shown.complaints == []
    assert [url for url in shown.requests if not url.startswith(("data:", "blob:"))] == [report.absolute().as_uri()]
    assert shown.page.locator(".live svg.marks").count() == 6
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_a_long_value_among_the_choices_of_a_filter_does_not_widen_the_page(
    opened: Open, report: Path, width: int
) -> None:
    shown = opened(report, width=width)
    lengthen = (
        "document.querySelectorAll('select option:last-child').forEach(one => one.textContent = 'long '.repeat(300))"
    )
    shown.page.evaluate(lengthen)

    assert shown.page.locator("select").count() > 0
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_column_sorts_up_then_down_then_as_it_was(opened: Open, brief: Path) -> None:
    page = opened(brief).page
    place = headings(page).index("value") + 1
    before = column(page, place)
    button = page.locator(f"{TABLE} th:nth-child({place}) button")

    button.click()
    up = [float(text) for text in column(page, place)]
    assert up == sorted(up)
    assert page.locator(f"{TABLE} th:nth-child({place})").get_attribute("aria-sort") == "ascending"
    button.press("Enter")
    down = [float(text) for text in column(page, place)]
    assert down == sorted(down, reverse=True)
    assert down[0] > up[-1]
    button.click()
    assert column(page, place) == before


def test_filters_narrow_the_rows_and_say_how_many_are_left(opened: Open, brief: Path) -> None:
    page = opened(brief).page

    page.get_by_label("filter").first.fill("openmoji mini")

    assert set(column(page, headings(page).index("shift") + 1)) == {"openmoji"}
    assert "6 rows, filtered from 119" in page.locator(f"{TABLE} .pager").inner_text()
    page.get_by_label("filter").first.fill("")
    page.get_by_label("shift", exact=True).select_option(label="fluent")
    assert set(column(page, headings(page).index("shift") + 1)) == {"fluent"}


def test_pages_of_rows_are_turned(opened: Open, brief: Path) -> None:
    page = opened(brief).page
    first = column(page, 1)
    page.locator(TABLE).get_by_role("button", name="Next").click()
    assert not set(first) & set(column(page, 1))
    assert "26 to 50 of 119 rows" in page.locator(f"{TABLE} .pager").inner_text()


def test_what_is_shown_can_be_saved_as_csv_tsv_and_json_with_full_precision(
    opened: Open, brief: Path, written: tuple[Study, Results]
) -> None:
    page = opened(brief).page
    page.get_by_label("filter").first.fill("noto + fluent")
    expected = {
        (item.step.key, item.value, item.measurement.low)
        for item in written[1].observations
        if isinstance(item.step, ZeroShot) and item.step.model.source.name == "noto + fluent"
    }

    commas = list(csv.DictReader(io.StringIO(saved(page, "CSV"))))
    tabs = list(csv.DictReader(io.StringIO(saved(page, "TSV")), delimiter="\t"))
    objects = json.loads(saved(page, "JSON"))

    assert {(row["step"], float(row["value"]), float(row["low"])) for row in commas} == expected
    assert tabs == commas
    assert {(row["step"], row["value"], row["low"]) for row in objects} == expected


def test_a_figure_gives_its_table_its_drawing_and_its_specification(opened: Open, brief: Path) -> None:
    page = opened(brief).page
    page.locator("#figure-scaling details.data > summary").click()

    rows = list(csv.DictReader(io.StringIO(saved(page, "CSV", "#figure-scaling"))))

    assert len(rows) == 144
    assert {row["part"] for row in rows} == {"point", "fit"}
    assert saved(page, "SVG", "#figure-scaling").startswith("<svg")
    assert json.loads(saved(page, "Vega-Lite", "#figure-scaling"))["data"]["values"][0]["part"] == "point"
    with page.expect_download() as waiting:
        page.locator("#figure-scaling").get_by_role("button", name="PNG").click()
    assert Path(waiting.value.path()).read_bytes().startswith(b"\x89PNG")


def test_the_theme_goes_from_automatic_to_light_to_dark_and_the_figures_follow(opened: Open, brief: Path) -> None:
    page = opened(brief, color_scheme="dark").page
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "document.querySelector('#figure-scaling .live text').getAttribute('fill')"
    dark_paper, dark_ink = page.evaluate(paper), page.evaluate(ink)

    page.get_by_role("button", name="Theme").click()
    page.wait_for_function(f"{ink} !== {json.dumps(dark_ink)}")
    assert page.evaluate(paper) == "rgb(255, 255, 255)" != dark_paper
    page.get_by_role("button", name="Theme").click()
    page.wait_for_function(f"{ink} === {json.dumps(dark_ink)}")
    assert page.evaluate(paper) == dark_paper


def test_a_number_leads_to_its_step_with_provenance(opened: Open, brief: Path) -> None:
    page = opened(brief).page
    link = page.locator(f"{TABLE} tbody tr:first-child td a")
    key = (link.get_attribute("href") or "").removeprefix("#")

    link.click()

    step = page.locator(f"[id='{key}']")
    assert step.evaluate("element => element.open")
    text = step.inner_text()
    assert "peak memory" in text
    assert "412 MB" in text
    assert "environment 1" in text


def test_an_address_with_a_key_opens_that_step(opened: Open, brief: Path, written: tuple[Study, Results]) -> None:
    step = written[0].steps[3]
    page = opened(brief, anchor=f"#{step.key}").page
    assert page.locator(f"[id='{step.key}'] dl").first.is_visible()


def test_without_scripts_the_claims_pictures_and_first_rows_are_there(opened: Open, report: Path) -> None:
    page = opened(report, scripts=False).page
    assert page.locator(".claim").count() == 4
    assert page.locator("img.still").first.is_visible()
    assert page.locator(f"{TABLE} tbody tr").count() == 25
    assert not page.get_by_role("button", name="Theme").is_visible()


def test_in_print_figures_are_still_pictures_on_white_even_from_the_dark_theme(opened: Open, report: Path) -> None:
    page = opened(report, width=718, color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.locator("img.still").first.is_visible()
    assert not page.locator(".live").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def hostile_figures(results: Results) -> tuple[Figure, ...]:
    points = [{"x": 1.0 + index, "y": 0.5, "family": f"{HOSTILE}{index}", "label": HOSTILE} for index in range(3)]
    picture = {"image": "data:image/png;base64,AAAA", "label": HOSTILE, "section": HOSTILE}
    texts: dict[str, Any] = {"title": HOSTILE, "caption": HOSTILE}
    return (
        scaling_curve(points, name=HOSTILE, x_title=HOSTILE, y_title=HOSTILE, **texts),
        interval_plot([{"label": HOSTILE, "value": 1.0, "group": HOSTILE}], name="b", x_title=HOSTILE, **texts),
        contact_sheet([picture], name="c", **texts),
    )


def test_a_share_among_counts_is_not_rounded_to_none_or_all(opened: Open, tmp_path: Path) -> None:
    store, step = Store(tmp_path / "store"), Source(name="people")
    shares = [Measurement(metric="share", value=value, n=2105) for value in (0.4912, 0.0031)]
    publish(store, step, [Measurement(metric="rows", value=2105, n=2105), *shares])
    study = Study(name="s", title="s", summary="s", steps=(step,))
    shown = opened(write_report(study, Results(store=store, steps=(step,)), tmp_path / "counts.html"))
    place = headings(shown.page).index("value") + 1
    assert column(shown.page, place) == ["2,105", "0.4912", "0.0031"]


def test_text_from_the_data_is_never_markup_or_script(opened: Open, tmp_path: Path) -> None:
    store, step = Store(tmp_path / "store"), Source(name=HOSTILE)
    publish(store, step, [Measurement(metric=HOSTILE, value=0.5, n=10, shift=HOSTILE, task="</script><b>task</b>")])
    verdict = Verdict(status="supported", effect=1.0, low=0.5, high=1.5, n=3, detail=HOSTILE)
    study = Study(
        name=HOSTILE,
        title=HOSTILE,
        summary=HOSTILE,
        steps=(step,),
        claims=(Claim(name=HOSTILE, sentence=HOSTILE, check=lambda results: verdict, source=HOSTILE),),
        figures=tuple((lambda results, index=index: hostile_figures(results)[index]) for index in range(3)),
        credits=(HOSTILE,),
    )
    finding = Finding(code="X1", level="note", text=HOSTILE, anchor=HOSTILE)
    results = Results(store=store, steps=(step,))
    path = write_report(study, results, tmp_path / "page.html", findings=[finding], made_at=HOSTILE)

    shown = opened(path)
    shown.page.locator("#figure-b details.data > summary").click()
    shown.page.locator(".live path[aria-roledescription=point]").first.hover(force=True)
    shown.page.wait_for_timeout(200)

    assert shown.page.evaluate("window.hacked") is None
    assert shown.page.locator("img[src=x], main b").count() == 0
    assert shown.page.locator("script").count() == 3
    assert shown.page.locator("h1").inner_text() == HOSTILE
    assert [text for text in shown.complaints if "ERR_INVALID_URL" not in text and "Failed to load" not in text] == []


def test_a_script_that_is_put_into_the_file_later_does_not_run_and_the_network_is_forbidden(
    opened: Open, brief: Path, tmp_path: Path
) -> None:
    changed = brief.read_text(encoding="utf-8").replace("</main>", "<script>window.hacked = 1</script></main>")
    path = tmp_path / "changed.html"
    path.write_text(changed, encoding="utf-8")
    page = opened(path).page
    assert page.evaluate("window.hacked") is None
    refused = "fetch('http://127.0.0.1:9/').then(() => 'loaded', error => 'refused')"
    assert page.evaluate(refused) == "refused"


def test_a_study_of_one_step_without_claims_or_figures_is_a_page_too(opened: Open, tmp_path: Path) -> None:
    study, results = study_in(tmp_path / "store")
    one: Step = study.steps[0]
    small = replace(study, steps=(one,), claims=(), figures=(), credits=())
    path = write_report(small, replace(results, steps=tuple(walk([one]))), tmp_path / "one.html")
    shown = opened(path, width=390)
    assert shown.complaints == []
    assert shown.page.locator(f"{TABLE} tbody tr").count() == 1
    assert len(evaluations()) == 120


def test_a_legend_of_long_names_is_not_cut_on_a_telephone(opened: Open, tmp_path: Path) -> None:
    store, step = Store(tmp_path / "store"), Source(name="people")
    publish(store, step, [Measurement(metric="rows", value=2105, n=2105)])
    names = ["kept by a model of fluent-emoji-high-contrast", "as many at random", "kept by a model of twemoji"]
    rows: list[dict[str, Any]] = [{"label": "1,000 pairs of things", "value": place, "family": name, "group": "a shift"}
            for place, name in enumerate(names)]  # fmt: skip
    points: list[dict[str, Any]] = [{"x": 1.0 + place, "y": 0.5, "family": name} for place, name in enumerate(names)]
    figures = (
        interval_plot(rows, name="a", title="a", caption="a", x_title="Effect", families=names),
        scaling_curve(points, name="b", title="b", caption="b", x_title="x", y_title="y"),
    )
    study = Study(
        name="s", title="s", summary="s", steps=(step,), figures=tuple(lambda _, one=one: one for one in figures)
    )
    shown = opened(write_report(study, Results(store=store, steps=(step,)), tmp_path / "long.html"), width=390)
    beyond = """[...document.querySelectorAll('.live svg .role-legend-label text')].map(one =>
        one.getBoundingClientRect().right - one.closest('svg').getBoundingClientRect().right)"""
    found = shown.page.evaluate(beyond)
    assert len(found) == 6 and max(found) <= 0.5
