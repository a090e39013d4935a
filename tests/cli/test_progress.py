"""The time left: a range, from what is known of each kind, and never nothing for what is not known."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from surefoot.cli._progress import TimeLeft, duration_range, follow, time_of
from surefoot.core import Event, Inputs, Measurement, Pace, Plan, Seconds, Step, Store, plan
from surefoot.core._store import write_record

Verb = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Work(Step):
    """Nothing, but of a kind."""

    number: int
    after: Step | None = None

    def make(self, out: Path, inputs: Inputs) -> tuple[()]:
        return ()


@dataclass(frozen=True, kw_only=True)
class Other(Step):
    """Nothing, of another kind."""

    number: int

    def make(self, out: Path, inputs: Inputs) -> tuple[()]:
        return ()


def left(*steps: Step, workers: int = 1, **rates: list[float]) -> TimeLeft:
    by_kind = {{"work": Work(number=0), "other": Other(number=0)}[name].kind: each for name, each in rates.items()}
    pace = Pace()
    pace.rates.update(by_kind)
    return TimeLeft(Plan(kept=(), missing=steps, failed=(), pace=pace), workers)


@pytest.fixture
def works() -> tuple[Step, ...]:
    return tuple(Work(number=number) for number in range(10))


def test_what_is_made_leaves_the_rest(works: tuple[Step, ...]) -> None:
    time = left(*works, work=[2.0] * 4)
    assert time.estimate() == (Seconds(low=20.0, likely=20.0, high=20.0), 0)
    for step in works[:6]:
        time.see(Event(kind="made", step=step, seconds=2.0))
    assert time.estimate()[0].likely == pytest.approx(8.0)


def test_the_run_corrects_what_the_store_said(works: tuple[Step, ...]) -> None:
    time = left(*works, work=[2.0] * 4)
    for step in works[:9]:
        time.see(Event(kind="made", step=step, seconds=6.0))
    assert time.estimate()[0].likely == pytest.approx(6.0)


def test_a_failed_blocked_or_kept_step_takes_no_more_time(works: tuple[Step, ...]) -> None:
    time = left(*works, work=[2.0] * 4)
    time.see(Event(kind="failed", step=works[0]))
    time.see(Event(kind="blocked", step=works[1]))
    time.see(Event(kind="kept", step=Work(number=99)))
    time.see(Event(kind="kept", step=Other(number=99)))
    assert time.estimate()[0].likely == pytest.approx(16.0)


def test_what_a_running_step_has_behind_it_is_not_left(works: tuple[Step, ...]) -> None:
    time = left(*works, work=[2.0] * 4)
    time.see(Event(kind="progress", step=works[0], done=75, total=100))
    assert time.estimate()[0].likely == pytest.approx(20.0 - 1.5)


def test_more_workers_than_steps_left_do_not_help(works: tuple[Step, ...]) -> None:
    assert left(*works[:2], workers=8, work=[3.0] * 4).estimate()[0].likely == pytest.approx(3.0)


def test_more_workers_do_not_make_a_chain_shorter(works: tuple[Step, ...]) -> None:
    first = Work(number=20)
    second = Work(number=21, after=first)
    third = Work(number=22, after=second)
    time = left(first, second, third, *works[:3], workers=6, work=[4.0] * 4)
    assert time.estimate()[0] == Seconds(low=12.0, likely=12.0, high=12.0)
    time.see(Event(kind="made", step=first, seconds=4.0))
    assert time.estimate()[0].likely == pytest.approx(8.0)
    time.see(Event(kind="progress", step=second, done=75, total=100))
    assert time.estimate()[0].likely == pytest.approx(5.0)
    for step in works[:3]:
        time.see(Event(kind="made", step=step, seconds=2.0))
    assert time.estimate()[0].likely == pytest.approx(1.25 * 2.5)  # the run shows 2.5 s a Step


def test_a_kind_that_never_ran_is_counted_until_one_shows_how_far_it_is(works: tuple[Step, ...]) -> None:
    others = tuple(Other(number=number) for number in range(3))
    time = left(*works, *others, work=[2.0] * 4)
    assert time.estimate()[1] == 3
    time.see(Event(kind="progress", step=others[0], done=50, total=100))
    seconds, unknown = time.estimate()
    assert unknown == 0
    assert seconds.likely >= 20.0


@pytest.mark.parametrize(
    ("low", "likely", "high", "text"),
    [
        (0.1, 0.2, 0.4, "about 0.2 s"),
        (40, 42, 44, "about 42 s"),
        (30, 42, 60, "30 to 60 s"),
        (240, 300, 540, "4 to 9 min"),
        (50, 90, 200, "0.83 to 3.3 min"),
        (3600, 7200, 14400, "1 to 4 h"),
    ],
)
def test_a_range_is_told_in_one_unit(low: float, likely: float, high: float, text: str) -> None:
    assert duration_range(Seconds(low=low, likely=likely, high=high)) == text


@pytest.mark.parametrize(
    ("unknown", "steps", "text"),
    [
        (0, 0, ""),
        (0, 9, "30 to 60 s left"),
        (482, 486, "time not known (482 of 486 Steps are of kinds that never ran here)"),
        (100, 486, "time not known (100 of 486 Steps are of kinds that never ran here)"),
        (9, 486, "30 to 60 s left and the time of 9 Steps of kinds that never ran here"),
    ],
)
def test_a_range_of_few_of_the_steps_is_not_told_as_the_answer(unknown: int, steps: int, text: str) -> None:
    seconds = Seconds(low=30, likely=42 * bool(steps), high=60)
    assert time_of(seconds, unknown, steps, " left") == text


def test_the_plan_of_the_study_of_readers_counts_hours(surefoot: Verb) -> None:
    said = surefoot("plan", "reading", "--workers", "1").err
    assert re.search(r"to make, [\d.]+ to [\d.]+ h on 1 workers", said), said


def test_an_artifact_that_nobody_timed_is_no_trace(tmp_path: Path) -> None:
    place = tmp_path / "store" / Work(number=0).kind / Work(number=0).key
    place.mkdir(parents=True)
    write_record(place, Work(number=0), ())
    assert plan([Work(number=1)], Store(tmp_path / "store")).unknown == 1


def test_plan_gives_a_range_for_a_study_that_never_ran_here(surefoot: Verb) -> None:
    said = surefoot("plan", "trees", "-o", "tables=adult", "-o", "budget=2", "--workers", "2").err
    assert " to " in said.partition("to make,")[2]
    assert "on 2 workers" in said
    assert "never ran" not in said


def test_the_first_number_has_both_bounds(works: tuple[Step, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A law may be bounded on one side only."""
    one = Measurement(metric="gain", value=0.3, n=9, low=0.1)
    both = Measurement(metric="accuracy", value=0.5, n=9, low=0.2, high=0.8)
    made = [Event(kind="made", step=works[0], seconds=1.0)]
    follow(made, left(*works, work=[2.0]).plan, 1, lambda step: [one, both])
    assert "A first number: accuracy 0.5 [0.2, 0.8] of " in capsys.readouterr().err
