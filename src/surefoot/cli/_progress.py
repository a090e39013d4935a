"""Showing a run while it goes: bars with time left on a terminal, plain lines elsewhere."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from surefoot.cli._output import say
from surefoot.core import Event, Plan, Step, describe

_PLAIN_SECONDS = 10.0
_OPEN = ("made", "failed", "blocked", "kept")


@dataclass
class TimeLeft:
    """An estimate of the seconds left, from the plan's timings and from what this run has shown."""

    plan: Plan
    workers: int
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    left: Counter[str] = field(default_factory=Counter)
    running: dict[str, tuple[str, float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left.update(step.kind for step in self.plan.missing)
        self.planned = Counter(self.left)

    def see(self, event: Event) -> None:
        """Take one event into account."""
        step = event.step
        if event.kind == "made":
            self.seconds[step.kind].append(event.seconds)
        if event.kind in ("started", "progress"):
            _, since, _ = self.running.get(step.key, (step.kind, time.monotonic(), 0.0))
            share = event.done / event.total if event.total else 0.0
            self.running[step.key] = (step.kind, since, share)
        elif event.kind in _OPEN:
            self.running.pop(step.key, None)
            self.left[step.kind] -= 1

    def estimate(self) -> tuple[float, bool]:
        """Seconds left, and whether that is all: False while a kind of Step that is to come was never timed."""
        total, whole = 0.0, True
        for kind, count in self.left.items():
            each = self._each(kind)
            whole = whole and (count <= 0 or each is not None)
            done = sum(self._share(*state, each or 0.0) for state in self.running.values() if state[0] == kind)
            total += max(count - done, 0.0) * (each or 0.0)
        return total / self.workers, whole

    def _each(self, kind: str) -> float | None:
        if self.seconds[kind]:
            return sum(self.seconds[kind]) / len(self.seconds[kind])
        planned = self.plan.seconds_by_kind.get(kind)
        if planned is not None:
            return planned / self.planned[kind]
        shown = [
            (time.monotonic() - since) / share
            for of, since, share in self.running.values()
            if of == kind and share > 0.02
        ]
        return median(shown) if shown else None

    def _share(self, kind: str, since: float, share: float, each: float) -> float:
        return share or min((time.monotonic() - since) / each, 0.95) if each else share


def follow(events: Iterable[Event], plan: Plan, workers: int) -> Counter[str]:
    """Show the events as they come; returns how many Steps ended in each way."""
    console = Console(stderr=True)
    counts: Counter[str] = Counter()
    left = TimeLeft(plan, workers)
    with _display(console, left, len(plan.missing) + len(plan.kept)) as show:
        for event in events:
            left.see(event)
            counts[event.kind] += event.kind in _OPEN
            if event.kind == "failed":
                say(f"failed {describe(event.step)}: {event.error}", console)
            show(event, counts)
    return counts


@contextmanager
def _display(console: Console, left: TimeLeft, total: int) -> Iterator["_Show"]:
    if not console.is_terminal:
        yield _Lines(total, left)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bars(progress, progress.add_task("Steps", total=total, note=""), left)


@dataclass
class _Bars:
    progress: Progress
    whole: TaskID
    left: TimeLeft
    bars: dict[str, TaskID] = field(default_factory=dict)

    def __call__(self, event: Event, counts: Counter[str]) -> None:
        step = event.step
        if event.kind in ("started", "progress"):
            self._show_running(event, step)
        elif step.key in self.bars:
            self.progress.remove_task(self.bars.pop(step.key))
        self.progress.update(self.whole, completed=sum(counts.values()), note=_time_left(*self.left.estimate()))

    def _show_running(self, event: Event, step: Step) -> None:
        if step.key not in self.bars:
            name = describe(step)
            self.bars[step.key] = self.progress.add_task(f"  {name[:56]}", total=None, note="")
        if event.kind == "progress":
            note = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in event.values)
            self.progress.update(self.bars[step.key], completed=int(event.done), total=int(event.total), note=note)


@dataclass
class _Lines:
    """One line at the start, one about every ten seconds, one at the end: fit for a log."""

    total: int
    left: TimeLeft
    said: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event, counts: Counter[str]) -> None:
        done = sum(counts.values())
        if time.monotonic() - self.said > _PLAIN_SECONDS or (done == self.total and event.kind in _OPEN):
            self.said = time.monotonic()
            say(f"{done} of {self.total} Steps  {_time_left(*self.left.estimate())}".rstrip())


_Show = _Bars | _Lines


def _time_left(seconds: float, whole: bool) -> str:
    if seconds == 0:
        return ""
    return f"{'about' if whole else 'at least'} {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Seconds in words fit for a line: '0.3 s', '42 s', '3 min 10 s', '2 h 5 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
