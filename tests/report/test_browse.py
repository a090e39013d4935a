"""Configurations of a sweep in the page: packed without loss that is seen, sorted and filtered in a real browser."""

import base64
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from laboratory import Source, publish
from numpy.testing import assert_allclose

from surefoot.core import Measurement, Results, Store, Study
from surefoot.report import write_report
from surefoot.report._browse import browse_configurations, pack

Open = Callable[..., Any]
GRID = '.grid[data-table="configurations"]'
COUNT = 300


def cells(page: Any, heading: str) -> list[str]:
    at = page.locator(f"{GRID} th").all_inner_texts().index(heading) + 1
    return page.locator(f"{GRID} tbody td:nth-child({at})").all_inner_texts()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Results]:
    """Two Steps that keep configurations: the second has no calibration error, and a hostile name."""
    store = Store(tmp_path_factory.mktemp("swept"))
    steps = (Source(name="a"), Source(name="b"))
    for step, name, calibration in ((steps[0], "adult", "i / 900.0"), (steps[1], "</script><b>", "NULL")):
        publish(store, step, [Measurement(metric="configurations", value=COUNT, n=COUNT)])
        columns = (
            f"'{name}' AS \"table\", '0' AS split, CASE WHEN i % 3 = 0 THEN 'mlp' ELSE 'lightgbm' END AS learner, "
            f"format('{{{{\"depth\": {{}}}}}}', i) AS configuration, 0.9 - i / 1000.0 AS test_accuracy, "
            f"({calibration})::DOUBLE AS test_calibration_error, 1.0 AS share, i AS test_true_positive_rate_of_0"
        )
        path = store.path(step) / "configurations.parquet"
        duckdb.sql(f"COPY (SELECT {columns} FROM range({COUNT}) t(i)) TO '{path}'")
    study = Study(name="swept", title="Swept", summary="A sweep.", steps=steps)
    return study, Results(store, steps)


@pytest.fixture(scope="module")
def page_of(swept: tuple[Study, Results], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(*swept, tmp_path_factory.mktemp("pages") / "swept.html")


def test_what_is_packed_comes_back() -> None:
    generator = np.random.default_rng(0)
    numbers = np.where(generator.random(50) < 0.2, np.nan, generator.normal(size=50))
    words = np.array(["one", "two", "three"], dtype=object)[generator.integers(0, 3, 50)]
    packed = pack({"x": numbers, "word": words}, first=4)
    planes = np.frombuffer(gzip.decompress(base64.b64decode(packed.packed)), np.uint8).reshape(2, 4, 50)
    bytes_of = [np.ascontiguousarray(plane.T).tobytes() for plane in planes]
    assert_allclose(np.frombuffer(bytes_of[0], "<f4"), numbers, atol=1e-5)
    assert [packed.levels[1][code] for code in np.frombuffer(bytes_of[1], "<u4")] == words.tolist()
    assert packed.columns == (("x", "number"), ("word", "text"))
    assert [row[1] for row in packed.first] == words[:4].tolist()


def test_columns_that_tell_nothing_and_a_groups_own_rates_are_left_out(swept: tuple[Study, Results]) -> None:
    found = browse_configurations(*swept, first=5)
    assert found is not None
    assert found.count == 2 * COUNT
    names = [name for name, _ in found.columns]
    assert names == ["table", "learner", "configuration", "test accuracy", "calibration error"]  # of one split


def test_a_study_that_keeps_no_configurations_has_no_such_section(written: tuple[Study, Results]) -> None:
    assert browse_configurations(*written, first=5) is None


def test_configurations_are_sorted_filtered_and_turned_over(opened: Open, page_of: Path) -> None:
    shown = opened(page_of)
    page = shown.page
    grid = page.locator(GRID)
    said = grid.locator(".pager span").first
    assert said.inner_text() == "1 to 25 of 600 rows"

    grid.get_by_role("button", name="test accuracy").click()
    assert cells(page, "test accuracy")[0] == "0.601"
    grid.get_by_role("button", name="calibration error").click()
    grid.get_by_role("button", name="calibration error").click()
    assert cells(page, "calibration error")[:2] == ["0.3322", "0.3311"]
    grid.get_by_label("learner").select_option(label="mlp")
    assert said.inner_text() == "1 to 25 of 200 rows, filtered from 600"
    grid.locator("input").fill("script depth 29")
    assert said.inner_text() == "1 to 4 of 4 rows, filtered from 600"
    assert set(cells(page, "table")) == {"</script><b>"}
    assert cells(page, "calibration error") == [""] * 4
    grid.locator("input").fill("")
    grid.get_by_role("button", name="Next").click()
    assert said.inner_text() == "26 to 50 of 200 rows, filtered from 600"
    assert shown.complaints == []


def test_the_first_configurations_are_there_without_scripts(opened: Open, page_of: Path) -> None:
    page = opened(page_of, scripts=False).page
    assert page.locator(f"{GRID} tbody tr").count() == 25
    assert "shows the first 25 rows" in page.locator(GRID).inner_text()
