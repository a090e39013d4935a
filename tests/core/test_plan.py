"""Questions before a run: what is missing, how long it takes, why a Step is new, what may be stale."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from core_steps import Fragile, Number, Slow, Total, Wave

from surefoot.core import Artifact, Difference, Event, Step, Store, flatten, plan, stale, to_spec, why

Make = Callable[..., list[Event]]


def timed(store: Store, step: Step, seconds: float) -> None:
    """Say of an artifact that it took so long."""
    path = store.path(step) / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"wall_seconds": seconds}))


# --- plan


def test_a_plan_sorts_steps_into_kept_missing_and_failed(store: Store, make: Make) -> None:
    kept, bad = Number(value=1.0), Fragile(way="raise")
    top = Total(parts=(kept, bad))
    make(kept, bad)
    found = plan([top], store)
    assert (found.kept, found.missing, found.failed) == ((kept,), (bad, top), (bad,))


def test_a_plan_changes_nothing(store: Store) -> None:
    plan([Number(value=1.0)], store)
    assert not store.root.exists()


def test_the_estimate_is_the_median_rate_of_earlier_ones_times_the_cost(store: Store, make: Make) -> None:
    earlier = [Wave(frequency=1.0, terms=100), Wave(frequency=2.0, terms=200), Wave(frequency=3.0, terms=400)]
    make(*earlier)
    for step, rate in zip(earlier, (0.01, 0.03, 0.5), strict=True):
        timed(store, step, rate * step.terms)
    asked = [Wave(frequency=1.0, terms=1000), Wave(frequency=2.0, terms=50)]
    assert plan(asked, store).seconds == pytest.approx(0.03 * 1050)


def test_a_kind_without_a_cost_is_estimated_by_count(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    timed(store, Number(value=1.0), 4.0)
    found = plan([Number(value=float(value)) for value in range(4)], store)
    assert found.seconds_by_kind == {"core_steps.Number": pytest.approx(12.0)}
    assert found.seconds == pytest.approx(12.0)


def test_there_is_no_estimate_while_a_kind_was_never_timed(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    found = plan([Number(value=2.0), Slow(name=1)], store)
    assert found.seconds is None
    assert found.seconds_by_kind["core_steps.Slow"] is None
    assert found.seconds_by_kind["core_steps.Number"] is not None


def test_a_plan_of_what_is_made_takes_no_time(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    assert plan([Number(value=1.0)], store).seconds == 0


# --- why


def test_why_names_the_nearest_artifact_and_the_field_that_differs(store: Store, make: Make) -> None:
    far, near = Slow(name=1, seconds=0.01), Slow(name=2, seconds=0.03)
    make(far, near)
    asked = Slow(name=2, seconds=0.01, after=None, log="x")
    assert why(Slow(name=2, seconds=0.02), store) == (near.key, (Difference(field="seconds", made=0.03, asked=0.02),))
    assert len(why(asked, store)[1]) == 2


def test_why_names_a_field_of_a_step_within_a_step(store: Store, make: Make) -> None:
    made = Slow(name=1, seconds=0.0, after=Slow(name=5, seconds=0.0, after=Number(value=1.0)))
    make(made)
    asked = Slow(name=1, seconds=0.0, after=Slow(name=5, seconds=0.0, after=Number(value=1.5)))
    assert why(asked, store) == (made.key, (Difference(field="after.after.value", made=1.0, asked=1.5),))


def test_why_names_the_steps_that_only_one_of_two_tuples_holds(store: Store, make: Make) -> None:
    one, two, three = (Number(value=float(value)) for value in (1, 2, 3))
    made = Total(parts=(one, two))
    make(made)
    assert why(Total(parts=(one, three)), store)[1] == (Difference(field="parts", made=two.key, asked=three.key),)
    order = f"{two.key}, {one.key}"
    assert why(Total(parts=(two, one)), store)[1] == (
        Difference(field="parts", made=f"{one.key}, {two.key}", asked=order),
    )


def test_why_has_nothing_to_compare_with_in_an_empty_store(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    assert why(Slow(name=1), store) == (None, ())


# --- flatten


def test_a_spec_becomes_one_row_of_plain_fields_by_path() -> None:
    step = Slow(name=1, after=Total(parts=(Number(value=1.0), Number(value=2.0)), scale=0.5))
    assert flatten(to_spec(step)) == {
        "kind": "core_steps.Slow",
        "version": 1,
        "name": 1,
        "seconds": 0.02,
        "log": "",
        "after.kind": "core_steps.Total",
        "after.version": 1,
        "after.parts.count": 2,
        "after.scale": 0.5,
        "after.log": "",
    }


# --- stale

CODE = '''"""A study that a person edits."""
from dataclasses import dataclass
from surefoot.core import Measurement, Step


@dataclass(frozen=True, kw_only=True)
class Edited(Step):
    """Measures."""

    size: int = 1

    def make(self, out, inputs):
        return (Measurement(metric="size", value=self.size, n=1),)
'''


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, make: Make) -> Callable[[str], list[str]]:
    """Makes a Step of a user's file, edits the file, and gives the reasons why the artifact may be stale."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "study_of_a_user.py"
    file.write_text(CODE)
    make(importlib.import_module("study_of_a_user").Edited())

    def edit(text: str) -> list[str]:
        file.write_text(text)
        os.utime(file, (10**9, 10**9))
        sys.modules.pop("study_of_a_user", None)
        importlib.invalidate_caches()
        found = stale(store)
        assert [artifact.kind for artifact, _ in found] == ["study_of_a_user.Edited"] * len(found)
        sys.modules.pop("study_of_a_user", None)
        return [reason for _, reason in found]

    return edit


def test_comments_and_layout_make_nothing_stale(edited: Callable[[str], list[str]]) -> None:
    assert edited(CODE) == []
    assert edited(CODE.replace("size: int = 1", "# how large\n    size: int   =   1")) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("value=self.size", "value=2 * self.size", "the source of its module changed"),
        ("size: int = 1", "version = 2\n    size: int = 1", "made at version 1, the code is version 2"),
        ("size: int = 1", "size: int = 2", "a default changed without a new version"),
        ("size: int", "width: int", "has no field 'size'"),
        ("class Edited", "class Renamed", "not a kind of Step"),
        ("import Measurement", "import Measuremint", "its module fails: ImportError"),
        ("def make", "def make make", "its module fails: SyntaxError"),
    ],
)
def test_each_reason_for_staleness_is_told(edited: Callable[[str], list[str]], old: str, new: str, reason: str) -> None:
    (said,) = edited(CODE.replace(old, new))
    assert reason in said


def test_stale_is_a_report_and_recomputes_nothing(edited: Callable[[str], list[str]], store: Store) -> None:
    before = store.stamps()
    edited(CODE.replace("value=self.size", "value=0.5"))
    assert store.stamps() == before
    assert [Artifact(path).measurements[0].value for path in store.made().values()] == [1.0]
