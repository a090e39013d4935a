"""A Measurement is one finite number; its text gives back exactly what was measured."""

import json
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_steps import Number
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core import Artifact, Measurement, Store, SurefootError, write_record

finite = st.floats(allow_nan=False, allow_infinity=False)
bounds = st.tuples(finite, finite).map(sorted) | st.tuples(finite, st.none()) | st.tuples(st.none(), st.none() | finite)
measurements = st.builds(
    lambda bounds, **rest: Measurement(low=bounds[0], high=bounds[1], **rest),
    bounds=bounds,
    metric=st.text(min_size=1),
    value=finite,
    n=st.integers(0, 10**12),
    stderr=st.none() | finite.map(abs),
    task=st.text(),
    shift=st.text(),
    group=st.text(),
    replicate=st.integers(0, 10**6),
)


def written(found: Iterable[Measurement]) -> tuple[str, tuple[Measurement, ...]]:
    """The text of a record that holds these measurements, and what is read back from it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Store(Path(place)).path(Number(value=1))
        folder.mkdir(parents=True)
        write_record(folder, Number(value=1), found)
        return (folder / "record.json").read_text(encoding="utf-8"), Artifact(folder).measurements


@given(st.lists(measurements, max_size=5))
def test_measurements_written_and_read_are_the_same_to_the_last_bit(found: list[Measurement]) -> None:
    text, back = written(found)
    assert list(back) == found
    assert [math.copysign(1, item.value) for item in back] == [math.copysign(1, item.value) for item in found]
    assert written(back)[0] == text


@pytest.mark.parametrize("name", ["value", "n", "stderr", "low", "high"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_is_not_finite_was_not_measured(name: str, bad: float) -> None:
    numbers: dict[str, Any] = {"value": 1.0, "n": 1} | {name: bad}
    with pytest.raises(SurefootError, match=f"Measurement 'accuracy' has {name} = .*: it must be a finite number"):
        Measurement(metric="accuracy", **numbers)


@pytest.mark.parametrize("bad", [None, "0.5", [0.5], 1 + 0j, pytest.param(10**400, id="huge")])
@pytest.mark.parametrize("name", ["value", "n", "replicate"])
def test_what_is_no_number_was_not_measured(name: str, bad: Any) -> None:
    numbers: dict[str, Any] = {"value": 1.0, "n": 1} | {name: bad}
    with pytest.raises(SurefootError, match=f"has {name} = .*: it must be a finite number"):
        Measurement(metric="accuracy", **numbers)


@pytest.mark.parametrize("count", [2.5, -1, 2**63])
@pytest.mark.parametrize("name", ["n", "replicate"])
def test_n_and_replicate_are_counts_that_a_table_can_hold(name: str, count: Any) -> None:
    counts: dict[str, Any] = {"n": 1} | {name: count}
    with pytest.raises(SurefootError, match=f"has {name} = .*: it must be a count"):
        Measurement(metric="accuracy", value=1.0, **counts)


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"low": 0.6, "high": 0.4}, "low = 0.6 above high = 0.4"),
        ({"low": 0.40001, "high": 0.4}, "low = 0.40001 above high = 0.4"),
        ({"stderr": -0.1}, "stderr = -0.1"),
    ],
)
def test_no_interval_is_turned_round_and_no_error_below_zero(bounds: dict[str, Any], said: str) -> None:
    with pytest.raises(SurefootError, match=said):
        Measurement(metric="accuracy", value=0.5, n=9, **bounds)


@pytest.mark.parametrize("name", ["metric", "task", "shift", "group"])
def test_what_names_a_measurement_is_a_text(name: str) -> None:
    texts: dict[str, Any] = {"metric": "accuracy"} | {name: 3}
    with pytest.raises(SurefootError, match=f"has {name} = 3: it must be a text"):
        Measurement(value=1.0, n=1, **texts)


def test_numpy_numbers_leave_no_trace() -> None:
    built_in = Measurement(metric="a", value=0.1, n=3, stderr=0.5, replicate=2)
    of_numpy: Any = {"value": np.float64(0.1), "n": np.int32(3), "stderr": np.float32(0.5), "replicate": np.int64(2)}
    assert written([Measurement(metric="a", **of_numpy)])[0] == written([built_in])[0]


def test_the_text_is_plain_json_with_one_measurement_a_line() -> None:
    text, _ = written([Measurement(metric="größe", value=1, n=2), Measurement(metric="b", value=0.5, n=3)])
    assert [line["metric"] for line in json.loads(text)["measurements"]] == ["größe", "b"]
    assert [json.loads(line.strip(",")).get("metric") for line in text.splitlines()[-4:-2]] == ["größe", "b"]
    assert "größe" in text
    assert json.loads(written([])[0])["measurements"] == []
