"""What the tests of core share: a store, a way to run to the end, and Steps that workers can import by name."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "steps"))

from core_helpers import Runner, ended

from surefoot.core import Event, Step, Store, run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / 'a store\'s "own" [dir] *')


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def make(store: Store, threads: Executor) -> Callable[..., list[Event]]:
    """Run Steps to the end in threads of this process and give the events, without progress."""

    def made(*steps: Step, retry: bool = False) -> list[Event]:
        events = ended(run(steps, store, threads, retry=retry))
        for event in events:  # shown where a test fails
            print(event.kind, event.step.key, event.error)
        return events

    return made


@pytest.fixture
def runner() -> Iterator[Callable[..., Runner]]:
    """Starts runners, and leaves none behind."""
    started: list[Runner] = []

    def start(*arguments: object, script: str = "runner.py") -> Runner:
        started.append(Runner(*arguments, script=script))
        return started[-1]

    yield start
    for one in started:
        one.kill()
